"""A model as it is served: an engine behind a batcher, under a name and a version."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from argosy.engines.base import Engine
from argosy.protocol.bounds import RECORDED_ID, Bounds
from argosy.protocol.rest import Output, Request, Response, name_classes, refuse_shared
from argosy.serving.batcher import Batcher
from argosy.serving.counts import ReplicaCounts, Work
from argosy.serving.internal_headers import RECORD
from argosy.serving.job import Feeds, Job, Pieces
from argosy.serving.observer import BatchObserver, Watcher
from argosy.serving.predictions import Predictions
from argosy.serving.stats import Stats
from argosy.serving.trace import TraceContext, begin
from argosy.spec.endpoint import Runtime
from argosy.spec.errors import (
    ArgosyError,
    DeadlineExceeded,
    InvalidArgument,
    PayloadTooLarge,
    Unsupported,
    code_of,
    table,
)
from argosy.spec.matching import fit_inputs
from argosy.spec.signature import TensorSpec, check_inputs
from argosy.spec.tensor import Array, Tensor

if TYPE_CHECKING:
    from argosy.serving.answers import Answers
    from argosy.serving.recording import Recording
    from argosy.serving.tracer import Tracer
    from argosy.spec.language import LanguageModel

MOST_SCORES, MOST_CLASSES = 2**18, 2**16
"""Elements of an output that are sorted for one request, and classes answered: it is done on the event loop."""
FAULTS = frozenset(code for code, error in table().items() if error.http >= 500)
"""Errors that count against a model, and not against who asked."""
_UNSUPPORTED = ("sequence_id", "sequence_start", "sequence_end", "priority")
NO_HEADERS: Mapping[bytes, bytes] = {}
REQUEST_ID = b"x-request-id"
_RECORD = RECORD.encode()

Done = Callable[[Response | Exception], object]
Wanted = list[tuple[TensorSpec, int, int]]
"""Each output asked for, its place among the arrays that the engine gives, and its classification count (0: none)."""
_clock = time.perf_counter_ns


def request_id(headers: Mapping[bytes, bytes]) -> str:
    """The gateway's id of a request, as much as is recorded of it."""
    return headers.get(REQUEST_ID, b"")[:RECORDED_ID].decode("latin-1")


def classify(tensor: Tensor, count: int, batched: bool, classes: Sequence[str] = ()) -> Tensor:
    """The `count` largest elements of each row (of the whole tensor if not batched) as BYTES `score:index`, and
    `score:index:class` where the classes have names."""
    if tensor.datatype in ("BYTES", "BOOL", "BF16"):
        raise InvalidArgument(f"output '{tensor.name}' is {tensor.datatype}; classification needs numbers")
    height = tensor.shape[0] if batched else 1
    width = tensor.array.size // max(1, height)
    if tensor.array.size > MOST_SCORES or height * min(count, width) > MOST_CLASSES:
        raise PayloadTooLarge(
            f"output '{tensor.name}' has {tensor.array.size} elements; of at most {MOST_SCORES} classes are ranked, "
            f"and at most {MOST_CLASSES} of them: ask for fewer rows or classes"
        )
    rows = tensor.array.reshape(height, width)
    order = np.argsort(-rows.astype("f8"), axis=1, kind="stable")[:, :count]
    best = np.take_along_axis(rows, order, 1)
    found = np.empty(order.size, dtype=object)
    names = [f":{name}" for name in classes] if len(classes) == width else [""] * width
    pairs = zip(best.flat, order.flat, strict=True)
    found[:] = [f"{score:f}:{index}{names[index]}".encode() for score, index in pairs]
    found = found.reshape(order.shape)
    return Tensor(tensor.name, "BYTES", found if batched else found[0])


class ServedModel:
    """One version of one model, ready to answer. Made on the event loop by whoever loaded and checked the engine.
    `example`: inputs of one row, for its description; `language`: what is known of a language model."""

    def __init__(
        self,
        name: str,
        version: str,
        engine: Engine,
        runtime: Runtime,
        *,
        platform: str,
        inline: bool = False,
        call_ns: int = 0,
        example: Sequence[Tensor] = (),
        language: "LanguageModel | None" = None,
    ) -> None:
        self.name = name
        self.version = version
        self.platform = platform
        self.engine = engine
        self.signature = engine.signature
        self.runtime = runtime
        self.example = example
        self.language = language
        self.stats = Stats()
        self.inflight = 0
        self.idle: asyncio.Event | None = None
        self.predictions: Predictions | None = None
        self.answers: Answers | None = None
        self.recording: Recording | None = None
        self.tracer: Tracer | None = None
        self.batcher = Batcher(engine, runtime, self.stats, inline=inline, call_ns=call_ns)
        self.bounds = Bounds(self.signature, runtime.max_batch_size * runtime.max_queue_size, strict=runtime.strict)
        self._outputs = tuple((spec.name, spec.datatype) for spec in self.signature.outputs)
        self.parameters = name_classes(self.signature.outputs)
        self._places = {spec.name: place for place, spec in enumerate(self.signature.outputs)}
        self._inputs = tuple((spec.name, spec.datatype, spec.shape) for spec in self.signature.inputs)

    def watch(self, recording: "Recording | None" = None) -> None:
        """Count predictions from now on, and record what the recorder wants."""
        self.predictions = Predictions(self.signature)
        self.recording = recording
        watchers: list[Watcher] = [self.predictions.observe]
        if recording is not None:
            watchers.append(recording.observe)
        self.batcher.observer = BatchObserver(watchers)

    def trace(self, tracer: "Tracer") -> None:
        """Let sampled requests leave spans from now on."""
        self.tracer, self.batcher.traced = tracer, True

    def refused(self, error: Exception, headers: Mapping[bytes, bytes] = NO_HEADERS) -> None:
        """Record a request that could not be decoded."""
        if self.tracer is not None and (context := begin(headers)) is not None:
            context.error = str(error)
            self.tracer.end(context, self.name, self.version, request_id(headers), 0, _clock(), code_of(error))
        if self.recording is not None:
            self.recording.refused(request_id(headers), error)

    def counts(self) -> ReplicaCounts:
        """The counts since it was loaded; of predictions, since it is watched. Call it in the event loop's thread."""
        if self.batcher.observer is not None:
            self.batcher.observer.flush()
        stats = self.stats
        failed = sum(count for code, count in stats.failures.items() if code in FAULTS)
        work = Work(
            answered=stats.success + sum(stats.failures.values()),
            engine=stats.infer_ns / 1e9,
            loop=time.thread_time(),
            queued=self.batcher.queued,
        )
        return ReplicaCounts(
            work=work,
            requests=stats.success + failed,
            errors=failed,
            latency={place: count for place, count in enumerate(stats.latency) if count},
            outputs=self.predictions.counts if self.predictions else {},
        )

    def start(
        self,
        request: Request,
        timeout: float | None,
        done: Done,
        at_once: bool = False,
        headers: Mapping[bytes, bytes] = NO_HEADERS,
    ) -> "Call":
        """Begin to answer a request. `timeout`: seconds the caller still has, beside `parameters.timeout` (µs) and the
        limit of the runtime; the least counts. `headers` are those it came with. `done` is called once, on the event
        loop, with the response or the error, unless the call is cancelled; `at_once` as in `Batcher.submit`. Raises
        ArgosyError for what can be refused at once.
        """
        call = Call(self, request.id, done, headers)
        if self.tracer is not None:
            call.trace = begin(headers)
        try:
            feeds, rows = call.feeds, call.rows = self._feeds(request.tensors)
            limit = self.runtime.timeout if timeout is None else min(timeout, self.runtime.timeout)
            if request.parameters:
                limit = min(limit, _requested_timeout(request))
            if limit <= 0:
                raise DeadlineExceeded("the deadline passed before the request arrived")
            if request.outputs:
                call.wanted, call.more = self._wanted(request.outputs)
            call.work = self.batcher.submit(feeds, rows, limit, call.finish, at_once, call)
        except ArgosyError as error:
            call.close(error.code, error)
            raise
        return call

    async def infer(
        self, request: Request, timeout: float | None = None, headers: Mapping[bytes, bytes] = NO_HEADERS
    ) -> Response:
        """`start`, awaited: cancelling the task frees the request's place. Raises ArgosyError."""
        answers: list[Response | Exception] = []
        call = self.start(request, timeout, answers.append, True, headers)
        if not answers:
            answers.append(await self._wait(call))
        if isinstance(answers[0], Exception):
            raise answers[0]
        return answers[0]

    async def _wait(self, call: "Call") -> Response | Exception:
        """Apart from `infer`: a closure in it would make its variables slower."""
        future: asyncio.Future[Response | Exception] = asyncio.get_running_loop().create_future()
        call.then(future.set_result)
        try:
            return await future
        except asyncio.CancelledError:
            call.cancel()
            raise

    def leave(self) -> None:
        self.inflight -= 1
        if not self.inflight and self.idle is not None:
            self.idle.set()

    def answer(self, arrays: Sequence[Array], wanted: Wanted | None) -> list[Tensor]:
        """Engine outputs → the tensors asked for."""
        if wanted is None:
            return [
                Tensor(name, datatype, array) for (name, datatype), array in zip(self._outputs, arrays, strict=True)
            ]
        tensors: list[Tensor] = []
        for spec, position, count in wanted:
            tensor = Tensor(spec.name, spec.datatype, arrays[position])
            tensors.append(classify(tensor, count, self.signature.batched, spec.classes) if count else tensor)
        return tensors

    async def close(self) -> None:
        """Wait until every request taken is answered, then let the engine go. New requests must not come any more."""
        self.idle = asyncio.Event()
        if self.inflight:
            await self.idle.wait()
        self.batcher.close()
        await self.batcher.ended()
        if self.batcher.observer is not None:
            self.batcher.observer.close()
        if self.recording is not None:
            self.recording.close()
        self.engine.close()

    def fit(self, tensors: list[Tensor]) -> list[Tensor]:
        """Those of a large request as the inputs, where values have to be cast or columns joined: in any thread, since
        `start` would do it on the event loop."""
        known = {(name, datatype) for name, datatype, _ in self._inputs}
        if self.runtime.strict or all((tensor.name, tensor.datatype) in known for tensor in tensors):
            return tensors
        return fit_inputs(self.signature, tensors)

    def _feeds(self, tensors: Sequence[Tensor]) -> tuple[Feeds, int]:
        """Arrays by name, and the rows. The loop is `check_inputs` for a request that is right, at a tenth the cost."""
        feeds: dict[str, Array] = {}
        rows = -1
        if len(tensors) == len(self._inputs):
            for tensor, (name, datatype, shape) in zip(tensors, self._inputs, strict=True):
                array = tensor.array
                got = array.shape
                if tensor.name != name or tensor.datatype != datatype or len(got) != len(shape):
                    break
                if any(want != size and want != -1 for want, size in zip(shape, got, strict=True)):
                    break
                if rows not in (-1, got[0] if got else 1):
                    break
                rows = got[0] if got else 1
                feeds[name] = array
        if len(feeds) != len(self._inputs):
            if self.runtime.strict:
                check_inputs(self.signature, list(tensors))
            else:
                tensors = fit_inputs(self.signature, tensors)
            feeds = {tensor.name: tensor.array for tensor in tensors}
            rows = tensors[0].array.shape[0] if tensors[0].array.ndim else 1
        return feeds, rows if self.signature.batched else 1

    def _wanted(self, outputs: Sequence[Output]) -> tuple[Wanted, tuple[str, ...]]:
        """The outputs asked for, and the names of those on request."""
        specs = self.signature.chosen([output.name for output in outputs])
        more = tuple(spec.name for spec in specs if spec.name not in self._places)
        places = self._places | {name: len(self._places) + place for place, name in enumerate(more)}
        wanted: Wanted = []
        for spec, output in zip(specs, outputs, strict=True):
            refuse_shared(output.parameters)
            count = output.parameters.get("classification", 0)
            if type(count) is not int or count < 0:
                raise InvalidArgument(f"output '{output.name}': classification must be a number of classes")
            wanted.append((spec, places[spec.name], count))
        return wanted, more


class Call:
    """One request between a transport and the batcher: counted in, counted out exactly once. `code` is its outcome,
    empty until then, and `ns` how long it took; `feeds` are its inputs of so many `rows`; `more` are the outputs on
    request that it asks for.
    """

    __slots__ = (
        *("_done", "_model", "_start", "code", "feeds", "headers", "id"),
        *("more", "ns", "rows", "trace", "wanted", "work"),
    )

    def __init__(self, model: ServedModel, id: str | None, done: Done, headers: Mapping[bytes, bytes]) -> None:
        self._model = model
        self.id = id
        self._done = done
        self.headers = headers
        self.code = ""
        self.ns = self.rows = 0
        self.feeds: Feeds = {}
        self._start = _clock()
        self.wanted: Wanted | None = None
        self.more: tuple[str, ...] = ()
        self.work: Job | Pieces | None = None
        self.trace: TraceContext | None = None
        model.inflight += 1

    @property
    def identity(self) -> str:
        """The id that its caller gave it, else the gateway's."""
        return (self.id or "")[:RECORDED_ID] or request_id(self.headers)

    def then(self, done: Done) -> None:
        """Hand the answer, which has not come yet, to another."""
        self._done = done

    def finish(self, result: list[Array] | Exception) -> None:
        """Outputs or error of the batcher → the transport."""
        model = self._model
        if isinstance(result, Exception):
            self.close(code_of(result), result)
            self._done(result)
            return
        try:
            tensors = model.answer(result, self.wanted)
            response = Response(model.name, model.version, tensors, self.id, model.parameters)
        except ArgosyError as error:
            self.close(error.code, error)
            self._done(error)
            return
        self.close("ok", response)
        if model.recording is not None and type(self.work) is Pieces:
            model.recording.large(self, result)
        self._done(response)

    def cancel(self) -> None:
        if self.work is not None:
            self.work.cancel()
        self.close("cancelled")

    def close(self, code: str, answer: Response | Exception | None = None) -> None:
        """Count the request out, by its outcome and the answer that its caller gets, if any."""
        if self.code:
            return
        self.code = code
        self.ns = _clock() - self._start
        model = self._model
        model.inflight -= 1  # `leave`, without a call of it
        if not model.inflight and model.idle is not None:
            model.idle.set()
        model.stats.closed(code, self.ns)
        if code != "ok" and model.recording is not None:
            model.recording.failed(self, answer if isinstance(answer, Exception) else None)
        if self.trace is not None and model.tracer is not None:
            self.trace.error = str(answer) if isinstance(answer, Exception) else ""
            model.tracer.end(self.trace, model.name, model.version, self.identity, self.rows, self._start, code)
        if answer is not None and _RECORD in self.headers and model.answers is not None:
            model.answers.record(request_id(self.headers), self.ns, answer)


def _requested_timeout(request: Request) -> float:
    for name in _UNSUPPORTED:
        if name in request.parameters:
            raise Unsupported(f"parameter '{name}' is not supported: requests are independent and served in order")
    value = request.parameters.get("timeout")
    if value is None:
        return float("inf")
    if type(value) is not int or value < 0:
        raise InvalidArgument(f"parameter 'timeout' is {value!r}; it must be a number of microseconds")
    return value / 1e6 if value else float("inf")
