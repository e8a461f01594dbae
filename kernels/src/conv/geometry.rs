//! The sizes of a convolution, settled once and checked together.

use std::fmt;

/// How a window slides along the spatial dimensions: one number for each of them.
#[derive(Debug, Clone, Copy)]
pub struct Window<'a> {
    /// The window's extent.
    pub kernel: &'a [usize],
    /// The distance between one output's window and the next.
    pub strides: &'a [usize],
    /// The distance between one tap and the next.
    pub dilations: &'a [usize],
    /// Zeros before the input.
    pub pads_begin: &'a [usize],
    /// Zeros after the input.
    pub pads_end: &'a [usize],
}

/// All sizes of a convolution, or of a transposed one, over at most three spatial dimensions.
///
/// Fewer dimensions are stored as three whose first ones are trivial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvGeometry {
    pub(crate) batch: usize,
    pub(crate) in_channels: usize,
    pub(crate) out_channels: usize,
    pub(crate) groups: usize,
    pub(crate) input: [usize; 3],
    pub(crate) kernel: [usize; 3],
    pub(crate) strides: [usize; 3],
    pub(crate) dilations: [usize; 3],
    pub(crate) pads_begin: [usize; 3],
    pub(crate) output: [usize; 3],
}

/// Sizes that make no convolution, or none that fits in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum GeometryError {
    /// There are no spatial dimensions, more than three, or not one number for each.
    Rank,
    /// A kernel, stride, dilation or number of groups is zero.
    Zero,
    /// The channels cannot be shared out evenly among the groups.
    Groups,
    /// The window is larger than the padded input, or the pads take more than there is.
    Window,
    /// A size is beyond what can be addressed.
    TooLarge,
}

impl fmt::Display for GeometryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            GeometryError::Rank => "expected one to three spatial dimensions, with a number for each",
            GeometryError::Zero => "a kernel, stride, dilation or number of groups is zero",
            GeometryError::Groups => "the groups do not share the channels evenly",
            GeometryError::Window => "the window does not fit the padded input",
            GeometryError::TooLarge => "a size is too large",
        })
    }
}

impl std::error::Error for GeometryError {}

/// No extent, padded or dilated, exceeds this, so that positions fit a signed 32-bit number.
const EXTENT_LIMIT: usize = 1 << 30;

impl ConvGeometry {
    /// The sizes of a convolution over `input`, one number for each spatial dimension.
    pub fn new(
        batch: usize,
        in_channels: usize,
        out_channels: usize,
        groups: usize,
        input: &[usize],
        window: Window<'_>,
    ) -> Result<Self, GeometryError> {
        let mut geometry = Self::without_output(batch, in_channels, out_channels, groups, input, window)?;
        for dim in 0..3 {
            let pad_end = spread(window.pads_end, 0)[dim];
            let padded = geometry.input[dim] + geometry.pads_begin[dim] + pad_end;
            let room = padded.checked_sub(geometry.reach(dim)).ok_or(GeometryError::Window)?;
            geometry.output[dim] = room / geometry.strides[dim] + 1;
        }
        geometry.checked()
    }

    /// The sizes of a transposed convolution over `input`: the gradient of a convolution from the output to the input.
    /// `output_padding` is what is added at the end of each spatial dimension of the output.
    pub fn transposed(
        batch: usize,
        in_channels: usize,
        out_channels: usize,
        groups: usize,
        input: &[usize],
        window: Window<'_>,
        output_padding: &[usize],
    ) -> Result<Self, GeometryError> {
        let mut geometry = Self::without_output(batch, in_channels, out_channels, groups, input, window)?;
        if output_padding.len() != input.len() {
            return Err(GeometryError::Rank);
        }
        for dim in 0..3 {
            let pad_end = spread(window.pads_end, 0)[dim];
            let added = spread(output_padding, 0)[dim];
            let last = match geometry.input[dim].checked_sub(1) {
                None => 0,
                Some(last) => last
                    .checked_mul(geometry.strides[dim])
                    .and_then(|last| last.checked_add(geometry.reach(dim)))
                    .ok_or(GeometryError::TooLarge)?,
            };
            geometry.output[dim] = last
                .checked_add(added)
                .ok_or(GeometryError::TooLarge)?
                .checked_sub(geometry.pads_begin[dim] + pad_end)
                .ok_or(GeometryError::Window)?;
        }
        geometry.checked()
    }

    fn without_output(
        batch: usize,
        in_channels: usize,
        out_channels: usize,
        groups: usize,
        input: &[usize],
        window: Window<'_>,
    ) -> Result<Self, GeometryError> {
        let lists = [window.kernel, window.strides, window.dilations, window.pads_begin, window.pads_end];
        if !(1..=3).contains(&input.len()) || lists.iter().any(|list| list.len() != input.len()) {
            return Err(GeometryError::Rank);
        }
        if groups == 0 || lists[..3].iter().any(|list| list.contains(&0)) {
            return Err(GeometryError::Zero);
        }
        if !in_channels.is_multiple_of(groups) || !out_channels.is_multiple_of(groups) {
            return Err(GeometryError::Groups);
        }
        if lists.iter().chain([&input]).any(|list| list.iter().any(|&n| n > EXTENT_LIMIT)) {
            return Err(GeometryError::TooLarge);
        }
        let geometry = Self {
            batch,
            in_channels,
            out_channels,
            groups,
            input: spread(input, 1),
            kernel: spread(window.kernel, 1),
            strides: spread(window.strides, 1),
            dilations: spread(window.dilations, 1),
            pads_begin: spread(window.pads_begin, 0),
            output: [0; 3],
        };
        let reach_fits = |dim: usize| {
            let reach = (geometry.kernel[dim] - 1).checked_mul(geometry.dilations[dim]);
            reach.is_some_and(|reach| reach < EXTENT_LIMIT)
        };
        if (0..3).all(reach_fits) { Ok(geometry) } else { Err(GeometryError::TooLarge) }
    }

    /// Refuses sizes whose products cannot be addressed.
    fn checked(self) -> Result<Self, GeometryError> {
        let product = |sizes: &[usize]| sizes.iter().try_fold(size_of::<f32>(), |bytes, &n| bytes.checked_mul(n));
        let [a, b, c] = self.input;
        let [d, e, f] = self.output;
        let [g, h, i] = self.kernel;
        let fits = [
            product(&[self.batch, self.in_channels, a, b, c]),
            product(&[self.batch, self.out_channels, d, e, f]),
            product(&[self.out_channels, self.in_channels, g, h, i]),
        ]
        .into_iter()
        .all(|bytes| bytes.is_some_and(|bytes| bytes <= isize::MAX as usize));
        let extents_fit = self.output.iter().all(|&n| n <= EXTENT_LIMIT)
            && product(&self.input).is_some_and(|n| n / size_of::<f32>() <= EXTENT_LIMIT);
        if fits && extents_fit { Ok(self) } else { Err(GeometryError::TooLarge) }
    }

    /// The extent of the dilated window.
    fn reach(&self, dim: usize) -> usize {
        (self.kernel[dim] - 1) * self.dilations[dim] + 1
    }

    /// The output's spatial sizes; the last `rank` of them are meant.
    pub fn output(&self) -> [usize; 3] {
        self.output
    }

    /// The channels of the input.
    pub fn in_channels(&self) -> usize {
        self.in_channels
    }

    /// The channels of the output.
    pub fn out_channels(&self) -> usize {
        self.out_channels
    }

    /// The groups that share the channels.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// The same for so many groups of one image.
    pub(crate) fn of_groups(&self, groups: usize) -> Self {
        let (in_channels, out_channels) = (groups * self.group_in(), groups * self.group_out());
        Self { batch: 1, groups, in_channels, out_channels, ..*self }
    }

    /// The elements of one channel of the input.
    pub fn input_plane(&self) -> usize {
        self.input.iter().product()
    }

    /// The elements of one channel of the output.
    pub fn output_plane(&self) -> usize {
        self.output.iter().product()
    }

    /// The elements of the input.
    pub fn input_len(&self) -> usize {
        self.batch * self.in_channels * self.input_plane()
    }

    /// The elements of the output.
    pub fn output_len(&self) -> usize {
        self.batch * self.out_channels * self.output_plane()
    }

    /// The elements of the weights.
    pub fn weights_len(&self) -> usize {
        self.out_channels * self.in_channels / self.groups * self.taps()
    }

    /// The window's elements.
    pub fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    /// The channels of the input that one group reads.
    pub(crate) fn group_in(&self) -> usize {
        self.in_channels / self.groups
    }

    /// The channels of the output that one group makes.
    pub(crate) fn group_out(&self) -> usize {
        self.out_channels / self.groups
    }

    /// Whether there are two dimensions at most: the first one changes nothing.
    pub(crate) fn is_flat(&self) -> bool {
        [self.kernel[0], self.input[0], self.output[0]] == [1; 3] && self.pads_begin[0] == 0
    }

    /// Whether each output is made of the one input at the same place.
    pub(crate) fn is_pointwise(&self) -> bool {
        self.taps() == 1 && self.strides == [1; 3] && self.pads_begin == [0; 3] && self.input == self.output
    }

    /// Where along `dim` tap `tap` of the window of output `position` lies in the input; outside it lies padding.
    #[inline]
    pub(crate) fn source(&self, dim: usize, position: usize, tap: usize) -> Option<usize> {
        let padded = position * self.strides[dim] + tap * self.dilations[dim];
        padded.checked_sub(self.pads_begin[dim]).filter(|&source| source < self.input[dim])
    }

    /// Where along `dim` a transposed convolution adds tap `tap` of input `position`, unless pads cut it off.
    #[inline]
    pub(crate) fn target(&self, dim: usize, position: usize, tap: usize) -> Option<usize> {
        let padded = position * self.strides[dim] + tap * self.dilations[dim];
        padded.checked_sub(self.pads_begin[dim]).filter(|&target| target < self.output[dim])
    }

    /// The three coordinates of tap `index`.
    pub(crate) fn tap(&self, index: usize) -> [usize; 3] {
        coordinates(index, self.kernel)
    }
}

/// The three coordinates of element `index` of a volume.
pub(crate) fn coordinates(index: usize, [_, height, width]: [usize; 3]) -> [usize; 3] {
    [index / (height * width), index / width % height, index % width]
}

/// One to three numbers as three, the first ones `fill`.
fn spread(list: &[usize], fill: usize) -> [usize; 3] {
    let mut all = [fill; 3];
    let start = 3usize.saturating_sub(list.len());
    for (to, &from) in all[start..].iter_mut().zip(list) {
        *to = from;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Window<'_> =
        Window { kernel: &[3, 3], strides: &[2, 1], dilations: &[1, 2], pads_begin: &[1, 0], pads_end: &[1, 0] };

    #[test]
    fn sizes_follow_from_the_window() {
        let conv = ConvGeometry::new(1, 4, 6, 2, &[9, 9], PLAIN).unwrap();
        assert_eq!(conv.output(), [1, 5, 5]);
        assert_eq!((conv.input_len(), conv.output_len(), conv.weights_len()), (324, 150, 108));
        let back = ConvGeometry::transposed(1, 6, 4, 2, &[5, 5], PLAIN, &[0, 0]).unwrap();
        assert_eq!(back.output(), [1, 9, 9]);
    }

    #[test]
    fn nonsense_is_refused() {
        let new = |groups, input: &[usize], window| ConvGeometry::new(1, 4, 6, groups, input, window);
        assert_eq!(new(1, &[9], PLAIN), Err(GeometryError::Rank));
        assert_eq!(new(3, &[9, 9], PLAIN), Err(GeometryError::Groups));
        assert_eq!(new(0, &[9, 9], PLAIN), Err(GeometryError::Zero));
        assert_eq!(new(1, &[9, 4], PLAIN), Err(GeometryError::Window));
        let window = Window { strides: &[1, 0], ..PLAIN };
        assert_eq!(new(1, &[9, 9], window), Err(GeometryError::Zero));
        let window = Window { dilations: &[1 << 30, 1], ..PLAIN };
        assert_eq!(new(1, &[9, 9], window), Err(GeometryError::TooLarge));
        assert_eq!(new(1, &[1 << 20, 1 << 20], PLAIN), Err(GeometryError::TooLarge));
        let window = Window { pads_begin: &[1 << 31, 1], ..PLAIN };
        assert_eq!(new(1, &[9, 9], window), Err(GeometryError::TooLarge));
    }
}
