//! `MurmurHash3` of `com.microsoft`: the 32-bit hash (x86 variant) of each element's bytes, as scikit-learn's `FeatureHasher`
//! uses it.

use super::DOMAIN;
use crate::Define;
use planish_ir::{
    AttributeError, EvalCx, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs, STRING, Schema, Types,
    arg, int,
};
use planish_tensor::DType;

const HASHED: Types = Types::of(&[DType::I32, DType::U32, DType::I64, DType::U64, DType::F32, DType::F64]).or(STRING);
const HASHES: Types = Types::of(&[DType::I32, DType::U32]);

/// `MurmurHash3`.
#[derive(Debug)]
pub struct MurmurHash3 {
    is_unsigned: bool,
    seed: u32,
}

impl Define for MurmurHash3 {
    const SCHEMA: Schema = Schema::new("MurmurHash3", 1)
        .domain(DOMAIN)
        .inputs(&[arg("X", HASHED).var("T1")])
        .outputs(&[arg("Y", HASHES).var("T2")])
        .attributes(&[int("positive", 1), int("seed", 0)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(MurmurHash3 { is_unsigned: node.flag("positive")?, seed: node.int("seed")? as u32 })
    }
}

impl MurmurHash3 {
    fn dtype(&self) -> DType {
        if self.is_unsigned { DType::U32 } else { DType::I32 }
    }
}

impl Op for MurmurHash3 {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        Ok(vec![match x.shape(0) {
            Some(shape) => Fact::shaped(Some(self.dtype()), shape.to_vec()),
            None => Fact::tensor(Some(self.dtype())),
        }])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.tensor(0)?;
        let hash = |y: &mut [u32], bytes: &mut dyn Iterator<Item = &[u8]>| -> Result<(), OpError> {
            for (i, (y, bytes)) in y.iter_mut().zip(bytes).enumerate() {
                if i % 1024 == 0 {
                    cx.check()?;
                }
                *y = murmur3(bytes, self.seed);
            }
            Ok(())
        };
        let mut y = cx.uninit::<u32>(x.shape().clone())?;
        match x.dtype() {
            DType::String => hash(&mut y, &mut x.as_strings()?.iter().map(String::as_bytes))?,
            dtype => hash(&mut y, &mut x.bytes().chunks_exact(dtype.bits() / 8))?,
        }
        if self.is_unsigned {
            return Ok(y.freeze().into());
        }
        let mut signed = cx.uninit::<i32>(x.shape().clone())?;
        signed.iter_mut().zip(y.iter()).for_each(|(signed, &hash)| *signed = hash as i32);
        Ok(signed.freeze().into())
    }
}

/// MurmurHash3_x86_32.
fn murmur3(bytes: &[u8], seed: u32) -> u32 {
    let mix = |word: u32| word.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0u32, |word, &byte| word << 8 | u32::from(byte));
    let words = bytes.chunks_exact(4);
    let tail = words.remainder();
    let mut hash = words
        .fold(seed, |hash, bytes| (hash ^ mix(word(bytes))).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64));
    if !tail.is_empty() {
        hash ^= mix(word(tail));
    }
    hash ^= bytes.len() as u32;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

#[cfg(test)]
mod tests {
    use super::murmur3;
    use crate::testing::{eval_all, tensor};
    use planish_ir::Attributes;

    #[test]
    fn hashes_are_those_of_the_reference_code() {
        for (text, seed, expected) in [
            ("", 0, 0),
            ("", 1, 0x514e_28b7),
            ("test", 0, 0xba6b_d213),
            ("Hello, world!", 0x9747_b28c, 0x2488_4cba),
            ("abc", 0, 0xb3dd_93fa),
        ] {
            assert_eq!(murmur3(text.as_bytes(), seed), expected, "{text:?}");
        }
    }

    #[test]
    fn numbers_are_hashed_by_their_bytes() {
        let x = tensor(&[2], &[i32::from_le_bytes(*b"test"), 0]);
        let hashes = |attributes| eval_all("com.microsoft", "MurmurHash3", attributes, &[Some(x.clone())], 1).unwrap();
        let expected = [murmur3(b"test", 0), murmur3(&[0; 4], 0)];
        assert_eq!(hashes(Attributes::new())[0], tensor(&[2], &expected));
        let signed = hashes(Attributes::new().with("positive", 0));
        assert_eq!(signed[0], tensor(&[2], &expected.map(|hash| hash as i32)));
    }
}
