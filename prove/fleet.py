"""`python -m prove.fleet`: a fleet in waves on a platform as users run it, and policies over simulated devices.

1. Ten thousand devices (`prove.fleetdevices`) enrol at a platform behind its gateway, take an update in three waves,
   and roll the next one back. The platform's process takes at most one core and 500 MB while they do; every device has
   the good version, and the bad one is stopped in its first wave.
2. Under a clock of their own (`prove.fleetmodel`), bad versions of every kind are stopped in their first wave and a
   good one arrives, in 100 of 100 runs each.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil

from argosy.client.control import ControlClient, running
from argosy.spec.fleet import Deployment, Wave
from argosy.spec.package import Conversion, Lineage, ModelManifest, Scan, Source
from argosy.spec.settings import Home, Settings
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.strict import dump_yaml
from argosy.store import open_store
from prove.fleetmodel import BAD, GOOD, FleetModel, Version, run

CORES, MEGABYTES = 1.0, 500.0
NAME = "proof"
SIZE = 3000
SIMULATED = Deployment(fleet="f", model="m:1", waves=(Wave(share=0.03), Wave(share=0.2), Wave()), seconds=300)
PATIENCE = 900.0


def packages(home: Home, folder: Path) -> None:
    """Two versions of a model that nobody loads."""
    spec = TensorSpec(name="x", datatype="FP32", shape=(-1, 4))
    manifest = ModelManifest(
        name="m",
        engine="onnx",
        weights="model.onnx",
        signature=Signature(inputs=(spec,), outputs=(TensorSpec(name="y", datatype="FP32", shape=(-1, 1)),)),
        source=Source(name="model.onnx", digest="sha256:" + "0" * 64, format="onnx"),
        conversion=Conversion(source="onnx", converted=False, reason="it is ONNX already"),
        scan=Scan(verdict="data-only"),
    )
    lineage = Lineage(pushed_by="proof", pushed_at="2026-01-01T00:00:00Z", host="here")
    with closing(open_store(home, Settings())) as store:
        for version in (1, 2):
            made = folder / str(version)
            made.mkdir()
            (made / "model.yaml").write_text(dump_yaml(manifest))
            (made / "model.onnx").write_bytes(os.urandom(60_000) + bytes([version]))
            store.add(made, name="m", manifest=manifest, lineage=lineage)


class Usage:
    """What a process takes while it is watched: CPU seconds, its children's besides, and the most memory."""

    def __init__(self, pid: int) -> None:
        self.process, self.most, self._ends = psutil.Process(pid), 0, threading.Event()
        self.begun, self.spent, self.others = time.monotonic(), self._cpu(), self._children()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _cpu(self) -> float:
        return sum(self.process.cpu_times()[:2])

    def _children(self) -> float:
        total = 0.0
        for each in self.process.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                total += sum(each.cpu_times()[:2])
        return total

    def _watch(self) -> None:
        with contextlib.suppress(psutil.Error):
            while not self._ends.wait(0.5):
                self.most = max(self.most, self.process.memory_info().rss)

    def end(self) -> tuple[float, float, float, float]:
        """CPU seconds, cores on average, those of its children, and the most megabytes."""
        self._ends.set()
        seconds = time.monotonic() - self.begun
        most = max(self.most, self.process.memory_info().rss)
        spent = self._cpu() - self.spent
        return spent, spent / seconds, (self._children() - self.others) / seconds, most / 1e6


@contextmanager
def platform(root: Path) -> Generator[tuple[ControlClient, int]]:
    """A platform with its gateway on a new home; the process that it is."""
    home = Home(root / "home").create()
    home.config.write_text("control: {port: 0}\ngateway: {port: 0}\n")
    packages(home, root)
    with (root / "up.log").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "argosy.platform"],
            env={**os.environ, "ARGOSY_HOME": str(home.root)},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        while (found := running(home)) is None or found.pid != process.pid:
            if process.poll() is not None:
                raise SystemExit((root / "up.log").read_text())
            time.sleep(0.2)
        yield ControlClient(home, timeout=60.0), process.pid
    except BaseException:
        for log in (root / "up.log", *(root / "home" / "logs").glob("*.log")):
            print(f"{log.name}: {log.read_text()[-3000:]}", file=sys.stderr)
        raise
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()


@contextmanager
def devices(url: str, token: str, number: int, trial: float) -> Generator[dict[str, int]]:
    """So many devices in a process of their own; what they count, as they last said."""
    words = [sys.executable, "-m", "prove.fleetdevices", url, NAME, token, str(number), "m:2", str(trial)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    counted: dict[str, int] = {}
    lines = process.stdout
    assert lines is not None

    def read() -> None:
        for line in lines:
            counted.update(json.loads(line))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield counted
    finally:
        process.kill()
        process.wait()
        reader.join()
        lines.close()


def until(what: str, done: Any, longest: float = PATIENCE) -> float:
    """Wait for something. Raises SystemExit where it takes too long."""
    begun = time.monotonic()
    while not done():
        if time.monotonic() - begun > longest:
            raise SystemExit(f"after {longest:.0f} s: {what}")
        time.sleep(1)
    return time.monotonic() - begun


def live(number: int, minimum: float, trial: float = 20.0) -> bool:
    """The first part. Prints a line for each phase; whether all of it held."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # others' disk is not what is measured
    with tempfile.TemporaryDirectory(dir=memory) as folder, platform(Path(folder)) as (api, pid):
        api.post("/v1/fleets", {"name": NAME})
        made = api.post(f"/v1/fleets/{NAME}/tokens", {"uses": number, "seconds": 3600})
        path = f"/v1/fleets/{NAME}/deployments"
        with devices(made["url"], made["token"], number, trial) as counted:
            usage = Usage(pid)
            took = until(f"not all enrolled: {counted}", lambda: counted.get("sessions", 0) >= number)
            held = [told("enrolment", took, usage, counted)]
            usage = Usage(pid)
            waves = [{"share": 0.01}, {"share": 0.1}, {}]
            body = {"fleet": NAME, "model": "m:1", "waves": waves, "seconds": minimum, "trial": {"rows": 1}}
            api.post(path, body)
            good = until(f"not done: {counted}", lambda: api.get(f"{path}/1")["state"] == "done")
            one = api.get(f"{path}/1")
            held.append(told("a good version in waves of 1 %, 10 % and 100 %", good, usage, counted))
            print(f"  {one['devices']['committed']:,} of {number:,} devices have it")
            held.append(one["devices"]["committed"] == number)
            usage = Usage(pid)
            api.post(path, body | {"model": "m:2"})
            bad = until(f"not stopped: {counted}", lambda: api.get(f"{path}/2")["state"] == "stopped")
            two = api.get(f"{path}/2")
            held.append(told("a bad version", bad, usage, counted))
            print(f"  stopped in wave {two['wave']}, on {two['devices']['assigned']:,} devices: {two['reason']}")
            held.append(two["wave"] == 1 and two["devices"]["assigned"] <= max(1, number // 100))
        return all(held)


def told(what: str, took: float, usage: Usage, counted: dict[str, int]) -> bool:
    spent, cores, others, most = usage.end()
    good = cores <= CORES and most <= MEGABYTES
    taken = f"{spent:.0f} s of CPU, {cores:.2f} cores, and {most:.0f} MB"
    print(f"{'ok  ' if good else 'MISS'} {what}: {took:.0f} s, the platform takes {taken}")
    print(f"  its gateway and the others {others:.2f} cores; the devices counted {dict(counted)}", flush=True)
    return good


def one_run(version: Version, seed: int) -> tuple[bool, str]:
    """Whether a simulated deployment went as it should, and how it went."""
    found = run(FleetModel(SIMULATED, version, seed, SIZE))
    wanted = ("done", len(SIMULATED.waves) - 1) if version == GOOD else ("stopped", 0)
    state = found.state
    good = (state.phase, state.wave) == wanted and not found.broken
    return good, f"{state.phase} in wave {state.wave + 1}: {state.reason} {found.broken[:1]}"


def simulated(runs: int, jobs: int) -> bool:
    """The second part. Prints a line for each kind of version; whether all runs went as they should."""
    held = True
    with ProcessPoolExecutor(jobs) as pool:
        for name, version in {"a good version": GOOD, **BAD}.items():
            found = list(pool.map(one_run, [version] * runs, range(runs)))
            good = sum(right for right, _ in found)
            wanted = "arrives on every device" if version == GOOD else "is stopped in its first wave"
            print(f"{'ok  ' if good == runs else 'MISS'} {name}: {wanted} in {good} of {runs} runs", flush=True)
            for _, text in [each for each in found if not each[0]][:3]:
                print(f"  {text}")
            held &= good == runs
    return held


def main() -> int:
    """The exit status: 1 where something did not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=10_000, help="on real sockets; 0: none")
    parser.add_argument("--minimum", type=float, default=60.0, help="seconds of a wave")
    parser.add_argument("--runs", type=int, default=100, help="of each kind of version; 0: none")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    held = simulated(asked.runs, asked.jobs) if asked.runs else True
    if asked.devices:
        held &= live(asked.devices, asked.minimum)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
