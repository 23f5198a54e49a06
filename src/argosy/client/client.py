"""`Client` and `AsyncClient`: predictions over HTTP from any server of the Open Inference Protocol v2."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, Self, TypeVar

import httpx

from argosy.client.address import Address, model_path, parse
from argosy.client.metadata import Metadata
from argosy.client.session import Call, Flow, Pause, Refused, Reply, Session
from argosy.protocol.rest import Parameter, Response
from argosy.spec.errors import ArgosyError, DeadlineExceeded, InvalidArgument, Unavailable
from argosy.spec.tensor import Tensor

T = TypeVar("T")


class _Base:
    """What both clients have: the session, and which model is meant."""

    def __init__(self, url: str, key: str | None, timeout: float) -> None:
        if timeout <= 0:
            raise InvalidArgument("timeout must be above 0 seconds")
        self.address = parse(url)
        self._session = Session(self.address, key, timeout)

    def _model(self, model: str | None) -> str:
        if found := model or self.address.model:
            return found
        raise InvalidArgument("say which model: predict('NAME', x), or a URL that ends in /v2/models/NAME/infer")

    def _version(self, version: str | int | None) -> str | None:
        return str(version) if version is not None else self.address.version or None


class Client(_Base):
    """Sends rows and tensors to one server.

    `url` is the base of the server, a whole `…/v2/models/NAME/infer` (then methods need no model; pass None), or
    `unix:/path/of.sock`. `timeout` is how many seconds the server may stay silent, and how long tries go on. `verify`
    is the CA file of a server with a private certificate; SSL_CERT_FILE names one as well. Refused connections and 503
    with Retry-After are tried again, nothing else is. Errors are those of `argosy.spec.errors`. May be used from
    several threads.
    """

    def __init__(self, url: str, key: str | None = None, timeout: float = 60.0, *, verify: str | bool = True) -> None:
        super().__init__(url, key, timeout)
        transport = httpx.HTTPTransport(uds=self.address.socket) if self.address.socket else None
        self._http = httpx.Client(transport=transport, **_options(self.address, timeout, verify))

    def predict(self, model: str | None, x: Any, version: str | int | None = None, binary: bool = True) -> Any:
        """Answers for `x`: an array, nested lists, a dict of columns, a list of rows, or a data frame.

        Returns the output's array, or a dict of arrays by name where the model has several, as the model loaded by
        `argosy.load` does. BYTES are object arrays of `bytes`.
        """
        return self._run(self._session.predict(self._model(model), x, self._version(version), binary))

    def infer(
        self,
        model: str | None,
        tensors: Sequence[Tensor],
        version: str | int | None = None,
        *,
        outputs: Sequence[str] = (),
        parameters: Mapping[str, Parameter] | None = None,
        id: str | None = None,
        binary: bool = True,
    ) -> Response:
        """One inference request with these tensors; `outputs` names the ones wanted (none: all)."""
        flow = self._session.infer(
            self._model(model),
            tensors,
            self._version(version),
            outputs=outputs,
            parameters=parameters,
            id=id,
            binary=binary,
        )
        return self._run(flow)

    def feedback(self, model: str | None, labels: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Say what turned out to be true: labels by request id, or a list of `{"request_id", "label"}` with, as needed,
        `row` (of the request, from 0), `time` (ISO 8601 or seconds since 1970), `version` and `source`; 10,000 at most.

        Returns `{"taken": how many, "refused": [{"index", "reason"}]}`. May be sent again: that changes nothing.
        """
        return self._run(self._session.feedback(self._model(model), labels))

    def metadata(self, model: str | None = None, version: str | int | None = None) -> Metadata:
        """Versions and tensors of a model."""
        return self._run(self._session.metadata(self._model(model), self._version(version)))

    def live(self) -> bool:
        """Whether the server runs."""
        return self._run(self._session.healthy("/v2/health/live"))

    def ready(self, model: str | None = None, version: str | int | None = None) -> bool:
        """Whether the server, or a model of it, takes work."""
        return self._run(self._session.healthy(_ready_path(model or self.address.model, self._version(version))))

    def server(self) -> dict[str, Any]:
        """Name, version and extensions of the server."""
        return self._run(self._session.server())

    def models(self) -> list[dict[str, Any]]:
        """The server's repository index."""
        return self._run(self._session.models())

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, flow: Flow[T]) -> T:
        try:
            step = next(flow)
            while True:
                step = flow.send(self._send(step) if isinstance(step, Call) else time.sleep(step.seconds))
        except StopIteration as end:
            return end.value

    def _send(self, call: Call) -> Reply | Refused:
        try:
            answer = self._http.request(call.method, call.path, content=call.body, headers=call.headers)
        except httpx.TransportError as error:
            return _failed(error, call, self.address)
        return Reply(answer.status_code, answer.headers, answer.content)


class AsyncClient(_Base):
    """`Client` for asyncio: the same methods, awaited."""

    def __init__(self, url: str, key: str | None = None, timeout: float = 60.0, *, verify: str | bool = True) -> None:
        super().__init__(url, key, timeout)
        transport = httpx.AsyncHTTPTransport(uds=self.address.socket) if self.address.socket else None
        self._http = httpx.AsyncClient(transport=transport, **_options(self.address, timeout, verify))

    async def predict(self, model: str | None, x: Any, version: str | int | None = None, binary: bool = True) -> Any:
        """See `Client.predict`."""
        return await self._run(self._session.predict(self._model(model), x, self._version(version), binary))

    async def infer(
        self, model: str | None, tensors: Sequence[Tensor], version: str | int | None = None, **options: Any
    ) -> Response:
        """See `Client.infer`."""
        return await self._run(self._session.infer(self._model(model), tensors, self._version(version), **options))

    async def feedback(
        self, model: str | None, labels: Mapping[str, Any] | Sequence[Mapping[str, Any]]
    ) -> dict[str, Any]:
        """See `Client.feedback`."""
        return await self._run(self._session.feedback(self._model(model), labels))

    async def metadata(self, model: str | None = None, version: str | int | None = None) -> Metadata:
        """See `Client.metadata`."""
        return await self._run(self._session.metadata(self._model(model), self._version(version)))

    async def live(self) -> bool:
        """See `Client.live`."""
        return await self._run(self._session.healthy("/v2/health/live"))

    async def ready(self, model: str | None = None, version: str | int | None = None) -> bool:
        """See `Client.ready`."""
        return await self._run(self._session.healthy(_ready_path(model or self.address.model, self._version(version))))

    async def server(self) -> dict[str, Any]:
        """See `Client.server`."""
        return await self._run(self._session.server())

    async def models(self) -> list[dict[str, Any]]:
        """See `Client.models`."""
        return await self._run(self._session.models())

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _run(self, flow: Flow[T]) -> T:
        try:
            step: Call | Pause = next(flow)
            while True:
                if isinstance(step, Call):
                    step = flow.send(await self._send(step))
                else:
                    await asyncio.sleep(step.seconds)
                    step = flow.send(None)
        except StopIteration as end:
            return end.value

    async def _send(self, call: Call) -> Reply | Refused:
        try:
            answer = await self._http.request(call.method, call.path, content=call.body, headers=call.headers)
        except httpx.TransportError as error:
            return _failed(error, call, self.address)
        return Reply(answer.status_code, answer.headers, answer.content)


def _options(address: Address, timeout: float, verify: str | bool) -> dict[str, Any]:
    """Settings of either httpx client; loopback never goes through a proxy."""
    return {
        "base_url": address.base,
        "timeout": httpx.Timeout(timeout, connect=min(timeout, 5.0)),
        "verify": _trust(address, verify),
        "trust_env": not address.loopback,
    }


def _trust(address: Address, verify: str | bool) -> Any:
    """What is trusted: a CA file, else what SSL_CERT_FILE and SSL_CERT_DIR name, else the usual authorities."""
    import ssl

    if verify is False or (verify is True and address.base.startswith("http://")):
        return False
    try:
        return httpx.create_ssl_context() if verify is True else ssl.create_default_context(cafile=verify)
    except OSError as error:
        source = verify if isinstance(verify, str) else "what SSL_CERT_FILE or SSL_CERT_DIR names"
        raise InvalidArgument(f"the CA file cannot be used: {source}: {error}") from None


def _ready_path(model: str, version: str | None) -> str:
    return model_path(model, version, "ready") if model else "/v2/health/ready"


def _reason(error: httpx.TransportError) -> str:
    told = str(error) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" not in told:
        return told
    return f"{told}. Name the file of its CA with the variable SSL_CERT_FILE, or Client(…, verify=FILE)"


def _failed(error: httpx.TransportError, call: Call, address: Address) -> Refused:
    """What a transport error means: only a connection that was never made may be tried again."""
    where = (address.socket or address.base) + call.path
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return Refused(_reason(error))
    if call.path.endswith(("/live", "/ready")):
        return Refused(str(error))
    failure: ArgosyError
    if isinstance(error, httpx.TimeoutException):
        failure = DeadlineExceeded(f"{where} did not answer in time")
    else:
        failure = Unavailable(f"the connection to {where} broke: {error or type(error).__name__}")
    raise failure from None
