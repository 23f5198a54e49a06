"""Readers of the agent of devices, whose errors are made ours."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from argosy.spec.errors import InvalidArgument
from argosy_edge import protocol, tensors
from argosy_edge.errors import AgentError
from argosy_edge.signature import Port

SERVED: Any = SimpleNamespace(
    signature=SimpleNamespace(inputs=(Port(name="x", datatype="FP32", shape=(-1, 4)),)),
)


def request(data: bytes) -> object:
    """The first two bytes say how long the JSON part is; 65535: no header names it."""
    length = int.from_bytes(data[:2], "little")
    try:
        return protocol.request(data[2:], None if length == 65535 else str(length), SERVED)
    except AgentError as error:
        raise InvalidArgument(error.message) from None


def tensor_file(path: Path) -> object:
    """Golden examples."""
    try:
        return tensors.read(path)
    except AgentError as error:
        raise InvalidArgument(error.message) from None
