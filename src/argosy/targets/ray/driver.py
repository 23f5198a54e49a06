"""The process that is joined to a Ray cluster for a controller: `python -m argosy.targets.ray.driver`.

A process of its own, as one that is joined may hang or be ended by Ray when the head is away: then the controller
starts another. It ends with its controller, and whenever anything is wrong.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Collection, Iterator
from typing import Any

import msgspec

from argosy.batch.cluster import last_line, reach
from argosy.engines.base import require
from argosy.process.channel import Channel, own
from argosy.spec.errors import ArgosyError, Unavailable
from argosy.targets.ray.foreman import Foreman, actor_name
from argosy.targets.ray.place import NEED
from argosy.targets.ray.wire import SPACE, Beat, Drain, Failed, Hello, Leave, Node, Order, Room, Table

PATIENCE = 1.0
"""Seconds from one message to the controller to the next, at most."""
ANSWER = 10.0
"""Seconds that the foreman has to answer; one that is new has to find a node and its places."""
JOINING = 60.0
PREEMPTION = 2
"""Why a node is drained, among Ray's reasons: it goes, whether it is idle or not."""

_DECODER = msgspec.json.Decoder(Hello | Order)


def work(channel: Channel[Hello | Order]) -> None:
    """Serve one controller. Raises what ends it."""
    messages = iter(channel)
    hello = next(messages)
    assert isinstance(hello, Hello)
    ray: Any = require("ray", "ray", NEED)
    reach(hello.address, "ray.address")
    try:
        ray.init(address=hello.address, namespace=SPACE, log_to_driver=False)
        foreman = _foreman(ray, hello.platform)
        ray.get(foreman.join.remote(hello.term), timeout=JOINING)
        threading.Thread(target=_obey, args=(ray, foreman, hello.term, messages), daemon=True).start()
        _report(ray, foreman, hello.term, channel)
    except ray.exceptions.RayTaskError as error:
        raise error.cause if isinstance(error.cause, ArgosyError) else _unavailable(hello, error) from None
    except (ray.exceptions.RayError, ConnectionError, RuntimeError, ValueError) as error:
        raise _unavailable(hello, error) from None


def _unavailable(hello: Hello, error: BaseException) -> Unavailable:
    return Unavailable(f"the Ray cluster at {hello.address} cannot be worked with: {last_line(error)}")


def _foreman(ray: Any, platform: str) -> Any:
    made = ray.remote(Foreman).options(
        name=actor_name(platform),
        namespace=SPACE,
        lifetime="detached",
        get_if_exists=True,
        num_cpus=0,
        max_restarts=0,
        max_concurrency=1000,
    )
    return made.remote(platform)


def _obey(ray: Any, foreman: Any, term: int, orders: Iterator[Hello | Order]) -> None:
    """In a thread: pass orders on, until the controller is gone."""
    for order in orders:
        if isinstance(order, Leave):
            _leave(ray, foreman, term)
            break
        if isinstance(order, Drain):
            _drain(ray, order.hosts)
            continue
        foreman.order.remote(term, msgspec.json.encode(order))
    os._exit(0)


def _drain(ray: Any, hosts: Collection[str]) -> None:
    """What runs on a node goes on; what it could take is Ray's no more."""
    for node in ray.nodes():
        if node["Alive"] and not {node["NodeManagerAddress"], node["NodeName"], node["NodeID"]}.isdisjoint(hosts):
            client = ray._private.worker.global_worker.gcs_client
            client.drain_node(node["NodeID"], PREEMPTION, "its machine is given back", 0)


def _leave(ray: Any, foreman: Any, term: int) -> None:
    """End the foreman, and see it ended: Ray is told of it later than `kill` returns."""
    with contextlib.suppress(ray.exceptions.RayError):
        while True:
            ray.kill(foreman)
            ray.get(foreman.changed.remote(term, -1, 0.1), timeout=ANSWER)
            time.sleep(0.1)


def _report(ray: Any, foreman: Any, term: int, channel: Channel[Hello | Order]) -> None:
    number, table = -1, Table(number=-1)
    while True:
        data = ray.get(foreman.changed.remote(term, number, PATIENCE), timeout=ANSWER)
        if data is not None:
            table = msgspec.json.decode(data, type=Table)
            number = table.number
        waits = any(each.phase == "waiting" for each in table.places)
        if not channel.send(Beat() if data is None else table) or (waits and not channel.send(_room(ray))):
            return
        if data is not None:
            time.sleep(0.02)  # of many changes at once, the last is what counts


def _room(ray: Any) -> Room:
    alive = [each for each in ray.nodes() if each["Alive"]]
    return Room(nodes=tuple(Node(total=each["Resources"]) for each in alive), free=ray.available_resources())


def main() -> int:
    """The status is that of the error which ended it."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = Channel(own(), _DECODER.decode)
    try:
        work(channel)
    except ArgosyError as error:
        channel.send(Failed(code=error.code, message=error.message))
        return error.exit
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)
