"""The foreman of one platform on a Ray cluster: an actor that keeps the table of its places and passes orders to them.

It holds nothing that cannot be found again: one that takes over finds the places by their names and asks each. So it
outlives controllers and may itself be lost at any moment.
"""

import asyncio
import contextlib
import logging
import time
from typing import Any

import msgspec

from argosy.batch.cluster import last_line
from argosy.engines.base import require
from argosy.spec.errors import Conflict
from argosy.targets.ray.observe import takes
from argosy.targets.ray.place import NEED, PlaceActor
from argosy.targets.ray.wire import SPACE, End, Leave, Order, PlaceSpec, Renew, Report, Start, Table

LOG = logging.getLogger(__name__)
FINDING = 5.0
"""Seconds in which a place that was found has to answer, to stand in the table from its beginning."""
AGAIN = 0.5
"""Seconds until a place that could not be asked is asked again."""

GRACE = 2.0
"""Seconds that an actor has to end its process and clear up, before it is killed."""


def actor_name(platform: str) -> str:
    """The name of the foreman of a platform."""
    return f"{SPACE}/{platform}/foreman"


class Foreman:
    """Asynchronous. `join` comes first; every call says the term of its controller, and is refused to one that another
    has followed."""

    def __init__(self, platform: str) -> None:
        self._ray: Any = require("ray", "ray", NEED)
        self._prefix, self._own = f"{SPACE}/{platform}/", actor_name(platform)
        self._term, self._number = 0, 0
        self._rows: dict[str, Report] = {}
        self._actors: dict[str, Any] = {}
        self._watching: dict[str, asyncio.Task[None]] = {}
        self._killing: set[asyncio.Task[None]] = set()
        self._news = asyncio.Condition()
        self._found = asyncio.Lock()
        self._ready = False

    async def join(self, term: int) -> None:
        """Find the places that there are, if that is not done. Raises Conflict."""
        self._obey(term)
        async with self._found:
            if not self._ready:
                listed = await asyncio.to_thread(self._ray.util.list_named_actors, all_namespaces=True)
                names = [each["name"] for each in listed if each["namespace"] == SPACE]
                for name in names:
                    if name.startswith(self._prefix) and name != self._own:
                        with contextlib.suppress(ValueError):  # it ended meanwhile
                            self._watch(name, await asyncio.to_thread(self._ray.get_actor, name, SPACE))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(FINDING):
                        while self._watching.keys() - self._rows.keys():
                            async with self._news:
                                await self._news.wait()
                self._ready = True

    def _obey(self, term: int) -> None:
        if term < self._term:
            raise Conflict("another controller of this platform works with the Ray cluster since, and is obeyed")
        self._term = term

    async def changed(self, term: int, since: int, patience: float) -> bytes | None:
        """The table as JSON once its number is not `since`; None if that takes longer than `patience`. Raises
        Conflict."""
        self._obey(term)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience), self._news:
                await self._news.wait_for(lambda: self._number != since)
        if self._number == since:
            return None
        return msgspec.json.encode(Table(number=self._number, places=tuple(self._rows.values())))

    async def order(self, term: int, data: bytes) -> None:
        """Carry out an `Order`, in JSON. Raises Conflict."""
        self._obey(term)
        order = msgspec.json.decode(data, type=Order)
        if isinstance(order, Start):
            await self._start(order.spec)
        elif isinstance(order, Leave):
            pass  # the driver ends it
        elif isinstance(order, End) and order.how == "forget":
            self._rows.pop(order.name, None)
        elif actor := self._actors.get(order.name):
            if isinstance(order, Renew):
                actor.renew.remote(order.files)
            else:
                actor.end.remote(order.how == "kill")
                if order.how == "kill" or self._rows[order.name].phase == "waiting":
                    self._kill(order.name, actor)

    def _kill(self, name: str, actor: Any) -> None:
        """End the actor, unless it ends by itself in a moment."""

        async def kill() -> None:
            await asyncio.sleep(GRACE if self._rows[name].phase != "waiting" else 0.0)
            if name in self._actors:
                self._ray.kill(actor)
                await self._ended(name, status=-9)

        task = asyncio.create_task(kill())
        self._killing.add(task)
        task.add_done_callback(self._killing.discard)

    async def _start(self, spec: PlaceSpec) -> None:
        if spec.name in self._rows:
            return
        wanted = takes(spec.revision.resources)
        kept = msgspec.structs.replace(spec, files={})
        self._rows[spec.name] = Report(spec=kept)
        actor = self._ray.remote(PlaceActor).options(
            name=spec.name,
            namespace=SPACE,
            lifetime="detached",
            get_if_exists=True,
            num_cpus=wanted["CPU"],
            num_gpus=wanted.get("GPU", 0),
            memory=wanted.get("memory"),
            max_restarts=0,
            max_concurrency=8,
            scheduling_strategy="SPREAD",
        )
        self._watch(spec.name, actor.remote(msgspec.json.encode(spec)))
        await self._tell()

    def _watch(self, name: str, actor: Any) -> None:
        self._actors[name] = actor
        self._watching[name] = asyncio.create_task(self._follow(name, actor))

    async def _follow(self, name: str, actor: Any) -> None:
        """Keep the row of a place up to date until it ends; then its actor ends, too."""
        number, errors = -1, self._ray.exceptions
        while True:
            try:
                new, data = await actor.watch.remote(number)
            except errors.ActorUnavailableError:
                await asyncio.sleep(AGAIN)  # Ray does not know yet whether its node is lost
                continue
            except errors.RayError as error:
                LOG.warning("%s: %s", name, error)
                await self._ended(name, said=f"its actor on Ray ended: {last_line(error)}")
                return
            if new != number:
                number, report = new, msgspec.json.decode(data, type=Report)
                if report.phase == "ended":
                    self._ray.kill(actor)
                    await self._ended(name, report.ended, status=report.status, said=report.said)
                    return
                self._rows[name] = report
                await self._tell()

    async def _ended(self, name: str, at: float = 0.0, status: int | None = None, said: str = "") -> None:
        self._actors.pop(name, None)
        if (task := self._watching.pop(name, None)) and task is not asyncio.current_task():
            task.cancel()
        if name in self._rows and self._rows[name].phase != "ended":
            row = self._rows[name]
            over = at or time.time()
            self._rows[name] = msgspec.structs.replace(row, phase="ended", ended=over, status=status, said=said)
        await self._tell()

    async def _tell(self) -> None:
        self._number += 1
        async with self._news:
            self._news.notify_all()
