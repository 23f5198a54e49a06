"""Sends requests to an endpoint as fast as it answers: each connection its next request upon its last answer."""

import asyncio
import itertools
import time
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

import httptools
import msgspec
import numpy as np

from argosy.client.errors import from_answer
from argosy.protocol import rest
from argosy.spec.errors import DeadlineExceeded, Unavailable
from argosy.spec.tensor import Array, Tensor

ANSWER_SECONDS = 60.0


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """What was sent and came back: `outputs` of every row once, `latencies` in seconds of all requests."""

    outputs: dict[str, Array]
    latencies: list[float]
    seconds: float

    @property
    def per_second(self) -> float:
        """Requests answered in a second."""
        return len(self.latencies) / self.seconds

    def milliseconds(self, percent: float) -> float:
        """A percentile of the latencies."""
        return float(np.percentile(self.latencies, percent)) * 1000


class Answer(msgspec.Struct):
    """An HTTP answer as it arrives; header names in lower case."""

    status: int = 0
    headers: dict[str, str] = {}
    body: bytes = b""


class Connection(asyncio.Protocol):
    """One connection, kept open, with one request on its way at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self._parser = httptools.HttpResponseParser(self)
        self._answer = Answer()
        self._waiting: asyncio.Future[Answer] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """A part of an answer."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"the gateway sent no HTTP: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever waits gets no answer."""
        self._fail(f"the gateway closed a connection: {exc or 'no reason given'}")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header of the answer."""
        self._answer.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        """A part of its body."""
        self._answer.body += body

    def on_message_complete(self) -> None:
        """All of it is there."""
        self._answer.status = self._parser.get_status_code()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(self._answer)

    def _fail(self, reason: str) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(Unavailable(reason))

    async def exchange(self, message: bytes) -> Answer:
        """Send a whole request and wait for its answer, at most a minute. Raises Unavailable, DeadlineExceeded."""
        if self.transport.is_closing():
            raise Unavailable("the gateway closed a connection")
        self._answer = Answer()
        self._waiting = asyncio.get_running_loop().create_future()
        self.transport.write(message)
        try:
            return await asyncio.wait_for(self._waiting, ANSWER_SECONDS)
        except TimeoutError:
            self.transport.abort()
            raise DeadlineExceeded(f"no answer within {ANSWER_SECONDS:g} s") from None


class Round:
    """Messages that are sent in turn until each was sent and the time is over."""

    def __init__(self, messages: Sequence[bytes], seconds: float) -> None:
        self._messages, self._seconds = messages, seconds
        self._start = time.perf_counter()
        self.answers: dict[int, Answer] = {}
        self.latencies: list[float] = []

    def numbers(self) -> Iterator[int]:
        """The messages by their number, from the first again after the last."""
        for number in itertools.count():
            if number >= len(self._messages) and time.perf_counter() > self._start + self._seconds:
                return
            yield number % len(self._messages)

    async def keep_busy(self, connection: Connection, numbers: Iterator[int]) -> None:
        """Take numbers until there are no more. Raises the error of an answer that is no success."""
        for number in numbers:
            sent = time.perf_counter()
            answer = await connection.exchange(self._messages[number])
            self.latencies.append(time.perf_counter() - sent)
            if answer.status != 200:
                raise from_answer(answer.status, answer.body, "the endpoint")
            self.answers.setdefault(number, answer)

    async def over(self, connections: Sequence[Connection]) -> Traffic:
        """All of it, over these connections."""
        numbers = self.numbers()
        await asyncio.gather(*(self.keep_busy(connection, numbers) for connection in connections))
        took = time.perf_counter() - self._start
        outputs = joined([self.answers[number] for number in range(len(self._messages))])
        return Traffic(outputs=outputs, latencies=self.latencies, seconds=took)


async def send(
    url: str, key: str, requests: Sequence[Sequence[Tensor]], *, binary: bool, connections: int, seconds: float
) -> Traffic:
    """Send all requests, and go on with them from the first until `seconds` have passed.

    `url` is an endpoint's, `http://…/v2/models/NAME/infer`. Raises the error of the first answer that is no success,
    and Unavailable where a connection breaks.
    """
    place = urlsplit(url)
    messages = [message(url, key, tensors, binary) for tensors in requests]
    loop = asyncio.get_running_loop()
    opened: list[Connection] = []
    try:
        while len(opened) < connections:
            opened.append((await loop.create_connection(Connection, place.hostname or "", place.port or 80))[1])
        return await Round(messages, seconds).over(opened)
    except OSError as error:
        raise Unavailable(f"the gateway does not answer at {place.netloc}: {error}") from None
    finally:
        for connection in opened:
            connection.transport.close()


def message(url: str, key: str, tensors: Sequence[Tensor], binary: bool) -> bytes:
    """An inference request as it goes over the wire."""
    place = urlsplit(url)
    body, length = rest.encode_request(rest.Request(list(tensors)), binary)
    lines = [
        f"POST {place.path} HTTP/1.1",
        f"host: {place.netloc}",
        f"authorization: Bearer {key}",
        f"content-type: {rest.JSON if length is None else rest.OCTETS}",
        f"content-length: {len(body)}",
        *([] if length is None else [f"{rest.HEADER_LENGTH}: {length}"]),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def joined(answers: Sequence[Answer]) -> dict[str, Array]:
    """The outputs of all answers by name, their rows one after the other."""
    parts: dict[str, list[Array]] = {}
    for answer in answers:
        length = rest.parse_header_length(answer.headers.get(rest.HEADER_LENGTH), len(answer.body))
        for one in rest.decode_response(answer.body, length).tensors:
            parts.setdefault(one.name, []).append(one.array)
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}
