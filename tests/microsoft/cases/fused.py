"""Operators that stand for several standard ones, or for an older form of one."""

import numpy as np
from generate import Case, Constant, rng

F = np.float32


def normal(name, *shapes):
    r = rng(name)
    return [r.normal(size=shape).astype(F) for shape in shapes]


def case(name, operator, *shapes, outputs=1, **attributes):
    return Case(name, operator, normal(name, *shapes), outputs, **attributes)


CASES = [
    case("fused_matmul", "FusedMatMul", (2, 5, 3), (4, 5), transA=1, transB=1, alpha=0.25),
    case("fused_matmul_batches", "FusedMatMul", (3, 2, 5), (2, 5, 4), transBatchA=1),
    case("fused_matmul_batches_both", "FusedMatMul", (5, 2, 3), (4, 2, 5), transA=1, transBatchA=1, transB=1, transBatchB=1),
    case("transpose_matmul", "TransposeMatMul", (5, 3), (5, 4), transA=1),
    case("fused_gemm_relu", "FusedGemm", (3, 4), (5, 4), (5,), transB=1, activation="Relu"),
    case("fused_gemm_leaky_relu", "FusedGemm", (3, 4), (4, 5), activation="LeakyRelu", activation_alpha=0.3, alpha=2.0),
    case("fused_gemm_elu", "FusedGemm", (3, 4), (4, 5), activation="Elu", activation_alpha=0.7),
    case("fused_conv_relu", "FusedConv", (1, 2, 6, 6), (3, 2, 3, 3), (3,), activation="Relu"),
    case("fused_conv_sum", "FusedConv", (1, 2, 6, 6), (3, 2, 3, 3), (3,), (1, 3, 4, 4), activation="Relu"),
    case("fused_conv_clip", "FusedConv", (1, 2, 6, 6), (3, 2, 3, 3), activation="Clip", activation_params=[-0.5, 1.5]),
    case("fused_conv_leaky", "FusedConv", (1, 2, 6, 6), (3, 2, 3, 3), activation="LeakyRelu", activation_params=[0.1]),
    case(
        "fused_conv_hard_sigmoid",
        "FusedConv",
        (1, 2, 6, 6),
        (3, 2, 3, 3),
        activation="HardSigmoid",
        activation_params=[0.3, 0.4],
    ),
    case("inverse", "Inverse", (2, 4, 4)),
    Case("range", "Range", [np.array(2, F), np.array(7.5, F)]),
    Case("range_step", "Range", [np.array(9, np.int64), np.array(1, np.int64), np.array(-3, np.int64)]),
    Case("expand_dims", "ExpandDims", [*normal("expand_dims", (2, 3)), np.array(-1, np.int32)]),
    Case("expand_dims_constant", "ExpandDims", [*normal("expand_dims", (2, 3)), Constant(np.array(1, np.int32))]),
    Case("trilu", "Trilu", [*normal("trilu", (3, 4)), np.array(1, np.int64)], upper=0),
    Case("gather_nd", "GatherND", [*normal("gather_nd", (3, 4)), np.array([[1, 2], [0, 3]])]),
    Case("pad", "Pad", [*normal("pad", (2, 3)), np.array([0, 1, 2, 0]), np.array(0.5, F)]),
    Case("grid_sample", "GridSample", normal("grid_sample", (1, 2, 4, 4), (1, 3, 2, 2)), mode="bicubic", align_corners=1),
    Case("unique", "Unique", [np.array([2, 1, 1, 3, 4, 3], F)], 3),
    Case("matmul_integer16", "MatMulInteger16", [rng("i16").integers(-900, 900, s).astype(np.int16) for s in [(2, 3), (3, 2)]]),
]
