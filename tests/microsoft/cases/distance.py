"""CDist."""

import numpy as np
from generate import Case, rng


def distances(name, real=np.float32, **attributes):
    r = rng(name)
    return Case(name, "CDist", [r.normal(size=(4, 3)).astype(real), r.normal(size=(2, 3)).astype(real)], **attributes)


CASES = [
    distances("cdist"),
    distances("cdist_euclidean", metric="euclidean"),
    distances("cdist_double", np.float64, metric="euclidean"),
]
