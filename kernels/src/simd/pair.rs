//! Two vectors as one: each operation is done to both before the next.
//!
//! The operations of a long formula wait for each other. With two vectors in step there is always one that need not, which a CPU
//! looking only so far ahead would not find in the next turn of a loop.

use super::{MAX_LANES, Simd};

/// Vectors of twice as many lanes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pair<S>(S);

impl<S: Simd> Pair<S> {
    /// Whether a pair is no longer than vectors may be, and two vectors more than one value each.
    pub(crate) const FITS: bool = S::LANES > 1 && 2 * S::LANES <= MAX_LANES;

    /// Two vectors of `s`.
    #[inline(always)]
    pub(crate) fn of(s: S) -> Self {
        Pair(s)
    }
}

/// Methods that do the same to both vectors of each operand.
macro_rules! both {
    ($($name:ident($($x:ident: $from:ident),*) -> $to:ident;)*) => {
        $(
            #[inline(always)]
            fn $name(self, $($x: Self::$from),*) -> Self::$to {
                [self.0.$name($($x[0]),*), self.0.$name($($x[1]),*)]
            }
        )*
    };
}

impl<S: Simd> Simd for Pair<S> {
    const LANES: usize = 2 * S::LANES;
    type F32 = [S::F32; 2];
    type I32 = [S::I32; 2];
    type Mask = [S::Mask; 2];

    both! {
        add(a: F32, b: F32) -> F32;
        sub(a: F32, b: F32) -> F32;
        mul(a: F32, b: F32) -> F32;
        div(a: F32, b: F32) -> F32;
        mul_add(a: F32, b: F32, c: F32) -> F32;
        neg_mul_add(a: F32, b: F32, c: F32) -> F32;
        min(a: F32, b: F32) -> F32;
        max(a: F32, b: F32) -> F32;
        minimum(a: F32, b: F32) -> F32;
        maximum(a: F32, b: F32) -> F32;
        sqrt(a: F32) -> F32;
        abs(a: F32) -> F32;
        neg(a: F32) -> F32;
        copysign(a: F32, sign: F32) -> F32;
        round(a: F32) -> F32;
        floor(a: F32) -> F32;
        ceil(a: F32) -> F32;
        lt(a: F32, b: F32) -> Mask;
        le(a: F32, b: F32) -> Mask;
        eq(a: F32, b: F32) -> Mask;
        ne(a: F32, b: F32) -> Mask;
        select(mask: Mask, a: F32, b: F32) -> F32;
        bits(a: F32) -> I32;
        with_bits(a: I32) -> F32;
        to_i32(a: F32) -> I32;
        to_f32(a: I32) -> F32;
        add_i32(a: I32, b: I32) -> I32;
        sub_i32(a: I32, b: I32) -> I32;
        and_i32(a: I32, b: I32) -> I32;
        xor_i32(a: I32, b: I32) -> I32;
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F32 {
        [self.0.splat(x); 2]
    }

    #[inline(always)]
    fn splat_i32(self, x: i32) -> Self::I32 {
        [self.0.splat_i32(x); 2]
    }

    #[inline(always)]
    fn load(self, x: &[f32]) -> Self::F32 {
        let x = &x[..Self::LANES];
        [self.0.load(x), self.0.load(&x[S::LANES..])]
    }

    #[inline(always)]
    fn store(self, y: &mut [f32], v: Self::F32) {
        let y = &mut y[..Self::LANES];
        self.0.store(y, v[0]);
        self.0.store(&mut y[S::LANES..], v[1]);
    }

    #[inline(always)]
    fn any(self, mask: Self::Mask) -> bool {
        self.0.any(mask[0]) || self.0.any(mask[1])
    }

    #[inline(always)]
    fn shift_left<const BITS: i32>(self, a: Self::I32) -> Self::I32 {
        [self.0.shift_left::<BITS>(a[0]), self.0.shift_left::<BITS>(a[1])]
    }

    #[inline(always)]
    fn shift_right<const BITS: i32>(self, a: Self::I32) -> Self::I32 {
        [self.0.shift_right::<BITS>(a[0]), self.0.shift_right::<BITS>(a[1])]
    }

    #[inline(always)]
    fn reduce_add(self, a: Self::F32) -> f32 {
        self.0.reduce_add(self.0.add(a[0], a[1]))
    }

    #[inline(always)]
    fn reduce_max(self, a: Self::F32) -> f32 {
        self.0.reduce_max(self.0.max(a[0], a[1]))
    }

    #[inline(always)]
    fn reduce_min(self, a: Self::F32) -> f32 {
        self.0.reduce_min(self.0.min(a[0], a[1]))
    }
}
