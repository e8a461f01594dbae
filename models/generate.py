"""Inputs for the models of real.toml: deterministic, and close enough to the real thing to excite a network.

`make(spec, model_id)` gives the array of one input. The same spec gives the same bytes on every machine: the seed is
made of the model's id and the input's name, and `RandomState` is numpy's frozen generator.
"""
import zlib

import numpy as np

GLYPH_ROWS, GLYPH_COLUMNS = 7, 5
SAMPLE_RATE = 16_000


def make(spec: dict, model_id: str) -> np.ndarray:
    random = np.random.RandomState(zlib.crc32(f"{model_id}/{spec['name']}".encode()))
    shape, dtype = tuple(spec["shape"]), np.dtype(spec["dtype"])
    try:
        generate = GENERATORS[spec["gen"]]
    except KeyError:
        raise ValueError(f"{model_id}: input {spec['name']}: no generator {spec['gen']!r}") from None
    return np.ascontiguousarray(np.asarray(generate(spec, shape, random)).astype(dtype)).reshape(shape)


def _onehot(spec, shape, random):
    return np.eye(shape[-1])[random.randint(0, shape[-1], size=shape[:-1])]


def _image(spec, shape, random):
    """A lit page (N, C, H, W): a gradient, coloured boxes, lines of glyph-like marks and a little noise."""
    batch, channels, height, width = shape
    pixels = np.broadcast_to(np.linspace(0.55, 0.95, width), shape).copy()
    for image in pixels:
        for _ in range(12):
            box_height, box_width = random.randint(height // 16 + 1, height // 3 + 2), random.randint(
                width // 16 + 1, width // 3 + 2)
            top, left = random.randint(0, height - box_height + 1), random.randint(0, width - box_width + 1)
            colour = random.uniform(0.4, 1.0, (channels, 1, 1))
            image[:, top : top + box_height, left : left + box_width] = colour
        _draw_lines(image, random)
    pixels = np.clip(pixels + random.normal(0.0, 0.02, shape), 0.0, 1.0)
    return spec["low"] + (spec["high"] - spec["low"]) * pixels


def _draw_lines(image, random):
    """Dark marks the size of letters, in words, on one line or more."""
    _, height, width = image.shape
    dot = int(np.clip(height // 16, 1, 3))
    glyph_height, glyph_width = GLYPH_ROWS * dot, GLYPH_COLUMNS * dot
    for top in range(2 * dot, height - glyph_height - dot, 3 * glyph_height):
        for left in range(2 * dot, width - glyph_width - dot, glyph_width + dot):
            if random.uniform() < 0.15:
                continue
            dots = random.uniform(size=(GLYPH_ROWS, GLYPH_COLUMNS)) < 0.45
            marks = np.kron(dots, np.ones((dot, dot))) > 0
            image[:, top : top + glyph_height, left : left + glyph_width][:, marks] = 0.08


def _voice(spec, shape, random):
    """A voiced sound: harmonics of a wavering pitch under two formants, in syllables, over the flattened array."""
    time = np.arange(int(np.prod(shape))) / SAMPLE_RATE
    pitch = 120.0 + 15.0 * np.sin(2.0 * np.pi * 2.3 * time)
    phase = 2.0 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    sound = np.zeros_like(time)
    for harmonic in range(1, 25):
        frequency = 120.0 * harmonic
        formants = np.exp(-(((frequency - 600.0) / 350.0) ** 2)) + 0.6 * np.exp(-(((frequency - 1700.0) / 500.0) ** 2))
        sound += (formants + 0.5 / harmonic) * np.sin(harmonic * phase)
    sound *= 0.15 + 0.85 * np.sin(np.pi * 3.7 * time) ** 2
    return spec["peak"] * (sound / np.abs(sound).max() + random.normal(0.0, 0.01, len(time)))


GENERATORS = {
    "normal": lambda spec, shape, random: random.normal(spec.get("mean", 0.0), spec.get("std", 1.0), shape),
    "uniform": lambda spec, shape, random: random.uniform(spec["low"], spec["high"], shape),
    "ids": lambda spec, shape, random: random.randint(spec["low"], spec["high"], shape),
    "bernoulli": lambda spec, shape, random: random.uniform(size=shape) < spec["p"],
    "fill": lambda spec, shape, random: np.full(shape, spec["value"]),
    "list": lambda spec, shape, random: np.array(spec["values"]),
    "onehot": _onehot,
    "image": _image,
    "voice": _voice,
}
