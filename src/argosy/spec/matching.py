"""Tensors as clients send them → the inputs of a signature, where only one reading fits and no value changes.

Tried for what `check_inputs` would refuse. A value of another datatype is taken where the model's has the same value.
FP64 for FP32 is rounded to the nearest, as the numbers of JSON are, and refused beyond the range of FP32.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from argosy.spec.errors import InvalidArgument
from argosy.spec.signature import Domain, Signature, TensorSpec, check_form, check_inputs
from argosy.spec.tensor import NUMPY, Array, Tensor

WINDOW = 1 << 20
"""Elements that are cast and compared at once."""
_NO_NUMBERS = ("BYTES", "BF16")


def fit_inputs(signature: Signature, tensors: Sequence[Tensor]) -> list[Tensor]:
    """The tensors as the inputs of the signature.

    A model with one input takes it under any name, or as one tensor for each of its columns. Shapes are fitted by
    `fitting_shape`, values by `cast_values`. Raises InvalidArgument.
    """
    many = len(tensors) > 1
    specs = [spec_of(signature, tensor.name, many=many) for tensor in tensors]
    fitted = [tensor if spec is None else _fit(spec, tensor) for spec, tensor in zip(specs, tensors, strict=True)]
    if many and len(signature.inputs) == 1 and {tensor.name for tensor in fitted} <= {*signature.inputs[0].columns}:
        fitted = [_stacked(signature.inputs[0], fitted)]
    check_inputs(signature, fitted)
    return fitted


def spec_of(signature: Signature, name: str, *, many: bool, strict: bool = False) -> TensorSpec | None:
    """What a tensor of this name is, alone or one of `many`: the input of that name. If not `strict`, of a model with
    one input: that, or a column of it. None for a name that means nothing."""
    only = signature.inputs[0] if len(signature.inputs) == 1 and not strict else None
    if only is not None and many and name in only.columns:
        return msgspec.structs.replace(only, name=name, shape=only.shape[:-1], columns=())
    found = next((spec for spec in signature.inputs if spec.name == name), None)
    return found if found is not None or many else only


def fitting_shape(spec: TensorSpec, datatype: str, shape: tuple[int, ...], *, row: bool = True) -> tuple[int, ...]:
    """The shape of the input that a tensor can be: its own, with a last axis of one element more or less, a scalar of
    its one element, or, if it may be one `row`, with the first axis that it lacks. Raises InvalidArgument for none and
    for more than one."""
    if datatype != spec.datatype and (datatype in _NO_NUMBERS or spec.datatype in _NO_NUMBERS):
        check_form(spec, datatype, shape)
    if spec.accepts(shape):
        return shape
    near = {(*shape, 1), *([(1, *shape)] if row else []), *([shape[:-1]] if shape[-1:] == (1,) else [])}
    near |= {()} if set(shape) == {1} else set()
    found = sorted(filter(spec.accepts, near))
    if len(found) > 1:
        either = " or ".join(str(list(one)) for one in found)
        raise InvalidArgument(
            f"input '{spec.name}' has shape {list(shape)}, which may mean {either}: send one of these"
        )
    if not found:
        check_form(spec, spec.datatype, shape)
    return found[0]


def _fit(spec: TensorSpec, tensor: Tensor) -> Tensor:
    array = tensor.array.reshape(fitting_shape(spec, tensor.datatype, tensor.shape))
    if tensor.datatype != spec.datatype:
        array = cast_values(array, spec.datatype, f"input '{spec.name}'")
    return Tensor(spec.name, spec.datatype, array)


def _stacked(spec: TensorSpec, columns: Sequence[Tensor]) -> Tensor:
    """The input of tensors that are its columns, whatever their order."""
    arrays = {tensor.name: tensor.array for tensor in columns}
    if len(arrays) != len(columns):
        raise InvalidArgument("a column is given twice; each may appear once")
    if absent := [name for name in spec.columns if name not in arrays]:
        raise InvalidArgument(f"the columns {', '.join(absent[:12])} of input '{spec.name}' are missing")
    if len({array.shape for array in arrays.values()}) > 1:
        raise InvalidArgument("the columns differ in their number of rows (axis 0)")
    return Tensor(spec.name, spec.datatype, np.stack([arrays[name] for name in spec.columns], axis=-1))


def cast_values(array: Array, datatype: str, where: str) -> Array:
    """Numbers as this datatype. Raises InvalidArgument naming the first row with a value that it does not have; only
    FP64 as FP32 may be rounded, within the range of FP32."""
    wanted = NUMPY[datatype]
    if array.dtype == wanted:
        return array
    flat = array.reshape(-1)
    out: Array = np.empty(flat.shape, wanted)
    for start in range(0, flat.size, WINDOW):
        part = flat[start : start + WINDOW]
        with np.errstate(all="ignore"):
            found = part.astype(wanted)
            same = _same(part, found)
        if not same.all():
            place = start + int(np.argmin(same))
            raise _refused(flat[place], place * array.shape[0] // flat.size if array.ndim else 0, datatype, where)
        out[start : start + WINDOW] = found
    return out.reshape(array.shape)


def _same(array: Array, found: Array) -> Any:
    """Where values stayed what they were by a cast."""
    kinds = array.dtype.kind + found.dtype.kind
    if kinds == "ff":
        if found.dtype.itemsize > 2:
            return np.isfinite(found) | ~np.isfinite(array)
        return (found == array) | np.isnan(array)
    same = found.astype(array.dtype) == array
    if "b" in kinds:
        return same
    if "f" not in kinds:
        return same & ((found < 0) == (array < 0))
    floats, whole = (found, array) if kinds[1] == "f" else (array, found)
    limits = np.iinfo(whole.dtype)
    wide = floats.astype("f8")
    return same & (wide >= float(limits.min)) & (wide < float(limits.max + 1))


def _refused(value: Any, row: int, datatype: str, where: str) -> InvalidArgument:
    if value != value:
        return InvalidArgument(f"{where}, row {row}: a value is missing; {datatype} has no way to say so")
    what = f"{where}, row {row}: {str(value)[:60]} is"
    if value.dtype.kind == "f" and datatype == "FP32":
        return InvalidArgument(f"{what} out of the range of FP32")
    hint = ": send a float to have it rounded" if value.dtype.kind in "iu" and datatype.startswith("FP") else ""
    return InvalidArgument(f"{what} no {datatype}{hint}")


def outside(spec: TensorSpec, array: Array) -> Array:
    """Which elements the domain of the input leaves out."""
    domain = spec.domain or Domain()
    if spec.datatype == "BYTES":
        known = {text.encode() for text in domain.categories}
        gaps = all(domain.gaps)
        refused = [not gaps if not value else bool(known) and value not in known for value in array.reshape(-1)]
        return np.array(refused, dtype=bool).reshape(array.shape)
    if array.dtype.kind != "f":
        return np.zeros(array.shape, dtype=bool)
    limits = np.array([np.inf if limit is None else limit for limit in domain.limits])
    return (np.isnan(array) & ~np.array(domain.gaps)) | (np.abs(array) > limits)


def check_domains(bounded: Sequence[tuple[TensorSpec, float]], inputs: Mapping[str, Array]) -> None:
    """Raise InvalidArgument, naming column and row, for a value outside the domain of one of these inputs, which come
    with what is `safe` in them."""
    for spec, safe in bounded:
        array = inputs.get(spec.name)
        if array is None or (array.dtype.kind == "f" and float(np.vdot(array, array)) <= safe):
            continue
        domain = spec.domain or Domain()
        if (bad := outside(spec, array)).any():
            place = tuple(int(index) for index in np.argwhere(bad)[0])
            raise InvalidArgument(f"{_where(spec, place)}: {_refusal(domain, array[place], place)}")


def _where(spec: TensorSpec, place: tuple[int, ...]) -> str:
    column = f", column '{spec.columns[place[-1]]}'" if spec.columns else f", element {list(place[1:])}"
    return f"input '{spec.name}', row {place[0]}{column if len(place) > 1 else ''}"


def _refusal(domain: Domain, value: Any, place: tuple[int, ...]) -> str:
    if value != value or value == b"":
        return "a value is missing, and the model takes none that is; a sample with such a row allows it where it does"
    if isinstance(value, bytes):
        return f"{value.decode(errors='replace')[:60]!r} is no category that the model knows"
    limit = domain.limits[place[-1] if len(domain.limits) > 1 else 0]
    return f"{value:g} is too large: the model takes finite numbers up to {limit:.8g}"
