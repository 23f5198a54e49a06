"""Triton's classification extension: the top classes of an output as `score:index` strings."""

import numpy as np

from argosy.spec.errors import InvalidArgument, PayloadTooLarge
from argosy.spec.tensor import Tensor

MOST_SCORES, MOST_CLASSES = 2**18, 2**16
"""Elements of an output that are sorted for one request, and classes told: it is done on the event loop."""


def classify(tensor: Tensor, count: int, batched: bool) -> Tensor:
    """The `count` largest elements of each row (of the whole tensor if not batched) as BYTES `score:index`."""
    if tensor.datatype in ("BYTES", "BOOL", "BF16"):
        raise InvalidArgument(f"output '{tensor.name}' is {tensor.datatype}; classification needs numbers")
    height = tensor.shape[0] if batched else 1
    width = tensor.array.size // max(1, height)
    if tensor.array.size > MOST_SCORES or height * min(count, width) > MOST_CLASSES:
        raise PayloadTooLarge(
            f"output '{tensor.name}' has {tensor.array.size} elements; of at most {MOST_SCORES} classes are told, and "
            f"at most {MOST_CLASSES} of them: ask for fewer rows or classes"
        )
    rows = tensor.array.reshape(height, width)
    order = np.argsort(-rows.astype("f8"), axis=1, kind="stable")[:, :count]
    best = np.take_along_axis(rows, order, 1)
    told = [f"{score:f}:{index}".encode() for score, index in zip(best.flat, order.flat, strict=True)]
    found = np.empty(len(told), dtype=object)
    found[:] = told
    found = found.reshape(order.shape)
    return Tensor(tensor.name, "BYTES", found if batched else found[0])
