"""Normalisations of sums, and activations of them."""

import numpy as np
from generate import Case, rng


def f32(r, *shape):
    return r.normal(size=shape).astype(np.float32)


def skip(name, simplified=False, skip_shape=(2, 3, 4), beta=True, bias=False, wants_sum=False, **attributes):
    r = rng(name)
    inputs = [f32(r, 2, 3, 4), f32(r, *skip_shape), f32(r, 4)]
    if not simplified:
        inputs.append(f32(r, 4) if beta else None)
    inputs.append(f32(r, 4) if bias else None)
    operator = "SkipSimplifiedLayerNormalization" if simplified else "SkipLayerNormalization"
    return Case(name, operator, inputs, [True, False, False, True] if wants_sum else 1, **attributes)


def simplified(name, shape, outputs=1, **attributes):
    r = rng(name)
    return Case(name, "SimplifiedLayerNormalization", [f32(r, 2, 3, 4), f32(r, *shape)], outputs, domain="", **attributes)


def embed(name, segments=True, mask=False, ids=False, outputs=2, **attributes):
    r = rng(name)
    words = lambda most: r.integers(0, most, (2, 3)).astype(np.int32)
    inputs = [
        words(7),
        words(2) if segments else None,
        f32(r, 7, 4),
        f32(r, 6, 4),
        f32(r, 2, 4) if segments else None,
        f32(r, 4),
        f32(r, 4),
        np.array([[1, 1, 0], [1, 1, 1]], np.int32) if mask else None,
        words(6) if ids else None,
    ]
    return Case(name, "EmbedLayerNormalization", inputs, outputs, **attributes)


def activation(name, operator, shapes, **attributes):
    r = rng(name)
    return Case(name, operator, [f32(r, *shape) * 2 for shape in shapes], **attributes)


CASES = [
    skip("skip_layer_normalization"),
    skip("skip_layer_normalization_bias", bias=True, wants_sum=True, epsilon=0.1),
    skip("skip_layer_normalization_spread", skip_shape=(1, 3, 4), beta=False, wants_sum=True),
    skip("skip_layer_normalization_rank_2", skip_shape=(3, 4)),
    skip("skip_simplified_layer_normalization", simplified=True, wants_sum=True),
    skip("skip_simplified_layer_normalization_bias", simplified=True, bias=True, epsilon=0.2),
    simplified("simplified_layer_normalization", (4,)),
    simplified("simplified_layer_normalization_axis", (3, 4), axis=1, epsilon=0.1),
    embed("embed_layer_normalization"),
    embed("embed_layer_normalization_mask", mask=True),
    embed("embed_layer_normalization_plain", segments=False, ids=True, outputs=[True, False, True]),
    activation("bias_gelu", "BiasGelu", [(2, 3, 4), (4,)]),
    activation("fast_gelu", "FastGelu", [(2, 4)]),
    activation("fast_gelu_bias", "FastGelu", [(2, 4), (4,)]),
    activation("quick_gelu", "QuickGelu", [(2, 4)]),
    activation("quick_gelu_alpha", "QuickGelu", [(2, 4)], alpha=0.7),
    activation("gelu", "Gelu", [(2, 4)]),
]
