"""Tokenizer, MurmurHash3."""

import numpy as np
from generate import Case


def tokenize(name, texts, mark=0, mincharnum=1, **method):
    x = np.array(texts, dtype=object)
    return Case(name, "Tokenizer", [x], mark=mark, mincharnum=mincharnum, pad_value="#", **method)


WORDS = ["The dog. dog", "", "ab, c!", " lead;trail ; "]

CASES = [
    tokenize("tokenizer_found", WORDS, tokenexp="[a-z]+"),
    tokenize("tokenizer_found_marked", [WORDS, WORDS[::-1]], mark=1, mincharnum=2, tokenexp="\\w+"),
    tokenize("tokenizer_found_nothing", WORDS, mark=1, tokenexp="x"),
    tokenize("tokenizer_between", WORDS, separators=[" ", ";"]),
    tokenize("tokenizer_between_expressions", WORDS, mark=1, separators=["[ ,;]+", "o"]),
    tokenize("tokenizer_characters", ["aé", "", "你好 a"], separators=[""]),
    tokenize("tokenizer_characters_marked", [["aé", "b"]], mark=1, tokenexp="."),
    Case("murmur_hash_words", "MurmurHash3", [np.array(WORDS, dtype=object)], seed=7),
    Case("murmur_hash_signed", "MurmurHash3", [np.array([WORDS], dtype=object)], positive=0),
    Case("murmur_hash_int64", "MurmurHash3", [np.array([[1, -2], [1 << 40, 0]], np.int64)]),
    Case("murmur_hash_floats", "MurmurHash3", [np.array([1.5, -0.0], np.float32)], positive=0, seed=3),
    Case("murmur_hash_doubles", "MurmurHash3", [np.array([1.5, 0.1], np.float64)]),
]
