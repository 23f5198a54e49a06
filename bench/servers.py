"""Servers under test: how each is started, when it is ready, and how it is stopped with all its children."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench import envs

PEERS_FOLDER = envs.HERE / "peers"
INFER = "/v2/models/digits/infer"
SERVER_CORES, CLIENT_CORES = (0,), (1,)


class Unavailable(Exception):
    """A server that could not be started here, with the reason and the tail of its log."""


@dataclass(frozen=True)
class Ports:
    http: int
    grpc: int
    metrics: int


@dataclass(frozen=True)
class Command:
    argv: list[str]
    env: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Server:
    """A server that can be started for a model: `command` gives its command line and environment."""

    name: str
    command: Callable[[Path, Ports], Command]
    environment: str | None = None
    package: str | None = None

    def title(self) -> str:
        return self.name if self.package is None else f"{self.name} {envs.version(self.environment, self.package)}"


@dataclass(frozen=True)
class Running:
    """A started server; `started` is the time from the spawn to the first answer, in seconds."""

    pid: int
    ports: Ports
    started: float
    answer: bytes

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports.http}{INFER}"

    def tree(self) -> list[psutil.Process]:
        """The process and all that it started."""
        root = psutil.Process(self.pid)
        return [root, *root.children(recursive=True)]

    def cpu(self) -> float:
        """Seconds of processor that the tree has used."""
        return sum(times.user + times.system for times in (p.cpu_times() for p in self.tree()))

    def resident_mb(self) -> float:
        """Resident memory of the tree: RSS of a single process, else the sum of PSS, which counts shared pages once."""
        sizes = [p.memory_full_info() for p in self.tree()]
        return (sizes[0].rss if len(sizes) == 1 else sum(s.pss for s in sizes)) / 2**20


def _python(name: str, script: str, **env: str) -> Callable[[Path, Ports], Command]:
    def command(model: Path, ports: Ports) -> Command:
        python = envs.ensure(name) / "bin" / "python"
        return Command([str(python), str(PEERS_FOLDER / script)], env)

    return command


def _bentoml(model: Path, ports: Ports) -> Command:
    program = str(envs.ensure("bentoml") / "bin" / "bentoml")
    where = ["--host", "127.0.0.1", "-p", str(ports.http), "--working-dir", str(PEERS_FOLDER)]
    home = envs.WORK / "bentoml-home"
    return Command(
        [program, "serve", "bentoml_service:Digits", *where],
        {"BENTOML_DO_NOT_TRACK": "true", "BENTOML_HOME": str(home)},
    )


def _mlserver(model: Path, ports: Ports) -> Command:
    folder = envs.WORK / f"mlserver-{ports.http}"
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"host": "127.0.0.1", "http_port": ports.http, "grpc_port": ports.grpc, "metrics_port": ports.metrics}
    settings |= {"parallel_workers": 0, "debug": False, "metrics_dir": str(folder)}
    (folder / "settings.json").write_text(json.dumps(settings))
    model_settings = {"name": "digits", "implementation": "mlserver_runtime.OnnxRuntime"}
    (folder / "model-settings.json").write_text(json.dumps(model_settings))
    program = str(envs.ensure("mlserver") / "bin" / "mlserver")
    return Command([program, "start", str(folder)], {"PYTHONPATH": str(PEERS_FOLDER)})


def argosy_program() -> str:
    """The installed `argosy` beside this interpreter."""
    program = Path(sys.executable).parent / "argosy"
    if not program.exists():
        raise Unavailable(f"argosy is not installed beside {sys.executable}: run `pip install -e .`")
    return str(program)


def _argosy(model: Path, ports: Ports) -> Command:
    where = ["--host", "127.0.0.1", "--port", str(ports.http), "--grpc-port", str(ports.grpc)]
    return Command([argosy_program(), "serve", str(model), "--name", "digits", *where, "--threads", "1"])


ARGOSY = Server("argosy", _argosy)
FASTAPI = Server("fastapi", _python("fastapi", "fastapi_server.py"), "fastapi", "fastapi")
FASTAPI_INLINE = Server(
    "fastapi-inline", _python("fastapi", "fastapi_server.py", BENCH_STYLE="inline"), "fastapi", "fastapi"
)
FASTAPI_TWO = Server(
    "fastapi-2-workers", _python("fastapi", "fastapi_server.py", BENCH_WORKERS="2"), "fastapi", "fastapi"
)
MLSERVER = Server("mlserver", _mlserver, "mlserver", "mlserver")
LITSERVE = Server("litserve", _python("litserve", "litserve_server.py"), "litserve", "litserve")
BENTOML = Server("bentoml", _bentoml, "bentoml", "bentoml")

PEERS = [FASTAPI, FASTAPI_INLINE, MLSERVER, LITSERVE, BENTOML]
BY_NAME = {s.name: s for s in [ARGOSY, *PEERS, FASTAPI_TWO]}


def free_ports() -> Ports:
    """Three loopback ports that were free a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    numbers = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return Ports(*numbers)


def post(port: int, path: str, body: bytes, headers: dict[str, str], timeout: float = 10) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def await_answer(
    process: subprocess.Popen, port: int, body: bytes, headers: dict[str, str], limit: float, path: str = INFER
) -> bytes:
    """The first 200 answer to an inference; asks every 5 ms until `limit` seconds have passed."""
    deadline, said = time.monotonic() + limit, "nothing listens"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Unavailable(f"it ended with exit code {process.returncode} before it answered")
        try:
            status, answer = post(port, path, body, headers)
        except (OSError, http.client.HTTPException) as e:
            said = str(e)
        else:
            if status == 200:
                return answer
            said = f"status {status}: {answer[:200]!r}"
        time.sleep(0.005)
    raise Unavailable(f"no answer within {limit:g} s: {said}")


def spawn(command: Command, cores: tuple[int, ...], log: Path) -> subprocess.Popen:
    """Starts a command as the leader of a process group of its own, tied to the given cores."""
    log.parent.mkdir(parents=True, exist_ok=True)
    argv = ["taskset", "-c", ",".join(map(str, cores)), *command.argv]
    with log.open("wb") as out:
        return subprocess.Popen(
            argv, stdout=out, stderr=subprocess.STDOUT, env=os.environ | command.env, start_new_session=True
        )


def stop(process: subprocess.Popen) -> None:
    """Asks the whole group to end, waits, and kills what is left of it."""
    for sig, patience in ((signal.SIGTERM, 8), (signal.SIGKILL, 5)):
        try:
            os.killpg(process.pid, sig)
        except ProcessLookupError:
            break
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
    process.wait(5)


@contextmanager
def running(
    server: Server,
    model: Path,
    body: bytes,
    headers: dict[str, str],
    cores: tuple[int, ...] = SERVER_CORES,
    path: str = INFER,
    patience: float = 60,
) -> Iterator[Running]:
    """The server, up and answering; it is gone when the block ends."""
    ports = free_ports()
    command = server.command(model, ports)
    names = {"BENCH_MODEL": str(model), "BENCH_PORT": str(ports.http)}
    log = envs.WORK / "logs" / f"{server.name}.log"
    began = time.monotonic()
    process = spawn(Command(command.argv, names | command.env), cores, log)
    try:
        answer = await_answer(process, ports.http, body, headers, patience, path)
        yield Running(process.pid, ports, time.monotonic() - began, answer)
    except Unavailable as e:
        raise Unavailable(f"{server.name}: {e}\n{log.read_text(errors='replace')[-800:]}") from None
    finally:
        stop(process)
