"""The folder of an agent: two slots, the factory model, the state, and the statements of what the slots have.

    lock                    held by the one agent of this folder
    state.json              `State` with its SHA-256
    slots/a, slots/b        packages
    factory, factory.json   a package and its statement, never written
    updates/<sha256>.json   signed statements, as they came
    parts                   what was fetched and is not assembled
    reserve                 disk that is given up where the state could not be written without

Whatever has to survive is written by `durable`: a power cut leaves the old content or the new one.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from argosy_edge import durable
from argosy_edge.errors import AgentError, BadPackage, Conflict, InvalidArgument, NotFound
from argosy_edge.state import Content, Place, State
from argosy_edge.transfer import hashed
from argosy_edge.wire import Envelope, Update

LEFT = 4 * 1024 * 1024
"""Bytes of disk that no update takes."""
RESERVE = 256 * 1024
"""Bytes of disk with which the state can be written on a disk that something else has filled."""


class Damaged(AgentError):
    """A slot that does not have what was written to it."""

    code, http, exit = "bad_package", 422, 7


class _Kept(msgspec.Struct, frozen=True):
    sha256: str
    state: msgspec.Raw


def sync_tree(folder: Path) -> None:
    """Make all files below a folder outlive a power cut, and it itself."""
    for place, _, names in os.walk(folder, topdown=False):
        for name in names:
            file = os.open(os.path.join(place, name), os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(file)
            finally:
                os.close(file)
        durable.sync_folder(Path(place))


class Slots:
    """The folder, of one agent at a time."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.parts = root / "parts"
        self.factory = root / "factory"
        self._updates = root / "updates"
        self._lock: int | None = None

    def claim(self) -> None:
        """Make this the only agent of the folder, until it ends. Raises Conflict."""
        for folder in (self.root, self.root / "slots", self._updates, self.parts):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pid = os.pread(file, 20, 0).decode("ascii", "replace").strip()
            os.close(file)
            raise Conflict(
                f"{self.root} has an agent already{f', process {pid}' if pid else ''}: end it first, or give this one "
                "a folder of its own with --home"
            ) from None
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        self._lock = file
        self._reserve()

    def _reserve(self) -> None:
        path = self.root / "reserve"
        with contextlib.suppress(OSError):
            if not path.exists() or path.stat().st_size != RESERVE:
                durable.write(path, os.urandom(RESERVE))

    def release(self) -> None:
        """Let another agent have the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def folder(self, place: Place) -> Path:
        """Where a slot, or the factory model, has its files."""
        return self.root / "slots" / place if place else self.factory

    def owner(self) -> int | None:
        """The process of the agent that has the folder now."""
        try:
            with (self.root / "lock").open() as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            pass
        except OSError:
            return int((self.root / "lock").read_text().strip() or 0)
        return None

    def read(self, put_aside: bool = True) -> tuple[State, str]:
        """The state, and what is wrong with it. A state that is damaged is put aside: the factory model serves, and no
        update is taken that is older than any that was seen."""
        path = self.root / "state.json"
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return State(), ""
        try:
            kept = msgspec.json.decode(data, type=_Kept)
            if hashlib.sha256(bytes(kept.state)).hexdigest() != kept.sha256:
                raise ValueError("its SHA-256 is another")
            return msgspec.json.decode(kept.state, type=State), ""
        except (msgspec.MsgspecError, ValueError) as error:
            if put_aside:
                os.replace(path, path.with_suffix(".damaged"))
            return State(floor=max(self._indices(), default=0)), f"{path} is damaged ({error}) and was put aside"

    def write(self, state: State) -> None:
        """Make a state the present one. Raises OSError, and then the one before is."""
        body = msgspec.json.encode(state)
        kept = msgspec.json.encode(_Kept(hashlib.sha256(body).hexdigest(), msgspec.Raw(body)))
        try:
            durable.write(self.root / "state.json", kept)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            (self.root / "reserve").unlink(missing_ok=True)
            durable.write(self.root / "state.json", kept)

    def keep(self, envelope: Envelope) -> str:
        """Put a statement on disk. Its name in the state."""
        data = msgspec.json.encode(envelope)
        sha256 = hashlib.sha256(data).hexdigest()
        path = self._updates / f"{sha256}.json"
        if not path.exists() or path.read_bytes() != data:
            durable.write(path, data)
        return sha256

    def update(self, content: Content) -> Update:
        """The statement of a slot, as it was verified when it came. Raises BadPackage."""
        return self._update(content.envelope)

    def _update(self, name: str) -> Update:
        path = self._updates / f"{name}.json"
        try:
            data = path.read_bytes()
            if hashlib.sha256(data).hexdigest() != name:
                raise BadPackage(f"{path} is damaged: its SHA-256 is another")
            envelope = msgspec.json.decode(data, type=Envelope)
            return msgspec.json.decode(envelope.payload, type=Update)
        except (OSError, msgspec.MsgspecError) as error:
            raise BadPackage(f"{path} cannot be read: {error}") from None

    def _indices(self) -> Iterator[int]:
        for path in self._updates.glob("*.json"):
            with contextlib.suppress(BadPackage):
                yield self._update(path.stem).index

    def factory_update(self) -> Update | None:
        """The statement of the factory model; None where there is none. Raises InvalidArgument."""
        path = self.root / "factory.json"
        if not path.is_file():
            return None
        try:
            return msgspec.json.decode(path.read_bytes(), type=Update)
        except (OSError, msgspec.MsgspecError) as error:
            raise InvalidArgument(f"{path} of the factory model cannot be read: {error}") from None

    def make_factory(self, state: State) -> Update:
        """Let what is committed be the factory model. Raises Conflict where there is one, NotFound."""
        if (self.root / "factory.json").exists():
            raise Conflict(f"{self.factory} has a factory model already, which no update and no command changes")
        if state.content is None:
            raise NotFound(f"{self.root} has no committed model that could be its factory model")
        update = self.update(state.content)
        shutil.rmtree(self.factory, ignore_errors=True)
        shutil.copytree(self.folder(state.committed), self.factory)
        sync_tree(self.factory)
        durable.write(self.root / "factory.json", msgspec.json.encode(update))
        return update

    def space(self) -> int:
        """Bytes that an update may take."""
        found = os.statvfs(self.root)
        return max(0, found.f_bavail * found.f_frsize - LEFT) + size_of(self.parts)

    def size(self, place: Place) -> int:
        """Bytes of what a slot has."""
        return size_of(self.folder(place))

    def files(self, state: State) -> dict[str, Path]:
        """By their SHA-256, the files of this device of which a package may be made: to be checked as they are read."""
        found: dict[str, Path] = {}
        contents: dict[Place, Content | None] = {"": None, state.free: state.target, **state.slots}
        for place, content in contents.items():
            with contextlib.suppress(BadPackage, InvalidArgument):
                update = self.update(content) if content else self.factory_update()
                for each in update.files if update else ():
                    if (path := self.folder(place) / each.path).is_file():
                        found[each.sha256] = path
        return found

    def transfer(self, update: Update) -> Path:
        """Where what is fetched of a package grows. What is left of others there is taken away."""
        own = self.parts / update.package.removeprefix("sha256:")
        for path in self.parts.iterdir():
            if path != own:
                shutil.rmtree(path, ignore_errors=True)
        own.mkdir(exist_ok=True, mode=0o700)
        return own

    def forget(self) -> None:
        """Take away what was fetched: it lies in a slot."""
        shutil.rmtree(self.parts, ignore_errors=True)
        self.parts.mkdir(exist_ok=True, mode=0o700)

    def fill(self, place: Place, write: Callable[[Path], None]) -> None:
        """Let a slot have what is written to a folder, in place of what it had."""
        fresh = self.root / "slots" / ".next"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        write(fresh)
        sync_tree(fresh)
        shutil.rmtree(self.folder(place), ignore_errors=True)
        os.rename(fresh, self.folder(place))
        durable.sync_folder(self.root / "slots")

    def clear(self, state: State, parts: bool = True) -> None:
        """Take away what the state does not name."""
        places: tuple[Place, ...] = ("a", "b")
        for place in places:
            if place not in state.slots and place != state.committed:
                shutil.rmtree(self.folder(place), ignore_errors=True)
        if parts:
            self.forget()
        named = {content.envelope for content in (*state.slots.values(), *([state.target] if state.target else []))}
        for path in self._updates.glob("*"):
            if path.stem not in named:
                path.unlink(missing_ok=True)


def size_of(folder: Path) -> int:
    """Bytes of the files below a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0


def verify(folder: Path, update: Update) -> None:
    """Raise Damaged unless a folder has exactly the files of an update, each as it was signed, and no links."""
    wanted = {each.path: each for each in update.files}
    found = {
        str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()
    }
    if odd := sorted(found.keys() ^ wanted.keys()):
        raise Damaged(f"{folder} is not what was signed: it lacks or has besides {', '.join(odd[:5])}")
    for path, file in wanted.items():
        status = found[path].lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size != file.size or hashed(found[path]) != file.sha256:
            raise Damaged(f"{found[path]} is not what was signed: {status.st_size:,} bytes of {file.size:,}")
