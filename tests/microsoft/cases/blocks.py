"""Weights of few bits in blocks: MatMulNBits, GatherBlockQuantized."""

import numpy as np
from generate import Case, Constant, rng
from onnx import TensorProto

F = np.float32


def pack(codes, bits):
    """Codes packed along the last axis, low bits first, each row padded to whole bytes."""
    per_byte = 8 // bits
    padding = -codes.shape[-1] % per_byte
    codes = np.pad(codes, [(0, 0)] * (codes.ndim - 1) + [(0, padding)]).astype(np.uint8)
    parts = [codes[..., i::per_byte] << (bits * i) for i in range(per_byte)]
    return np.bitwise_or.reduce(parts).astype(np.uint8)


def product(name, bits, k=64, n=5, block=16, rows=(3,), zeros=None, groups=False, bias=False, dtype=F, keep=Constant, **attributes):
    r = rng(name)
    blocks = -(-k // block)
    weights = pack(r.integers(0, 2**bits, (n, blocks * block)), bits).reshape(n, blocks, -1)
    zero_points = {
        None: lambda: None,
        "packed": lambda: pack(r.integers(0, 2**bits, (n, blocks)), bits),
        "numbers": lambda: r.uniform(0, 2**bits, (n, blocks)).astype(dtype),
    }[zeros]()
    inputs = [
        r.normal(size=(*rows, k)).astype(dtype),
        keep(weights),
        keep(r.uniform(0.01, 0.1, (n, blocks)).astype(dtype)),
        None if zero_points is None else keep(zero_points),
        keep((r.permutation(k) // block).astype(np.int32)) if groups else None,
        keep(r.normal(size=(n,)).astype(dtype)) if bias else None,
    ]
    while inputs[-1] is None:
        inputs.pop()
    return Case(name, "MatMulNBits", inputs, K=k, N=n, bits=bits, block_size=block, **attributes)


def gather(name, dtype, bits=4, data=(6, 32), indices=((0, 5), (-1, 2)), zeros=True, quantize_axis=1, real=F, **attributes):
    r = rng(name)
    block = 16
    scales = list(data)
    scales[quantize_axis] = -(-scales[quantize_axis] // block)
    low, high = (-8, 8) if dtype == TensorProto.INT4 else (0, 2**bits)
    values, zero_points = r.integers(low, high, data), r.integers(low, high, scales)
    if dtype == TensorProto.UINT8:
        values, zero_points = pack(values, bits), pack(zero_points, bits)
    inputs = [
        Constant((dtype, values)),
        np.array(indices, np.int64),
        Constant(r.uniform(0.01, 0.1, scales).astype(real)),
        Constant((dtype, zero_points)) if zeros else None,
    ]
    attributes |= {"bits": bits, "block_size": block, "quantize_axis": quantize_axis}
    return Case(name, "GatherBlockQuantized", inputs if zeros else inputs[:3], **attributes)


U4, I4, U8 = TensorProto.UINT4, TensorProto.INT4, TensorProto.UINT8
CASES = [
    product("matmul_4bits", 4),
    product("matmul_4bits_packed_zeros", 4, k=40, zeros="packed", rows=(2, 2)),
    product("matmul_4bits_number_zeros", 4, zeros="numbers", keep=lambda value: value),
    product("matmul_4bits_groups", 4, zeros="numbers", groups=True),
    product("matmul_4bits_one_row", 4, block=32, rows=(1,), zeros="packed"),
    product("matmul_4bits_many_rows", 4, rows=(11,), n=40, bias=True),
    product("matmul_4bits_float16", 4, block=32, dtype=np.float16),
    product("matmul_2bits", 2, zeros="packed"),
    product("matmul_2bits_wide_blocks", 2, k=130, block=64, rows=(5,)),
    product("matmul_8bits", 8, zeros="packed", k=72),
    product("matmul_8bits_bias", 8, block=32, bias=True, rows=(1,)),
    gather("gather_uint4", U4),
    gather("gather_int4_inner_axis", I4, data=(2, 4, 20), gather_axis=1, quantize_axis=2, zeros=False),
    gather("gather_int4_outer_blocks", I4, data=(20, 3, 4), gather_axis=1, quantize_axis=0, indices=(2, 0, -3)),
    gather("gather_uint8_of_4bits", U8, data=(5, 48)),
    gather("gather_uint8_of_8bits", U8, bits=8, zeros=False, indices=(4, 0)),
    gather("gather_uint8_of_2bits", U8, bits=2, zeros=False, indices=(4, 0)),
    gather("gather_float16", U8, real=np.float16),
]
