"""`Client` and `AsyncClient`: predictions over HTTP from any server of the Open Inference Protocol v2."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import httpx

from argosy.client.address import Address, Turns, parse_all
from argosy.client.session import Call, Flow, Pause, Refused, Reply, Session
from argosy.spec.errors import ArgosyError, DeadlineExceeded, InvalidArgument, Unavailable

T = TypeVar("T")
P = ParamSpec("P")


class _Base:
    def __init__(self, url: str | Sequence[str], key: str | None, timeout: float) -> None:
        if timeout <= 0:
            raise InvalidArgument("timeout must be above 0 seconds")
        self._addresses = parse_all(url)
        self._turns = Turns(len(self._addresses))
        self.session = Session(self._addresses, key, timeout)

    def _lost(self, at: int, error: httpx.TransportError, call: Call) -> Refused | ArgosyError:
        self._turns.gone(at)
        return _failed(error, call, self._addresses[at])


def _sync(flow: Callable[Concatenate[Session, P], Flow[T]]) -> Callable[Concatenate["Client", P], T]:
    """A method of `Client` that drives this operation of the session."""

    @wraps(flow)
    def call(self: "Client", *args: P.args, **kwargs: P.kwargs) -> T:
        return self.run(flow(self.session, *args, **kwargs))

    return call


def _async(
    flow: Callable[Concatenate[Session, P], Flow[T]],
) -> Callable[Concatenate["AsyncClient", P], Coroutine[Any, Any, T]]:
    """A method of `AsyncClient` that drives this operation of the session."""

    @wraps(flow)
    async def call(self: "AsyncClient", *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.run(flow(self.session, *args, **kwargs))

    return call


class Client(_Base):
    """Sends rows and tensors to one server, or to the first of several that answers.

    `url` is the base of the server, a whole `…/v2/models/NAME/infer` (then methods need no model; pass None), or
    `unix:/path/of.sock`. Of several, as of regions, the first is asked. Where it refuses the connection, breaks it off
    or is silent, the next one is at once, and from then on; after half a minute the first is tried again. `timeout` is
    how many seconds a server may stay silent, and how long tries go on. `verify` is the CA file of a server with a
    private certificate; SSL_CERT_FILE names one as well. Refused connections and 503 with Retry-After are tried again
    at the same server, nothing else is. Errors are those of `argosy.spec.errors`. May be used from several threads.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        key: str | None = None,
        timeout: float = 60.0,
        *,
        verify: str | bool = True,
    ) -> None:
        super().__init__(url, key, timeout)
        self._http = [
            httpx.Client(
                transport=httpx.HTTPTransport(uds=each.socket) if each.socket else None,
                **_options(each, timeout, verify),
            )
            for each in self._addresses
        ]

    predict = _sync(Session.predict)
    infer = _sync(Session.infer)
    feedback = _sync(Session.feedback)
    metadata = _sync(Session.metadata)
    live = _sync(Session.live)
    ready = _sync(Session.ready)
    server = _sync(Session.server)
    models = _sync(Session.models)

    def close(self) -> None:
        for each in self._http:
            each.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, flow: Flow[T]) -> T:
        """Drive an operation of the session to its end."""
        try:
            step = next(flow)
            while True:
                step = flow.send(self._send(step) if isinstance(step, Call) else time.sleep(step.seconds))
        except StopIteration as end:
            return end.value

    def _send(self, call: Call) -> Reply | Refused:
        failure: Refused | ArgosyError = Refused("no answer")
        for at in self._turns.order():
            try:
                answer = self._http[at].request(call.method, call.path, content=call.body, headers=call.headers)
            except httpx.TransportError as error:
                failure = self._lost(at, error, call)
            else:
                self._turns.well(at)
                return Reply(answer.status_code, answer.headers, answer.content)
        if isinstance(failure, ArgosyError):
            raise failure
        return failure


class AsyncClient(_Base):
    """`Client` for asyncio: the same methods, awaited."""

    def __init__(
        self,
        url: str | Sequence[str],
        key: str | None = None,
        timeout: float = 60.0,
        *,
        verify: str | bool = True,
    ) -> None:
        super().__init__(url, key, timeout)
        self._http = [
            httpx.AsyncClient(
                transport=httpx.AsyncHTTPTransport(uds=each.socket) if each.socket else None,
                **_options(each, timeout, verify),
            )
            for each in self._addresses
        ]

    predict = _async(Session.predict)
    infer = _async(Session.infer)
    feedback = _async(Session.feedback)
    metadata = _async(Session.metadata)
    live = _async(Session.live)
    ready = _async(Session.ready)
    server = _async(Session.server)
    models = _async(Session.models)

    async def close(self) -> None:
        for each in self._http:
            await each.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def run(self, flow: Flow[T]) -> T:
        """Drive an operation of the session to its end."""
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
        failure: Refused | ArgosyError = Refused("no answer")
        for at in self._turns.order():
            try:
                answer = await self._http[at].request(call.method, call.path, content=call.body, headers=call.headers)
            except httpx.TransportError as error:
                failure = self._lost(at, error, call)
            else:
                self._turns.well(at)
                return Reply(answer.status_code, answer.headers, answer.content)
        if isinstance(failure, ArgosyError):
            raise failure
        return failure


def _options(address: Address, timeout: float, verify: str | bool) -> dict[str, Any]:
    """Settings of either httpx client; loopback never goes through a proxy."""
    return {
        "base_url": address.base,
        "timeout": httpx.Timeout(timeout, connect=min(timeout, 5.0)),
        "verify": _verification(address, verify),
        "trust_env": not address.loopback,
    }


def _verification(address: Address, verify: str | bool) -> Any:
    """What is trusted: a CA file, else what SSL_CERT_FILE and SSL_CERT_DIR name, else the usual authorities."""
    import ssl

    if verify is False or (verify is True and address.base.startswith("http://")):
        return False
    try:
        return httpx.create_ssl_context() if verify is True else ssl.create_default_context(cafile=verify)
    except OSError as error:
        source = verify if isinstance(verify, str) else "what SSL_CERT_FILE or SSL_CERT_DIR names"
        raise InvalidArgument(f"the CA file cannot be used: {source}: {error}") from None


def _failed(error: httpx.TransportError, call: Call, address: Address) -> Refused | ArgosyError:
    """What a transport error means: only a connection that was never made may be tried again at one address."""
    where = (address.socket or address.base) + call.path
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        reason = str(error) or type(error).__name__
        if "CERTIFICATE_VERIFY_FAILED" in reason:
            reason += ". Name the file of its CA with the variable SSL_CERT_FILE, or Client(…, verify=FILE)"
        return Refused(reason)
    if call.path.endswith(("/live", "/ready")):
        return Refused(str(error))
    if isinstance(error, httpx.TimeoutException):
        return DeadlineExceeded(f"{where} did not answer in time")
    return Unavailable(f"the connection to {where} broke: {error or type(error).__name__}")
