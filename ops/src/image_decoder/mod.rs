//! `ImageDecoder`: the pixels of an encoded image, `[height, width, channels]`: BMP, JPEG, JPEG 2000, PNG, PNM, TIFF or WebP.
//!
//! Transparency is dropped. Grayscale is 0.299 R + 0.587 G + 0.114 B. What cannot be decoded gives an empty matrix, as the
//! standard asks.
//!
//! Opsets: 20.

mod jpeg;
mod upsample;

use crate::Define;
use image::{DynamicImage, ImageDecoder as _, ImageError, ImageReader, Limits};
use planish_ir::{
    AttributeError, Dim, EvalCx, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs, Schema, Types, arg,
    string,
};
use planish_tensor::{DType, Reservation, Shape};
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Bytes.
const BYTES: Types = Types::of(&[DType::U8]);

/// `ImageDecoder`.
#[derive(Debug)]
pub struct ImageDecoder {
    format: PixelFormat,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum PixelFormat {
    Rgb,
    Bgr,
    Grayscale,
}

impl PixelFormat {
    fn channels(self) -> usize {
        if self == PixelFormat::Grayscale { 1 } else { 3 }
    }
}

impl Define for ImageDecoder {
    const SCHEMA: Schema = Schema::new("ImageDecoder", 20)
        .inputs(&[arg("encoded_stream", BYTES).var("T1")])
        .outputs(&[arg("image", BYTES).var("T2")])
        .attributes(&[string("pixel_format", "RGB")]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        use PixelFormat::{Bgr, Grayscale, Rgb};
        Ok(ImageDecoder {
            format: node.choice("pixel_format", &[("RGB", Rgb), ("BGR", Bgr), ("Grayscale", Grayscale)])?,
        })
    }
}

impl Op for ImageDecoder {
    fn infer(&self, _x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let channels = Dim::known(self.format.channels() as i64);
        Ok(vec![Fact::shaped(Some(DType::U8), vec![Dim::unknown(), Dim::unknown(), channels])])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let stream = inputs.slice::<u8>(0)?;
        // Decoders are others' code, and a stream that would make one of them panic cannot be decoded.
        let decoded = catch_unwind(AssertUnwindSafe(|| decode(cx, stream))).unwrap_or(Ok(None))?;
        let channels = self.format.channels();
        let Some(Pixels { width, height, rgb, .. }) = decoded else {
            return Ok(cx.tensor::<u8>(Shape::new(&[0, 0, channels])?, &[])?.into());
        };
        let mut y = cx.uninit::<u8>(Shape::new(&[height, width, channels])?)?;
        for (y, pixel) in y.chunks_exact_mut(channels).zip(rgb.as_chunks::<3>().0) {
            let &[r, g, b] = pixel;
            match self.format {
                PixelFormat::Rgb => y.copy_from_slice(pixel),
                PixelFormat::Bgr => y.copy_from_slice(&[b, g, r]),
                PixelFormat::Grayscale => y[0] = luma(r, g, b),
            }
        }
        Ok(y.freeze().into())
    }
}

/// 0.299 R + 0.587 G + 0.114 B in units of 2⁻¹⁶, rounded.
fn luma(r: u8, g: u8, b: u8) -> u8 {
    let [r, g, b] = [r, g, b].map(u32::from);
    ((19595 * r + 38470 * g + 7471 * b + 0x8000) >> 16) as u8
}

/// An image, charged for its memory.
struct Pixels {
    width: usize,
    height: usize,
    rgb: Vec<u8>,
    _charge: Reservation,
}

/// The image, or `None` where the stream holds none that can be decoded.
fn decode(cx: &EvalCx<'_>, stream: &[u8]) -> Result<Option<Pixels>, OpError> {
    let is_jpeg_2000 =
        [&b"\x00\x00\x00\x0cjP  "[..], b"\xff\x4f\xff\x51"].iter().any(|magic| stream.starts_with(magic));
    if is_jpeg_2000 {
        return decode_jpeg_2000(cx, stream);
    }
    if stream.starts_with(&jpeg::SIGNATURE) {
        return match jpeg::decode(cx, stream) {
            Ok(pixels) => Ok(Some(pixels)),
            Err(jpeg::Trouble::Corrupt) => Ok(None),
            Err(jpeg::Trouble::Refused(error)) => Err(error),
        };
    }
    let memory = &cx.memory;
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(memory.limit_bytes().saturating_sub(memory.used_bytes()) as u64);
    let reader = ImageReader::new(Cursor::new(stream)).with_guessed_format();
    let Some(decoder) = reader.ok().and_then(|mut reader| {
        reader.limits(limits);
        reader.into_decoder().ok()
    }) else {
        return Ok(None);
    };
    let (width, height) = decoder.dimensions();
    let (width, height) = (width as usize, height as usize);
    // The decoder's own pixels, which may be of more than 8 bits, and those of 8 bits made of them.
    let own = usize::try_from(decoder.total_bytes()).unwrap_or(usize::MAX);
    let charge = memory.reserve(own.saturating_mul(2).saturating_add(pixel_bytes(width, height)))?;
    match DynamicImage::from_decoder(decoder) {
        Ok(image) => {
            let rgb = image.into_rgb8().into_raw();
            Ok(Some(Pixels { width, height, rgb, _charge: charge }))
        }
        Err(ImageError::Limits(limit)) => Err(OpError::invalid(format!("the image needs more memory: {limit}"))),
        Err(_) => Ok(None),
    }
}

fn pixel_bytes(width: usize, height: usize) -> usize {
    width.saturating_mul(height).saturating_mul(3)
}

/// Bytes that a JPEG 2000 decoder works with for each channel of a pixel: coefficients as floats, twice.
const JPEG_2000_BYTES: usize = 16;

fn decode_jpeg_2000(cx: &EvalCx<'_>, stream: &[u8]) -> Result<Option<Pixels>, OpError> {
    use hayro_jpeg2000::{ColorSpace, DecodeSettings, Image};
    let Ok(image) = Image::new(stream, &DecodeSettings::default()) else { return Ok(None) };
    let (width, height) = (image.width() as usize, image.height() as usize);
    let colors = usize::from(image.color_space().num_channels());
    if matches!(image.color_space(), ColorSpace::CMYK) || ![1, 3].contains(&colors) {
        return Err(OpError::unsupported(format!("a JPEG 2000 image of {colors} color channels")));
    }
    let channels = colors + usize::from(image.has_alpha());
    let charge = cx.memory.reserve(pixel_bytes(width, height).saturating_mul(channels * JPEG_2000_BYTES / 3))?;
    let Ok(samples) = image.decode() else { return Ok(None) };
    let pixels = samples.chunks_exact(channels);
    let rgb =
        pixels.flat_map(|pixel| if colors == 1 { [pixel[0]; 3] } else { [pixel[0], pixel[1], pixel[2]] }).collect();
    Ok(Some(Pixels { width, height, rgb, _charge: charge }))
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;
    use planish_tensor::Tensor;

    /// Two pixels, red and then a dark green, as a portable pixmap.
    const PIXMAP: &[u8] = b"P6 2 1 255\n\xff\x00\x00\x00\x40\x00";

    fn decode(stream: &[u8], format: &str) -> Tensor {
        let attributes = Attributes::new().with("pixel_format", format);
        eval("ImageDecoder", attributes, &[tensor(&[stream.len()], stream)]).unwrap()
    }

    #[test]
    fn channels_are_as_asked() {
        assert_eq!(decode(PIXMAP, "RGB"), tensor(&[1, 2, 3], &[255u8, 0, 0, 0, 64, 0]));
        assert_eq!(decode(PIXMAP, "BGR"), tensor(&[1, 2, 3], &[0u8, 0, 255, 0, 64, 0]));
        assert_eq!(decode(PIXMAP, "Grayscale"), tensor(&[1, 2, 1], &[76u8, 38]));
    }

    #[test]
    fn what_cannot_be_decoded_is_empty() {
        for stream in [
            &b""[..],
            b"no image",
            b"\x89PNG\r\n\x1a\n",
            b"\xff\x4f\xff\x51",
            b"\x00\x00\x00\x0cjP  \r\n",
            &PIXMAP[..12],
        ] {
            assert_eq!(decode(stream, "RGB").num_elements(), 0, "{stream:?}");
        }
    }

    #[test]
    fn an_image_larger_than_the_memory_is_refused() {
        use planish_ir::{EvalCx, Inputs, Interpreter, Registry};
        let stream = tensor(&[PIXMAP.len()], PIXMAP);
        let operator = crate::StandardRegistry.operator("", "ImageDecoder", Attributes::new(), 1, 1).unwrap();
        let mut cx = EvalCx::unlimited(&Interpreter);
        cx.memory = planish_tensor::Memory::with_limit(8);
        assert!(operator.op().unwrap().eval(&mut cx, Inputs::new([Some(stream.into())])).is_err());
    }
}
