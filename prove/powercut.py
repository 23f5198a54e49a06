"""`python -m prove.powercut --cuts 10000`: power cuts at random moments while a device takes updates.

A device (its agent and its disk are real, models and network stand-ins) takes updates, good and bad ones, as fast as it
can, on an ext4 file system in a loop file. At a random moment it is stopped and the file copied until two reads agree:
that is the disk as a power cut would leave it, without all that was not sent to it yet. Of the copy, mounted: the
committed slot has to be complete and verified, and a candidate has to be gone after its loads, each cut short.
Every `KILL` cuts the device is killed as well and starts from its own disk. ext4 by default hides a missing fsync
before a rename, `noauto_da_alloc` does not: half of the cuts are made on each. A device that leaves out fsync is the
control: the rig has to find it out.

What a disk loses of what was sent to it is not in this model.
"""

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator
from pathlib import Path

import msgspec

from argosy_edge import agent as agents
from argosy_edge.errors import AgentError
from argosy_edge.slots import Slots, verify
from argosy_edge.state import Ended, Started
from argosy_edge.update import decide
from argosy_edge.wire import WireError

MODES = {"default": "loop", "noauto_da_alloc": "loop,noauto_da_alloc"}
SIZE = 24 * 1024 * 1024
LATEST = 0.08
"""Seconds from one cut to the next, at most."""
KILL = 25
CONTROL = 60
"""Cuts of a device that does not sync."""


class Counts(msgspec.Struct):
    """What was found. `phases`: in which the cuts were."""

    cuts: int = 0
    broken: int = 0
    survived: int = 0
    phases: dict[str, int] = {}
    updates: int = 0
    examples: list[str] = []

    @property
    def good(self) -> bool:
        """Whether nothing happened that must not."""
        return not (self.broken or self.survived)

    def line(self, name: str, seconds: float) -> str:
        """The figures."""
        phases = ", ".join(f"{name} {count}" for name, count in sorted(self.phases.items()))
        return (
            f"{name}: {self.cuts} power cuts in {seconds:.0f} s ({phases}; {self.updates} updates): {self.broken} "
            f"without a verified model, {self.survived} with a candidate after its loads"
        )


def refused() -> str:
    """Why no file system can be mounted here; empty where one can."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with mounted(made(Path(folder) / "disk"), Path(folder) / "at", "loop"):
                return ""
        except (OSError, subprocess.CalledProcessError) as error:
            said = error.stderr.decode().strip() if isinstance(error, subprocess.CalledProcessError) else str(error)
            return f"ext4 in a loop file cannot be mounted here: {said}"


def made(path: Path) -> Path:
    """An empty file system."""
    with path.open("wb") as file:
        file.truncate(SIZE)
    words = ["mkfs.ext4", "-q", "-b", "1024", "-J", "size=1", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(path)]
    subprocess.run(words, check=True, capture_output=True)
    return path


@contextlib.contextmanager
def mounted(disk: Path, at: Path, options: str) -> Generator[Path]:
    """A file system, while it is needed."""
    at.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "ext4", "-o", options, str(disk), str(at)], check=True, capture_output=True)
    try:
        yield at
    finally:
        # A process that another thread is starting has the files open until it is exec'ed.
        for left in reversed(range(100)):
            if not subprocess.run(["umount", str(at)], check=not left, capture_output=True).returncode:
                break
            time.sleep(0.1)


def copied(source: Path, target: Path) -> None:
    """A file of which nobody knows when it is written: until two reads agree. Holes stay holes."""
    before = None
    while (data := _extents(source)) != before:
        before = data
    with target.open("wb") as file:
        file.truncate(SIZE)
        for start, part in data:
            file.seek(start)
            file.write(part)


def _extents(path: Path) -> list[tuple[int, bytes]]:
    found: list[tuple[int, bytes]] = []
    with path.open("rb", buffering=0) as file:
        at = 0
        while at < SIZE:
            try:
                start = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            at = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            found.append((start, os.pread(file.fileno(), at - start, start)))
    return found


def check(home: Path, counts: Counts) -> None:
    """What the disk of a cut has to be."""
    slots = Slots(home)
    state, trouble = slots.read()
    counts.cuts += 1
    counts.phases[state.phase] = counts.phases.get(state.phase, 0) + 1
    try:
        if trouble or state.content is None:
            raise WireError(trouble or "nothing is committed")
        verify(slots.folder(state.committed), slots.update(state.content))
    except (WireError, AgentError, OSError) as error:
        counts.broken += 1
        counts.examples.append(f"{state.phase}, slot {state.committed!r}, boot {state.boot}: {error}")
        return
    if state.phase == "trial" and state.target:
        loads = 0
        while state.phase == "trial":
            for seen in (Started(), Ended("switch")):
                decision, state = decide(seen, state)
                slots.write(state)
                loads += decision.step == "load"
            if loads > (state.target.trial.loads if state.target else 0):
                counts.survived += 1
                return


class Rig:
    """One file system, and the device on it."""

    def __init__(self, folder: Path, mode: str, seed: int, *, careless: bool = False) -> None:
        self.folder, self.mode, self.careless = folder, mode, careless
        self.chance, self.counts = random.Random(seed), Counts()
        self._device: subprocess.Popen[bytes] | None = None

    def run(self, cuts: int) -> None:
        """So many power cuts."""
        disk = made(self.folder / "disk")
        with mounted(disk, self.folder / "at", MODES[self.mode]) as at:
            try:
                for number in range(cuts):
                    if number % KILL == 0:
                        self._restart(at)
                    time.sleep(self.chance.uniform(0, LATEST))
                    self._cut(disk, self.folder / f"copy{number}")
            finally:
                self._kill()
                with contextlib.suppress(AgentError):
                    self.counts.updates = Slots(at / "home").read()[0].floor

    def _restart(self, at: Path) -> None:
        """Kill the device, and wait until it has a model and takes updates."""
        self._kill()
        words = [sys.executable, "-m", "prove.powercut", "--device", str(at / "home"), str(self.chance.random())]
        words += ["--careless"] * self.careless
        self._device = subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True)
        assert self._device.stdout is not None
        if not self._device.stdout.readline():
            raise RuntimeError("the device does not start: see above")

    def _kill(self) -> None:
        if self._device is not None:
            self._device.kill()
            self._device.communicate()

    def _cut(self, disk: Path, copy: Path) -> None:
        assert self._device is not None
        self._device.send_signal(signal.SIGSTOP)
        try:
            copied(disk, copy)
        finally:
            self._device.send_signal(signal.SIGCONT)
        # A file of its own for each: a loop device that is still there for the last one has the blocks of that.
        with mounted(copy, self.folder / "look", "loop") as found:
            check(found / "home", self.counts)
        copy.unlink()


def device(home: Path, seed: str, careless: bool) -> None:
    """Take updates without end: one of three is bad, one of five is a package that was there before."""
    from tests.distributions.edge.devices import BAD, GOOD, Device, desired, update

    if careless:
        os.fsync = lambda file: None
    agents.LOOK = 0.002
    chance = random.Random(seed)
    with Device(home) as running:
        index = running.state.floor
        while True:
            index += 1
            bad = index > 1 and chance.random() < 1 / 3
            number = max(1, index - 1) if chance.random() < 1 / 5 else index
            running.models.quality = BAD if bad else GOOD
            running.agent.want(desired(update(index, number)))
            running.until(lambda index=index: _over(running.state, index), 60)
            if index == 1 or running.state.floor == index:
                print(index, flush=True)


def _over(state: agents.State, index: int) -> bool:
    """Whether update `index` was taken, or refused."""
    denied = any(each.index == index for each in state.denied)
    return state.phase == "idle" and (denied or state.floor == index or f"update {index} " in state.refused)


def main() -> int:
    """The figures; 1 where something happened that must not."""
    parser = argparse.ArgumentParser(prog="prove.powercut")
    parser.add_argument("--cuts", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--careless", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.device:
        device(Path(given.device[0]), given.device[1], given.careless)
    if why := refused():
        print(f"not measured: {why}")
        return 1
    return 0 if proved(given.cuts, given.seed) else 1


def proved(cuts: int, seed: int) -> bool:
    """Whether no cut is without a working model, and the control is found out."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        rigs = [Rig(Path(folder, mode), mode, seed) for mode in MODES]
        control = Rig(Path(folder, "control"), "noauto_da_alloc", seed, careless=True)
        for rig in (*rigs, control):
            rig.folder.mkdir()
        threads = [threading.Thread(target=rig.run, args=(cuts // len(rigs),)) for rig in rigs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        control.run(CONTROL)
    seconds = time.monotonic() - began
    for rig in rigs:
        print(rig.counts.line(rig.mode, seconds), *rig.counts.examples[:5], sep="\n  ")
    print(f"control, which does not sync: {control.counts.broken} of {control.counts.cuts} without a verified model")
    done = all(rig.counts.cuts == cuts // len(rigs) and rig.counts.good for rig in rigs)
    return done and control.counts.broken > 0


if __name__ == "__main__":
    sys.exit(main())
