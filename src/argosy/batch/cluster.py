"""Workers on a Ray cluster: the driver's pool of them, and the process between the two,
`python -m argosy.batch.cluster`, so that all that Ray prints stays in a log.

Each worker is an actor (`actor.py`) that Ray finds a node for; which fragment it gets is the driver's business, as for
workers on this machine. A node that Ray takes for lost may still be at work: the entry in the ledger decides, so that
this costs time and nothing else. The output has to be a place that all nodes share, a bucket or a shared folder. Nodes
need argosy, not the package: its files travel through Ray's object store.
"""

import contextlib
import io
import os
import selectors
import signal
import socket
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

import msgspec
from msgspec.structs import replace

from argosy.batch.actor import NEED, Actor, Mailbox
from argosy.batch.pool import DYING, TRIMMING, WorkerProcess, trim
from argosy.batch.sizes import Sizes
from argosy.batch.wire import (
    GRACE,
    Begin,
    Channel,
    Failed,
    Gone,
    Joined,
    Kill,
    Message,
    Order,
    Start,
    Started,
    Stop,
    reporting,
)
from argosy.engines.base import require
from argosy.process.launch import Child
from argosy.spec.errors import InvalidArgument, Unavailable, table

PLACING = 300.0
"""Seconds that the cluster has to find a place for an actor while none runs."""
ANSWER = 5.0
"""Seconds that the address of a cluster has to answer."""
LEAVING = 10.0
"""Seconds to leave the cluster."""
STACKS = 2.0
"""Seconds that an actor which hangs has to write its stacks."""
TICK = 0.05


class RayPool:
    """Actors of a cluster, as many as it has places for: `capacity` is 0 until it has answered.

    `child` is the process between, whose log all of them share. `workers` are the numbers of the actors, `running`
    those of them that have a node. Leaving `with` ends them all.
    """

    kind = "actor"

    def __init__(self, child: Child, begin: Begin, logs: Path) -> None:
        self.capacity, self.sizes = 0, begin.sizes
        self._child, self._begin, self._logs = child, begin, logs
        self._started = 0
        self.workers: set[int] = set()
        self.running: set[int] = set()
        self._trimmed = 0.0

    def __enter__(self) -> Self:
        self._logs.mkdir(parents=True, exist_ok=True)
        self._process = WorkerProcess(self._child, self._begin, self._logs / "ray-0.log")
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._process.channel.socket, selectors.EVENT_READ)
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        self._process.channel.close()
        self._process.end(GRACE)

    def start(self) -> None:
        """Have Ray start one more."""
        self._started += 1
        self.workers.add(self._started)
        self._process.channel.send(Start(self._started))

    def send(self, message: Order) -> None:
        """Send a message to its actor."""
        self._process.channel.send(message)

    def receive(self, timeout: float) -> Iterator[Message]:
        """All messages of actors within `timeout` seconds. After `Gone` an actor is removed.

        Raises what the process between met, and Unavailable where that is gone.
        """
        if time.monotonic() - self._trimmed > TRIMMING:
            trim(self._process.log)
            self._trimmed = time.monotonic()
        over = self._process.ended()
        messages = self._process.channel.receive() if self._selector.select(timeout) else []
        if messages is None or (over and not messages):
            raise Unavailable(
                f"the process that works with Ray {self._process.end(DYING).how}. Look at {self._process.log}; "
                "go on with --resume"
            )
        for message in messages:
            match message:
                case Joined(_, sizes):
                    self.sizes, self.capacity = sizes, sizes.workers
                case Failed(self._begin.worker, code, text):
                    raise table()[code](text + (f". Look at {self._process.log}" if code == "internal" else ""))
                case Started(worker) if worker in self.workers:
                    self.running.add(worker)
                case Gone(worker) if worker in self.workers:
                    yield self._removed(message)
                case _ if message.worker in self.workers:
                    yield message
                case _:
                    pass

    def kill(self, worker: int) -> Gone:
        """Have Ray end an actor that hangs."""
        self._process.channel.send(Kill(worker))
        return self._removed(Gone(worker, "was killed"))

    def _removed(self, gone: Gone) -> Gone:
        self.workers.discard(gone.worker)
        self.running.discard(gone.worker)
        return replace(gone, log=str(self._process.log))


def fitted(wanted: Sizes, said: int, cpus: Sequence[float]) -> Sizes:
    """The sizes for a cluster whose nodes have these cores: `said` threads if the job says any, else those `wanted`, or
    fewer; as many actors as the job says, or as there are places for.

    Raises InvalidArgument where the job says more threads than any node has cores.
    """
    most = int(max(cpus, default=0))
    if said > most:
        raise InvalidArgument(f"{said} threads a worker do not fit: the largest node of the cluster has {most} cores")
    threads = said or max(1, min(wanted.threads, most))
    places = sum(int(cores) // threads for cores in cpus)
    return Sizes(wanted.workers or max(1, places), threads, wanted.batch_size)


def run(begin: Begin, channel: Channel, orders: Iterator[Message]) -> None:
    """Start and end actors as the driver says, and pass messages between them, until the driver is gone.

    Raises Unavailable where the cluster is lost or has no place for an actor.
    """
    ray = require("ray", "ray", NEED)
    bridge = _Bridge(ray, channel)
    threading.Thread(target=bridge.obey, args=(orders,), name="orders", daemon=True).start()
    with _joined(ray):
        cpus = [node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]]
        wanted = replace(begin.sizes, workers=begin.job.workers)
        try:
            bridge.run(replace(begin, sizes=fitted(wanted, begin.job.threads, cpus)))
        except ray.exceptions.RayError as error:
            raise Unavailable(f"the Ray cluster did not do the work: {last_line(error)}") from None


class _Bridge:
    """Between the driver and the actors: `obey` in one thread, `run` in another.

    The driver starts no actor before it is sent `Joined`.
    """

    def __init__(self, ray: Any, channel: Channel) -> None:
        self._ray, self._channel = ray, channel
        self._over = threading.Event()
        self._start: Callable[[int], Any]
        self._actors: dict[int, Any] = {}
        self._runs: dict[Any, int] = {}
        self._running: set[int] = set()

    def obey(self, orders: Iterator[Message]) -> None:
        """Do what the driver says until it is gone; then end `run`, and this process at last."""
        for order in orders:
            worker = order.worker
            if isinstance(order, Start):
                self._actors[worker] = actor = self._start(worker)
                self._runs[actor.run.remote()] = worker
            elif actor := self._actors.get(worker):
                if isinstance(order, Kill):
                    self._ray.wait([actor.write_stacks.remote()], timeout=STACKS)
                    self._ray.kill(actor)
                elif isinstance(order, Stop) and worker not in self._running:  # it waits for a node
                    self._ray.kill(actor)
                else:
                    actor.order.remote(order)
        self._over.set()
        time.sleep(LEAVING)
        os._exit(1)

    def run(self, begin: Begin) -> None:
        """Pass on what the actors send, until the driver is gone. Raises Unavailable, RayError."""
        ray = self._ray
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        mailbox = ray.remote(Mailbox).options(num_cpus=0, scheduling_strategy=here).remote()
        files = io.BytesIO()
        with tarfile.open(fileobj=files, mode="w") as archive:
            archive.add(begin.package, arcname=".")
        references = [ray.put(files.getvalue())], [mailbox]
        actor = ray.remote(Actor).options(num_cpus=begin.sizes.threads, max_concurrency=4, max_restarts=0)
        self._start = lambda worker: actor.remote(msgspec.json.encode(replace(begin, worker=worker)), *references)
        self._channel.send(Joined(begin.worker, begin.sizes))
        limit = time.monotonic() + PLACING
        while not self._over.is_set():
            runs = list(self._runs)
            ended: list[Any] = ray.wait(runs, timeout=TICK)[0] if runs else []
            for message in ray.get(mailbox.take.remote()):
                if isinstance(message, Started):
                    self._running.add(message.worker)
                self._channel.send(message)
            for run in ended:
                self._ended(run)
            if self._running or not self._runs:
                limit = time.monotonic() + PLACING
            if time.monotonic() > limit:
                raise Unavailable(f"the Ray cluster had no place for a worker for {PLACING:.0f} s")
            if not runs:
                self._over.wait(TICK)

    def _ended(self, run: Any) -> None:
        worker = self._runs.pop(run)
        self._running.discard(worker)
        how = "ended"
        try:
            self._ray.get(run)
        except self._ray.exceptions.RayActorError as error:
            how = f"died: {last_line(error)}"
        self._actors.pop(worker, None)
        self._channel.send(Gone(worker, how))


def last_line(error: BaseException) -> str:
    """What an error of Ray says at its end, below the tracebacks of others."""
    return next((line.strip() for line in str(error).splitlines()[::-1] if line.strip()), type(error).__name__)[:300]


@contextlib.contextmanager
def _joined(ray: Any) -> Generator[None]:
    """Joined to the cluster of RAY_ADDRESS, to one that runs on this machine, or to one that is started for it and
    ended again."""
    address = os.environ.get("RAY_ADDRESS", "")
    settings: dict[str, Any] = {"log_to_driver": True}
    if address and address != "auto":
        reach(address)
    try:
        ray.init(address="auto", **settings)
    except (ConnectionError, RuntimeError, ValueError) as error:
        if address:
            raise Unavailable(f"no Ray cluster answers at {address}, the RAY_ADDRESS: {last_line(error)}") from None
        ray.init(address="local", include_dashboard=False, **settings)
    try:
        yield
    finally:
        ray.shutdown()


def reach(address: str, setting: str = "RAY_ADDRESS") -> None:
    """Raise Unavailable soon where nobody listens: Ray itself tries for minutes."""
    host, _, port = address.rpartition(":")
    if "/" in address or not host or not port.isdecimal():
        raise InvalidArgument(f"{setting} = {address!r} is not the host:port of the head of a Ray cluster")
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER).close()
    except OSError as error:
        raise Unavailable(f"no Ray cluster answers at {address}, the {setting}: {error.strerror or error}") from None


def main() -> int:
    """Serve one driver. The status is that of the error which ended it."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = Channel.own()
    messages = iter(channel)
    begin = next(messages)
    assert isinstance(begin, Begin)
    return reporting(begin.worker, channel.send, partial(run, begin, channel, messages))


if __name__ == "__main__":
    sys.exit(main())
