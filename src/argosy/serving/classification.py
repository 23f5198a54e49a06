"""Triton's classification extension: the top classes of an output as `score:index` strings."""

import numpy as np

from argosy.spec.errors import InvalidArgument
from argosy.spec.tensor import Tensor


def classify(tensor: Tensor, count: int, batched: bool) -> Tensor:
    """The `count` largest elements of each row (of the whole tensor if not batched) as BYTES `score:index`."""
    if tensor.datatype in ("BYTES", "BOOL", "BF16"):
        raise InvalidArgument(f"output '{tensor.name}' is {tensor.datatype}; classification needs numbers")
    rows = tensor.array.reshape(tensor.shape[0], -1) if batched else tensor.array.reshape(1, -1)
    order = np.argsort(-rows.astype("f8"), axis=1, kind="stable")[:, :count]
    found = np.empty(order.shape, dtype=object)
    for row, column in np.ndindex(*order.shape):
        index = order[row, column]
        found[row, column] = f"{rows[row, index]:f}:{index}".encode()
    return Tensor(tensor.name, "BYTES", found if batched else found[0])
