"""QuantizeLinear and DequantizeLinear in ONNX Runtime's own domain."""

import numpy as np
from generate import Case, rng
from onnx import TensorProto

F = np.float32


def quantize(name, dtype, granules=(), real=F, **attributes):
    r = rng(name)
    info = np.iinfo(dtype)
    x = r.normal(scale=100, size=(3, 4)).astype(real)
    scale, zero = r.uniform(0.5, 2, granules).astype(real), r.integers(info.min, info.max, granules).astype(dtype)
    return Case(name, "QuantizeLinear", [x, scale, zero], **attributes)


def dequantize(name, dtype, granules=(), real=F, has_zero=True, **attributes):
    r = rng(name)
    info = np.iinfo(dtype)
    x, zero = (r.integers(max(info.min, -30000), min(info.max, 30000), s).astype(dtype) for s in [(3, 4), granules])
    return Case(name, "DequantizeLinear", [x, r.uniform(0.5, 2, granules).astype(real), *[zero][:has_zero]], **attributes)


CASES = [
    quantize("quantize_linear", np.uint8),
    quantize("quantize_linear_axis", np.int8, (4,), axis=-1),
    quantize("quantize_linear_int16", np.int16),
    quantize("quantize_linear_float16", np.uint16, real=np.float16),
    dequantize("dequantize_linear", np.int8, (3,), axis=0),
    dequantize("dequantize_linear_uint16", np.uint16, real=np.float16),
    dequantize("dequantize_linear_int32", np.int32, has_zero=False),
]
