"""A device of which the network and the models are stand-ins; its disk and its agent are real."""

import hashlib
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from argosy_edge.agent import Agent
from argosy_edge.errors import BadPackage, BadSignature, Unavailable
from argosy_edge.slots import Slots
from argosy_edge.state import Died, Event, Looked, State
from argosy_edge.wire import Arm, Desired, Envelope, Facts, Quality, Trial, Update, UpdateFile

FACTS = Facts(machine="x86_64", agent="0.1.0", python="3.11.7", onnxruntime="1.24.1")
GOOD = Quality(
    stable=Arm(requests=50, latency=(0, 0, 50)), candidate=Arm(requests=50, latency=(0, 0, 50)), compared=50, agreed=50
)
BAD = msgspec.structs.replace(GOOD, agreed=0)


def contents(number: int, size: int = 5000) -> dict[str, bytes]:
    """The files of package `number`."""
    return {"weights/model.onnx": bytes([number % 251]) * size, "model.yaml": f"version: {number}\n".encode()}


def update(index: int, number: int | None = None, **more: Any) -> Update:
    """Update `index`, to package `number`."""
    files = contents(index if number is None else number)
    listed = tuple(
        UpdateFile(path=path, size=len(data), sha256=hashlib.sha256(data).hexdigest()) for path, data in files.items()
    )
    package = hashlib.sha256(repr(listed).encode()).hexdigest()
    given = {"trial": Trial(rows=50, seconds=0.0, longest=60.0), "manifest": {}} | more
    return Update(
        fleet="pumps", index=index, ref=f"digits:{number or index}", package=f"sha256:{package}", files=listed, **given
    )


def desired(one: Update | None, **more: Any) -> Desired:
    """What the platform says for it; the signature is a stand-in."""
    envelope = None if one is None else Envelope(payload=msgspec.json.encode(one), signature=b"good", key="key")
    return Desired(revision=str(one.index if one else 0), update=envelope, **more)


class Source:
    """A platform with every package. `trouble` is asked before each step, and may raise."""

    def __init__(self, trouble: Callable[[str], None] = lambda step: None) -> None:
        self.trouble = trouble
        self.fetched: list[int] = []

    def open(self, desired: Desired) -> Update | None:
        if desired.update is None:
            return None
        if desired.update.signature != b"good":
            raise BadSignature("the signature is not that of the fleet's key")
        return msgspec.json.decode(desired.update.payload, type=Update)

    def fetch(self, update: Update, folder: Path, have: Mapping[str, Path], stop: threading.Event) -> None:
        self.trouble("fetch")
        self.fetched.append(update.index)
        for path, data in contents(int(update.ref.rpartition(":")[2])).items():
            if stop.is_set():
                raise Unavailable("it was stopped")
            (folder / path.replace("/", "-")).write_bytes(data)

    def assemble(self, update: Update, folder: Path, into: Path, have: Mapping[str, Path]) -> None:
        self.trouble("assemble")
        for file in update.files:
            (into / file.path).parent.mkdir(parents=True, exist_ok=True)
            (into / file.path).write_bytes((folder / file.path.replace("/", "-")).read_bytes())


class Packages(Source):
    """A platform with packages in folders, each with its manifest, by index of update."""

    def __init__(self, folders: Mapping[int, tuple[Path, dict[str, Any]]]) -> None:
        super().__init__()
        self.folders = folders

    def update(self, index: int, **more: Any) -> Update:
        """The update to a package."""
        folder, manifest = self.folders[index]
        files = tuple(
            UpdateFile(
                path=str(path.relative_to(folder)),
                size=path.stat().st_size,
                sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            )
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        )
        package = hashlib.sha256(repr(files).encode()).hexdigest()
        ref = f"{manifest['name']}:{index}"
        return Update(
            fleet="pumps", index=index, ref=ref, package=f"sha256:{package}", files=files, manifest=manifest, **more
        )

    def fetch(self, update: Update, folder: Path, have: Mapping[str, Path], stop: threading.Event) -> None:
        self.fetched.append(update.index)

    def assemble(self, update: Update, folder: Path, into: Path, have: Mapping[str, Path]) -> None:
        shutil.copytree(self.folders[update.index][0], into, dirs_exist_ok=True)


class Models:
    """Models that need no onnxruntime. `quality` is what a look finds; `broken`: names of packages, by step."""

    def __init__(self, trouble: Callable[[str], None] = lambda step: None) -> None:
        self.trouble = trouble
        self.quality: Quality | None = GOOD
        self.broken: set[tuple[str, str]] = set()
        self.serving: str | None = None
        self.candidate = False
        self.dies = ""

    def _check(self, step: str, update: Update | None, folder: Path) -> None:
        self.trouble(step)
        if update is not None:
            assert (folder / "model.yaml").is_file()
            if (step, update.ref) in self.broken:
                raise BadPackage(f"{update.ref} is broken")

    def selftest(self, update: Update, folder: Path) -> None:
        self._check("selftest", update, folder)

    def load(self, update: Update, folder: Path) -> None:
        self._check("load", update, folder)
        self.candidate = True

    def look(self) -> Looked | Died | None:
        if self.dies:
            self.candidate = False
            return Died(self.dies)
        if self.quality is None:
            return None
        return Looked(quality=self.quality, seconds=1.0, alone=self.serving is None)

    def release(self) -> bool:
        was, self.candidate = self.candidate, False
        return was

    def switch(self, update: Update | None, folder: Path) -> None:
        self._check("switch", update, folder)
        self.serving = update.ref if update else None
        self.candidate = False


class Device:
    """An agent in a thread."""

    def __init__(self, home: Path, models: Any = None, source: Source | None = None) -> None:
        self.events: list[Event] = []
        self.models, self.source = models or Models(), source or Source()
        self.slots = Slots(home)
        self.slots.claim()
        self.agent = Agent(self.slots, self.models, self.source, facts=FACTS, notice=self._notice)
        self._thread = threading.Thread(target=self.agent.run, daemon=True)

    def _notice(self, state: State, event: Event) -> None:
        self.events.append(event)

    def __enter__(self) -> "Device":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.agent.stop()
        self._thread.join(60)
        self.slots.release()
        assert not self._thread.is_alive()

    @property
    def state(self) -> State:
        return self.agent.state

    def until(self, met: Callable[[], object], seconds: float = 60.0) -> None:
        """Wait for something."""
        end = time.monotonic() + seconds
        while not met():
            assert time.monotonic() < end, f"it did not happen: {self.state}, {self.events[-3:]}"
            time.sleep(0.01)

    def settled(self, index: int | None) -> None:
        """Wait until this update is committed, or None is, and nothing else is on its way."""
        self.until(
            lambda: self.state.phase == "idle" and (self.state.content.index if self.state.content else None) == index
        )

    def said(self, kind: str) -> list[str]:
        return [event.detail for event in self.events if event.kind == kind]
