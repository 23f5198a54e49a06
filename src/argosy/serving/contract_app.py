"""The paths of a contract, before those of the data plane."""

import csv
import io
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

import msgspec
import numpy as np

from argosy.packaging.rows import read_rows
from argosy.process.cores import cores
from argosy.protocol import rows
from argosy.protocol.bounds import Bounds
from argosy.protocol.rest import HEADER_LENGTH, JSON, Request, Response
from argosy.serving.contracts import Binding
from argosy.serving.dataplane import DataPlane
from argosy.serving.exchange import Exchange, Headers
from argosy.serving.http import (
    CSV,
    TIMEOUT_HEADER,
    Encoded,
    HttpApp,
    compress,
    decode_rows,
    decode_tensors,
    refuse,
    timeout_of,
)
from argosy.serving.model import ServedModel
from argosy.spec.errors import InvalidArgument, MethodNotAllowed, Unsupported
from argosy.spec.signature import Signature

TRITON = "application/vnd.sagemaker-triton.binary+json"
"""Tensors as bytes where a place passes no header of theirs: `json-header-size=N` stands in the content type."""
LINES = ("application/jsonlines", "application/jsonl", "application/x-ndjson")
NPY = "application/x-npy"
ROWS = 25 * 1024 * 1024
"""Bytes of rows in a body: what SageMaker takes at most at once. Only the place's own front end sends here."""
_CONTENT, _ACCEPT, _LENGTH = b"content-type", b"accept", HEADER_LENGTH.encode()
_ENDPOINT = re.compile("^/endpoints/[^/]+(?=/)")
_TEXT = (("content-type", "text/plain"),)


class Relay(Exchange):
    """A request whose answer goes to `done` instead of a connection; `ended` says that nobody waits for it any more."""

    __slots__ = ("_done",)

    def __init__(
        self,
        method: str,
        path: str,
        headers: dict[bytes, bytes],
        body: bytes,
        done: Callable[[int, bytes | bytearray, Headers], None],
    ) -> None:
        super().__init__(cast("Any", self), method, path, headers, body)
        self._done = done

    def send(self, _: Exchange, status: int, body: bytes | bytearray, headers: Headers) -> None:
        """What a connection does with an answer."""
        self._done(status, body, headers)

    def ended(self) -> None:
        self.answered = True
        if self.cancelled is not None:
            self.cancelled()
        if self.reserved is not None:
            self.reserved.release()


class _Wire(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str


class _Tensors(msgspec.Struct):
    """What a body of the Open Inference Protocol has, and one with rows has not."""

    inputs: list[_Wire]


_of_tensors = msgspec.json.Decoder(_Tensors).decode


class Invocation:
    """A request at a path that takes any body, which says by itself what it holds: tensors of the Open Inference
    Protocol, or rows as JSON, lines of JSON, CSV or npy. Rows are answered as `Accept` asks, tensors as tensors."""

    def __init__(self, app: HttpApp, accept: str, grouped: bool) -> None:
        self._app = app
        self._accept = accept.lower()
        self._grouped = grouped
        self._tensors = False

    def decode(
        self, model: ServedModel, headers: Mapping[bytes, bytes], body: bytes, bounds: Bounds | None
    ) -> tuple[Request, float | None]:
        """The request, and the seconds its caller gives it. Raises InvalidArgument, PayloadTooLarge."""
        kind, _, parameters = headers.get(_CONTENT, b"").decode("latin-1").lower().partition(";")
        if kind == TRITON:
            headers = {**headers, _LENGTH: parameters.partition("json-header-size=")[2].encode()}
        if _LENGTH in headers or (kind in (JSON, "") and _has_tensors(body)):
            self._tensors = True
            return decode_tensors(model, headers, body, bounds)
        if kind == NPY:
            rows.check_size(body, ROWS)
            timeout = timeout_of(headers) if TIMEOUT_HEADER in headers else None
            return Request(read_rows(body, ".npy", model.signature)), timeout
        if kind in LINES:
            body = b"[%s]" % b",".join(line for line in body.split(b"\n") if line.strip())
            headers = {**headers, _CONTENT: JSON.encode()}
        elif kind == CSV:
            body = with_header(body, model.signature, parameters)
        elif self._grouped and not model.signature.batched:
            body = _one_instance(body)
        return decode_rows(rows.ANY, model, headers, body, bounds, ROWS)

    def answer(self, exchange: Exchange, model: ServedModel, request: Request, result: Response | Exception) -> None:
        """Answer in the form that was asked for."""
        if self._tensors:
            self._app.answer_tensors(exchange, model, request, result)
        else:
            self._app.answer_rows(exchange, model, request, result, self._encode)

    def _encode(self, exchange: Exchange, signature: Signature, response: Response) -> Encoded:
        data = rows.encode(response, signature)
        wanted = next((kind for kind in (CSV, *LINES, NPY) if self._accept.startswith(kind)), "")
        if not wanted and (signature.batched or not self._grouped):
            return compress(exchange, data, None)
        found = msgspec.json.decode(data)["predictions"]
        values: list[Any] = found if signature.batched else [found]
        if not wanted:
            return compress(exchange, msgspec.json.encode({"predictions": values}), None)
        return _ENCODERS.get(wanted, _lines)(values), (("content-type", wanted),)


def with_header(body: bytes, signature: Signature, parameters: str = "") -> bytes:
    """CSV with a line of column names, which SageMaker's has not. One is there if the content type says
    `header=present` or, unless it says `absent`, if the first line has names of columns and nothing else."""
    lines = csv.reader(io.StringIO(body.partition(b"\n")[0].decode("utf-8-sig", "replace")))
    first = next(lines, list[str]())
    names = [name for spec in signature.inputs for name in (spec.columns or (spec.name,))]
    wide = len(signature.inputs) == 1 and not signature.inputs[0].columns and len(signature.inputs[0].shape) > 1
    named = not any(map(_is_number, first)) if wide else set(first) <= set(names)
    if "header=present" in parameters or (named and "header=absent" not in parameters):
        return body
    head = io.StringIO()
    csv.writer(head, lineterminator="\n").writerow([f"c{place}" for place in range(len(first))] if wide else names)
    return head.getvalue().encode() + body


def _is_number(text: str) -> bool:
    try:
        float(text or "nan")
    except ValueError:
        return False
    return True


def _has_tensors(body: bytes) -> bool:
    try:
        return bool(_of_tensors(body).inputs)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def _one_instance(body: bytes) -> bytes:
    """The body for a model without rows, of one with a single instance. Raises InvalidArgument."""
    rows.check_size(body, ROWS)
    try:
        outer = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        (instance,) = msgspec.json.decode(outer.pop("instances"), type=list[msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, ValueError):
        raise InvalidArgument(
            'the model has no rows: it takes one instance at a time, as in {"instances": [INPUT]}'
        ) from None
    return msgspec.json.encode({"inputs": instance, **outer})


def _lines(values: list[Any]) -> bytes:
    return b"".join(msgspec.json.encode(value) + b"\n" for value in values)


def _csv(values: list[Any]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for value in values:
        cells = list(cast("dict[str, Any]", value).values()) if isinstance(value, dict) else value
        writer.writerow(cast("list[Any]", cells) if isinstance(cells, list) else [cells])
    return out.getvalue().encode()


def _npy(values: list[Any]) -> bytes:
    array, out = np.asarray(values), io.BytesIO()
    if array.dtype.kind not in "fiub":
        raise Unsupported(f"{NPY} holds numbers, and the answer has none or several outputs: ask for {JSON} or {CSV}")
    np.save(out, array)
    return out.getvalue()


_ENCODERS: dict[str, Callable[[list[Any]], bytes]] = {CSV: _csv, NPY: _npy}


class ContractApp(HttpApp):
    """The paths of one contract; what they do not name is the data plane's."""

    def __init__(self, plane: DataPlane, binding: Binding) -> None:
        super().__init__(plane)
        self.binding = binding
        self._operations: dict[str, Callable[[Exchange], None]] = {
            "ready": lambda exchange: exchange.answer(200 if self.ready() else 503, b"", _TEXT),
            "alive": lambda exchange: exchange.answer(200 if self._plane.live() else 503, b"", _TEXT),
            "invoke": self._invoke,
            "execution_parameters": self._execution_parameters,
        }

    def ready(self) -> bool:
        return self._plane.ready()

    def handle(self, exchange: Exchange) -> None:
        asked = self._relayed(exchange) if self.binding.contract.echoed else exchange
        try:
            if not self.route(asked):
                super().handle(asked)
        except Exception as error:
            refuse(asked, error)
        if asked is not exchange and not asked.answered:
            exchange.cancelled = cast("Relay", asked).ended

    def route(self, exchange: Exchange) -> bool:
        """Answer a request whose path is the contract's; False for any other. Raises ArgosyError.

        Paths may stand below `/endpoints/NAME`, where SageMaker's own client asks for them.
        """
        path = _ENDPOINT.sub("", exchange.path).removesuffix("/") or "/"
        known = self.binding.paths.get(path)
        if known is None:
            return False
        target = known.get("GET" if exchange.method == "HEAD" else exchange.method)
        if target is None:
            allowed = ", ".join(known)
            error = MethodNotAllowed(f"{exchange.path[:200]} takes {allowed}, not {exchange.method}")
            exchange.refuse(error, (("allow", allowed),))
        else:
            self._operations[target](exchange)
        return True

    def invoke(self, exchange: Exchange, model: ServedModel) -> None:
        """Ask a model with whatever body it is."""
        accept = exchange.headers.get(_ACCEPT, b"").decode("latin-1")
        form = Invocation(self, accept, self.binding.contract.grouped)
        self.infer(model, exchange, form.decode, form.answer)

    def _invoke(self, exchange: Exchange) -> None:
        self.invoke(exchange, self._plane.only())

    def _execution_parameters(self, exchange: Exchange) -> None:
        """What a batch transform job does that says nothing itself."""
        given = self.binding.environ
        batched = all(model.signature.batched for model in self._plane.models())
        found = {
            "MaxConcurrentTransforms": int(given.get("SAGEMAKER_MAX_CONCURRENT_TRANSFORMS") or 2 * cores()),
            "BatchStrategy": given.get("SAGEMAKER_BATCH_STRATEGY") or ("MULTI_RECORD" if batched else "SINGLE_RECORD"),
            "MaxPayloadInMB": int(given.get("SAGEMAKER_MAX_PAYLOAD_IN_MB") or 6),
        }
        exchange.answer(200, msgspec.json.encode(found))

    def _relayed(self, exchange: Exchange) -> Exchange:
        """The exchange, if need be with what an answer repeats, and a content type that says where its JSON ends."""
        name = self.binding.contract.echoed.encode()
        echo = [(name.decode(), exchange.headers[name].decode("latin-1"))] if name in exchange.headers else []
        kind = exchange.headers.get(_CONTENT, b"").lower()
        if not echo and not kind.startswith(TRITON.encode()):
            return exchange

        def done(status: int, body: bytes | bytearray, headers: Headers) -> None:
            if length := dict(headers).get(HEADER_LENGTH):
                rest_of = [pair for pair in headers if pair[0] != "content-type"]
                headers = [*rest_of, ("content-type", f"{TRITON};json-header-size={length}")]
            exchange.answer(status, body, [*headers, *echo])

        return Relay(exchange.method, exchange.path, exchange.headers, exchange.body, done)
