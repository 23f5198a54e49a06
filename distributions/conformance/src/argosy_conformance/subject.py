"""The server under judgement: what it says about itself, and valid requests made from that."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, cast
from urllib.parse import quote

import msgspec

from argosy_conformance import rest
from argosy_conformance.check import Failed, Mode, Need, Skipped
from argosy_conformance.expect import ok, that
from argosy_conformance.rest import Outputs
from argosy_conformance.rpc import Rpc
from argosy_conformance.tensors import DATATYPES, Tensor, made
from argosy_conformance.transport import Answer, Transport

FREE = (1, 2, 3, 8, 16, 224)
"""Sizes tried for the free axes after the first, until the model takes the request."""


class Port(msgspec.Struct, frozen=True):
    """A declared input or output."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class Subject:
    """A server by its addresses, and the model that general checks use."""

    def __init__(
        self,
        http: Transport,
        rpc: Rpc | None = None,
        *,
        model: str | None = None,
        mode: Mode = "",
        disruptive: bool = False,
        drain: Callable[[], None] | None = None,
        rows: list[Any] | None = None,
        routes: Mapping[str, str] | None = None,
        models: Sequence[str] = (),
        runtime_api: object = None,
    ) -> None:
        self.http = http
        self.maybe_rpc = rpc
        self.chosen = model
        self.mode: Mode = mode
        self.disruptive = disruptive
        self.drain = drain
        self.rows_given = rows
        self.routes = dict(routes or {})
        self.models_given = tuple(models)
        self.runtime_api = runtime_api
        self._known: dict[str, dict[str, Any] | None] = {}

    @property
    def rpc(self) -> Rpc:
        """The gRPC side; Skipped without an address."""
        if self.maybe_rpc is None:
            raise Skipped("no gRPC address was given (--grpc HOST:PORT)")
        return self.maybe_rpc

    def require(self, needs: tuple[Need, ...]) -> None:
        """Raise Skipped unless the server has what a check needs."""
        for need in needs:
            if need == "model":
                _ = self.sample
            elif need == "grpc":
                _ = self.rpc
            elif need == "binary" and not self.binary:
                raise Skipped("binary_tensor_data is not advertised, and a binary request was refused")
            elif need == "repository" and self.index is None:
                raise Skipped("POST /v2/repository/index does not answer 200")
            elif need == "disruption" and not self.disruptive:
                raise Skipped("would unload or reload models: allow it with --disruptive")
            elif need == "models" and not self.models_given:
                raise Skipped("needs places of models, as the server sees them: give them with --place")
            elif need == "single" and self.models_given:
                raise Skipped("a multi-model endpoint has other paths")
            elif need == "drain" and self.drain is None:
                raise Skipped("would end the server, and needs its process: give it with --pid")

    @cached_property
    def extensions(self) -> tuple[str, ...]:
        """What server metadata advertises."""
        answer = self.http.get("/v2")
        listed = answer.object().get("extensions") if answer.status == 200 else None
        return tuple(map(str, cast("list[Any]", listed))) if isinstance(listed, list) else ()

    @cached_property
    def index(self) -> list[dict[str, Any]] | None:
        """The repository index, or None where there is none."""
        answer = self.http.send("POST", "/v2/repository/index")
        if answer.status != 200:
            answer = self.http.post("/v2/repository/index", {})
        if answer.status != 200:
            return None
        value = answer.json()
        return cast("list[dict[str, Any]]", value) if isinstance(value, list) else None

    @cached_property
    def model(self) -> str:
        """The model named by the user, or else the first of the index, identity models last."""
        if self.chosen:
            return self.chosen
        names = [str(entry.get("name")) for entry in self.index or []]
        names.sort(key=lambda name: name.startswith(("identity_", "slow")))
        if not names:
            raise Skipped("no model was named (--model), and the repository index lists none")
        return names[0]

    def path(self, model: str | None = None, version: str | None = None, tail: str = "/infer") -> str:
        """The path of a model; names are percent-encoded as `tritonclient` does."""
        middle = f"/versions/{quote(version)}" if version else ""
        return f"/v2/models/{quote(model or self.model)}{middle}{tail}"

    def metadata(self, model: str | None = None) -> dict[str, Any] | None:
        """A model's metadata, or None when the server does not know it."""
        name = model or self.model
        if name not in self._known:
            answer = self.http.get(self.path(name, tail=""))
            self._known[name] = answer.object() if answer.status == 200 else None
        return self._known[name]

    def version(self) -> str:
        """A version of `model`, from its metadata or from an answer. Skipped where the server has none."""
        listed = (self.metadata() or {}).get("versions")
        if isinstance(listed, list) and listed:
            return str(cast("list[Any]", listed)[-1])
        if found := self.ask(self.sample).model_version:
            return found
        raise Skipped(f"model '{self.model}' has no versions")

    def ports(self, side: str, model: str | None = None) -> list[Port]:
        """The declared inputs or outputs but those that are optional. Skipped where the server declares none."""
        listed = [
            item
            for item in (self.metadata(model) or {}).get(side) or ()
            if not (isinstance(item, dict) and (item.get("parameters") or {}).get("optional"))
        ]
        if not listed:
            raise Skipped(f"model '{model or self.model}' declares no {side} in its metadata")
        try:
            return msgspec.convert(
                [{k: item.get(k) for k in ("name", "datatype", "shape")} for item in listed], list[Port]
            )
        except (msgspec.ValidationError, AttributeError) as error:
            raise Skipped(f"model '{model or self.model}': its {side} cannot be read: {error}") from None

    @cached_property
    def sample(self) -> list[Tensor]:
        """Two rows of valid input for `model`, by its signature. Skipped when the model takes none that we can make."""
        seen = "nothing was tried"
        for free in FREE:
            inputs = self._filled(free, rows=2, seed=0)
            answer = self.http.post(self.path(), rest.json_body(inputs))
            if answer.status == 200:
                self.free = free
                return inputs
            seen = answer.seen()
            if all(axis != -1 for port in self.ports("inputs") for axis in port.shape[1:]):
                break
        raise Skipped(f"model '{self.model}' refuses the input made from its signature: {seen}")

    def rows(self, seed: int, rows: int = 1) -> list[Tensor]:
        """Valid input whose values depend on `seed`."""
        _ = self.sample
        return self._filled(self.free, rows=rows, seed=seed)

    def _filled(self, free: int, *, rows: int, seed: int) -> list[Tensor]:
        return [
            made(
                port.name,
                port.datatype,
                [axis if axis >= 0 else (rows if place == 0 else free) for place, axis in enumerate(port.shape)],
                seed,
            )
            for port in self.ports("inputs")
            if self._makeable(port)
        ]

    def _makeable(self, port: Port) -> bool:
        if port.datatype not in DATATYPES or port.datatype == "FP16":
            raise Skipped(f"input '{port.name}' is {port.datatype}, which has no JSON form")
        return True

    def ask(self, tensors: list[Tensor], *, model: str | None = None, **more: Any) -> Outputs:
        """One JSON inference."""
        return rest.read(self.http.post(self.path(model), rest.json_body(tensors, **more)))

    def ask_binary(self, tensors: list[Tensor], *, model: str | None = None, **more: Any) -> Outputs:
        """One inference with every input and output as bytes."""
        body, headers = rest.binary_body(tensors, **more)
        return rest.read(self.http.send("POST", self.path(model), body, headers))

    def judge(self, body: dict[str, Any], **headers: str) -> Answer:
        """POST a JSON body to the model, whatever comes back."""
        fields = {"content-type": "application/json", **headers}
        return self.http.send("POST", self.path(), msgspec.json.encode(body), fields)

    @cached_property
    def binary(self) -> bool:
        """Whether the server speaks the binary extension: it says so, or a request shows it."""
        if any(name.startswith("binary_tensor_data") for name in self.extensions):
            return True
        try:
            self.ask_binary(self.sample)
        except (Failed, Skipped):
            return False
        return True

    def identity(self, datatype: str, rank: int = 2) -> tuple[str, str, str]:
        """The identity model of a datatype that takes this rank: its name, its input and its output."""
        base = f"identity_{datatype.lower()}"
        for name in (base, f"{base}_{rank}d"):
            if self.metadata(name) is None:
                continue
            [taken, *_], [given, *_] = self.ports("inputs", name), self.ports("outputs", name)
            if len(taken.shape) == rank and all(axis == -1 for axis in taken.shape):
                return name, taken.name, given.name
        raise Skipped(f"no model '{base}' (or '{base}_{rank}d') whose input is {datatype} {[-1] * rank}")

    def any_identity(self) -> tuple[str, str, str]:
        """The FP32 identity model of rank 2 or 1."""
        try:
            return self.identity("FP32", 2)
        except Skipped:
            return self.identity("FP32", 1)

    def alive(self) -> None:
        """After abuse: the server still answers a valid request. Raises Failed."""
        self.http.fresh()
        ok(self.http.get("/v2/health/live"))
        if self.chosen or self.index:
            that(self.ask(self.sample).tensors, "the server answers without outputs")
