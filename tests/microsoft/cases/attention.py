"""Attention in all its forms, and rotary embedding."""

import numpy as np
from generate import Case, rng


def f32(r, *shape):
    return r.normal(size=shape).astype(np.float32)


def multi_head(name, queries=3, keys=4, heads=2, size=4, is_by_head=False, bias=False, mask=None, added=None,
               past=0, outputs=1, **attributes):
    r, batch, hidden = rng(name), 2, heads * size
    if is_by_head:
        qkv = [f32(r, batch, queries, hidden), f32(r, batch, heads, keys, size), f32(r, batch, heads, keys, size)]
    else:
        qkv = [f32(r, batch, queries, hidden), f32(r, batch, keys, hidden), f32(r, batch, keys, hidden)]
    caches = [f32(r, batch, heads, past, size) if past else None for _ in range(2)]
    inputs = [
        *qkv,
        f32(r, 3 * hidden) if bias else None,
        None if mask is None else np.array(mask, np.int32),
        None if added is None else f32(r, *added),
        *caches,
    ]
    return Case(name, "MultiHeadAttention", inputs, outputs, num_heads=heads, **attributes)


def fused(name, heads=2, size=4, mask=None, past=0, added=None, outputs=1, **attributes):
    r, batch, positions, features, hidden = rng(name), 2, 3, 5, heads * size
    inputs = [
        f32(r, batch, positions, features),
        f32(r, features, 3 * hidden),
        f32(r, 3 * hidden),
        None if mask is None else np.array(mask, np.int32),
        f32(r, 2, batch, heads, past, size) if past else None,
        None if added is None else f32(r, *added),
    ]
    return Case(name, "Attention", inputs, outputs, num_heads=heads, **attributes)


def grouped(name, positions=1, lengths=(4, 4), room=None, heads=4, kv_heads=2, size=16, packed=False, rotary=0,
            bias=False, sink=False, ids=False, **attributes):
    """`lengths` are those of keys in all; the buffer of past keys has `room`."""
    r, batch, total = rng(name), len(lengths), max(lengths)
    if packed:
        qkv = [f32(r, batch, positions, (heads + 2 * kv_heads) * size), None, None]
    else:
        qkv = [f32(r, batch, positions, count * size) for count in (heads, kv_heads, kv_heads)]
    room = total - positions if room is None else room
    angles = r.uniform(-3, 3, (16, rotary // 2)).astype(np.float32)
    inputs = [
        *qkv,
        *(f32(r, batch, kv_heads, room, size) for _ in range(2)),
        np.array(lengths, np.int32) - 1,
        np.array(total, np.int32),
        np.cos(angles) if rotary else None,
        np.sin(angles) if rotary else None,
        r.integers(0, 16, (batch, positions)) if ids else None,
        f32(r, 1, heads, positions, total) if bias else None,
        f32(r, heads) if sink else None,
    ]
    return Case(name, "GroupQueryAttention", inputs, 3, num_heads=heads, kv_num_heads=kv_heads,
                do_rotary=int(rotary > 0), **attributes)


def rotary(name, shape, ids, rows=8, half=2, **attributes):
    r = rng(name)
    angles = r.uniform(-3, 3, (rows, half)).astype(np.float32)
    inputs = [f32(r, *shape), np.array(ids, np.int64), np.cos(angles), np.sin(angles)]
    return Case(name, "RotaryEmbedding", inputs, **attributes)


CASES = [
    multi_head("multi_head_attention"),
    multi_head("multi_head_attention_bias", bias=True, scale=0.3),
    multi_head("multi_head_attention_cross", is_by_head=True),
    multi_head("multi_head_attention_causal", keys=3, unidirectional=1),
    multi_head("multi_head_attention_mask", mask=[[1, 1, 0, 1], [0, 1, 1, 0]]),
    multi_head("multi_head_attention_mask_by_query", mask=np.tri(3, 4)[None].repeat(2, 0), mask_filter_value=-5.0),
    multi_head("multi_head_attention_lengths", mask=[2, 4]),
    multi_head("multi_head_attention_added", added=(1, 2, 3, 4), mask=[[1, 1, 0, 1], [1, 1, 1, 1]]),
    multi_head("multi_head_attention_past", keys=3, past=2, outputs=3, bias=True, mask=[[1, 1, 1, 1, 0]] * 2),
    multi_head("multi_head_attention_causal_past", keys=3, past=2, outputs=3, unidirectional=1),
    fused("attention"),
    fused("attention_causal", unidirectional=1, scale=0.4),
    fused("attention_mask", mask=[[1, 1, 0], [1, 1, 1]]),
    fused("attention_lengths", mask=[2, 3]),
    fused("attention_past", past=2, outputs=2, unidirectional=1),
    fused("attention_added", added=(2, 2, 3, 3)),
    grouped("group_query_attention"),
    grouped("group_query_attention_prompt", positions=4, rotary=16),
    grouped("group_query_attention_prompt_padded", positions=4, lengths=(4, 2), rotary=16),
    grouped("group_query_attention_packed", packed=True, rotary=16, positions=2, lengths=(6,)),
    grouped("group_query_attention_lengths", lengths=(5, 3), rotary=16),
    grouped("group_query_attention_room", lengths=(5, 3), room=9, rotary=16),
    grouped("group_query_attention_interleaved", rotary=16, rotary_interleaved=1, positions=3, lengths=(5,)),
    grouped("group_query_attention_ids", rotary=16, ids=True, lengths=(5, 4)),
    grouped("group_query_attention_partial", size=32, rotary=16, lengths=(4, 3)),
    grouped("group_query_attention_packed_prompt", packed=True, rotary=16, positions=3, lengths=(3, 3)),
    grouped("group_query_attention_prompt_ids", rotary=16, ids=True, positions=3, lengths=(3, 3)),
    grouped("group_query_attention_window", positions=5, lengths=(5, 5), local_window_size=2),
    grouped("group_query_attention_window_decode", lengths=(6, 4), local_window_size=3),
    grouped("group_query_attention_window_one", positions=4, lengths=(4,), local_window_size=1),
    grouped("group_query_attention_bidirectional", positions=3, lengths=(3,), causal=0),
    grouped("group_query_attention_capped", softcap=0.7, scale=0.5, bias=True),
    grouped("group_query_attention_smooth", smooth_softmax=1, lengths=(6, 5)),
    grouped("group_query_attention_sink", sink=True),
    rotary("rotary_embedding", (2, 3, 8), [[0, 1, 2], [4, 6, 7]], half=4, num_heads=1),
    rotary("rotary_embedding_offset", (2, 3, 8), [5], num_heads=2),
    rotary("rotary_embedding_heads_first", (2, 2, 3, 4), [[0, 1, 2], [4, 6, 7]]),
    rotary("rotary_embedding_unsaid_heads", (1, 3, 8), [2]),
    rotary("rotary_embedding_interleaved", (1, 3, 8), [[7, 0, 3]], num_heads=2, interleaved=1),
    rotary("rotary_embedding_partial", (1, 3, 12), [[7, 0, 3]], num_heads=2, rotary_embedding_dim=4),
]
