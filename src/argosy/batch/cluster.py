"""The process between a driver and a Ray cluster: `python -m argosy.batch.cluster`, started by the driver and told by a
socket, as workers are. All that Ray prints stays in its log.

Ray Data hands the fragments to a pool of actors, and begins those of lost actors anew on others. A fragment may be
begun twice, even at once: the entry in the ledger decides, so that this costs time and nothing else. The output has to
be a place that all nodes share, a bucket or a shared folder. Nodes need argosy, not the package: its files travel
through Ray's object store.
"""

import argparse
import contextlib
import os
import queue
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from argosy.batch.answerer import NEED, Answerer, Begun, Notes, Starting, packed
from argosy.batch.ledger import Ledger
from argosy.batch.place import place
from argosy.batch.plan import Plan
from argosy.batch.scheduler import LIVES
from argosy.batch.sizes import Sizes
from argosy.batch.wire import Channel, Done, Failed, Message, Reached, Ready
from argosy.engines.base import require
from argosy.packaging.package import Package, open_package
from argosy.spec.errors import ArgosyError, Internal, InvalidArgument, NotFound, Unavailable

STARTS = 10
"""Actors that may die before one is ready."""
ROOM = 300.0
"""Seconds that the cluster has to find a place for the first actor."""
ANSWER = 5.0
"""Seconds that the address of a cluster has to answer."""
GRACE = 10.0
"""Seconds to leave the cluster."""
TICK = 0.2

_TOLD = msgspec.json.Decoder(Done | Failed)


class Watch:
    """What so many actors said: passed on to the driver, and watched for fragments and models that kill who takes
    them."""

    def __init__(self, plan: Plan, channel: Channel, actors: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._fragments = plan.fragments()
        self._patience = plan.job.patience
        self._channel = channel
        self._clock = clock
        self._begun: dict[int, tuple[int, int]] = {}
        self._heard: dict[int, float] = {}
        self._actors = actors
        self._unready = 0
        self.started = False

    def note(self, note: Message) -> None:
        """Raises Internal, naming what kills."""
        match note:
            case Starting():
                self.started = True
                self._unready += 1
                if self._unready > self._actors + STARTS:
                    raise Internal(f"{STARTS} actors in a row died before they had loaded the model")
            case Begun(number, tally):
                rows, times = self._begun.get(number, (-1, 0))
                self._begun[number] = (tally.rows, times + 1 if rows == tally.rows else 1)
                if self._begun[number][1] > LIVES:
                    raise Internal(
                        f"{self._fragments[number].where(tally.rows)}: actor after actor died at the rows from there "
                        f"on{self._hung(number)}. Take these rows out of the input"
                    )
                self._heard[number] = self._clock()
                self._channel.send(Reached(number, tally))
            case Reached(number):
                self._heard[number] = self._clock()
                self._channel.send(note)
            case Ready():
                self._unready = 0
                self._channel.send(note)
            case _:
                self._channel.send(note)

    def _hung(self, number: int) -> str:
        """How the last actor at a fragment died, if it had been silent for as long as makes an actor end itself."""
        silent = self._clock() - self._heard[number]
        if not self._patience or silent < self._patience:
            return ""
        return f"; the last hung for {silent:.0f} s: raise --patience if that is what its work takes"


def places(cpus: Sequence[float], threads: int) -> int:
    """How many actors with so many cores each fit on nodes with these."""
    return sum(int(cores) // threads for cores in cpus)


def fitted(wanted: Sizes, said: int, cpus: Sequence[float]) -> Sizes:
    """The sizes for a cluster whose nodes have these cores: `said` threads if the job says any, else those `wanted`, or
    fewer; as many actors as the job says, or as there are places for.

    Raises InvalidArgument where the job says more threads than any node has cores.
    """
    most = int(max(cpus, default=0))
    if said > most:
        raise InvalidArgument(f"{said} threads a worker do not fit: the largest node of the cluster has {most} cores")
    threads = said or max(1, min(wanted.threads, most))
    return Sizes(wanted.workers or max(1, places(cpus, threads)), threads, wanted.batch_size)


def run(plan: Plan, package: Package, wanted: Sizes, channel: Channel, over: threading.Event) -> None:
    """Do what is not done of a job on the cluster, until `over`. Each entry is told to the driver as it comes.

    Raises what the work raises, and Unavailable where the cluster is lost or has no room.
    """
    ray = require("ray", "ray", NEED)
    require("ray.data", "ray", NEED)
    done = Ledger(place(plan.job.output)).entries()
    numbers = [number for number, one in enumerate(plan.fragments()) if one.id(plan.recipe) not in done]
    with _joined(ray):
        cpus = [node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]]
        sizes = fitted(wanted, plan.job.threads, cpus)
        actors = min(sizes.workers, len(numbers))
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        notes = ray.remote(Notes).options(num_cpus=0, scheduling_strategy=here).remote()
        needed = ray.put(packed(package.folder))
        answered = (
            ray.data.from_items([{"number": number} for number in numbers], override_num_blocks=len(numbers))
            .map_batches(
                Answerer,
                fn_constructor_args=(
                    msgspec.json.encode(plan),
                    [needed],
                    [notes],
                    sizes.batch_size,
                    sizes.threads,
                    package.trusted,
                ),
                batch_size=1,
                compute=ray.data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=1),
                num_cpus=sizes.threads,
            )
            .iter_rows()
        )
        told: queue.SimpleQueue[bytes | BaseException | None] = queue.SimpleQueue()
        threading.Thread(target=_listen, args=(answered, told), name="answers", daemon=True).start()
        _tell(ray, notes, told, Watch(plan, channel, actors), channel, over)


def _listen(answered: Any, told: "queue.SimpleQueue[bytes | BaseException | None]") -> None:
    """In a thread, since it waits without end."""
    try:
        for row in answered:
            told.put(row["told"])
        told.put(None)
    except BaseException as error:
        told.put(error)


def _tell(
    ray: Any,
    notes: Any,
    told: "queue.SimpleQueue[bytes | BaseException | None]",
    watch: Watch,
    channel: Channel,
    over: threading.Event,
) -> None:
    """Pass on what is heard, until all is done."""
    limit = time.monotonic() + ROOM
    while not over.is_set():
        for note in ray.get(notes.take.remote()):
            watch.note(note)
        if not watch.started and time.monotonic() > limit:
            raise Unavailable(f"the Ray cluster had no room for a worker for {ROOM:.0f} s")
        with contextlib.suppress(queue.Empty):
            found = told.get(timeout=TICK)
            if found is None:
                return
            if isinstance(found, BaseException):
                raise Unavailable(f"the Ray cluster did not do the work: {_last_line(found)}")
            channel.send(message := _TOLD.decode(found))
            if isinstance(message, Failed):
                return


def _last_line(error: BaseException) -> str:
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
            raise Unavailable(f"no Ray cluster answers at {address}, the RAY_ADDRESS: {_last_line(error)}") from None
        ray.init(address="local", include_dashboard=False, **settings)
    ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        yield
    finally:
        ray.shutdown()


def reach(address: str) -> None:
    """Raise Unavailable soon where nobody listens: Ray itself tries for minutes."""
    host, _, port = address.rpartition(":")
    if "/" in address or not host or not port.isdecimal():
        raise InvalidArgument(f"RAY_ADDRESS = {address!r} is not the host:port of the head of a Ray cluster")
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER).close()
    except OSError as error:
        raise Unavailable(f"no Ray cluster answers at {address}, the RAY_ADDRESS: {error.strerror or error}") from None


def main() -> int:
    """Do one job. The status is that of the error which ended it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", required=True)
    parser.add_argument("--package", type=Path, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--checkpoint", type=float, required=True)
    parser.add_argument("--patience", type=float, required=True)
    parser.add_argument("--address", default="")
    parser.add_argument("--channel", type=int, required=True)
    parser.add_argument("--trusted", action="store_true")
    options = parser.parse_args()
    os.set_inheritable(options.channel, False)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if options.address:
        os.environ["RAY_ADDRESS"] = options.address
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel, over = Channel(socket.socket(fileno=options.channel), worker=True), threading.Event()
    threading.Thread(target=_until_told, args=(channel, over), name="orders", daemon=True).start()
    try:
        plan = Ledger(place(options.output)).plan()
        if plan is None:
            raise NotFound(f"no job was begun in {options.output}")
        given = {"output": options.output, "checkpoint": options.checkpoint, "patience": options.patience}
        plan = replace(plan, job=replace(plan.job, **given))
        package = open_package(options.package, trusted=options.trusted)
        run(plan, package, Sizes(options.workers, options.threads, options.batch_size), channel, over)
    except ArgosyError as error:
        channel.send(Failed(error.code, error.message))
        return error.exit
    except BaseException as error:
        traceback.print_exc()
        channel.send(Failed("internal", f"a bug in batch on Ray: {type(error).__name__}: {error}"))
        return 1
    return 0


def _until_told(channel: Channel, over: threading.Event) -> None:
    """In a thread: the driver says stop, or is gone."""
    for _ in channel:
        break
    over.set()
    time.sleep(GRACE)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
