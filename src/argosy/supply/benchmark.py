"""A machine shows what it can do, before it gets any work: timed and seeded challenges, within a minute.

Each answer is checked: of a product by vectors that the machine cannot know, of memory at places that are named once it
is filled, and in less time than it takes to fill again. All times are of the clock here.
"""

import hashlib
import itertools
import math
import os
import secrets
import shlex
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from argosy.process.launch import Child, ours
from argosy.spec.errors import DeadlineExceeded, Unavailable
from argosy.supply import challenges
from argosy.supply.challenges import SPAN, receive, send
from argosy.supply.hosts import Figures, admit

BLOCK = 8 * SPAN
READS = 4096
QUICK = 0.25
PROGRAM = Path(challenges.__file__)


class Effort(msgspec.Struct, frozen=True, kw_only=True):
    """How much is asked for: `seconds` in all and for products, bytes of memory at most, to the disk and through the
    network. A product is one of matrices of `size`."""

    seconds: float = 60.0
    products: float = 6.0
    size: int = 1024
    memory: float = 4 * 1024**3
    disk: float = 256 * 1024**2
    network: int = 16 * 1024**2


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine showed in `seconds`, and what speaks against it."""

    measured: Figures
    refused: tuple[str, ...]
    seconds: float


class Machine:
    """The program on a machine, started by a command. Raises Unavailable where it ends, DeadlineExceeded."""

    def __init__(self, program: Child, seconds: float) -> None:
        self.seconds, self.late = seconds, False
        try:
            self._process = subprocess.Popen(
                program.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=program.environ
            )
        except OSError as error:
            raise Unavailable(f"'{program.command[0]}' does not start: {error.strerror}") from None
        self._timer = threading.Timer(seconds, self._give_up)
        self._timer.daemon = True
        self._timer.start()

    def _give_up(self) -> None:
        self.late = True
        self._process.kill()

    def ask(self, do: str, data: bytes = b"", **more: Any) -> tuple[dict[str, Any], bytes, float]:
        """An answer, its bytes, and the seconds that it took."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        begun, found = time.perf_counter(), None
        try:
            send(self._process.stdin, {"do": do, **more}, data)
            found = receive(self._process.stdout)
        except (OSError, ValueError, KeyError, TypeError):
            pass
        if self.late:
            raise DeadlineExceeded(f"the machine was asked for '{do}' and did not answer within {self.seconds:g} s")
        if found is None:
            raise Unavailable(f"the program on the machine ended, or said what is no answer, when asked for '{do}'")
        return *found, time.perf_counter() - begun

    def close(self) -> None:
        """End it."""
        self._timer.cancel()
        self._process.kill()
        self._process.communicate()


def program(folder: Path, on: str = "") -> Child:
    """What starts the program: on this machine in `folder`, or by a command that runs another one elsewhere, as in
    `ssh host`."""
    if not on:
        return ours("argosy.supply.challenges", folder=folder, parent=os.getpid())
    return Child([*shlex.split(on), "python3", "-c", shlex.quote(PROGRAM.read_text())], dict(os.environ))


def show(given: Child, claimed: Figures, effort: Effort | None = None) -> Shown:
    """Ask a machine for all that it claims, and for what costs little. Raises Unavailable, DeadlineExceeded."""
    effort, begun = effort or Effort(), time.perf_counter()
    most, gpu_most = min(claimed.memory, effort.memory), min(claimed.gpu_memory, effort.memory)
    seed, blocks = secrets.randbits(62), math.ceil(effort.disk / BLOCK)
    fills = [(do, _places(math.ceil(size / BLOCK), seed)) for do, size in (("fill", most), ("gpu_fill", gpu_most))]
    machine, wrong = Machine(given, effort.seconds), list[str]()
    gpu_compute = 0.0
    try:
        machine.ask("ping")
        rtt = min(machine.ask("ping")[2] for _ in range(8))
        data = secrets.token_bytes(effort.network)
        told, back, network = machine.ask("ping", data, back=len(data))
        if told.get("hash") != hashlib.blake2b(data).hexdigest() or len(back) != len(data):
            wrong.append("network")
        right, compute = _products(machine, effort, "product")
        wrong += [] if right else ["product"]
        if claimed.gpu_compute or claimed.gpu_memory:
            right, gpu_compute = _products(machine, effort, "gpu_product")
            wrong += [] if right else ["gpu_product"]
        for do, (places, wanted) in fills:
            wrong += [] if _holds(machine, do, places, wanted, seed, rtt) else [do]
        told, _, disk = machine.ask("disk", seed=seed, count=blocks)
        if told.get("hash") != challenges.hashed(blocks, seed):
            wrong.append("disk")
    finally:
        machine.close()
    measured = Figures(
        compute=compute,
        memory=0.0 if "fill" in wrong else most,
        disk=2 * blocks * BLOCK / disk,
        network=2 * effort.network / max(network - rtt, 1e-6),
        rtt=rtt,
        gpu_compute=gpu_compute,
        gpu_memory=0.0 if "gpu_fill" in wrong else gpu_most,
    )
    asked = msgspec.structs.replace(claimed, memory=most, gpu_memory=gpu_most)
    refused = admit(asked, measured, wrong=", ".join(wrong))
    return Shown(measured=measured, refused=refused, seconds=time.perf_counter() - begun)


def _holds(machine: Machine, do: str, places: Any, wanted: Any, seed: int, rtt: float) -> bool:
    """Whether a machine holds what it was filled with: it is read in less time than it takes to fill again."""
    if not len(places):
        return True
    filled = machine.ask(do, seed=seed, count=int(places[-1]) // SPAN + 1)[2]
    _, found, took = machine.ask("read", places.tobytes())
    return found == wanted.tobytes() and took - rtt <= max(QUICK, filled / 8)


def _places(count: int, seed: int) -> tuple[Any, Any]:
    """Places in so many blocks, and what stands there."""
    places = np.sort(np.random.default_rng().integers(0, max(1, count) * SPAN, READS if count else 0, dtype="<u8"))
    wanted = np.zeros(len(places), "<u8")
    for nth, block in enumerate(itertools.islice(challenges.blocks(seed), count)):
        here = places // SPAN == nth
        wanted[here] = block[places[here] % SPAN]
    return places, wanted


def _products(machine: Machine, effort: Effort, do: str) -> tuple[bool, float]:
    """Whether products are right, and the multiply-adds a second of the second, which is as long as is wanted."""
    rounds, rate, right = 2, 0.0, True
    for _ in range(2):
        seed = secrets.token_hex(16)
        _, answer, took = machine.ask(do, seed=seed, size=effort.size, rounds=rounds)
        right = right and challenges.is_product(answer, seed, effort.size, rounds, secrets.token_hex(16))
        rate = rounds * effort.size**3 / took
        rounds = max(rounds, min(2000, int(rounds * effort.products / took)))
    return right, rate
