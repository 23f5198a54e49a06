"""What `predict` returns: the outputs of a model by name."""

from collections.abc import Iterable
from typing import Any, cast

import numpy as np

from argosy.spec.errors import InvalidArgument
from argosy.spec.signature import TensorSpec
from argosy.spec.tensor import Array, Tensor


class Prediction(dict[str, Array]):
    """Arrays by output name, in the model's order; each is an attribute as well, as in `prediction.label`.

    Texts are object arrays of `str`, or of `bytes` where they are no UTF-8. Of a model with one output, numpy takes the
    whole as that output's array. `class_names`: of an output with classes, their names, in the order of its columns, or
    of the numbers 0, 1, … in it.
    """

    class_names: dict[str, tuple[str, ...]]

    def __getattr__(self, name: str) -> Array:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the model has no output '{name}'; it gives {', '.join(self)}") from None

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if len(self) != 1:
            raise InvalidArgument(f"the model has {len(self)} outputs: choose one of {', '.join(self)}")
        return np.array(next(iter(self.values())), dtype=dtype, copy=copy)


def prediction(outputs: Iterable[Tensor], specs: Iterable[TensorSpec] = ()) -> Prediction:
    """The outputs of a model as Python has them, with the class names of their `specs`."""
    found = Prediction(
        (output.name, _texts(output.array) if output.datatype == "BYTES" else output.array) for output in outputs
    )
    found.class_names = {spec.name: spec.classes for spec in specs if spec.classes}
    return found


def _texts(array: Array) -> Array:
    out: Array = np.empty(array.size, object)
    try:
        out[:] = [value.decode() for value in cast("list[bytes]", array.reshape(-1).tolist())]
    except UnicodeDecodeError:
        return array
    return out.reshape(array.shape)
