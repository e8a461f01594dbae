//! Inputs made up for a model that comes without data: deterministic, valid for their dtype.

use planish_ir::Type;
use planish_tensor::{DType, Memory, PayloadError, Shape, ShapeError, Tensor, TensorMut, bf16, f16};

/// A tensor for an input of type `ty`: standard normal numbers for floats, small non-negative integers, random bools.
/// `dim` gives the extent of a dimension that is not a number. `None` where `ty` is no tensor of a known dtype and rank.
///
/// A model can declare any shape, so the tensor is charged to `memory` before it is made.
pub fn generate_input(
    memory: &Memory,
    ty: &Type,
    seed: u64,
    dim: &dyn Fn(&planish_ir::Dim) -> usize,
) -> Option<Result<Tensor, PayloadError>> {
    let (dtype, dims) = (ty.dtype()?, ty.shape()?);
    let extents: Vec<usize> =
        dims.iter().map(|d| d.as_known().and_then(|v| usize::try_from(v).ok()).unwrap_or_else(|| dim(d))).collect();
    Some(match Shape::new(&extents) {
        Ok(shape) => fill(memory, dtype, shape, seed),
        Err(error) => Err(too_large(dtype, &error)),
    })
}

fn too_large(dtype: DType, _error: &ShapeError) -> PayloadError {
    PayloadError::Size { dtype, shape: Shape::scalar(), expected: usize::MAX, got: 0 }
}

fn fill(memory: &Memory, dtype: DType, shape: Shape, seed: u64) -> Result<Tensor, PayloadError> {
    let mut random = SplitMix(seed);
    let count = shape.num_elements();
    macro_rules! of {
        ($($dtype:ident: $make:expr),* $(,)?) => {
            match dtype {
                $(DType::$dtype => {
                    let mut tensor = TensorMut::zeros(memory, shape)?;
                    tensor.iter_mut().for_each(|element| *element = $make(&mut random));
                    Ok(tensor.freeze())
                })*
                DType::String => {
                    let _charged = memory.reserve(count.saturating_mul(2 * size_of::<String>()))?;
                    Tensor::from_strings(shape, (0..count).map(|_| random.below(10).to_string()).collect())
                }
                packed if packed.is_packed() => {
                    let _charged = memory.reserve(count)?;
                    let codes: Vec<u8> = (0..count).map(|_| random.below(2) as u8).collect();
                    Tensor::from_codes(memory, packed, shape, &codes)
                }
                other => Tensor::zeros(memory, other, shape),
            }
        };
    }
    of! {
        F32: |r: &mut SplitMix| r.normal() as f32,
        F64: SplitMix::normal,
        F16: |r: &mut SplitMix| f16::from_f64(r.normal()),
        BF16: |r: &mut SplitMix| bf16::from_f64(r.normal()),
        Bool: |r: &mut SplitMix| r.below(2) == 1,
        U8: |r: &mut SplitMix| r.below(8) as u8,
        I8: |r: &mut SplitMix| r.below(8) as i8,
        U16: |r: &mut SplitMix| r.below(8) as u16,
        I16: |r: &mut SplitMix| r.below(8) as i16,
        U32: |r: &mut SplitMix| r.below(8) as u32,
        I32: |r: &mut SplitMix| r.below(8) as i32,
        U64: |r: &mut SplitMix| r.below(8),
        I64: |r: &mut SplitMix| r.below(8) as i64,
    }
}

/// The SplitMix64 generator (Steele, Lea and Flood, 2014).
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// A standard normal number, by Box and Muller.
    fn normal(&mut self) -> f64 {
        let unit = |bits: u64| ((bits >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        let (u, v) = (unit(self.next()), unit(self.next()));
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }
}
