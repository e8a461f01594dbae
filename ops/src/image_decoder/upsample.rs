//! Upsampling of chroma as ONNX prescribes it: by a factor of 2, samples lie at 1/4 and 3/4 of the way between those of the
//! input, and halves are rounded down and up by turns. Other factors repeat samples.

/// The samples of a component.
pub struct Plane {
    /// Row by row.
    pub samples: Vec<u8>,
    /// Samples from one row to the next.
    pub stride: usize,
    /// Samples across and down; those beyond belong to no pixel.
    pub size: [usize; 2],
}

impl Plane {
    /// Row `i`, or the nearest to it. There is at least one.
    fn row(&self, i: isize) -> &[u8] {
        let last = self.size[1] as isize - 1;
        &self.samples[i.clamp(0, last) as usize * self.stride..][..self.size[0]]
    }
}

/// The plane made larger by `factors` across and down, cut to `width` and `height`, which are at least 1.
pub fn upsampled(plane: &Plane, factors: [usize; 2], [width, height]: [usize; 2]) -> Vec<u8> {
    let [across, down] = factors;
    let is_smooth_across = across == 2 && plane.size[0] > 2;
    let mut y = Vec::with_capacity(width * height);
    for i in 0..height {
        let (row, part) = (i / down, i % down);
        let near = plane.row(row as isize);
        let far = plane.row(if part == 0 { row as isize - 1 } else { row as isize + 1 });
        match (is_smooth_across, down) {
            (true, 1) => extend_smoothly(&mut y, width, near.iter().map(|&v| v.into()), 1),
            (true, 2) => extend_smoothly(&mut y, width, weighted(near, far), 4),
            (false, 2) if across == 1 => {
                let bias = if part == 0 { 1 } else { 2 };
                y.extend(weighted(near, far).take(width).map(|sum| ((sum + bias) >> 2) as u8));
            }
            _ => y.extend(near.iter().flat_map(|&v| std::iter::repeat_n(v, across)).take(width)),
        }
    }
    y
}

/// Three parts of the nearer row and one of the farther.
fn weighted(near: &[u8], far: &[u8]) -> impl ExactSizeIterator<Item = u32> {
    near.iter().zip(far).map(|(&near, &far)| 3 * u32::from(near) + u32::from(far))
}

/// Twice as many samples, three parts of the nearer and one of the farther; `x` is in units of 1 / `scale`.
fn extend_smoothly(y: &mut Vec<u8>, width: usize, x: impl ExactSizeIterator<Item = u32>, scale: u32) {
    let x: Vec<u32> = x.collect();
    let unit = 4 * scale;
    let (down, up) = if scale == 1 { (1, 2) } else { (unit / 2, unit / 2 - 1) };
    let at = |i: Option<usize>| i.and_then(|i| x.get(i).copied());
    let line = x.iter().enumerate().flat_map(|(i, &own)| {
        let left = at(i.checked_sub(1)).unwrap_or(own);
        let right = at(Some(i + 1)).unwrap_or(own);
        [(3 * own + left + down) / unit, (3 * own + right + up) / unit]
    });
    y.extend(line.take(width).map(|v| v as u8));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plane(samples: &[u8], width: usize) -> Plane {
        Plane { samples: samples.to_vec(), stride: width, size: [width, samples.len() / width] }
    }

    #[test]
    fn samples_lie_at_quarters() {
        let row = plane(&[0, 100, 40], 3);
        assert_eq!(upsampled(&row, [2, 1], [6, 1]), [0, 25, 75, 85, 55, 40]);
        assert_eq!(upsampled(&row, [2, 1], [5, 1]), [0, 25, 75, 85, 55]);
        assert_eq!(upsampled(&plane(&[0, 100], 1), [1, 2], [1, 4]), [0, 25, 75, 100]);
        let square = plane(&[0, 100, 40, 0, 100, 40], 3);
        assert_eq!(upsampled(&square, [2, 2], [6, 4])[6..12], [0, 25, 75, 85, 55, 40]);
    }

    #[test]
    fn halves_go_down_and_up_by_turns() {
        let row = plane(&[0, 2, 0], 3);
        assert_eq!(upsampled(&row, [2, 1], [6, 1]), [0, 1, 1, 2, 0, 0]);
    }

    #[test]
    fn narrow_planes_and_other_factors_repeat() {
        assert_eq!(upsampled(&plane(&[1, 9], 2), [2, 1], [4, 1]), [1, 1, 9, 9]);
        assert_eq!(upsampled(&plane(&[1, 9], 2), [4, 1], [7, 1]), [1, 1, 1, 1, 9, 9, 9]);
    }
}
