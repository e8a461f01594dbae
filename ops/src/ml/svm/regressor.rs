//! `SVMRegressor`: Σ coefficientᵢ · kernel(x, vectorᵢ) + rho; of one class, whether that is positive, as 1 or −1.

use super::kernel::{KERNEL, Kernel, Vectors};
use crate::Define;
use crate::ml::post_transform::PostTransform;
use crate::ml::rows::{Rows, score_rows};
use crate::ml::{DOMAIN, FEATURES};
use planish_ir::{
    AttributeError, AttributeKind, Dim, EvalCx, FLOAT, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs,
    Schema, arg, int, optional, string,
};
use planish_tensor::DType;

/// `SVMRegressor`.
#[derive(Debug)]
pub struct SvmRegressor {
    vectors: Vectors,
    /// One a vector.
    coefficients: Vec<f32>,
    rho: f32,
    is_one_class: bool,
    transform: PostTransform,
}

impl Define for SvmRegressor {
    const SCHEMA: Schema = Schema::new("SVMRegressor", 1)
        .domain(DOMAIN)
        .inputs(&[arg("X", FEATURES)])
        .outputs(&[arg("Y", FLOAT)])
        .attributes(&[
            optional("coefficients", AttributeKind::Floats),
            KERNEL[0],
            KERNEL[1],
            int("n_supports", 0),
            int("one_class", 0),
            string("post_transform", "NONE"),
            optional("rho", AttributeKind::Floats),
            optional("support_vectors", AttributeKind::Floats),
        ]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let coefficients = node.opt_floats("coefficients").unwrap_or_default();
        let count = usize::try_from(node.int("n_supports")?);
        let count = count.map_err(|_| AttributeError::invalid("attribute \"n_supports\" is negative"))?;
        // Without support vectors, the coefficients are the one vector that rows are multiplied with.
        let (vectors, coefficients) = match count {
            0 => (Vectors::new(Kernel::LINEAR, coefficients, 1)?, vec![1.0]),
            _ => {
                let elements = node.opt_floats("support_vectors").unwrap_or_default();
                (Vectors::new(Kernel::parse(node)?, elements, count)?, coefficients.to_vec())
            }
        };
        if coefficients.len() != count.max(1) {
            let message = format!("{} coefficients for {count} support vectors", coefficients.len());
            return Err(AttributeError::invalid(message));
        }
        let rho = node.opt_floats("rho").and_then(|rho| rho.first()).copied().unwrap_or(0.0);
        let is_one_class = node.flag("one_class")?;
        Ok(SvmRegressor { vectors, coefficients, rho, is_one_class, transform: PostTransform::named(node)? })
    }
}

impl Op for SvmRegressor {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        Ok(vec![Fact::shaped(Some(DType::F32), vec![Rows::infer(x)?.count, Dim::known(1)])])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.tensor(0)?;
        self.vectors.check_width(Rows::of(x)?.width)?;
        let y = score_rows(cx, x, 1, self.vectors.num_elements(), |row, y| {
            let terms = self.vectors.compare(row).zip(&self.coefficients).map(|(like, &c)| f64::from(c) * like);
            let sum = terms.sum::<f64>() + f64::from(self.rho);
            let mut score = [match self.is_one_class {
                true => f64::from(i8::from(sum > 0.0) * 2 - 1),
                false => sum,
            }];
            self.transform.apply(&mut score);
            y[0] = score[0] as f32;
        })?;
        Ok(y.into())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval_all, tensor};
    use planish_ir::{Attributes, OpError};

    fn run(attributes: Attributes) -> Result<Vec<f32>, OpError> {
        let x = tensor(&[2, 2], &[0.1f32, 0.2, 0.3, -0.7]);
        let attributes = attributes.with("rho", vec![0.125f32]).with("kernel_params", vec![0.5f32, 0.25, 3.0]);
        let y = eval_all("ai.onnx.ml", "SVMRegressor", attributes, &[Some(x)], 1)?;
        Ok(y[0].as_slice::<f32>().unwrap().to_vec())
    }

    #[test]
    fn every_kernel_compares_by_its_formula() {
        let x = [[0.1f64, 0.2], [0.3, -0.7]];
        let vectors = [[1.0, 2.0], [0.5, 0.25]];
        let dot = |a: [f64; 2], b: [f64; 2]| a[0] * b[0] + a[1] * b[1];
        let far = |a: [f64; 2], b: [f64; 2]| (a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2);
        type Formula<'a> = &'a dyn Fn([f64; 2], [f64; 2]) -> f64;
        let kernels: [(&str, Formula<'_>); 4] = [
            ("LINEAR", &dot),
            ("POLY", &|a, b| (0.5 * dot(a, b) + 0.25).powi(3)),
            ("RBF", &|a, b| (-0.5 * far(a, b)).exp()),
            ("SIGMOID", &|a, b| (0.5 * dot(a, b) + 0.25).tanh()),
        ];
        for (name, kernel) in kernels {
            let attributes = Attributes::new()
                .with("coefficients", vec![1f32, -2.0])
                .with("support_vectors", vec![1f32, 2.0, 0.5, 0.25])
                .with("n_supports", 2i64)
                .with("kernel_type", name);
            let expected = x.map(|row| kernel(row, vectors[0]) - 2.0 * kernel(row, vectors[1]) + 0.125);
            let signs = expected.map(|y| if y > 0.0 { 1.0 } else { -1.0 });
            for (got, expected) in run(attributes.clone()).unwrap().iter().zip(expected) {
                approx::assert_relative_eq!(f64::from(*got), expected, epsilon = 1e-6);
            }
            assert_eq!(run(attributes.with("one_class", 1i64)).unwrap(), signs);
        }
    }

    #[test]
    fn without_support_vectors_it_is_linear() {
        let linear = Attributes::new().with("coefficients", vec![1f32, -2.0]).with("kernel_type", "RBF");
        let y = run(linear).unwrap();
        approx::assert_relative_eq!(y[0], -0.175, epsilon = 1e-6);
        for count in [-1, 3, i64::MAX] {
            let attributes = Attributes::new()
                .with("coefficients", vec![1f32])
                .with("support_vectors", vec![1f32, 2.0])
                .with("n_supports", count);
            assert!(run(attributes).is_err());
        }
    }
}
