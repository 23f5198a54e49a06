"""The batcher: a bounded queue before one engine, emptied as the policy of `batch.py` decides.

Short engine calls run on the event loop itself: there a thread switch would cost more than the call. Longer ones, and
everything of the user's own Python, run in one worker thread that takes its next batch by itself, so that the engine
never waits for the loop.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from argosy.engines.base import Engine
from argosy.serving import batch, sizing, trace
from argosy.serving.job import Done, Feeds, Job, Pieces, Result, key_of, merge, slices, split
from argosy.serving.observer import BatchObserver
from argosy.serving.stats import BatchTimes, Stats
from argosy.spec.endpoint import Runtime
from argosy.spec.errors import ArgosyError, DeadlineExceeded, Internal, PayloadTooLarge, Unavailable
from argosy.spec.tensor import Array

if TYPE_CHECKING:
    from argosy.serving.model import Call

INLINE_NS = 300_000
"""Engine calls that take less than this run on the event loop."""
SLOW_CALLS = 8
"""So many calls in a row of twice that move the engine to its thread; one slow call is only a busy machine."""

_clock = time.perf_counter_ns
Outcome = tuple[Job, Result]


class Batcher:
    """Runs requests through an engine, merged where the signature allows. All methods belong to the event loop."""

    def __init__(self, engine: Engine, runtime: Runtime, stats: Stats, *, inline: bool, call_ns: int) -> None:
        self._engine = engine
        self._runtime = runtime
        self._stats = stats
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Job] = deque()
        self._lock = threading.Lock()
        self._call_ns = call_ns
        self.inline = inline and call_ns < INLINE_NS
        self._batched = engine.signature.batched
        self._one_shape = all(-1 not in s.shape[1:] and not s.optional for s in engine.signature.inputs)
        self._limit = runtime.max_batch_size if self._batched else 1
        self._delay_ns = int(runtime.max_queue_delay * 1e9)
        self._slow = 0
        self._sizing = sizing.begin(self._limit)
        self._scheduled = False
        self._later: asyncio.TimerHandle | None = None
        self._worker: threading.Thread | None = None
        self._wake = threading.Semaphore(0)
        self._started: int | None = None
        self._closed = False
        self._ended = asyncio.Event()
        self.observer: BatchObserver | None = None
        self.traced = False

    @property
    def queued(self) -> int:
        return sum(not job.finished for job in list(self._queue))

    def stuck_for(self) -> float:
        """Seconds the engine call now running has taken; 0 when none runs."""
        started = self._started
        return 0.0 if started is None else (_clock() - started) / 1e9

    def submit(
        self, feeds: Feeds, rows: int, timeout: float, done: Done, at_once: bool = False, call: "Call | None" = None
    ) -> Job | Pieces:
        """Queue one request; `done` gets its outputs in the order of the signature, then those that `call.more` names,
        or the error.

        The answer's `cancel` frees its place. `at_once`: a short call is made before this returns, with all that waits,
        for callers who would pay more for awaiting it. Raises Unavailable when the queue is full or closed.
        """
        if self._closed or not self._has_place(1):
            raise self._refusal()
        now = _clock()
        deadline = now + int(timeout * 1e9)
        weight = self._engine.weigh(feeds, rows) if self._batched else rows
        if self._batched and rows > 1 and weight > self._limit:
            return self._submit_pieces(feeds, rows, weight, now, deadline, done, call)
        more = call.more if call is not None else ()
        job = Job(feeds, rows, more if self._one_shape else (more, key_of(feeds)), done, now, deadline, call, weight)
        if at_once and self.inline and not self._delay_ns:
            self._queue.append(job)
            self._run_inline()
        else:
            self._put(job, timeout)
        return job

    def close(self) -> None:
        """Refuse what comes, and end the worker once its queue is empty."""
        self._closed = True
        self._wake.release()

    async def ended(self) -> None:
        """Wait until the worker has left the engine: it may still compute for callers who went away."""
        if self._worker is not None:
            await self._ended.wait()

    def _has_place(self, jobs: int) -> bool:
        """Whether so many more jobs may wait; the places of callers who went away are cleared when they are needed."""
        most = self._runtime.max_queue_size - jobs
        if len(self._queue) > most:
            with self._lock:
                alive = [job for job in self._queue if not job.finished]
                self._queue.clear()
                self._queue.extend(alive)
        return len(self._queue) <= most

    def _refusal(self) -> Unavailable:
        if self._closed:
            return Unavailable("the model is being unloaded; try again", retry_after=1)
        wait = max(1.0, len(self._queue) * self._call_ns / 1e9 / max(1, self._limit))
        return Unavailable(f"the queue is full ({len(self._queue)} requests wait)", retry_after=wait)

    def _submit_pieces(
        self, feeds: Feeds, rows: int, weight: int, now: int, deadline: int, done: Done, call: "Call | None"
    ) -> Pieces:
        if rows > (most := self._limit * self._runtime.max_queue_size):
            raise PayloadTooLarge(f"the request has {rows} rows; at most {most} are taken at once")
        each = max(1, self._limit * rows // max(weight, rows))
        if not self._has_place(-(-rows // each)):
            raise self._refusal()
        parts, more = slices(feeds, rows, each), call.more if call is not None else ()
        pieces = Pieces(len(parts), done)
        for position, (part, count) in enumerate(parts):
            key = more if self._one_shape else (more, key_of(part))
            job = Job(part, count, key, pieces.part(position), now, deadline, call, self._engine.weigh(part, count))
            pieces.jobs.append(job)
            self._put(job, (deadline - now) / 1e9)
        return pieces

    def _put(self, job: Job, timeout: float) -> None:
        if self.inline:
            self._queue.append(job)
            if not self._scheduled:
                self._scheduled = True
                self._loop.call_soon(self._run_inline)
            return
        job.timer = self._loop.call_later(timeout, _expire, job)
        with self._lock:
            self._queue.append(job)
        if self._worker is None:
            self._worker = threading.Thread(target=self._work, name="engine", daemon=True)
            self._worker.start()
        self._wake.release()

    def _run_inline(self) -> None:
        self._scheduled = False
        if self._later is not None:
            self._later.cancel()
            self._later = None
        jobs, reason, wait_ns = self._take(_clock())
        if jobs:
            _deliver(self._execute(jobs, reason))
        if wait_ns:
            self._later = self._loop.call_later(wait_ns / 1e9, self._run_inline)
        elif self._queue:
            self._scheduled = True
            self._loop.call_soon(self._run_inline)
        elif self._slow >= SLOW_CALLS:
            self.inline = False

    def _work(self) -> None:
        while not (self._closed and not self._queue):
            self._wake.acquire()
            while self._queue:
                start = _clock()
                with self._lock:
                    jobs, reason, wait_ns = self._take(start)
                if jobs:
                    self._on_loop(_deliver, self._execute(jobs, reason))
                    weight = sum(job.weight for job in jobs)
                    self._sizing = sizing.observe(weight, _clock() - start, self._sizing)
                elif wait_ns:
                    self._wake.acquire(timeout=wait_ns / 1e9)
        self._on_loop(self._ended.set)

    def _on_loop(self, callback: Callable[..., object], *args: object) -> None:
        """Have the loop call it; nobody waits for an answer of a loop that has been closed."""
        try:
            self._loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:
            if not self._loop.is_closed():
                raise

    def _take(self, now: int) -> tuple[list[Job], batch.Reason, int]:
        queue = self._queue
        if len(queue) == 1 and not self._delay_ns:
            job = queue.popleft()
            return [job] if self._alive(job, now) else [], "full" if job.weight >= self._limit else "idle", 0
        jobs = [job for job in queue if self._alive(job, now)]
        waiting = [batch.Waiting(job.weight, job.key, job.since) for job in jobs]
        limit = self._limit
        if not self.inline and not self._delay_ns:
            limit = sizing.choose(sum(job.weight for job in jobs), limit, self._sizing)
        decision = batch.decide(waiting, now, limit, self._delay_ns)
        taken = [jobs[position] for position in decision.take]
        chosen = set(decision.take)
        queue.clear()
        queue.extend(job for position, job in enumerate(jobs) if position not in chosen)
        wait_ns = max(1, int(decision.wait_until) - now) if decision.wait_until else 0
        reason = "size" if decision.reason == "full" and limit < self._limit else decision.reason
        return taken, reason or "idle", wait_ns

    def _alive(self, job: Job, now: int) -> bool:
        """Whether the caller still waits; one whose deadline has passed gets its error."""
        if now > job.deadline and not job.finished:
            self._on_loop(_expire, job)
            return False
        return not job.finished

    def _execute(self, jobs: list[Job], reason: batch.Reason) -> list[Outcome]:
        merged = start = self._started = _clock()
        queued = sum(start - job.since for job in jobs)
        try:
            feeds = merge(jobs)
            merged = _clock()
            outputs = given = self._engine.predict(feeds)
            if (call := jobs[0].call) is not None and call.more:
                given = [*outputs, *self._engine.more(feeds, call.more)]
            done = _clock()
            parts = split(given, jobs)
        except (Exception, SystemExit) as error:
            if len(jobs) > 1:
                return [outcome for job in jobs for outcome in self._execute([job], reason)]
            cause = error if isinstance(error, ArgosyError) else None
            cause = cause or Internal(f"the model failed: {type(error).__name__}: {error}")
            if self.traced:
                now = _clock()
                trace.add_batch(jobs, (start, merged, now, now), reason, str(cause))
            return [(jobs[0], cause)]
        finally:
            self._started = None
        self._call_ns += (done - merged - self._call_ns) // 8
        self._slow = self._slow + 1 if done - merged > 2 * INLINE_NS else 0
        end = _clock()
        times = BatchTimes(merged - start, done - merged, end - done)
        if self.traced:
            trace.add_batch(jobs, (start, merged, done, end), reason)
        rows = sum(job.rows for job in jobs)
        self._stats.batch(rows, queued, times, reason)
        if self.observer is not None:
            self.observer.put(jobs, rows, feeds, outputs)
        if self._runtime.allow_nan:
            return list(zip(jobs, parts, strict=True))
        bad: Exception = Internal("the model answered NaN, and runtime.allow_nan is false")
        return [(job, bad if any(map(_has_nan, part)) else part) for job, part in zip(jobs, parts, strict=True)]


def _expire(job: Job) -> None:
    job.finish(DeadlineExceeded("the deadline passed before the model had answered"))


def _has_nan(array: Array) -> bool:
    return array.dtype.kind == "f" and bool(np.isnan(array).any())


def _deliver(outcomes: list[Outcome]) -> None:
    for job, result in outcomes:
        job.finish(result)
