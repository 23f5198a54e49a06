"""A language engine as a child of this process: started, awaited, ended."""

import contextlib
import os
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path

from argosy.engines.language.ask import Ask
from argosy.engines.language.base import LanguageEngine, Load, Setup, samples
from argosy.engines.language.llamacpp import LlamaCpp
from argosy.engines.language.vllm import Vllm
from argosy.process import sandbox, tail, users
from argosy.process.cores import gpus
from argosy.process.process import Process, spawn
from argosy.process.sandbox import Policy
from argosy.spec.address import Address
from argosy.spec.errors import BadPackage, Internal, MissingExtra, Unavailable, Unsupported
from argosy.spec.language import Language

ENGINES: Mapping[str, LanguageEngine] = {each.name: each for each in (LlamaCpp(), Vllm())}
PATIENCE = 600.0
"""Seconds that an engine may take to load its model."""
LOG, ERROR = "engine.log", "error: "
"""The file that an engine writes to; how the line begins that says why it ended: threads may write more behind it."""
DRIVER = ("/proc/driver", "/proc/devices", "/proc/modules", "/sys/module", "/sys/dev")
"""What libraries of GPUs read of the driver."""


def engine_of(name: str, *, here: bool = True) -> LanguageEngine:
    """The engine of this name, which is installed `here`, if it is to run here. Raises Unsupported, MissingExtra."""
    found = ENGINES.get(name)
    if found is None:
        raise Unsupported(f"there is no language engine '{name[:80]}'; there are {', '.join(ENGINES)}")
    if here and not found.installed():
        raise MissingExtra.named(found.extra, f"the engine {name}")
    return found


class EngineServer:
    """An engine that runs as a child. What it writes is appended to `log`; it ends with the thread that started it."""

    def __init__(self, engine: LanguageEngine, setup: Setup, folder: Path, log: Path) -> None:
        self.engine, self.setup = engine, setup
        self.log, self._log_start = log, log.stat().st_size if log.exists() else 0
        user = users.free() if engine.own_user and not sandbox.own_user() else 0
        if user:
            os.chown(folder, user, user)
        policy = Policy(
            reads=(*setup.files, *(DRIVER if gpus() else ())),
            writes=(str(folder),),
            listens=() if setup.address.path else (setup.address.port,),
            user=user,
            parent=os.getpid(),
            limits=sandbox.limits(user),
            required=setup.required,
            devices=gpus(),
        )
        command, environ = engine.child(setup, folder, policy)
        self.process: Process = spawn(command, environ, log, session=False)
        self.ask = Ask(setup.address, setup.name, engine.name)

    def adapted(self, adapter: str) -> Ask:
        """A client for whom an adapter takes part in all answers. The caller closes it."""
        setup, ask = self.setup, Ask(self.setup.address, self.setup.name, self.engine.name)
        ask.adapt(adapter, [*setup.adapters].index(adapter) if self.engine.numbers else None)
        return ask

    def load(self, timeout: float = 10.0) -> Load:
        """How busy it is. Raises Unavailable where it does not say so in time."""
        return self.engine.load(samples(self.ask.metrics(timeout)))

    def check(self) -> None:
        """Raises BadPackage, with its last words, where it has ended; Internal where it was killed."""
        if self.process.ended():
            raise (BadPackage if (self.process.status or 0) > 0 else Internal)(self.reason())

    def reason(self) -> str:
        """How it ended, and what it said last."""
        said = tail.last_words(self.log, self._log_start, ERROR).removeprefix(ERROR)
        status = self.process.status
        if status == 1 and said:
            return said
        how = f"signal {-status}" if status and status < 0 else f"status {status}"
        return f"{self.engine.name} ended with {how}{f': {said}' if said else ''}"

    def wait(self, patience: float = PATIENCE, stop: Callable[[], bool] = lambda: False) -> None:
        """Until it has loaded its model, or `stop`. Raises BadPackage where it ends instead, Unavailable where it takes
        longer."""
        deadline, pause = time.monotonic() + patience, 0.02
        while not self.ask.healthy() and not stop():
            self.check()
            if time.monotonic() > deadline:
                raise Unavailable(f"{self.engine.name} was not ready after {patience:g} s")
            time.sleep(pause)
            pause = min(0.25, pause * 1.5)

    def drain(self, seconds: float, idle: Callable[[Load], bool] = lambda load: not load.busy) -> None:
        """Wait, so long at most, until it has answered what it was asked."""
        deadline = time.monotonic() + seconds
        with contextlib.suppress(Unavailable):
            while time.monotonic() < deadline and not self.process.ended() and not idle(self.load(seconds)):
                time.sleep(0.1)

    def turn(self, *, asleep: bool) -> None:
        """Put it to sleep, or wake it. Raises Unavailable, Internal."""
        if self.engine.sleeps is not None:
            self.ask.order(self.engine.sleeps[0 if asleep else 1])

    def end(self) -> None:
        """End it now, with all that it started."""
        self.ask.__exit__()
        self.process.terminate()
        self.process.end(2.0)


@contextlib.contextmanager
def started(
    engine: str,
    weights: Path,
    language: Language,
    threads: int,
    folder: Path,
    *,
    name: str = "model",
    adapters: Mapping[str, str] | None = None,
    patience: float = PATIENCE,
) -> Generator[EngineServer]:
    """An engine with a model, ready to be asked at a Unix socket in `folder`, where it may write; it ends with the
    block. Raises Unsupported for settings that it does not have, MissingExtra, BadPackage, Unavailable."""
    found = engine_of(engine)
    found.check(language)
    address = Address(path=str(folder / "engine.sock"))
    setup = Setup(
        name=name,
        weights=str(weights),
        address=address,
        language=language,
        threads=threads,
        adapters=dict(adapters or {}),
    )
    server = EngineServer(found, setup, folder, folder / LOG)
    try:
        server.wait(patience)
        yield server
    finally:
        server.end()
