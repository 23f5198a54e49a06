"""Devices of the demo: agents as processes of this machine, each behind a network of its own that can be cut.

Where this process may make network namespaces, each agent lives in one and reaches nothing but its uplink; elsewhere it
is a plain process. Either way a relay of the demo is the uplink: what is cut there is offline.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil

from argosy.protocol import rest
from argosy.spec.errors import Unavailable
from argosy.spec.tensor import Tensor

AGENT = "import sys; from argosy_edge.main import main; sys.exit(main())"
START = 60.0
"""Seconds that an agent may take to enrol, or to end."""
ANSWER = 10.0
NAMESPACES = Path("/run/netns")
"""Where `ip netns` keeps them."""
READ = 64 * 1024


class Relay:
    """An uplink: whoever connects to it speaks with the gateway, until it is cut. `received`: bytes for the device."""

    def __init__(self, gateway: str, host: str = "127.0.0.1") -> None:
        parts = urlsplit(gateway)
        self._to = parts.hostname or "127.0.0.1", parts.port or 80
        self.received, self._online, self._ended = 0, True, False
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._socket = socket.create_server((host, 0))
        self.url = f"http://{host}:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Offline: what is open breaks, and nothing gets through."""
        self._online = False
        with self._lock:
            for one in self._open:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Online again."""
        self._online = True

    def end(self) -> None:
        self._ended = True
        self.cut()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        while not self._ended:
            try:
                here, _ = self._socket.accept()
            except OSError:
                return
            if not self._online:
                here.close()
                continue
            try:
                there = socket.create_connection(self._to, ANSWER)
                there.settimeout(None)
            except OSError:
                here.close()
                continue
            with self._lock:
                self._open |= {here, there}
            for one, other, counted in ((here, there, False), (there, here, True)):
                threading.Thread(target=self._carry, args=(one, other, counted), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(READ):
                if counted:
                    self.received += len(data)
                other.sendall(data)
        with self._lock:
            self._open -= {one, other}
        for each in (one, other):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        one.close()


class Namespace:
    """A network namespace with two cables: the uplink, and the one that its own users have. Those of processes that
    were killed, whose addresses it needs, are taken away."""

    def __init__(self, number: int) -> None:
        for each in NAMESPACES.glob("argosy-*-*"):
            maker = each.name.split("-")[1]
            if maker.isdecimal() and not psutil.pid_exists(int(maker)):
                _remove(each.name)
        self.name = f"argosy-{os.getpid()}-{number}"
        tag = f"{os.getpid() % 10_000}{number}"
        self.up, self.near, self.device = f"10.213.{number}.1", f"10.214.{number}.1", f"10.214.{number}.2"
        _ip("netns", "add", self.name)
        try:
            _ip("-n", self.name, "link", "set", "lo", "up")
            for kind, host, there in (("u", self.up, f"10.213.{number}.2"), ("n", self.near, self.device)):
                _ip("link", "add", f"a{kind}{tag}", "type", "veth", "peer", "name", f"b{kind}{tag}")
                _ip("link", "set", f"b{kind}{tag}", "netns", self.name)
                _ip("addr", "add", f"{host}/24", "dev", f"a{kind}{tag}")
                _ip("link", "set", f"a{kind}{tag}", "up")
                _ip("-n", self.name, "addr", "add", f"{there}/24", "dev", f"b{kind}{tag}")
                _ip("-n", self.name, "link", "set", f"b{kind}{tag}", "up")
        except Unavailable:
            self.end()
            raise

    def end(self) -> None:
        """Its cables go with it."""
        _remove(self.name)


def _remove(name: str) -> None:
    with contextlib.suppress(Unavailable):
        _ip("netns", "del", name)


def _ip(*words: str) -> None:
    try:
        subprocess.run(["ip", *words], check=True, capture_output=True, timeout=START)
    except (OSError, subprocess.SubprocessError) as error:
        raise Unavailable(f"ip {' '.join(words)}: {error}") from None


def namespace(number: int) -> Namespace | None:
    """One, where they are allowed here."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return None
    try:
        return Namespace(number)
    except Unavailable:
        return None


class Device:
    """One agent and its folder. `place`: where it lives in the network, None: in that of this process."""

    def __init__(self, name: str, folder: Path, gateway: str, place: Namespace | None) -> None:
        self.name, self._folder, self.place = name, folder, place
        self.relay = Relay(gateway, place.up if place else "127.0.0.1")
        self._prefix = ["ip", "netns", "exec", place.name] if place else []
        self._host = place.device if place else "127.0.0.1"
        self._port = 8000 if place else _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def enrol(self, fleet: str, token: str) -> None:
        """Become a device of a fleet. Raises Unavailable."""
        words = [self.relay.url, "--fleet", fleet, "--token", "-", "--name", self.name, "--plain"]
        done = subprocess.run(
            self._command("enrol", *words), input=token.encode(), capture_output=True, timeout=START, check=False
        )
        if done.returncode:
            raise Unavailable(f"{self.name} did not enrol: {done.stderr.decode(errors='replace').strip()[-500:]}")

    def start(self) -> None:
        """Run the agent, whose words go to a file in its folder."""
        command = self._command("run", "--host", self._host, "--port", str(self._port))
        with (self._folder / "agent.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def end(self) -> None:
        """End the agent in good order, and its network."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(START)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self.relay.end()
        if self.place is not None:
            self.place.end()

    def status(self) -> dict[str, Any]:
        """What the agent says of itself, also without a network. Raises Unavailable."""
        done = subprocess.run(self._command("status", "--json"), capture_output=True, timeout=START, check=False)
        try:
            return json.loads(done.stdout)
        except ValueError:
            raise Unavailable(f"{self.name}: {done.stderr.decode(errors='replace').strip()[-500:]}") from None

    def ask(self, client: httpx.Client, model: str, inputs: list[Tensor]) -> str:
        """Ask for an answer of its model; why there is none, empty where there is one."""
        body, length = rest.encode_request(rest.Request(inputs), binary=True)
        headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(length)}
        url = f"http://{self._host}:{self._port}/v2/models/{model}/infer"
        try:
            answer = client.post(url, content=body, headers=headers, timeout=ANSWER)
        except httpx.HTTPError as error:
            return repr(error)
        return "" if answer.status_code == 200 else f"{answer.status_code} {answer.text[:200]}"

    def said(self) -> str:
        """The end of what it has written."""
        with contextlib.suppress(OSError):
            return (self._folder / "agent.log").read_text(errors="replace")[-2000:]
        return ""

    def _command(self, word: str, *words: str) -> list[str]:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return [*self._prefix, sys.executable, "-P", "-c", AGENT, word, *words, "--home", str(self._folder)]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return one.getsockname()[1]


class Callers:
    """Users of the devices: one for each, who asks again and again. `answered` counts by device, `failed` says why."""

    def __init__(self, devices: list[Device], model: str, requests: list[list[Tensor]], pause: float) -> None:
        self.answered = dict.fromkeys((one.name for one in devices), 0)
        self.failed: list[str] = []
        self.longest = 0.0
        """Seconds between two answers of one device, at most."""
        self._model, self._requests, self._pause = model, requests, pause
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(one,), daemon=True) for one in devices]

    def __enter__(self) -> "Callers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _call(self, device: Device) -> None:
        turn, last = 0, time.monotonic()
        with httpx.Client(trust_env=False) as client:
            while not self._over.wait(self._pause):
                why = device.ask(client, self._model, self._requests[turn % len(self._requests)])
                turn += 1
                if why:
                    self.failed.append(f"{device.name}: {why}")
                else:
                    self.answered[device.name] += 1
                    self.longest, last = max(self.longest, time.monotonic() - last), time.monotonic()
