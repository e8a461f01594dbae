//! JPEG: Huffman-coded, baseline or progressive, 8 bits a sample, grayscale or of three components.
//!
//! ONNX prescribes how chroma is upsampled, rounding included, and image libraries have ways of their own; so these streams
//! are decoded here. The inverse transform and the colors are the exact integer ones of the Independent JPEG Group.

use super::upsample::{Plane, upsampled};
use super::{Pixels, pixel_bytes};
use planish_ir::{EvalCx, OpError};

/// Why there are no pixels.
pub enum Trouble {
    /// The stream is not as it should be.
    Corrupt,
    /// The stream may be sound, but it is not decoded.
    Refused(OpError),
}

impl From<OpError> for Trouble {
    fn from(error: OpError) -> Trouble {
        Trouble::Refused(error)
    }
}

/// What a stream begins with.
pub const SIGNATURE: [u8; 3] = [0xff, 0xd8, 0xff];

/// The place in a block, row by row, of each coefficient in the order in which they are coded.
const ZIGZAG: [usize; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63,
];

type Block = [i16; 64];

/// The pixels of a stream.
pub fn decode(cx: &EvalCx<'_>, stream: &[u8]) -> Result<Pixels, Trouble> {
    let mut decoder = Decoder::new(cx, stream);
    decoder.segments.take(2)?;
    while let Some((marker, segment)) = decoder.segments.next()? {
        match marker {
            0xc0..=0xc2 => decoder.start_frame(segment, marker == 0xc2)?,
            0xc4 => decoder.define_codes(segment)?,
            0xdb => decoder.define_steps(segment)?,
            0xdd => decoder.restart_interval = usize::from(Segments(segment).word()?),
            0xda => decoder.scan(segment)?,
            0xee => decoder.note_adobe(segment),
            0xc3 | 0xc5..=0xc7 | 0xc9..=0xcf => {
                return Err(
                    OpError::unsupported("a JPEG image that is lossless, hierarchical or arithmetic-coded").into()
                );
            }
            _ => {}
        }
    }
    decoder.pixels()
}

/// What is left of a stream, cut into segments.
struct Segments<'a>(&'a [u8]);

impl<'a> Segments<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Trouble> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Trouble::Corrupt)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Trouble> {
        Ok(self.take(1)?[0])
    }

    fn word(&mut self) -> Result<u16, Trouble> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// The next marker that is followed by a segment, with that segment; none at the end of the image.
    fn next(&mut self) -> Result<Option<(u8, &'a [u8])>, Trouble> {
        loop {
            while self.byte()? != 0xff {}
            let marker = loop {
                match self.byte()? {
                    0xff => {}
                    marker => break marker,
                }
            };
            match marker {
                0 | 1 | 0xd0..=0xd8 => {}
                0xd9 => return Ok(None),
                _ => {
                    let length = usize::from(self.word()?).checked_sub(2).ok_or(Trouble::Corrupt)?;
                    return Ok(Some((marker, self.take(length)?)));
                }
            }
        }
    }
}

/// A Huffman code: how many codes there are of each length, and what they stand for.
#[derive(Clone, Default)]
struct Codes {
    counts: [u16; 16],
    symbols: Vec<u8>,
}

/// The bits of a scan.
struct Bits<'a> {
    rest: Segments<'a>,
    byte: u8,
    left: u32,
}

impl Bits<'_> {
    /// The next bit; zeros where a marker ends the scan early.
    fn bit(&mut self) -> Result<u32, Trouble> {
        if self.left == 0 {
            self.left = 8;
            self.byte = match self.rest.0 {
                [0xff, 0, rest @ ..] => {
                    self.rest.0 = rest;
                    0xff
                }
                [0xff, ..] => 0,
                [byte, rest @ ..] => {
                    self.rest.0 = rest;
                    *byte
                }
                [] => return Err(Trouble::Corrupt),
            };
        }
        self.left -= 1;
        Ok(u32::from(self.byte >> self.left & 1))
    }

    fn bits(&mut self, count: u32) -> Result<i32, Trouble> {
        let mut value = 0;
        for _ in 0..count {
            value = value << 1 | self.bit()?;
        }
        Ok(value.cast_signed())
    }

    /// A number of `count` bits of which the upper half of the range is positive.
    fn number(&mut self, count: u32) -> Result<i32, Trouble> {
        match self.bits(count)? {
            _ if count == 0 => Ok(0),
            value if value >> (count - 1) == 0 => Ok(value - (1 << count) + 1),
            value => Ok(value),
        }
    }

    fn symbol(&mut self, codes: &Codes) -> Result<u8, Trouble> {
        let (mut code, mut first, mut index) = (0u32, 0u32, 0u32);
        for &count in &codes.counts {
            let count = u32::from(count);
            code |= self.bit()?;
            if code.wrapping_sub(first) < count {
                return codes.symbols.get((index + code - first) as usize).copied().ok_or(Trouble::Corrupt);
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        Err(Trouble::Corrupt)
    }

    /// Goes past the marker between two intervals.
    fn restart(&mut self) -> Result<(), Trouble> {
        self.left = 0;
        match self.rest.0 {
            [0xff, 0xd0..=0xd7, rest @ ..] => {
                self.rest.0 = rest;
                Ok(())
            }
            _ => Err(Trouble::Corrupt),
        }
    }
}

/// One component: its size and its coefficients.
struct Component {
    id: u8,
    /// Samples in each direction for one unit of the coarsest component.
    sampling: [usize; 2],
    steps: usize,
    /// Samples across and down.
    size: [usize; 2],
    /// Blocks across and down, as many as whole units take.
    blocks: [usize; 2],
    coefficients: Vec<Block>,
}

/// The part of the coefficients that a scan is about.
#[derive(Clone, Copy)]
struct Band {
    first: usize,
    last: usize,
    /// Whether bits of lesser weight are added to coefficients that are there already.
    is_refinement: bool,
    shift: u32,
}

struct Decoder<'a> {
    cx: &'a EvalCx<'a>,
    segments: Segments<'a>,
    steps: [[u16; 64]; 4],
    codes: [[Codes; 4]; 2],
    restart_interval: usize,
    adobe_transform: Option<u8>,
    size: [usize; 2],
    components: Vec<Component>,
    is_progressive: bool,
    charge: Option<planish_tensor::Reservation>,
}

impl<'a> Decoder<'a> {
    fn new(cx: &'a EvalCx<'a>, stream: &'a [u8]) -> Decoder<'a> {
        Decoder {
            cx,
            segments: Segments(stream),
            steps: [[1; 64]; 4],
            codes: Default::default(),
            restart_interval: 0,
            adobe_transform: None,
            size: [0; 2],
            components: Vec::new(),
            is_progressive: false,
            charge: None,
        }
    }

    fn note_adobe(&mut self, segment: &[u8]) {
        if segment.starts_with(b"Adobe") {
            self.adobe_transform = segment.get(11).copied();
        }
    }

    fn define_steps(&mut self, segment: &[u8]) -> Result<(), Trouble> {
        let mut segment = Segments(segment);
        while !segment.0.is_empty() {
            let kind = segment.byte()?;
            let table = self.steps.get_mut(usize::from(kind & 15)).ok_or(Trouble::Corrupt)?;
            for at in ZIGZAG {
                table[at] = if kind >> 4 == 0 { segment.byte()?.into() } else { segment.word()? };
            }
        }
        Ok(())
    }

    fn define_codes(&mut self, segment: &[u8]) -> Result<(), Trouble> {
        let mut segment = Segments(segment);
        while !segment.0.is_empty() {
            let kind = segment.byte()?;
            let class = self.codes.get_mut(usize::from(kind >> 4)).ok_or(Trouble::Corrupt)?;
            let codes = class.get_mut(usize::from(kind & 15)).ok_or(Trouble::Corrupt)?;
            let mut counts = [0u16; 16];
            for count in &mut counts {
                *count = segment.byte()?.into();
            }
            let total = counts.iter().sum::<u16>();
            *codes = Codes { counts, symbols: segment.take(total.into())?.to_vec() };
        }
        Ok(())
    }

    fn start_frame(&mut self, segment: &[u8], is_progressive: bool) -> Result<(), Trouble> {
        let mut segment = Segments(segment);
        let (precision, height, width) = (segment.byte()?, usize::from(segment.word()?), usize::from(segment.word()?));
        let count = segment.byte()?;
        if !self.components.is_empty() || width == 0 || height == 0 {
            return Err(Trouble::Corrupt);
        }
        if precision != 8 || ![1, 3].contains(&count) {
            let what = format!("a JPEG image of {count} components of {precision} bits");
            return Err(OpError::unsupported(what).into());
        }
        for _ in 0..count {
            let (id, sampling, steps) = (segment.byte()?, segment.byte()?, usize::from(segment.byte()?));
            let sampling = [usize::from(sampling >> 4), usize::from(sampling & 15)];
            if sampling.iter().any(|s| !(1..=4).contains(s)) || steps >= self.steps.len() {
                return Err(Trouble::Corrupt);
            }
            // A single component is coded block by block, whatever it says of its sampling.
            let sampling = if count == 1 { [1, 1] } else { sampling };
            let coefficients = Vec::new();
            self.components.push(Component { id, sampling, steps, size: [0; 2], blocks: [0; 2], coefficients });
        }
        (self.size, self.is_progressive) = ([width, height], is_progressive);
        self.lay_out()
    }

    /// The most samples of any component for one unit, across and down.
    fn coarsest(&self) -> [usize; 2] {
        [0, 1].map(|i| self.components.iter().map(|c| c.sampling[i]).max().unwrap_or(1))
    }

    fn units(&self) -> [usize; 2] {
        let coarsest = self.coarsest();
        [0, 1].map(|i| self.size[i].div_ceil(8 * coarsest[i]))
    }

    /// Sizes the components, and charges for everything that decoding takes.
    fn lay_out(&mut self) -> Result<(), Trouble> {
        let (coarsest, units, size) = (self.coarsest(), self.units(), self.size);
        let mut bytes = pixel_bytes(size[0], size[1]).saturating_mul(2);
        for component in &mut self.components {
            component.size = [0, 1].map(|i| (size[i] * component.sampling[i]).div_ceil(coarsest[i]));
            component.blocks = [0, 1].map(|i| units[i] * component.sampling[i]);
            let blocks = component.blocks[0] * component.blocks[1];
            bytes = bytes.saturating_add(blocks.saturating_mul(size_of::<Block>() + 64));
        }
        self.charge = Some(self.cx.memory.reserve(bytes).map_err(OpError::from)?);
        for component in &mut self.components {
            component.coefficients = vec![[0; 64]; component.blocks[0] * component.blocks[1]];
        }
        Ok(())
    }

    fn scan(&mut self, segment: &[u8]) -> Result<(), Trouble> {
        let mut segment = Segments(segment);
        let mut parts = Vec::new();
        let count = segment.byte()?;
        if !(1..=4).contains(&count) {
            return Err(Trouble::Corrupt);
        }
        for _ in 0..count {
            let (id, tables) = (segment.byte()?, segment.byte()?);
            let index = self.components.iter().position(|c| c.id == id).ok_or(Trouble::Corrupt)?;
            let codes =
                |class: usize, table: u8| self.codes[class].get(usize::from(table)).cloned().ok_or(Trouble::Corrupt);
            parts.push(Part { index, dc: codes(0, tables >> 4)?, ac: codes(1, tables & 15)?, predicted: 0 });
        }
        let (first, last, approximation) = (segment.byte()?, segment.byte()?, segment.byte()?);
        let (first, last) = (usize::from(first), usize::from(last));
        let band = if self.is_progressive {
            let (high, shift) = (approximation >> 4, u32::from(approximation & 15));
            Band { first, last, is_refinement: high > 0, shift }
        } else {
            Band { first: 0, last: 63, is_refinement: false, shift: 0 }
        };
        let is_sound = band.first <= band.last && band.last < 64 && band.shift < 14;
        let is_split =
            !self.is_progressive || (band.first == 0) == (band.last == 0) && (band.first == 0 || parts.len() == 1);
        if !is_sound || !is_split {
            return Err(Trouble::Corrupt);
        }
        let mut scan = Scan { bits: Bits { rest: Segments(self.segments.0), byte: 0, left: 0 }, band, ended_blocks: 0 };
        self.run(&mut scan, &mut parts)?;
        self.segments.0 = scan.bits.rest.0;
        Ok(())
    }

    /// Decodes every block of a scan: unit by unit, or, of a single component, block by block.
    fn run(&mut self, scan: &mut Scan<'_>, parts: &mut [Part]) -> Result<(), Trouble> {
        let units = match parts {
            [part] => self.components[part.index].size.map(|size| size.div_ceil(8)),
            _ => self.units(),
        };
        let is_single = parts.len() == 1;
        for unit in 0..units[0] * units[1] {
            if unit % units[0] == 0 {
                self.cx.check()?;
            }
            if self.restart_interval > 0 && unit > 0 && unit % self.restart_interval == 0 {
                scan.bits.restart()?;
                scan.ended_blocks = 0;
                parts.iter_mut().for_each(|part| part.predicted = 0);
            }
            let (across, down) = (unit % units[0], unit / units[0]);
            for part in &mut *parts {
                let component = &mut self.components[part.index];
                let [h, v] = if is_single { [1, 1] } else { component.sampling };
                for i in 0..h * v {
                    let block = (down * v + i / h) * component.blocks[0] + across * h + i % h;
                    scan.block(part, &mut component.coefficients[block])?;
                }
            }
        }
        Ok(())
    }

    fn pixels(self) -> Result<Pixels, Trouble> {
        let (coarsest, [width, height]) = (self.coarsest(), self.size);
        let charge = self.charge.ok_or(Trouble::Corrupt)?;
        let ids: Vec<u8> = self.components.iter().map(|component| component.id).collect();
        let is_rgb = self.adobe_transform == Some(0) || self.adobe_transform.is_none() && ids == *b"RGB";
        let mut planes = Vec::with_capacity(self.components.len());
        for component in &self.components {
            self.cx.check()?;
            let samples = component.samples(&self.steps[component.steps]);
            let plane = Plane { samples, stride: component.blocks[0] * 8, size: component.size };
            let factors = [0, 1].map(|i| (coarsest[i], component.sampling[i]));
            if factors.iter().any(|&(most, own)| most % own != 0) {
                return Err(
                    OpError::unsupported("a JPEG image whose components are sampled in fractional ratios").into()
                );
            }
            planes.push(upsampled(&plane, factors.map(|(most, own)| most / own), self.size));
        }
        let mut rgb = Vec::with_capacity(pixel_bytes(width, height));
        match &planes[..] {
            [y, cb, cr] => {
                for ((&y, &cb), &cr) in y.iter().zip(cb).zip(cr) {
                    rgb.extend(if is_rgb { [y, cb, cr] } else { rgb_of(y, cb, cr) });
                }
            }
            [gray, ..] => rgb.extend(gray.iter().flat_map(|&v| [v; 3])),
            [] => return Err(Trouble::Corrupt),
        }
        Ok(Pixels { width, height, rgb, _charge: charge })
    }
}

/// What a scan has to know of one of its components.
struct Part {
    index: usize,
    dc: Codes,
    ac: Codes,
    predicted: i32,
}

struct Scan<'a> {
    bits: Bits<'a>,
    band: Band,
    /// How many blocks yet have nothing more in this band.
    ended_blocks: i32,
}

impl Scan<'_> {
    fn block(&mut self, part: &mut Part, block: &mut Block) -> Result<(), Trouble> {
        let Band { first, last, is_refinement, shift } = self.band;
        if first == 0 {
            if is_refinement {
                block[0] |= (self.bits.bit()? << shift) as i16;
            } else {
                let size = self.bits.symbol(&part.dc)?;
                let difference = self.bits.number(u32::from(size.min(16)))?;
                part.predicted = part.predicted.wrapping_add(difference);
                block[0] = (part.predicted << shift) as i16;
            }
        }
        match (last, is_refinement) {
            (0, _) => Ok(()),
            (_, false) => self.first_bits(&part.ac, block),
            (_, true) => self.further_bits(&part.ac, block),
        }
    }

    /// Coefficients along the zigzag but the first, or their upper bits.
    fn first_bits(&mut self, codes: &Codes, block: &mut Block) -> Result<(), Trouble> {
        if self.ended_blocks > 0 {
            self.ended_blocks -= 1;
            return Ok(());
        }
        let mut k = self.band.first.max(1);
        while k <= self.band.last {
            let symbol = self.bits.symbol(codes)?;
            let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
            if size == 0 && run < 15 {
                self.ended_blocks = (1 << run) - 1 + self.bits.bits(run)?;
                return Ok(());
            }
            k += run as usize;
            if size > 0 {
                let at = *ZIGZAG.get(k).ok_or(Trouble::Corrupt)?;
                block[at] = (self.bits.number(size)? << self.band.shift) as i16;
            }
            k += 1;
        }
        Ok(())
    }

    /// One more bit of the coefficients that are not 0, and the first of those that no longer are.
    fn further_bits(&mut self, codes: &Codes, block: &mut Block) -> Result<(), Trouble> {
        let unit = 1i16 << self.band.shift;
        let mut k = self.band.first;
        while self.ended_blocks == 0 && k <= self.band.last {
            let symbol = self.bits.symbol(codes)?;
            let (mut zeros, size) = (symbol >> 4, symbol & 15);
            let mut fresh = 0;
            if size > 0 {
                fresh = if self.bits.bit()? == 1 { unit } else { -unit };
            } else if zeros < 15 {
                self.ended_blocks = (1 << zeros) + self.bits.bits(zeros.into())?;
                break;
            }
            while k <= self.band.last {
                let coefficient = &mut block[ZIGZAG[k]];
                if *coefficient != 0 {
                    self.refine(coefficient, unit)?;
                } else if zeros == 0 {
                    *coefficient = fresh;
                    break;
                } else {
                    zeros -= 1;
                }
                k += 1;
            }
            k += 1;
        }
        if self.ended_blocks > 0 {
            for &at in ZIGZAG.get(k..=self.band.last).unwrap_or_default() {
                if block[at] != 0 {
                    self.refine(&mut block[at], unit)?;
                }
            }
            self.ended_blocks -= 1;
        }
        Ok(())
    }

    fn refine(&mut self, coefficient: &mut i16, unit: i16) -> Result<(), Trouble> {
        if self.bits.bit()? == 1 && *coefficient & unit == 0 {
            *coefficient = coefficient.wrapping_add(if *coefficient > 0 { unit } else { -unit });
        }
        Ok(())
    }
}

impl Component {
    /// The samples of all blocks, row by row.
    fn samples(&self, steps: &[u16; 64]) -> Vec<u8> {
        let stride = self.blocks[0] * 8;
        let mut samples = vec![0; self.coefficients.len() * 64];
        for (i, block) in self.coefficients.iter().enumerate() {
            let corner = i / self.blocks[0] * 8 * stride + i % self.blocks[0] * 8;
            for (row, values) in inverse_transform(block, steps).chunks_exact(8).enumerate() {
                samples[corner + row * stride..][..8].copy_from_slice(values);
            }
        }
        samples
    }
}

/// Bits after the point in the constants of the inverse transform.
const CONSTANT_BITS: u32 = 13;
/// Bits after the point that the first pass keeps.
const KEPT_BITS: u32 = 2;

/// The samples of a block of quantized coefficients.
fn inverse_transform(block: &Block, steps: &[u16; 64]) -> [u8; 64] {
    let mut values = [0i64; 64];
    for ((value, &coefficient), &step) in values.iter_mut().zip(block).zip(steps) {
        *value = i64::from(coefficient) * i64::from(step);
    }
    for column in 0..8 {
        let line = std::array::from_fn(|i| values[i * 8 + column]);
        for (i, value) in inverse_line(line, CONSTANT_BITS - KEPT_BITS).into_iter().enumerate() {
            values[i * 8 + column] = value;
        }
    }
    let mut samples = [0; 64];
    for (row, samples) in values.as_chunks::<8>().0.iter().zip(samples.as_chunks_mut::<8>().0) {
        *samples = inverse_line(*row, CONSTANT_BITS + KEPT_BITS + 3).map(|v| (v + 128).clamp(0, 255) as u8);
    }
    samples
}

/// The inverse transform of eight numbers by 12 products, without its last `shift` bits.
fn inverse_line(x: [i64; 8], shift: u32) -> [i64; 8] {
    let z = (x[2] + x[6]) * 4433;
    let (even_2, even_3) = (z - x[6] * 15137, z + x[2] * 6270);
    let (even_0, even_1) = ((x[0] + x[4]) << CONSTANT_BITS, (x[0] - x[4]) << CONSTANT_BITS);
    let even = [even_0 + even_3, even_1 + even_2, even_1 - even_2, even_0 - even_3];
    let (z1, z2, z3, z4) = (x[7] + x[1], x[5] + x[3], x[7] + x[3], x[5] + x[1]);
    let z5 = (z3 + z4) * 9633;
    let (z1, z2, z3, z4) = (z1 * -7373, z2 * -20995, z3 * -16069 + z5, z4 * -3196 + z5);
    let odd = [x[1] * 12299 + z1 + z4, x[3] * 25172 + z2 + z3, x[5] * 16819 + z2 + z4, x[7] * 2446 + z1 + z3];
    let rounded = |v: i64| (v + (1 << (shift - 1))) >> shift;
    std::array::from_fn(|i| rounded(if i < 4 { even[i] + odd[i] } else { even[7 - i] - odd[7 - i] }))
}

/// Colors from luma and chroma, in units of 2⁻¹⁶.
fn rgb_of(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let half = 1 << 15;
    let r = y + ((91881 * cr + half) >> 16);
    let g = y + ((-22554 * cb - 46802 * cr + half) >> 16);
    let b = y + ((116_130 * cb + half) >> 16);
    [r, g, b].map(|v| v.clamp(0, 255) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use planish_ir::Interpreter;
    use proptest::prelude::*;

    /// Streams with the pixels that libjpeg-turbo makes of them.
    const SAMPLES: [(&[u8], &[u8]); 4] = [
        (include_bytes!("samples/420.jpg"), include_bytes!("samples/420.rgb")),
        (include_bytes!("samples/422_restarts.jpg"), include_bytes!("samples/422_restarts.rgb")),
        (include_bytes!("samples/444_progressive.jpg"), include_bytes!("samples/444_progressive.rgb")),
        (include_bytes!("samples/gray_progressive.jpg"), include_bytes!("samples/gray_progressive.rgb")),
    ];

    #[test]
    fn pixels_are_those_of_the_reference_decoder() {
        let cx = EvalCx::unlimited(&Interpreter);
        for (i, (stream, rgb)) in SAMPLES.into_iter().enumerate() {
            let pixels = decode(&cx, stream).unwrap_or_else(|_| panic!("sample {i}"));
            assert_eq!(pixels.rgb.len(), pixels.width * pixels.height * 3);
            assert_eq!(pixels.rgb, rgb, "sample {i}");
        }
    }

    proptest! {
        #[test]
        fn broken_streams_do_no_harm(sample in 0..4usize, at in 2..2000usize, byte: u8, length in 0..2000usize) {
            let mut stream = SAMPLES[sample].0.to_vec();
            let at = at % stream.len();
            stream[at] = byte;
            let mut cx = EvalCx::unlimited(&Interpreter);
            cx.memory = planish_tensor::Memory::with_limit(1 << 24);
            let _either = decode(&cx, &stream).is_ok();
            stream.truncate(length);
            let _either = decode(&cx, &stream).is_ok();
        }
    }

    #[test]
    fn what_is_not_decoded_is_refused_by_name() {
        let mut lossless = SAMPLES[0].0.to_vec();
        let frame = lossless.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
        lossless[frame + 1] = 0xc3;
        let refused = decode(&EvalCx::unlimited(&Interpreter), &lossless);
        assert!(matches!(refused, Err(Trouble::Refused(OpError::Unsupported(_)))));
    }
}
