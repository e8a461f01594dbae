//! Cast(Cast(x, wide), t)   ⇒   Cast(x, t)
//!
//! when: the wide dtype holds every value of x's dtype, so that nothing is lost in between.

use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Cx, Outcome, Rule, must};
use planish_tensor::DType;

/// Leaves out a detour through a wider dtype.
pub static RULE: Rule = Rule::matching("merge-casts", "wide = &Cast(x)\n y = Cast(wide)", rewrite);

fn rewrite(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let (Some(from), Some(through)) = (cx.dtype(found["x"]), cx.dtype(found["wide"])) else {
        return Err("a dtype is not known".into());
    };
    must(holds(through, from), "the dtype in between does not hold every value")?;
    let operator = cx.operator(found.root()).ok_or("no operator")?;
    Ok(Patch::by_operator(found, "Cast", operator.attributes.clone(), &[found["x"].into()]))
}

/// Whether every value of `narrow` is one of `wide`.
fn holds(wide: DType, narrow: DType) -> bool {
    use DType::*;
    if wide == narrow {
        return true;
    }
    match narrow {
        Bool => matches!(wide, U8 | U16 | U32 | U64 | I8 | I16 | I32 | I64 | F16 | BF16 | F32 | F64),
        U8 => matches!(wide, U16 | U32 | U64 | I16 | I32 | I64 | F16 | BF16 | F32 | F64),
        I8 => matches!(wide, I16 | I32 | I64 | F16 | BF16 | F32 | F64),
        U16 => matches!(wide, U32 | U64 | I32 | I64 | F32 | F64),
        I16 => matches!(wide, I32 | I64 | F32 | F64),
        U32 => matches!(wide, U64 | I64 | F64),
        I32 => matches!(wide, I64 | F64),
        F16 | BF16 => matches!(wide, F32 | F64),
        F32 => matches!(wide, F64),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    #[test]
    fn a_detour_through_a_wider_dtype_goes() {
        Proof::of("merge-casts")
            .before("g (int32[N] x) => (float[N] y) { a = Cast (x) <to: int = 7> y = Cast (a) <to: int = 1> }")
            .after("y = Cast (x) <to: int = 1>")
            .exact();
    }

    #[test]
    fn a_narrow_dtype_in_between_stays() {
        Proof::of("merge-casts")
            .before("g (float[N] x) => (float[N] y) { a = Cast (x) <to: int = 7> y = Cast (a) <to: int = 1> }")
            .does_not_fire("every value");
    }
}
