//! Arrays as definitions are written over them: dimensions and elements, read by index.

use planish_tensor::{DType, Memory, MiniFloat, Shape, Tensor, bf16, f16, scale_from_code};

/// A row-major array.
#[derive(Clone, Debug, PartialEq)]
pub struct Array<T> {
    pub dims: Vec<usize>,
    pub data: Vec<T>,
}

impl<T: Clone> Array<T> {
    /// The array whose element at each index is `f(index)`.
    pub fn from_fn(dims: &[usize], f: impl FnMut(&[usize]) -> T) -> Array<T> {
        let indices = indices(dims);
        Array { dims: dims.to_vec(), data: indices.iter().map(Vec::as_slice).map(f).collect() }
    }

    /// The element at an index.
    pub fn at(&self, index: &[usize]) -> T {
        self.data[offset(&self.dims, index)].clone()
    }

    /// The element that an index of a broader shape broadcasts to.
    pub fn broadcast(&self, index: &[usize]) -> T {
        let own = &index[index.len() - self.dims.len()..];
        let own: Vec<usize> = own.iter().zip(&self.dims).map(|(&i, &d)| if d == 1 { 0 } else { i }).collect();
        self.at(&own)
    }

    /// Each element by itself.
    pub fn map<U>(&self, f: impl FnMut(T) -> U) -> Array<U> {
        Array { dims: self.dims.clone(), data: self.data.iter().cloned().map(f).collect() }
    }
}

/// The place of an index in row-major order.
pub fn offset(dims: &[usize], index: &[usize]) -> usize {
    assert_eq!(dims.len(), index.len());
    index.iter().zip(dims).fold(0, |at, (&i, &d)| {
        assert!(i < d, "{index:?} in {dims:?}");
        at * d + i
    })
}

/// Every index of a shape, in row-major order.
pub fn indices(dims: &[usize]) -> Vec<Vec<usize>> {
    dims.iter().fold(vec![vec![]], |heads, &d| {
        heads.iter().flat_map(|head| (0..d).map(move |i| [&head[..], &[i]].concat())).collect()
    })
}

/// The shape that shapes broadcast to, which they must.
pub fn broadcast_dims(shapes: &[&[usize]]) -> Vec<usize> {
    let rank = shapes.iter().map(|s| s.len()).max().unwrap_or(0);
    let length = |axis: usize| {
        let lengths = shapes.iter().filter(|s| axis + s.len() >= rank).map(|s| s[axis + s.len() - rank]);
        lengths.fold(1, |a, b| if a == 1 { b } else { a })
    };
    (0..rank).map(length).collect()
}

/// An element of any dtype: its bits, or its text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cell {
    Bits(u128),
    Text(String),
}

/// What elements of `dtype` are where nothing else is said: 0, false, the empty string.
pub fn empty(dtype: DType) -> Cell {
    if dtype == DType::String { Cell::Text(String::new()) } else { Cell::Bits(0) }
}

/// The elements of a tensor, unread.
pub fn cells(tensor: &Tensor) -> Array<Cell> {
    let dims = tensor.shape().dims().to_vec();
    let bits = tensor.dtype().bits();
    let data = match tensor.dtype() {
        DType::String => tensor.as_strings().unwrap().iter().cloned().map(Cell::Text).collect(),
        dtype if dtype.is_packed() => {
            let mask = (1 << bits) - 1;
            tensor.unpacked_codes().unwrap().iter().map(|&c| Cell::Bits(u128::from(c as u8 & mask))).collect()
        }
        _ => {
            let word = |b: &[u8]| Cell::Bits(b.iter().rev().fold(0, |word, &byte| word << 8 | u128::from(byte)));
            tensor.bytes().chunks(bits / 8).map(word).collect()
        }
    };
    Array { dims, data }
}

/// The tensor of these elements.
pub fn from_cells(dtype: DType, cells: &Array<Cell>) -> Tensor {
    let shape = Shape::new(&cells.dims).unwrap();
    let bits = |cell: &Cell| match cell {
        Cell::Bits(bits) => *bits,
        Cell::Text(text) => panic!("text {text:?} in a tensor of {dtype}"),
    };
    if dtype == DType::String {
        let text = |cell: &Cell| match cell {
            Cell::Text(text) => text.clone(),
            Cell::Bits(bits) => panic!("bits {bits} in a tensor of strings"),
        };
        return Tensor::from_strings(shape, cells.data.iter().map(text).collect()).unwrap();
    }
    if dtype.is_packed() {
        let codes: Vec<u8> = cells.data.iter().map(|cell| bits(cell) as u8).collect();
        return Tensor::from_codes(Memory::global(), dtype, shape, &codes).unwrap();
    }
    let bytes: Vec<u8> =
        cells.data.iter().flat_map(|cell| bits(cell).to_le_bytes().into_iter().take(dtype.bits() / 8)).collect();
    Tensor::from_bytes(Memory::global(), dtype, shape, bytes.into()).unwrap()
}

/// What the bits of an element of `dtype` stand for, where that is a number.
pub fn value(dtype: DType, bits: u128) -> f64 {
    match dtype {
        DType::F32 => f64::from(f32::from_bits(bits as u32)),
        DType::F64 => f64::from_bits(bits as u64),
        DType::F16 => f16::from_bits(bits as u16).to_f64(),
        DType::BF16 => bf16::from_bits(bits as u16).to_f64(),
        DType::F8E8M0 => f64::from(scale_from_code(bits as u8)),
        dtype => match MiniFloat::of(dtype) {
            Some(layout) => f64::from(layout.decode(bits as u8)),
            None => int(dtype, bits) as f64,
        },
    }
}

/// What the bits of an integer or a bool stand for.
pub fn int(dtype: DType, bits: u128) -> i128 {
    let unused = 128 - dtype.bits() as u32;
    if dtype.is_signed_integer() { (bits << unused) as i128 >> unused } else { bits as i128 }
}

/// The bits of an integer, which wraps.
pub fn int_bits(dtype: DType, value: i128) -> Cell {
    Cell::Bits(value as u128 & (u128::MAX >> (128 - dtype.bits())))
}

/// The bits of the number of `dtype` nearest to a value; integers are rounded towards zero and saturate.
pub fn bits(dtype: DType, value: f64) -> Cell {
    Cell::Bits(match dtype {
        DType::F32 => (value as f32).to_bits().into(),
        DType::F64 => value.to_bits().into(),
        DType::F16 => f16::from_f64(value).to_bits().into(),
        DType::BF16 => bf16::from_f64(value).to_bits().into(),
        dtype => match MiniFloat::of(dtype) {
            Some(layout) => layout.encode(value, true).into(),
            None => {
                let (low, high) = range(dtype);
                return int_bits(dtype, (value as i128).clamp(low, high));
            }
        },
    })
}

/// The least and the greatest integer of a dtype.
pub fn range(dtype: DType) -> (i128, i128) {
    let bits = if dtype == DType::Bool { 1 } else { dtype.bits() };
    if dtype.is_signed_integer() { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) }
}

/// A value rounded to a dtype.
pub fn real(dtype: DType, number: f64) -> f64 {
    match bits(dtype, number) {
        Cell::Bits(bits) => value(dtype, bits),
        Cell::Text(_) => f64::NAN,
    }
}

/// The elements of a tensor as numbers.
pub fn reals(tensor: &Tensor) -> Array<f64> {
    let dtype = tensor.dtype();
    cells(tensor).map(|cell| match cell {
        Cell::Bits(bits) => value(dtype, bits),
        Cell::Text(_) => f64::NAN,
    })
}

/// The elements of a tensor as integers.
pub fn ints(tensor: &Tensor) -> Array<i128> {
    let dtype = tensor.dtype();
    cells(tensor).map(|cell| match cell {
        Cell::Bits(bits) => int(dtype, bits),
        Cell::Text(text) => panic!("{text:?} is no integer"),
    })
}

/// The tensor of these numbers, rounded to `dtype`.
pub fn from_reals(dtype: DType, values: &Array<f64>) -> Tensor {
    from_cells(dtype, &values.map(|v| bits(dtype, v)))
}

/// The tensor of these integers, which wrap.
pub fn from_ints(dtype: DType, values: &Array<i128>) -> Tensor {
    from_cells(dtype, &values.map(|v| int_bits(dtype, v)))
}
