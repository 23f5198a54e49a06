"""A hostile model in a replica as the platform starts it: what it tries fails, and what it may do goes on."""

import asyncio
import contextlib
import ctypes
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from argosy.process import launch, sandbox, users
from argosy.process.managed import alive
from argosy.process.process import Process
from argosy.spec.endpoint import Runtime
from argosy.spec.errors import Unsupported
from argosy.spec.revision import Revision
from argosy.spec.settings import Home, Settings
from argosy.store import open_store
from argosy.targets.health import ask
from argosy.targets.launch import Launcher, Place, Unpacked, new_place, prepare
from argosy.targets.tags import scan
from tests.platform.packages import push_class

LACKS = [part.lacks for part in sandbox.parts() if part.lacks and part.name != "own user"]
pytestmark = pytest.mark.skipif(bool(LACKS), reason=f"no whole sandbox here: {LACKS}")
X = np.float32([[1, 2], [3, 4]])
SECRETS = (
    "run/token",
    "keys/digits.json",
    "argosy.db",
    "payload.key",
    "ledger.key",
    "fleet.key",
    "config.yaml",
    "logs/control.out.log",
)
SOCKETS = ("run/gateway/admin.sock", "run/labels.sock", "run/waiting.sock", "run/r/abcdef/r.sock")
RUN = "run/demand.sock"


class World:
    """A home with what is worth stealing, and who would notice."""

    def __init__(self, root: Path) -> None:
        self.home = Home(root).create()
        prepare(self.home)
        for name in (*SECRETS, "home/.ssh/id_rsa", "home/.aws/credentials"):
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.write_text("secret")
        self.listeners: list[socket.socket] = []
        for name in SOCKETS:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._listen(socket.socket(socket.AF_UNIX), str(path))
        self.datagrams = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.datagrams.bind(str(root / RUN))
        self.datagrams.setblocking(False)
        self.abstract = f"argosy-{os.getpid()}"
        self._listen(socket.socket(socket.AF_UNIX), f"\0{self.abstract}")
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.tcp.setblocking(False)
        self.listeners.append(self.tcp)
        self.victim = subprocess.Popen(["sleep", "600"], start_new_session=True)
        self.cores = os.sched_getaffinity(self.victim.pid)
        libc = ctypes.CDLL(None, use_errno=True)
        self.shared = [libc.shmget(0, 4096, 0o1600), libc.msgget(0, 0o1600), libc.semget(0, 1, 0o1600)]
        self.queue = f"argosy-{os.getpid()}"
        os.close(libc.mq_open(f"/{self.queue}".encode(), os.O_RDWR | os.O_CREAT, 0o600, None))

    def _listen(self, line: socket.socket, address: str) -> None:
        line.bind(address)
        line.listen()
        line.setblocking(False)
        self.listeners.append(line)

    def told(self) -> str:
        root = self.home.root
        other = root / "packages" / "other"
        other.mkdir(parents=True, exist_ok=True)
        return json.dumps(
            {
                "pid": self.victim.pid,
                "port": self.tcp.getsockname()[1],
                "abstract": self.abstract,
                "shared": self.shared,
                "queue": self.queue,
                "files": [
                    *(str(root / name) for name in (*SECRETS, "home/.ssh/id_rsa", "home/.aws/credentials")),
                    "/etc/shadow",
                    "/proc/1/environ",
                ],
                "folders": [str(root), str(root / "run"), str(root / "run/r"), str(root / "keys"), str(other), "/tmp"],
                "written": [
                    np.__path__[0],
                    str(Path(np.__path__[0]).parent),
                    os.path.dirname(sandbox.__file__),
                    "/usr",
                ],
                "sockets": [str(root / name) for name in (*SOCKETS, RUN)],
            }
        )

    def unharmed(self) -> None:
        """Nobody was reached, nothing was changed."""
        for line in self.listeners:
            with pytest.raises(BlockingIOError):
                line.accept()
        with pytest.raises(BlockingIOError):
            self.datagrams.recv(10)
        assert self.victim.poll() is None
        assert psutil.Process(self.victim.pid).status() == psutil.STATUS_SLEEPING
        assert os.sched_getaffinity(self.victim.pid) == self.cores
        for name in SECRETS:
            assert (self.home.root / name).read_text() == "secret"

    def close(self) -> None:
        for line in (*self.listeners, self.datagrams):
            line.close()
        libc = ctypes.CDLL(None)
        memory, queue, semaphore = self.shared
        libc.shmctl(memory, 0, None), libc.msgctl(queue, 0, None), libc.semctl(semaphore, 0, 0)
        libc.mq_unlink(f"/{self.queue}".encode())
        self.victim.kill()
        self.victim.wait()


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("w"))
    yield made
    for one in scan(made.home.root):
        one.process.kill()
    made.close()


@pytest.fixture(params=["own user", "same user"])
def user(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "same user":
        monkeypatch.setattr(sandbox, "own_user", lambda: "not in this test")
    elif sandbox.own_user():
        pytest.skip(f"no user of its own: {sandbox.own_user()}")
    return request.param


def until(condition, seconds: float = 60.0):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
    return found


@contextlib.contextmanager
def running(world: World, place: Path, source: str, **runtime) -> Iterator[tuple[Place, Process]]:
    """A replica of this model, until the block is over."""
    with contextlib.closing(open_store(Home(place / "s"), Settings())) as store:
        version = push_class(store, place / "made", source, X, np.int64([1, 3]), name="m")
        package = store.unpacked(version.digest)
    revision = Revision(
        id="abc123def0", endpoint="m", model="m", version="1", digest=version.digest, runtime=Runtime(**runtime)
    )
    at = new_place(world.home, revision, 0)
    process = Launcher(home=world.home).start(at, revision, 0, package=Unpacked(package, trusted=True), threads=1)
    try:
        yield at, process
    finally:
        process.kill()
        until(process.ended)


def said(at: Place, process: Process) -> dict:
    """What the model wrote at its end."""
    until(lambda: (at.work / "told.json").exists() or process.ended())
    assert (at.work / "told.json").exists(), at.log.read_text()
    return json.loads((at.work / "told.json").read_text())


def ready(at: Place) -> bool:
    return asyncio.run(ask(at.http, "/v2/health/ready", 60.0)) == "yes"


HOSTILE = Path(__file__).with_name("hostile.py").read_text()


def test_nothing_that_a_hostile_model_tries_succeeds(world: World, user: str, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("SMTP_PASSWORD", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("ARGOSY_KEY", "secret")
    with running(world, tmp_path, HOSTILE, env={"TRIED": world.told()}) as (at, process):
        told = said(at, process)
        assert told["found"] == {}
        assert not {"SMTP_PASSWORD", "AWS_SECRET_ACCESS_KEY", "ARGOSY_KEY"} & set(told["honest"].pop("environ"))
        tasks, most = told["honest"].pop("tasks"), resource.getrlimit(resource.RLIMIT_NPROC)[0]
        if user == "own user" or os.geteuid():
            assert 0 < tasks < (most if most > 0 else 2**22), "a model may take every task there is"
        assert all(told["honest"].values())
        assert users.owned(told["uid"]) == (user == "own user" and os.geteuid() == 0)
        until(lambda: ready(at) or process.ended())
        assert ready(at), at.log.read_text()
        world.unharmed()
        assert not [each for each in psutil.process_iter() if _is_of(each, process.pid)]


def _is_of(each: psutil.Process, leader: int) -> bool:
    """Whether a process was left by this one."""
    with contextlib.suppress(psutil.Error, OSError):
        return each.pid != leader and os.getsid(each.pid) == leader
    return False


LISTS = """
import json, os, socket, subprocess, sys
from pathlib import Path

class Model:
    def load(self, path):
        told = {"environ": dict(os.environ), "cwd": os.getcwd(), "path": sys.path}
        try:
            told["program"] = subprocess.run(["/bin/echo", "hello"], capture_output=True, text=True).stdout
        except OSError as error:
            told["program"] = str(error)
        try:
            socket.create_connection(("127.0.0.1", int(os.environ["PORT"])), 3).close()
            told["tcp"] = "open"
        except OSError as error:
            told["tcp"] = str(error)
        try:
            socket.socket(socket.AF_UNIX)
            told["unix"] = "open"
        except OSError as error:
            told["unix"] = str(error)
        Path("told.tmp").write_text(json.dumps(told))
        os.rename("told.tmp", "told.json")

    def predict(self, inputs):
        return {"label": inputs["x"][:, 0].astype("i8")}
"""


def test_what_is_declared_is_given_and_nothing_else(world: World, user: str, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("BUCKET_KEY", "from the platform")
    monkeypatch.setenv("TZ", "Europe/Lisbon")
    port = str(world.tcp.getsockname()[1])
    env = {"PORT": port, "MODE": "fast", "SECRET": "$BUCKET_KEY"}
    with running(world, tmp_path, LISTS, env=env, network=True, subprocesses=True) as (at, process):
        told = said(at, process)
        assert told["program"] == "hello\n"
        assert told["tcp"] == "open"
        assert "not permitted" in told["unix"]
        assert {name: told["environ"].get(name) for name in env} == {**env, "SECRET": "from the platform"}
        assert told["environ"]["TZ"] == "Europe/Lisbon"
        assert "BUCKET_KEY" not in told["environ"]
        assert told["cwd"] == told["environ"]["HOME"] == told["environ"]["TMPDIR"] == str(at.work)
        assert "from the platform" not in at.config.read_text()


def test_without_being_declared_there_is_neither_network_nor_program(world: World, user: str, tmp_path: Path):
    port = str(world.tcp.getsockname()[1])
    with running(world, tmp_path, LISTS, env={"PORT": port}) as (at, process):
        told = said(at, process)
        assert "not permitted" in told["program"].lower()
        assert "not permitted" in told["tcp"].lower()


STAYS = """
import os, time

def leave():
    for leaves in (os.setsid, lambda: os.setpgid(0, 0), lambda: os.setpgid(os.getpid(), os.getpgid(os.getppid()))):
        try:
            leaves()
        except OSError:
            pass

class Model:
    def load(self, path):
        for _ in range(2):
            if os.fork() == 0:
                leave()
                if os.fork() == 0:
                    leave()
                    os.environ.clear()
                    time.sleep(600)
                os._exit(0)
    def predict(self, inputs):
        return {"label": inputs["x"][:, 0].astype("i8")}
"""


@pytest.mark.parametrize("adopted", [False, True])
def test_what_a_model_starts_ends_with_it(world: World, user: str, tmp_path: Path, adopted: bool):
    with running(world, tmp_path, STAYS, subprocesses=True) as (at, process):
        until(lambda: ready(at) or process.ended())
        made = until(lambda: len(found := _working_in(at)) == 3 and found)
        assert process.pid in {each.pid for each in made}
        assert users.owned(users.of(process.pid)) == (user == "own user")
        watching = Process(psutil.Process(process.pid), child=False) if adopted else process
        assert watching.user == (users.of(process.pid) if user == "own user" else 0)
        os.kill(process.pid, signal.SIGKILL)
        until(watching.ended)
        until(lambda: not any(alive(each) for each in made))


def _working_in(at: Place) -> list[psutil.Process]:
    """All that works in the replica's folder, whatever it has made of its environment, group and session."""
    found = []
    for each in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if each.cwd() == str(at.work):
                found.append(each)
    return found


MISSING = {
    "landlock": "argosy.process.landlock.version = lambda: 5",
    "seccomp": "argosy.process.seccomp.supported = lambda: False",
    "no new privileges": "argosy.process.sandbox.no_new_privileges = lambda: False",
    "own user": "argosy.process.users.lacks = lambda: 'not here'",
}
"""Each part that can be missing, and what takes it away from a process."""
NEEDED = [part.name for part in sandbox.parts() if part.needed and part.name != "bounds"]


def test_each_part_has_a_way_to_be_missing():
    assert {part.name for part in sandbox.parts()} == MISSING.keys() | {"bounds"}


@pytest.mark.parametrize("part", NEEDED)
def test_a_machine_that_lacks_a_part_is_refused_where_all_are_required(part: str, world: World, tmp_path: Path):
    with pytest.MonkeyPatch.context() as patch:
        where, what = MISSING[part].split(" = ")
        patch.setattr(where, eval(what))
        lacks = next(each.lacks for each in sandbox.parts() if each.name == part)
        assert lacks
        with pytest.raises(Unsupported, match="is required") as caught:
            running(world, tmp_path, LISTS, sandbox="required").__enter__()
        assert lacks in str(caught.value)
    with running(world, tmp_path / "whole", LISTS, sandbox="required", env={"PORT": "1"}) as (at, process):
        said(at, process)


@pytest.mark.parametrize("part", NEEDED)
def test_a_child_that_finds_a_part_missing_ends_with_its_name(part: str, tmp_path: Path):
    """What the launcher saw may not be so where the child runs."""
    child = launch.model("json.tool", folder=tmp_path, policy=sandbox.Policy(required=True))
    code = f"import argosy.process.enter, argosy.process.users; {MISSING[part]}; argosy.process.enter.main()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, "json.tool"], env=child.environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == sandbox.MISSING
    assert "runtime.sandbox is required" in done.stderr
    assert done.stdout == ""
