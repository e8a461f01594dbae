//! What the tests of several kernels need.

/// Row lengths around the vector and unrolling boundaries of every instruction set.
pub(crate) fn every_length() -> impl Iterator<Item = usize> {
    (1..40).chain([63, 64, 65, 127, 128, 129, 1000, 5000])
}

/// Reproducible values spread evenly over `[-magnitude, magnitude)`.
pub(crate) fn noise(len: usize, magnitude: f32) -> Vec<f32> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64 ^ len as u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / 8_388_608.0 - 1.0
    };
    (0..len).map(|_| magnitude * next()).collect()
}
