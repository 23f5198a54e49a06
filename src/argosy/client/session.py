"""The operations of a client, without input or output: generators that yield calls and are sent answers.

`Client` and `AsyncClient` drive the same generators over their own transport.
"""

import time
from collections.abc import Generator, Mapping, Sequence
from random import random
from typing import Any, TypeVar, cast

import msgspec

from argosy.client import metadata as models
from argosy.client.address import Address, model_path
from argosy.client.errors import from_answer
from argosy.client.inputs import to_tensors
from argosy.client.metadata import Metadata
from argosy.protocol import rest
from argosy.spec.errors import Internal, InvalidArgument, NotFound, Unavailable
from argosy.spec.tensor import Array, Tensor

_RESPONSE = ("model_name", "model_version", "id")
_OUTPUT = ("name", "shape", "datatype", "data")


def decode_response(body: bytes, header_length: int | None = None) -> rest.Response:
    """`rest.decode_response`, and once more on a tidied copy of the JSON part. Raises InvalidArgument."""
    try:
        return rest.decode_response(body, header_length)
    except InvalidArgument:
        cut = len(body) if header_length is None else header_length
        text = _tidied(body[:cut])
        if text is None:
            raise
        return rest.decode_response(text + body[cut:], None if header_length is None else len(text))


def _tidied(text: bytes) -> bytes | None:
    """The JSON part with what the strict form knows; None where it is no response at all."""
    try:
        found = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    outputs = found.get("outputs")
    if not isinstance(outputs, list):
        return None
    tidy = {key: str(found[key]) for key in _RESPONSE if found.get(key) is not None}
    return msgspec.json.encode(
        tidy
        | {"parameters": _scalars(found.get("parameters"))}
        | {
            "outputs": [
                _output(cast("dict[str, Any]", one)) for one in cast("list[Any]", outputs) if isinstance(one, dict)
            ]
        }
    )


def _output(found: dict[str, Any]) -> dict[str, Any]:
    kept = {key: found[key] for key in _OUTPUT if found.get(key) is not None}
    return kept | {"parameters": _scalars(found.get("parameters"))}


def _scalars(parameters: Any) -> dict[str, Any]:
    if not isinstance(parameters, dict):
        return {}
    named = cast("dict[str, Any]", parameters)
    return {key: value for key, value in named.items() if isinstance(value, str | int | float | bool)}


ATTEMPTS = 4
FIRST_WAIT = 0.1
LONGEST_WAIT = 10.0


def wait_before(attempt: int, retry_after: float | None, left: float, jitter: float) -> float | None:
    """Seconds to wait before try number `attempt` + 1, or None to give up.

    `attempt` counts the tries made; `retry_after` is what the server asked for (None: the connection was refused);
    `left` is what remains of the caller's time; `jitter` is random in [0, 1). Never more than `ATTEMPTS` tries, and
    never a wait that the caller's time does not cover.
    """
    if attempt >= ATTEMPTS:
        return None
    base = FIRST_WAIT * 2.0 ** (attempt - 1) if retry_after is None else retry_after
    if base > LONGEST_WAIT:
        return None
    wait = base * (0.5 + jitter) if retry_after is None else base * (1.0 + jitter / 4) + FIRST_WAIT * jitter
    return wait if wait < left else None


def parse_retry_after(value: str | None) -> float | None:
    """The seconds of a Retry-After header; None for a date, nonsense or no header."""
    try:
        seconds = float(value) if value is not None else -1.0
    except ValueError:
        return None
    return seconds if 0 <= seconds < 1e6 else None


T = TypeVar("T")


class Call(msgspec.Struct, frozen=True):
    """One HTTP request to make. `path` starts with `/v2`."""

    method: str
    path: str
    body: bytes = b""
    headers: dict[str, str] = {}


class Pause(msgspec.Struct, frozen=True):
    """Seconds to wait."""

    seconds: float


class Reply(msgspec.Struct, frozen=True):
    """What came back: header names in lower case, the body decoded."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Refused(msgspec.Struct, frozen=True):
    """Nobody accepted the connection, so nothing was sent."""

    reason: str


Flow = Generator[Call | Pause, Reply | Refused | None, T]


class Session:
    """What a client knows of its server: address, key, and the metadata it has read."""

    def __init__(self, address: Address, key: str | None, timeout: float) -> None:
        self.address = address
        self.timeout = timeout
        self.headers = {"authorization": f"Bearer {key}"} if key else {}
        self._metadata: dict[tuple[str, str], Metadata] = {}
        self._binary: bool | None = None

    def predict(self, model: str, x: Any, version: str | None, binary: bool) -> Flow[Any]:
        """Convert by the model's metadata, infer, and name the arrays. Stale metadata is read again once."""
        known = (model, version or "") in self._metadata
        found = yield from self.metadata(model, version)
        try:
            tensors = to_tensors(x, found.inputs)
            response = yield from self.infer(model, tensors, version, binary=binary)
        except InvalidArgument:
            self._metadata.pop((model, version or ""), None)
            if not known or (yield from self.metadata(model, version)) == found:
                raise
            response = yield from self.predict_once(model, x, version, binary)
        return named(response)

    def predict_once(self, model: str, x: Any, version: str | None, binary: bool) -> Flow[rest.Response]:
        """Convert and infer, by the metadata as it is now."""
        found = yield from self.metadata(model, version)
        return (yield from self.infer(model, to_tensors(x, found.inputs), version, binary=binary))

    def infer(
        self,
        model: str,
        tensors: Sequence[Tensor],
        version: str | None = None,
        *,
        outputs: Sequence[str] = (),
        parameters: Mapping[str, rest.Parameter] | None = None,
        id: str | None = None,
        binary: bool = True,
    ) -> Flow[rest.Response]:
        """Send tensors as they are. Binary is used where the server says that it can."""
        binary = binary and (yield from self._speaks_binary())
        wanted = [rest.Output(name, {"binary_data": True} if binary else {}) for name in outputs]
        body, length = rest.encode_request(rest.Request(list(tensors), id, dict(parameters or {}), wanted), binary)
        headers = {"content-type": rest.JSON if length is None else rest.OCTETS}
        if length is not None:
            headers["inference-header-content-length"] = str(length)
        path = model_path(model, version, "infer")
        answer = yield from self._call(Call("POST", path, body, headers))
        size = rest.parse_header_length(answer.headers.get(rest.HEADER_LENGTH), len(answer.body))
        try:
            return decode_response(answer.body, size)
        except InvalidArgument as error:
            raise Internal(f"{self.address.base}{path}: {error.message}") from None

    def feedback(self, model: str, labels: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> Flow[dict[str, Any]]:
        """Say what turned out to be true."""
        if isinstance(labels, Mapping):
            labels = [{"request_id": id, "label": label} for id, label in labels.items()]
        path = model_path(model, None, "feedback")
        try:
            body = msgspec.json.encode({"labels": labels}, enc_hook=_scalar)
        except TypeError as error:
            raise InvalidArgument(f"labels are numbers, texts and truth values: {error}") from None
        answer = yield from self._call(Call("POST", path, body, {"content-type": rest.JSON}))
        return _json(answer.body, dict[str, Any], f"{self.address.base}{path}")

    def metadata(self, model: str, version: str | None) -> Flow[Metadata]:
        """The model's metadata, read once."""
        key = (model, version or "")
        if key not in self._metadata:
            path = model_path(model, version)
            answer = yield from self._call(Call("GET", path))
            self._metadata[key] = models.parse(answer.body, self.address.base + path)
        return self._metadata[key]

    def server(self) -> Flow[dict[str, Any]]:
        """`GET /v2`: name, version, extensions."""
        answer = yield from self._call(Call("GET", "/v2"))
        return _json(answer.body, dict[str, Any], f"{self.address.base}/v2")

    def models(self) -> Flow[list[dict[str, Any]]]:
        """`POST /v2/repository/index`: name, version, state and reason of each model."""
        answer = yield from self._call(Call("POST", "/v2/repository/index"))
        return _json(answer.body, list[dict[str, Any]], f"{self.address.base}/v2/repository/index")

    def healthy(self, path: str) -> Flow[bool]:
        """Whether a health path answers 200; never raises for a server that is away."""
        answer = yield Call("GET", path, b"", self.headers)
        return isinstance(answer, Reply) and answer.status == 200

    def _speaks_binary(self) -> Flow[bool]:
        """Whether the server advertises binary tensors; asked once."""
        if self._binary is None:
            try:
                found = yield from self.server()
                self._binary = "binary_tensor_data" in (found.get("extensions") or ())
            except (NotFound, Internal):
                self._binary = False
        return self._binary

    def _call(self, call: Call) -> Flow[Reply]:
        """Make a call, again where `retry` allows; raise for an answer that is no success."""
        call = msgspec.structs.replace(call, headers={**call.headers, **self.headers})
        started = time.monotonic()
        attempt = 0
        while True:
            attempt += 1
            outcome = yield call
            if isinstance(outcome, Reply) and outcome.status < 400:
                return outcome
            retry_after = parse_retry_after(outcome.headers.get("retry-after")) if isinstance(outcome, Reply) else None
            again = isinstance(outcome, Refused) or (
                isinstance(outcome, Reply) and outcome.status == 503 and retry_after is not None
            )
            left = self.timeout - (time.monotonic() - started)
            wait = wait_before(attempt, retry_after, left, random()) if again else None
            if wait is None:
                raise self._failure(call, outcome, retry_after)
            yield Pause(wait)

    def _failure(self, call: Call, outcome: Reply | Refused | None, retry_after: float | None) -> Exception:
        where = self.address.socket or self.address.base
        if isinstance(outcome, Reply):
            return from_answer(outcome.status, outcome.body, where + call.path, retry_after)
        reason = outcome.reason if outcome else "no answer"
        return Unavailable(f"nothing answers at {where}: {reason}")


def _scalar(value: Any) -> Any:
    """Numbers of numpy, Torch and pandas as those of Python."""
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{type(value).__name__} is none")


def named(response: rest.Response) -> Array | dict[str, Array]:
    """The array of the one output, or a dict of arrays by name, as `argosy.load(…).predict` gives them."""
    arrays = {tensor.name: tensor.array for tensor in response.tensors}
    return next(iter(arrays.values())) if len(arrays) == 1 else arrays


def _json(body: bytes, kind: type[T], where: str) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Internal(f"{where} answered something that cannot be read: {error}") from None
