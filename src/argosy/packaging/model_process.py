"""A model in a process of its own: whoever asks keeps its credentials and files, and the model has its sandbox.

`python -m argosy.packaging.model_process CHANNEL THREADS TRUSTED PACKAGE` answers until its caller ends.
A frame, either way, is two 64-bit sizes (little-endian), a head in JSON and the raw bytes of its tensors.
"""

import contextlib
import faulthandler
import gc
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from argosy.engines.base import Engine, conform, rows_of
from argosy.packaging import environment
from argosy.packaging.load import LoadedModel, load
from argosy.packaging.package import Package, open_package
from argosy.process import launch, sandbox, users
from argosy.process.sandbox import Policy
from argosy.protocol import raw
from argosy.spec import crash
from argosy.spec.errors import ArgosyError, Internal, InvalidArgument, table
from argosy.spec.settings import home
from argosy.spec.tensor import Array, Tensor

MODULE = "argosy.packaging.model_process"
_SIZES = struct.Struct("<QQ")
_MAX_HEAD = 4 * 1024 * 1024
_MAX_BODY = 8 * 1024**3
_CHUNK = 16 * 1024 * 1024
_IOV = 256


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One tensor of a frame."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    size: int


class Head(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a frame says: tensors, with the outputs on request that are wanted; that the model is loaded; or what went
    wrong."""

    tensors: tuple[Entry, ...] = ()
    more: tuple[str, ...] = ()
    difference: float = 0.0
    code: str = ""
    message: str = ""


class Line:
    """One end of the stream between the two."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line

    def send(self, head: Head, bodies: Sequence[bytes | memoryview] = ()) -> None:
        """Send a frame. Raises OSError."""
        start = msgspec.json.encode(head)
        start = _SIZES.pack(len(start), sum(map(len, bodies))) + start
        parts = [memoryview(start), *map(memoryview, bodies)]
        while parts:
            sent = self._line.sendmsg(parts[:_IOV])
            while parts and sent >= len(parts[0]):
                sent -= len(parts.pop(0))
            if sent:
                parts[0] = parts[0][sent:]

    def receive(self) -> tuple[Head, memoryview]:
        """The next frame. Raises EOFError where there is none, ValueError where that is no frame."""
        head, body = _SIZES.unpack(self._read(_SIZES.size))
        if head > _MAX_HEAD or body > _MAX_BODY:
            raise ValueError(f"a frame of {head} and {body} bytes")
        return msgspec.json.decode(self._read(head), type=Head), self._read(body)

    def _read(self, size: int) -> memoryview:
        """So many bytes. Memory is taken as they come: a size alone costs nothing."""
        data, got = bytearray(min(size, _CHUNK)), 0
        while got < size:
            if got == len(data):
                data.extend(bytes(min(len(data), size - got)))
            with memoryview(data) as view, view[got:] as rest:
                count = self._line.recv_into(rest)
            if not count:
                raise EOFError
            got += count
        return memoryview(data)

    def close(self) -> None:
        self._line.close()


def packed(tensors: Sequence[Tensor]) -> tuple[Head, list[bytes | memoryview]]:
    """Tensors as a frame, without a copy where their memory lies in one piece."""
    entries: list[Entry] = []
    bodies: list[bytes | memoryview] = []
    for each in tensors:
        array = each.array
        whole = each.datatype != "BYTES" and array.size and array.flags.c_contiguous and array.dtype.byteorder != ">"
        bodies.append(array.reshape(-1).view("u1").data if whole else raw.encode(each))
        entries.append(Entry(each.name, each.datatype, array.shape, len(bodies[-1])))
    return Head(tensors=tuple(entries)), bodies


def unpacked(head: Head, body: memoryview) -> list[Tensor]:
    """The tensors of a frame. Raises InvalidArgument where they do not fit."""
    found: list[Tensor] = []
    at = 0
    for each in head.tensors:
        end = at + max(each.size, 0)
        found.append(raw.decode(each.name, each.datatype, each.shape, body[at:end]))
        at = end
    if at != len(body):
        raise InvalidArgument(f"{len(body) - at} bytes follow the last tensor")
    return found


class ModelProcess(Engine):
    """The engine of a model in another process. When that dies, this process ends in the same way: whoever watches it
    sees what the model did. `memory`: resident bytes of the other one."""

    releases_gil = True

    def __init__(self, package: Package, threads: int, environ: Mapping[str, str], network: bool, lock: str) -> None:
        packages = environment.prepare(home(), package.needs, given=lock) if lock else None
        self.signature = package.manifest.signature
        self._types = {spec.name: spec.datatype for spec in self.signature.inputs}
        self._folder = tempfile.TemporaryDirectory(prefix="argosy-model-", ignore_cleanup_errors=True)
        self._lock = threading.Lock()
        ours, theirs = socket.socketpair()
        self._line = Line(ours)
        work = Path(self._folder.name)
        self._user = 0 if sandbox.own_user() else users.free()
        if self._user:
            os.chown(work, self._user, self._user)
        policy = Policy(
            reads=(str(package.folder), *([str(packages)] if packages else [])),
            writes=(str(work),),
            network=network,
            user=self._user,
            parent=os.getpid(),
            limits=sandbox.limits(self._user),
        )
        with theirs:
            channel = theirs.fileno()
            given = (str(channel), str(threads), "trusted" if package.trusted else "", str(package.folder.absolute()))
            child = launch.model(
                MODULE, *given, folder=work, policy=policy, more={**environ, **environment.variables(packages)}
            )
            self._process = subprocess.Popen(
                child.command, env=child.environ, pass_fds=(channel,), stdin=subprocess.DEVNULL
            )
        try:
            self.difference = self._ask(Head(), ())[0].difference
        except BaseException:
            self.close()
            raise

    @property
    def memory(self) -> int:
        """Resident bytes of the other process."""
        import psutil

        return psutil.Process(self._process.pid).memory_info().rss

    def predict(self, inputs: Mapping[str, Array]) -> list[Array]:
        return self._answered(inputs, ())

    def more(self, inputs: Mapping[str, Array], names: Sequence[str]) -> list[Array]:
        return self._answered(inputs, tuple(names))

    def _answered(self, inputs: Mapping[str, Array], more: tuple[str, ...]) -> list[Array]:
        head, bodies = packed([Tensor(name, self._types[name], array) for name, array in inputs.items()])
        answer, body = self._ask(msgspec.structs.replace(head, more=more), bodies)
        try:
            found = {tensor.name: tensor.array for tensor in unpacked(answer, body)}
        except InvalidArgument as error:
            raise Internal(f"the process of the model answered nonsense: {error.message}") from None
        rows = rows_of(inputs) if self.signature.batched else None
        return [conform(spec, found.get(spec.name), rows) for spec in self.signature.chosen(more)]

    def _ask(self, head: Head, bodies: Sequence[bytes | memoryview]) -> tuple[Head, memoryview]:
        with self._lock:
            try:
                self._line.send(head, bodies)
                answer, body = self._line.receive()
            except (ValueError, msgspec.MsgspecError) as error:
                raise Internal(f"the process of the model answered nonsense: {error}") from None
            except (OSError, EOFError):
                self._follow()
        if answer.code:
            raise table().get(answer.code, Internal)(answer.message)
        return answer, body

    def _follow(self) -> NoReturn:
        """End as the model's process did, which has said why."""
        status = self._process.wait()
        self._folder.cleanup()
        sys.stderr.flush()
        if status < 0:
            faulthandler.disable()
            resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
            with contextlib.suppress(OSError, ValueError):
                signal.signal(-status, signal.SIG_DFL)
            os.kill(os.getpid(), -status)
        os._exit(status or 1)

    def close(self) -> None:
        self._line.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(2.0)
        self._process.kill()
        self._process.wait()
        if self._user:
            users.end(self._user)
        self._folder.cleanup()


def load_in_process(
    package: Package, *, threads: int, environ: Mapping[str, str] | None = None, network: bool = False, lock: str = ""
) -> LoadedModel:
    """As `load`, in a process of its own. `environ` is what its environment has beside the list of `process/launch`,
    `lock` names what is installed for it where something lacks here. Raises what `load` and `prepare` raise."""
    engine = ModelProcess(package, threads, environ or {}, network, lock)
    return LoadedModel(package, engine, engine.difference)


def main(channel: int, threads: int, trusted: bool, folder: Path) -> int:
    crash.tell()
    crash.report_location()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.set_inheritable(channel, False)
    line = Line(socket.socket(fileno=channel))
    sandbox.seal()
    try:
        line.receive()
        model = load(open_package(folder, trusted=trusted), threads=threads)
    except ArgosyError as error:
        line.send(Head(code=error.code, message=error.message))
        return error.exit
    line.send(Head(difference=model.max_difference))
    gc.freeze()
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            head, body = line.receive()
            line.send(*_answer(model, head, body))
    return 0


def _answer(model: LoadedModel, head: Head, body: memoryview) -> tuple[Head, list[Any]]:
    try:
        feeds = {tensor.name: tensor.array for tensor in unpacked(head, body)}
        outputs = model.engine.more(feeds, head.more) if head.more else model.engine.predict(feeds)
    except ArgosyError as error:
        return Head(code=error.code, message=error.message), []
    except Exception as error:
        return Head(code="internal", message=f"the model failed: {type(error).__name__}: {error}"[:2000]), []
    specs = model.signature.chosen(head.more)
    return packed([Tensor(spec.name, spec.datatype, array) for spec, array in zip(specs, outputs, strict=True)])


if __name__ == "__main__":
    os._exit(main(int(sys.argv[1]), int(sys.argv[2]), bool(sys.argv[3]), Path(sys.argv[4])))
