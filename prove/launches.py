"""`python -m prove.launches --kills 1000`: kill -9 of the controller between what it writes down and the answer.

Each round a controller, a process of its own with the real launcher and a real database, launches a machine or ends one
at a provider that is played here, and is killed: as the provider hears of it, once that is done and before the answer,
as the answer is there, or at any moment. The provider also loses answers, makes machines twice and does not end what it
says it ends. The next controller goes on until all is settled. What must not be then: a machine that no launch has (an
orphan), two of one launch (a double), a launch without its machine (lost).
"""

import argparse
import contextlib
import multiprocessing
import random
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec

from argosy.spec.errors import ArgosyError, Unavailable
from argosy.spec.offer import Launch, Offer
from argosy.spec.provider import Faults
from argosy.store.database import Database
from argosy.store.launches import Launches
from argosy.supply.launcher import Launcher, Patience
from argosy.supply.provider import Event
from argosy.supply.replay import Replay

OFFER = Offer(provider="cloud", region="r1", instance="a10g.1", price=1.0, gpu="A10G", count=1)
FAULTS = Faults(lost=0.05, dropped=0.05, twice=0.05, stays=0.1)
PATIENCE = Patience(again=0.0, answer=60.0, start=3600.0, missing=0.05)
MOMENTS = ("heard", "done", "answered", "any")
MOST = 8
"""Machines that stand at the same time."""
LATEST = 0.1
"""Seconds within which a controller is killed at `any` moment."""
SETTLED = 60.0


class Counts(msgspec.Struct):
    """What happened."""

    rounds: int = 0
    kills: Counter[str] = msgspec.field(default_factory=Counter[str])
    machines: int = 0
    orphans: int = 0
    doubles: int = 0
    lost: int = 0
    unsettled: int = 0

    @property
    def good(self) -> bool:
        """Whether nothing happened that must not."""
        return not (self.orphans or self.doubles or self.lost or self.unsettled)

    @property
    def killed(self) -> int:
        """How many controllers were killed."""
        return self.kills.total()

    def line(self, seconds: float) -> str:
        """The figures."""
        moments = ", ".join(f"{count} {moment}" for moment, count in sorted(self.kills.items()))
        return (
            f"{self.killed} controllers killed in {seconds:.0f} s ({moments}), {self.machines} machines launched: "
            f"{self.orphans} orphans, {self.doubles} doubles, {self.lost} lost, {self.unsettled} rounds not settled"
        )


class Remote:
    """The provider, as a controller reaches it."""

    name = "cloud"

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def _ask(self, what: str, *given: Any) -> Any:
        self._pipe.send((what, given))
        answer = self._pipe.recv()
        if isinstance(answer, ArgosyError):
            raise answer
        return answer

    def offers(self) -> Sequence[Offer]:
        return [OFFER]

    def quota(self, offer: Offer) -> int | None:
        return self._ask("quota", offer)

    def launch(self, launch: Launch) -> Launch:
        return self._ask("launch", launch)

    def list(self) -> Sequence[Launch]:
        return self._ask("list")

    def end(self, launch: Launch) -> None:
        self._ask("end", launch)

    def events(self) -> Sequence[Event]:
        return []


def controller(path: Path, pipe: Connection, work: str) -> None:
    """A controller's life: `launch` a machine, `end` one by its id, or none; then rounds until nothing is under way."""
    database = Database(path)
    launches = Launches(database)
    launcher = Launcher(launches, {"cloud": Remote(pipe)}, patience=PATIENCE)
    if work == "launch":
        launcher.request(OFFER)
    elif work:
        launcher.release(work)
    quiet = 0
    while quiet < 2:
        with contextlib.suppress(Unavailable):
            found = launcher.tend("cloud")
            moving = any(each.state in ("intended", "ending") for each in launches.live())
            quiet = 0 if found or moving else quiet + 1
        time.sleep(0.002)
    database.close()


class Proof:
    """One provider and one database, through many controllers."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.path, self.chance, self.counts = folder / "argosy.db", random.Random(seed), Counts()
        self.cloud = Replay("cloud", [OFFER], ready=0.0, faults=FAULTS, seed=seed)
        self._context = multiprocessing.get_context("fork")

    def round(self) -> None:
        """One controller that is killed, and one that settles what it left."""
        running = sorted({each.id for each in self.cloud.bill() if each.ended is None})
        work = "launch" if len(running) < self.chance.randint(1, MOST) else self.chance.choice(running)
        self.live(work, self.chance.choice(MOMENTS))
        self.counts.rounds += 1
        if not self.live("", ""):
            self.counts.unsettled += 1
        self.check()

    def live(self, work: str, moment: str) -> bool:
        """Serve a controller until it ends or the moment is there at which it is killed. Whether it ended by itself."""
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=controller, args=(self.path, theirs, work), daemon=True)
        process.start()
        theirs.close()
        begun = time.monotonic()
        until = begun + (self.chance.uniform(0, LATEST) if moment == "any" else SETTLED)
        served, killed = True, ""
        with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
            while not killed and (left := until - time.monotonic()) > 0:
                if ours.poll(left):
                    killed = self.serve(ours, moment)
        if killed or (moment == "any" and process.is_alive()) or time.monotonic() >= until:
            served = False
            process.kill()
        process.join()
        if process.exitcode == -signal.SIGKILL:
            self.counts.kills[killed or "any"] += 1
        elif process.exitcode:
            raise RuntimeError(f"a controller ended with {process.exitcode}")
        ours.close()
        return served

    def serve(self, pipe: Connection, moment: str) -> str:
        """Answer one question; the moment, if the controller is to be killed at it."""
        what, given = pipe.recv()
        due = moment if what in ("launch", "end") else ""
        if due == "heard":
            return due
        try:
            answer = getattr(self.cloud, what)(*given)
        except ArgosyError as error:
            answer = error
        if due == "done":
            return due
        pipe.send(answer)
        if due == "answered":
            time.sleep(self.chance.uniform(0, 0.003))
            return due
        return ""

    def check(self) -> None:
        """Compare what runs with what is written down, by other code than the launcher's."""
        running = Counter(each.id for each in self.cloud.bill() if each.ended is None)
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            query = "SELECT id FROM launches WHERE state NOT IN ('ended', 'failed')"
            live = {name for (name,) in connection.execute(query)}
        self.counts.orphans += len(running.keys() - live)
        self.counts.doubles += sum(count - 1 for count in running.values())
        self.counts.lost += len(live - running.keys())
        self.counts.machines = len(self.cloud.bill())


def prove(kills: int, seed: int) -> Counts:
    """So many kills, in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="launches-") as folder:
        Database(Path(folder) / "argosy.db").create().close()
        proof = Proof(Path(folder), seed)
        while proof.counts.killed < kills:
            proof.round()
            if proof.counts.rounds % 100 == 0:
                print(f"{proof.counts.killed}/{kills}", file=sys.stderr, flush=True)
        return proof.counts


def main(arguments: list[str] | None = None) -> int:
    """Run and print one line; 1 if anything happened that must not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    begun = time.monotonic()
    counts = prove(options.kills, options.seed)
    print(counts.line(time.monotonic() - begun))
    return 0 if counts.good else 1


if __name__ == "__main__":
    sys.exit(main())
