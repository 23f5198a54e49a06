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
from argosy.client.metadata import Metadata
from argosy.packaging.prediction import Prediction, prediction
from argosy.packaging.rows import to_tensors
from argosy.protocol import rest
from argosy.spec.errors import Internal, InvalidArgument, NotFound, Unavailable
from argosy.spec.strict import parse
from argosy.spec.tensor import Tensor

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
    tidy: dict[str, Any] = {key: str(found[key]) for key in _RESPONSE if found.get(key) is not None}
    tidy["parameters"] = _scalars(found.get("parameters"))
    tidy["outputs"] = [
        {key: one[key] for key in _OUTPUT if one.get(key) is not None} | {"parameters": _scalars(one.get("parameters"))}
        for one in cast("list[dict[str, Any]]", [one for one in cast("list[Any]", outputs) if isinstance(one, dict)])
    ]
    return msgspec.json.encode(tidy)


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

    def __init__(self, addresses: Sequence[Address], key: str | None, timeout: float) -> None:
        self.address, *_ = addresses
        self._where = " or ".join(each.socket or each.base for each in addresses)
        self.timeout = timeout
        self.headers = {"authorization": f"Bearer {key}"} if key else {}
        self._metadata: dict[tuple[str, str], Metadata] = {}
        self._binary: bool | None = None

    def predict(
        self,
        model: str | None,
        x: Any,
        version: str | int | None = None,
        binary: bool = True,
        outputs: Sequence[str] = (),
    ) -> Flow[Prediction]:
        """Answers for `x`: an array, nested lists, a dict of columns, a list of rows, a data frame, or one row: a dict
        of values.

        Returns a dict of arrays by output name, as the model loaded by `argosy.load` does; `outputs` as for `infer`.
        """
        key = self._key(model, version)
        known = key in self._metadata
        found = yield from self.metadata(model, version)
        try:
            tensors = to_tensors(x, found.inputs)
            response = yield from self.infer(model, tensors, version, outputs=outputs, binary=binary)
        except InvalidArgument:  # perhaps by metadata that is no longer true: it is read again, once
            self._metadata.pop(key, None)
            if not known or (again := (yield from self.metadata(model, version))) == found:
                raise
            tensors = to_tensors(x, again.inputs)
            response = yield from self.infer(model, tensors, version, outputs=outputs, binary=binary)
        answer = prediction(response.tensors, found.outputs)
        answer.class_names |= rest.decode_classes(response)  # of the version that answered
        return answer

    def infer(
        self,
        model: str | None,
        tensors: Sequence[Tensor],
        version: str | int | None = None,
        *,
        outputs: Sequence[str] = (),
        parameters: Mapping[str, rest.Parameter] | None = None,
        id: str | None = None,
        binary: bool = True,
    ) -> Flow[rest.Response]:
        """One inference request with these tensors; `outputs` names the ones wanted (none: all but the optional ones).
        Binary is used where the server says that it can."""
        path = model_path(*self._key(model, version), "infer")
        binary = binary and (yield from self._speaks_binary())
        wanted = [rest.Output(name, {"binary_data": True} if binary else {}) for name in outputs]
        body, length = rest.encode_request(rest.Request(list(tensors), id, dict(parameters or {}), wanted), binary)
        headers = {"content-type": rest.JSON if length is None else rest.OCTETS}
        if length is not None:
            headers["inference-header-content-length"] = str(length)
        answer = yield from self._call(Call("POST", path, body, headers))
        size = rest.parse_header_length(answer.headers.get(rest.HEADER_LENGTH), len(answer.body))
        try:
            return decode_response(answer.body, size)
        except InvalidArgument as error:
            raise Internal(f"{self.address.base}{path}: {error.message}") from None

    def feedback(
        self, model: str | None, labels: Mapping[str, Any] | Sequence[Mapping[str, Any]]
    ) -> Flow[dict[str, Any]]:
        """Say what turned out to be true: labels by request id, or a list of `{"request_id", "label"}` with, as needed,
        `row` (of the request, from 0), `time` (ISO 8601 or seconds since 1970), `version` and `source`; 10,000 at most.

        Returns `{"taken": how many, "refused": [{"index", "reason"}]}`. May be sent again: that changes nothing.
        """
        if isinstance(labels, Mapping):
            labels = [{"request_id": id, "label": label} for id, label in labels.items()]
        path = model_path(self._key(model, None)[0], None, "feedback")
        try:
            body = msgspec.json.encode({"labels": labels}, enc_hook=_scalar)
        except TypeError as error:
            raise InvalidArgument(f"labels are numbers, texts and truth values: {error}") from None
        return (yield from self._json(Call("POST", path, body, {"content-type": rest.JSON}), dict[str, Any]))

    def metadata(self, model: str | None = None, version: str | int | None = None) -> Flow[Metadata]:
        """Versions and tensors of a model; read once."""
        key = self._key(model, version)
        if key not in self._metadata:
            path = model_path(*key)
            answer = yield from self._call(Call("GET", path))
            self._metadata[key] = models.parse(answer.body, self.address.base + path)
        return self._metadata[key]

    def server(self) -> Flow[dict[str, Any]]:
        """Name, version and extensions of the server."""
        return (yield from self._json(Call("GET", "/v2"), dict[str, Any]))

    def models(self) -> Flow[list[dict[str, Any]]]:
        """The server's repository index: name, version, state and reason of each model."""
        return (yield from self._json(Call("POST", "/v2/repository/index"), list[dict[str, Any]]))

    def live(self) -> Flow[bool]:
        """Whether the server runs."""
        return (yield from self._healthy("/v2/health/live"))

    def ready(self, model: str | None = None, version: str | int | None = None) -> Flow[bool]:
        """Whether the server, or a model of it, takes work."""
        named = model or self.address.model
        path = model_path(*self._key(named, version), "ready") if named else "/v2/health/ready"
        return (yield from self._healthy(path))

    def _key(self, model: str | None, version: str | int | None) -> tuple[str, str]:
        """The model and version that are meant: those of the URL unless others are given."""
        if not (found := model or self.address.model):
            raise InvalidArgument("say which model: predict('NAME', x), or a URL that ends in /v2/models/NAME/infer")
        return found, str(version) if version is not None else self.address.version

    def _healthy(self, path: str) -> Flow[bool]:
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

    def _json(self, call: Call, kind: type[T]) -> Flow[T]:
        answer = yield from self._call(call)
        where = f"{self.address.base}{call.path}"
        return parse(answer.body, kind, f"{where} answered something that cannot be read", Internal)

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
        return Unavailable(f"nothing answers at {self._where}: {reason}")


def _scalar(value: Any) -> Any:
    """Numbers of numpy, Torch and pandas as those of Python."""
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{type(value).__name__} is none")
