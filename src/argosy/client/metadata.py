"""What a server says of a model, read leniently: foreign servers add fields and leave others out."""

from typing import Any, cast

import msgspec

from argosy.spec.errors import ArgosyError, Internal
from argosy.spec.signature import TensorSpec


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """The name, versions and tensors of a model. A server that declares no tensors has empty `inputs`."""

    name: str
    platform: str = ""
    versions: tuple[str, ...] = ()
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()


class _Tensor(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int] = []
    parameters: dict[str, Any] | None = None


class _Metadata(msgspec.Struct):
    name: str = ""
    platform: str | None = None
    versions: list[str | int] | None = None
    inputs: list[_Tensor] | None = None
    outputs: list[_Tensor] | None = None


def parse(body: bytes, where: str) -> Metadata:
    """The body of `GET /v2/models/{model}`. Raises Internal when it is nothing of the kind."""
    try:
        found = msgspec.json.decode(body, type=_Metadata)
        return Metadata(
            name=found.name,
            platform=found.platform or "",
            versions=tuple(str(version) for version in found.versions or ()),
            inputs=tuple(_spec(tensor) for tensor in found.inputs or ()),
            outputs=tuple(_spec(tensor) for tensor in found.outputs or ()),
        )
    except (msgspec.MsgspecError, UnicodeDecodeError, ArgosyError) as error:
        raise Internal(f"{where} answered model metadata that cannot be read: {error}") from None


def _spec(tensor: _Tensor) -> TensorSpec:
    parameters = tensor.parameters or {}
    columns, classes = _names(parameters.get("columns")), _names(parameters.get("classes"))
    width = tensor.shape[-1:]
    return TensorSpec(
        name=tensor.name,
        datatype=tensor.datatype,
        shape=tuple(tensor.shape),
        columns=columns if width == [len(columns)] else (),
        classes=classes if len(tensor.shape) < 2 or width == [len(classes)] else (),
        nullable=bool(parameters.get("nullable", False)),
        optional=bool(parameters.get("optional", False)),
        semantic="categorical" if parameters.get("semantic") == "categorical" else "",
    )


def _names(listed: Any) -> tuple[str, ...]:
    return tuple(str(name) for name in cast("list[Any]", listed)) if isinstance(listed, list) else ()
