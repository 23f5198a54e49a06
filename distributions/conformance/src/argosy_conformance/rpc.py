"""The judge's gRPC: one channel, calls by method name, and tensors as raw or typed contents."""

from collections.abc import Iterable, Sequence
from typing import Any

import grpc
import msgspec

from argosy_conformance.check import Failed
from argosy_conformance.expect import that
from argosy_conformance.messages import message
from argosy_conformance.rest import Outputs
from argosy_conformance.tensors import Tensor, count, pack

SERVICE = "inference.GRPCInferenceService"
CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Datatype → the field of InferTensorContents that holds it; FP16 and BF16 have none."""

LARGEST = 256 * 1024 * 1024


class Status(msgspec.Struct, frozen=True):
    """The failure of a call: the status by name, and its text."""

    code: str
    text: str

    def seen(self) -> str:
        """A short quotation for messages."""
        return f"{self.code}: {self.text[:120]}"


class Rpc:
    """One server by `HOST:PORT` or `unix:PATH`, with an optional API key."""

    def __init__(self, address: str, key: str | None = None, timeout: float = 30.0) -> None:
        options = [("grpc.max_receive_message_length", LARGEST), ("grpc.max_send_message_length", LARGEST)]
        self.channel: Any = grpc.insecure_channel(address, options=options)
        self.metadata = [("authorization", f"Bearer {key}")] if key else []
        self.timeout = timeout

    def call(self, method: str, request: Any = None, *, service: str = SERVICE, answer: str = "") -> Any:
        """One unary call. Raises `Refused` with the status when the server answers with one."""
        sent = request if request is not None else message(f"{method}Request")()
        stub = self.channel.unary_unary(
            f"/{service}/{method}",
            request_serializer=_bytes,
            response_deserializer=message(answer or f"{method}Response").FromString,
        )
        try:
            return stub(sent, timeout=self.timeout, metadata=self.metadata)
        except grpc.RpcError as error:
            raise Refused(_status(error)) from None

    def stream(self, method: str, requests: Iterable[Any], *, service: str = SERVICE, answer: str = "") -> list[Any]:
        """One bidirectional call with all requests sent; the responses until the server ends it."""
        stub = self.channel.stream_stream(
            f"/{service}/{method}",
            request_serializer=_bytes,
            response_deserializer=message(answer or f"{method}Response").FromString,
        )
        try:
            return list(stub(iter(requests), timeout=self.timeout, metadata=self.metadata))
        except grpc.RpcError as error:
            raise Refused(_status(error)) from None

    def infer(self, request: Any) -> Outputs:
        """ModelInfer, decoded."""
        return outputs(self.call("ModelInfer", request))

    def close(self) -> None:
        """Close the channel."""
        self.channel.close()


def _bytes(sent: Any) -> bytes:
    return sent.SerializeToString()


class Refused(Failed):
    """A call that ended with a status other than OK."""

    def __init__(self, status: Status) -> None:
        super().__init__(f"the call failed: {status.seen()}")
        self.status = status


def _status(error: Any) -> Status:
    return Status(error.code().name, error.details() or "")


def request(
    model: str, tensors: Sequence[Tensor], *, raw: bool = True, names: Sequence[str] = (), **fields: Any
) -> Any:
    """A ModelInferRequest with raw or typed contents; `names` are the requested outputs."""
    made = message("ModelInferRequest")(model_name=model, **fields)
    for tensor in tensors:
        item = made.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=list(tensor.shape))
        if not raw:
            getattr(item.contents, CONTENTS[tensor.datatype]).extend(tensor.values())
    if raw:
        made.raw_input_contents.extend(tensor.raw for tensor in tensors)
    for name in names:
        made.outputs.add(name=name)
    return made


def outputs(response: Any) -> Outputs:
    """A ModelInferResponse as tensors. Raises Failed where raw and typed contents are mixed or miscounted."""
    raws = list(response.raw_output_contents)
    that(
        not raws or len(raws) == len(response.outputs), f"{len(raws)} raw contents for {len(response.outputs)} outputs"
    )
    found: dict[str, Tensor] = {}
    for place, item in enumerate(response.outputs):
        typed = _typed(item)
        that(not (raws and typed), f"output '{item.name}' has raw and typed contents")
        data = raws[place] if raws else pack(item.datatype, typed)
        found[item.name] = Tensor(item.name, item.datatype, tuple(item.shape), data)
        seen = len(found[item.name].values())
        that(seen == count(item.shape), f"output '{item.name}' has {seen} elements for shape {list(item.shape)}")
    names = frozenset(found) if raws else frozenset[str]()
    return Outputs(response.model_name, response.model_version or None, response.id or None, found, names)


def _typed(item: Any) -> list[Any]:
    field = CONTENTS.get(item.datatype)
    return list(getattr(item.contents, field)) if field else []


def expect(rpc: Rpc, method: str, sent: Any, strict: Sequence[str], accepted: Sequence[str] = ()) -> str | None:
    """The call must fail with one of these statuses; returns a note for an accepted one."""
    try:
        rpc.call(method, sent)
    except Refused as refused:
        code = refused.status.code
        that(code in (*strict, *accepted), f"expected {' or '.join(strict)}, saw {refused.status.seen()}")
        that(refused.status.text, f"{code} carries no message")
        return None if code in strict else f"{code} instead of {' or '.join(strict)}"
    raise Failed(f"expected {' or '.join(strict)}, the call succeeded")
