//! `Col2Im`: columns of blocks added back into the image that they were cut from.
//!
//! y\[n, c, l·stride + k·dilation − pad\] += x\[n, c·blocks + k, l\] along every spatial axis.
//!
//! Opsets: 18.

use crate::Define;
use crate::dtypes::{Number, for_numeric};
use crate::symbolic::{elements, expect_rank};
use planish_ir::{
    AttributeError, AttributeKind, BOOL, COMPLEX, Dim, EvalCx, Fact, Facts, INT64, InferError, Inputs, NUMERIC,
    NodeView, Op, OpError, Outputs, Schema, Types, arg, optional,
};
use planish_tensor::{Complex64, Complex128, DType, Element, Shape, Tensor};

/// What is added up: of bools, whether any is true.
const ADDED: Types = NUMERIC.or(BOOL).or(COMPLEX);

/// `Col2Im`.
#[derive(Debug)]
pub struct Col2Im {
    strides: Option<Vec<usize>>,
    dilations: Option<Vec<usize>>,
    /// Begins, then ends.
    pads: Option<Vec<usize>>,
}

fn extents(node: &NodeView<'_>, name: &str, least: usize) -> Result<Option<Vec<usize>>, AttributeError> {
    let Some(given) = node.opt_ints(name) else { return Ok(None) };
    let checked = given.iter().map(|&v| usize::try_from(v).ok().filter(|&v| v >= least && v <= u32::MAX as usize));
    let checked: Option<Vec<usize>> = checked.collect();
    let refused = || AttributeError::invalid(format!("attribute {name:?}: {given:?} are not extents"));
    checked.map(Some).ok_or_else(refused)
}

impl Define for Col2Im {
    const SCHEMA: Schema = Schema::new("Col2Im", 18)
        .inputs(&[arg("input", ADDED).var("T"), arg("image_shape", INT64), arg("block_shape", INT64)])
        .outputs(&[arg("output", ADDED).var("T")])
        .attributes(&[
            optional("dilations", AttributeKind::Ints),
            optional("pads", AttributeKind::Ints),
            optional("strides", AttributeKind::Ints),
        ]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(Col2Im {
            strides: extents(node, "strides", 1)?,
            dilations: extents(node, "dilations", 1)?,
            pads: extents(node, "pads", 0)?,
        })
    }
}

/// One spatial axis.
struct SpatialAxis {
    image: usize,
    block: usize,
    stride: usize,
    dilation: usize,
    pad: usize,
    /// How many blocks there are.
    count: usize,
}

impl SpatialAxis {
    /// Where element `k` of block `l` belongs, if within the image.
    fn place(&self, l: usize, k: usize) -> Option<usize> {
        (l * self.stride + k * self.dilation).checked_sub(self.pad).filter(|&place| place < self.image)
    }
}

impl Op for Col2Im {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        expect_rank(x, 0, 3)?;
        let Some(image) = elements(x, 1) else { return Ok(vec![Fact::tensor(x.dtype(0))]) };
        let (n, channels) = match (x.shape(0), elements(x, 2)) {
            (Some([n, rows, _]), Some(block)) => {
                let channels = rows.divide_exact(&block.iter().product());
                (n.clone(), channels.unwrap_or_else(Dim::unknown))
            }
            (Some([n, ..]), None) => (n.clone(), Dim::unknown()),
            _ => (Dim::unknown(), Dim::unknown()),
        };
        Ok(vec![Fact::shaped(x.dtype(0), [vec![n, channels], image].concat())])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.tensor(0)?;
        let axes = self.axes(&Shape::from_i64(inputs.slice(1)?)?, &Shape::from_i64(inputs.slice(2)?)?)?;
        let y = match x.dtype() {
            DType::Bool => fold(cx, x, &axes, |a: bool, b| a || b),
            DType::Complex64 => fold(cx, x, &axes, |a: Complex64, b| Complex64 { re: a.re + b.re, im: a.im + b.im }),
            DType::Complex128 => fold(cx, x, &axes, |a: Complex128, b| Complex128 { re: a.re + b.re, im: a.im + b.im }),
            dtype => for_numeric!(dtype, T => fold::<T>(cx, x, &axes, Number::add)),
        };
        y.map(Outputs::from)
    }
}

impl Col2Im {
    fn axes(&self, image: &Shape, block: &Shape) -> Result<Vec<SpatialAxis>, OpError> {
        let rank = image.rank();
        let fits = |list: &Option<Vec<usize>>, n: usize| list.as_ref().is_none_or(|list| list.len() == n);
        let do_fit = fits(&self.strides, rank) && fits(&self.dilations, rank) && fits(&self.pads, 2 * rank);
        if block.rank() != rank || !do_fit {
            return Err(OpError::invalid(format!("blocks {block} and attributes do not fit an image {image}")));
        }
        let at = |list: &Option<Vec<usize>>, i: usize, default: usize| list.as_ref().map_or(default, |list| list[i]);
        let axis = |i: usize| {
            let (pad, end) = (at(&self.pads, i, 0), at(&self.pads, rank + i, 0));
            let (stride, dilation) = (at(&self.strides, i, 1), at(&self.dilations, i, 1));
            let reach = block[i].checked_sub(1).and_then(|last| last.checked_mul(dilation)?.checked_add(1));
            let padded = image[i].checked_add(pad)?.checked_add(end)?;
            let count = padded.checked_sub(reach?)? / stride + 1;
            Some(SpatialAxis { image: image[i], block: block[i], stride, dilation, pad, count })
        };
        let axes: Option<Vec<SpatialAxis>> = (0..rank).map(axis).collect();
        axes.ok_or_else(|| OpError::invalid(format!("blocks {block} do not fit an image {image}")))
    }
}

fn fold<T: Element>(
    cx: &EvalCx<'_>,
    x: &Tensor,
    axes: &[SpatialAxis],
    sum: impl Fn(T, T) -> T,
) -> Result<Tensor, OpError> {
    let product = |of: fn(&SpatialAxis) -> usize| axes.iter().try_fold(1usize, |n, axis| n.checked_mul(of(axis)));
    let (block, count) = (product(|axis| axis.block), product(|axis| axis.count));
    let (&[n, rows, columns], Some(block), Some(count)) = (x.shape().dims(), block, count) else {
        return Err(OpError::invalid(format!("expected rank 3, got {}", x.shape())));
    };
    if columns != count || block == 0 || !rows.is_multiple_of(block) {
        let got = x.shape();
        return Err(OpError::invalid(format!("expected {count} blocks of {block} elements a channel, got {got}")));
    }
    let dims: Vec<usize> = [n, rows / block].into_iter().chain(axes.iter().map(|axis| axis.image)).collect();
    let mut y = cx.zeros::<T>(Shape::new(&dims)?)?;
    let pixels: usize = axes.iter().map(|axis| axis.image).product();
    let source = x.as_slice::<T>()?;
    for (row, elements) in source.chunks_exact(columns.max(1)).enumerate() {
        cx.check()?;
        let (image, k) = (row / block, row % block);
        for (l, &element) in elements.iter().enumerate() {
            if let Some(place) = place(axes, l, k) {
                let y = &mut y[image * pixels + place];
                *y = sum(*y, element);
            }
        }
    }
    Ok(y.freeze())
}

/// The pixel where element `k` of block `l` belongs, both counted row by row, if within the image.
fn place(axes: &[SpatialAxis], mut l: usize, mut k: usize) -> Option<usize> {
    let (mut place, mut stride) = (0, 1);
    for axis in axes.iter().rev() {
        place += axis.place(l % axis.count, k % axis.block)? * stride;
        stride *= axis.image;
        l /= axis.count;
        k /= axis.block;
    }
    Some(place)
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;
    use planish_tensor::{Complex64, Element};

    #[test]
    fn bools_and_complex_numbers_are_added_too() {
        fn line<T: Element>(elements: &[T]) -> Vec<T> {
            let x = tensor(&[1, 2, 2], elements);
            let shapes = [3i64, 2].map(|extent| tensor(&[1], &[extent]));
            let [image, block] = shapes;
            eval("Col2Im", Attributes::new(), &[x, image, block]).unwrap().as_slice().unwrap().to_vec()
        }
        assert_eq!(line(&[false, false, true, false]), [false, true, false]);
        let complex = |re: f32| Complex64 { re, im: -re };
        assert_eq!(line(&[1.0, 2.0, 3.0, 4.0].map(complex)), [1.0, 5.0, 4.0].map(complex));
    }

    #[test]
    fn blocks_are_added_where_they_were() {
        let shapes = |image: [i64; 2], block: [i64; 2]| [tensor(&[2], &image), tensor(&[2], &block)];
        let ones = tensor(&[1, 4, 4], &[1i32; 16]);
        let [image, block] = shapes([3, 3], [2, 2]);
        let y = eval("Col2Im", Attributes::new(), &[ones.clone(), image, block]).unwrap();
        assert_eq!(y, tensor(&[1, 1, 3, 3], &[1, 2, 1, 2, 4, 2, 1, 2, 1]));
        let padded = Attributes::new().with("pads", vec![1i64, 1, 1, 1]).with("strides", vec![2i64, 2]);
        let [image, block] = shapes([2, 2], [2, 2]);
        let y = eval("Col2Im", padded, &[ones.clone(), image, block]).unwrap();
        assert_eq!(y, tensor(&[1, 1, 2, 2], &[1; 4]));
        for (image, block) in [([9, 9], [2, 2]), ([1, 1], [2, 2]), ([3, 3], [0, 2]), ([i64::MAX, 1], [1, 1])] {
            let [image, block] = shapes(image, block);
            assert!(eval("Col2Im", Attributes::new(), &[ones.clone(), image, block]).is_err());
        }
    }
}
