"""DynamicQuantizeLSTM."""

import numpy as np
from generate import Case, Constant, rng


def lstm(name, dtype=np.int8, ways=1, is_per_channel=False, is_constant=True, lengths=None, states=False, **attributes):
    r = rng(name)
    steps, batch, features, hidden = 3, 2, 4, 5
    low, high = (-64, 64) if dtype == np.int8 else (64, 192)

    def weights(rows):
        granules = (ways, 4 * hidden) if is_per_channel else (ways,)
        codes = r.integers(low, high, (ways, rows, 4 * hidden)).astype(dtype)
        scale = r.uniform(0.005, 0.02, granules).astype(np.float32)
        return codes, scale, np.full(granules, 0 if dtype == np.int8 else 128, dtype)

    (w, w_scale, w_zero), (u, u_scale, u_zero) = weights(features), weights(hidden)
    keep = Constant if is_constant else (lambda value: value)
    state = lambda: r.normal(size=(ways, batch, hidden)).astype(np.float32) if states else None
    inputs = [
        r.normal(size=(steps, batch, features)).astype(np.float32),
        keep(w),
        keep(u),
        r.normal(size=(ways, 8 * hidden)).astype(np.float32) if states else None,
        None if lengths is None else np.array(lengths, np.int32),
        state(),
        state(),
        r.normal(size=(ways, 3 * hidden)).astype(np.float32) if states else None,
        *map(keep, [w_scale, w_zero, u_scale, u_zero]),
    ]
    return Case(name, "DynamicQuantizeLSTM", inputs, 3, hidden_size=hidden, **attributes)


CASES = [
    lstm("dynamic_quantize_lstm"),
    lstm("dynamic_quantize_lstm_unsigned", np.uint8, states=True),
    lstm("dynamic_quantize_lstm_per_channel", is_per_channel=True, states=True, ways=2, direction="bidirectional"),
    lstm("dynamic_quantize_lstm_reverse", is_constant=False, direction="reverse", clip=0.5),
    lstm("dynamic_quantize_lstm_lengths", lengths=[2, 2], states=True),
]
