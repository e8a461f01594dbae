"""Quantized tensors with one scale, and products of 8-bit operands."""

import numpy as np
from generate import Case, Constant, rng

F = np.float32


def codes(r, shape, dtype=np.uint8, is_small=False):
    """Codes; small ones where ONNX Runtime's sums would saturate on some CPUs."""
    low, high = (-128, 128) if dtype == np.int8 else (0, 256)
    if is_small:
        low, high = low // 2, high // 2
    return r.integers(low, high, shape).astype(dtype)


def scale_and_zero(r, dtype=np.uint8):
    return [F(r.uniform(0.02, 0.06)), codes(r, (), dtype)]


def binary(name, operator, a, b, dtype=np.uint8, same_scale=False):
    r = rng(name)
    x, y, z = (scale_and_zero(r, dtype) for _ in range(3))
    if same_scale:
        y[0], z[0] = x[0], F(2 * x[0])
    return Case(name, operator, [codes(r, a, dtype), *x, codes(r, b, dtype), *y, *z])


def unary(name, operator, shape, dtype=np.uint8, y=None, **attributes):
    r = rng(name)
    x, out = scale_and_zero(r, dtype), y or scale_and_zero(r, dtype)
    return Case(name, operator, [codes(r, shape, dtype), *x, *out], **attributes)


def concat():
    r = rng("qlinear_concat")
    parts = [[codes(r, (2, n, 3)), *scale_and_zero(r)] for n in (1, 4, 2)]
    return Case("qlinear_concat", "QLinearConcat", [*scale_and_zero(r), *sum(parts, [])], axis=1)


def where():
    r = rng("qlinear_where")
    condition = r.integers(0, 2, (4, 1)).astype(bool)
    operands = [codes(r, (4, 5)), *scale_and_zero(r), codes(r, (5,)), *scale_and_zero(r)]
    return Case("qlinear_where", "QLinearWhere", [condition, *operands, *scale_and_zero(r)])


def conv():
    r = rng("qlinear_conv_channels_last")
    x = [codes(r, (1, 5, 5, 2)), *scale_and_zero(r)]
    w = [codes(r, (3, 2, 3, 3), is_small=True), *scale_and_zero(r)]
    return Case("qlinear_conv_channels_last", "QLinearConv", [*x, *map(Constant, w), F(2), np.uint8(9)], channels_last=1)


def gemm(name, a_dtype=np.uint8, b_dtype=np.uint8, per_column=False, c=None, is_quantized=True, keep=Constant, **attributes):
    r = rng(name)
    m, k, n = 3, 7, 5
    a = codes(r, (k, m) if attributes.get("transA") else (m, k), a_dtype, b_dtype == np.int8)
    b = codes(r, (n, k) if attributes.get("transB") else (k, n), b_dtype, True)
    granules = (n,) if per_column else ()
    b_scale = r.uniform(0.01, 0.04, granules).astype(F)
    inputs = [a, *scale_and_zero(r, a_dtype), keep(b), keep(b_scale), keep(codes(r, granules, b_dtype, True))]
    inputs.append(None if c is None else r.integers(-500, 500, c).astype(np.int32))
    if is_quantized:
        inputs += [F(0.3), codes(r, (), a_dtype)]
    return Case(name, "QGemm", inputs, **attributes)


def dynamic(name, b_dtype=np.int8, per_column=False, zero=True, bias=False, keep=Constant, a=(2, 3, 7)):
    r = rng(name)
    granules = (5,) if per_column else (1,)
    inputs = [
        r.normal(size=a).astype(F),
        keep(codes(r, (7, 5), b_dtype, True)),
        keep(r.uniform(0.01, 0.04, granules).astype(F)),
        keep(codes(r, granules, b_dtype, True)) if zero else None,
        keep(r.normal(size=(5,)).astype(F)) if bias else None,
    ]
    return Case(name, "DynamicQuantizeMatMul", inputs)


def to_float(name, a_dtype=np.uint8, b_dtype=np.int8, per_column=False, zeros=True, bias=False, keep=Constant):
    r = rng(name)
    granules = (5,) if per_column else ()
    inputs = [
        codes(r, (2, 3, 7), a_dtype),
        keep(codes(r, (7, 5), b_dtype, True)),
        F(0.03),
        keep(r.uniform(0.01, 0.04, granules).astype(F)),
        codes(r, (), a_dtype) if zeros else None,
        keep(codes(r, granules, b_dtype, True)) if zeros else None,
        keep(r.normal(size=(5,)).astype(F)) if bias else None,
    ]
    return Case(name, "MatMulIntegerToFloat", inputs)


def attention(name, dtype=np.int8, mask=None, past=0, per_column=False, zeros=True, **attributes):
    r = rng(name)
    batch, steps, features, heads, size = 2, 4, 6, 2, 4
    hidden = heads * size
    granules = (3 * hidden,) if per_column else ()
    inputs = [
        codes(r, (batch, steps, features)),
        Constant(codes(r, (features, 3 * hidden), dtype, True)),
        Constant(r.normal(size=(3 * hidden,)).astype(F)),
        F(0.02),
        Constant(r.uniform(0.01, 0.02, granules).astype(F)),
        None if mask is None else np.array(mask, np.int32),
        np.uint8(120) if zeros else None,
        Constant(np.full(granules, 3, dtype)) if zeros else None,
        r.normal(size=(2, batch, heads, past, size)).astype(F) if past else None,
    ]
    return Case(name, "QAttention", inputs, 2 if past else 1, num_heads=heads, **attributes)


I8 = np.int8
PROBABILITIES = [F(1 / 256), np.uint8(0)]
CASES = [
    binary("qlinear_add", "QLinearAdd", (4, 1, 50), (4, 1)),
    binary("qlinear_add_ties", "QLinearAdd", (512,), (512,), same_scale=True),
    binary("qlinear_add_signed", "QLinearAdd", (3, 40), (3, 40), I8),
    binary("qlinear_mul", "QLinearMul", (4, 1, 50), (4, 1)),
    binary("qlinear_mul_signed", "QLinearMul", (512,), (512,), I8, same_scale=True),
    unary("qlinear_sigmoid", "QLinearSigmoid", (2, 100), y=PROBABILITIES),
    unary("qlinear_sigmoid_signed", "QLinearSigmoid", (2, 100), I8, y=[F(1 / 256), I8(-128)]),
    unary("qlinear_leaky_relu", "QLinearLeakyRelu", (2, 100), alpha=0.2),
    unary("qlinear_softmax", "QLinearSoftmax", (3, 40), y=PROBABILITIES, opset=13),
    unary("qlinear_softmax_flattened", "QLinearSoftmax", (2, 3, 10), y=PROBABILITIES, opset=12, axis=1),
    concat(),
    where(),
    conv(),
    unary("qlinear_average_pool", "QLinearAveragePool", (1, 3, 8, 8), kernel_shape=[2, 2], strides=[2, 2]),
    unary("qlinear_average_pool_ties", "QLinearAveragePool", (1, 3, 8, 8), y=[F(0.05), np.uint8(7)], kernel_shape=[2, 2]),
    unary(
        "qlinear_average_pool_channels_last",
        "QLinearAveragePool",
        (1, 7, 7, 2),
        I8,
        kernel_shape=[3, 3],
        pads=[1, 1, 1, 1],
        strides=[2, 2],
        count_include_pad=1,
        channels_last=1,
    ),
    unary("qlinear_global_average_pool", "QLinearGlobalAveragePool", (2, 9, 4, 8)),
    unary("qlinear_global_average_pool_channels_last", "QLinearGlobalAveragePool", (2, 4, 4, 9), I8, channels_last=1),
    Case("nhwc_max_pool", "NhwcMaxPool", [codes(rng("nhwc_max_pool"), (1, 6, 6, 3))], kernel_shape=[2, 3], strides=[2, 1]),
    gemm("qgemm"),
    gemm("qgemm_transposed", transA=1, transB=1, alpha=0.5, c=(5,)),
    gemm("qgemm_signed_per_column", I8, I8, per_column=True, c=(3, 1)),
    gemm("qgemm_to_float", is_quantized=False, keep=lambda value: value, b_dtype=I8),
    dynamic("dynamic_quantize_matmul", np.uint8, keep=lambda value: value),
    dynamic("dynamic_quantize_matmul_per_column", per_column=True, bias=True),
    dynamic("dynamic_quantize_matmul_symmetric", zero=False, bias=True, a=(4, 7)),
    attention("qattention"),
    attention("qattention_causal_past", np.uint8, past=3, unidirectional=1),
    attention("qattention_lengths", mask=[2, 4], per_column=True),
    attention("qattention_mask", mask=[[1, 1, 0, 0], [1, 1, 1, 1]], zeros=False, scale=0.3),
    to_float("matmul_integer_to_float"),
    to_float("matmul_integer_to_float_per_column", I8, per_column=True, bias=True),
    to_float("matmul_integer_to_float_no_zero_points", np.uint8, np.uint8, zeros=False, bias=True, keep=lambda value: value),
]
