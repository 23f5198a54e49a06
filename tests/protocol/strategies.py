"""Hypothesis strategies for tensors of every datatype and shape."""

import math

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from argosy.spec.tensor import DATATYPES, NUMPY, Tensor

shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
texts = st.text(max_size=8).map(str.encode)
blobs = st.binary(max_size=8)


@st.composite
def tensors(draw, datatypes=DATATYPES, finite=False, elements=blobs, name="x"):
    datatype = draw(st.sampled_from(datatypes))
    shape = draw(shapes)
    if datatype == "BYTES":
        count = math.prod(shape)
        array = np.empty(count, dtype=object)
        array[:] = draw(st.lists(elements, min_size=count, max_size=count))
        return Tensor(name, datatype, array.reshape(shape))
    dtype = NUMPY[datatype]
    options = {"allow_nan": not finite, "allow_infinity": not finite} if dtype.kind == "f" else {}
    return Tensor(name, datatype, draw(hnp.arrays(dtype, shape, elements=hnp.from_dtype(dtype, **options))))


def same(left: Tensor, right: Tensor) -> bool:
    """Bit-identical, name and datatype included."""
    if (left.name, left.datatype, left.shape) != (right.name, right.datatype, right.shape):
        return False
    if left.datatype == "BYTES":
        return left.array.tolist() == right.array.tolist()
    return left.array.dtype == right.array.dtype and left.array.tobytes() == right.array.tobytes()
