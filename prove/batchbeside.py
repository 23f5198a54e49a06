"""`python -m prove.batchbeside`: what an online endpoint loses while a batch job fills the cores that it leaves idle.

One platform: the digits model as an endpoint behind the gateway, under requests that come by a Poisson process; and a
job over the same model, with a process for each core. Rounds with and without the job take turns; the medians count.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import numpy as np

from argosy.client.batch import absolute
from argosy.jobs import runner
from argosy.packaging.options import PushOptions
from argosy.packaging.push import push
from argosy.spec.settings import Home, Settings
from argosy.store import open_store
from bench import load, models, payload
from tests.platform.up import Up, clear, until

GOAL = 0.10
RATE = 300.0
ROWS = 4_000_000
"""Of the file, which a job reads."""
FILES = 20
"""How often it is there under another name, so that no job ends before its round."""


class Round(msgspec.Struct, frozen=True):
    """p50 and p99 in µs of the endpoint, rows a second of the job meanwhile (0: there was none)."""

    p50: float
    p99: float
    rows: float = 0.0


class Stage:
    """The platform with its endpoint and the file that jobs read."""

    def __init__(self, home: Home) -> None:
        self.home = home
        home.config.write_text("control: {port: 0}\ngateway: {port: 0}\n")
        case = models.digits(home.root)
        np.save(home.root / "sample.npy", np.repeat(case.row["X"], 64, axis=0))
        store = open_store(home, Settings())
        options = PushOptions(sample=home.root / "sample.npy")
        push(case.path, name="digits", store=store, options=options, report=lambda _: None)
        store.close()
        rows = np.lib.format.open_memmap(home.root / "in.npy", "w+", np.float32, (ROWS, 64))
        rows[:] = case.row["X"]
        rows.flush()
        self.inputs: list[str] = []
        for number in range(FILES):
            (home.root / f"in-{number}.npy").hardlink_to(home.root / "in.npy")
            self.inputs.append(str(home.root / f"in-{number}.npy"))
        self.body = payload.json_body(case.row)
        self.up = Up(home).ready()
        self.up.call("PUT", "/v1/endpoints/digits", {"model": "digits:1", "public": True})
        found = until(lambda: self.up.call("GET", "/v1/endpoints/digits"))
        until(lambda: self.up.call("GET", "/v1/endpoints/digits")["state"] == "ready")
        self.port = int(found["url"].split(":")[2].split("/")[0])
        self.jobs = 0

    def round(self, seconds: float) -> Round:
        """Requests alone."""
        path, every = "/v2/models/digits/infer", tuple(sorted(os.sched_getaffinity(0)))
        found = load.open_loop(self.port, path, self.body, {}, RATE, seconds, cores=every, apart=True)
        return Round(found.p50_us, found.p99_us)

    def beside(self, seconds: float) -> Round:
        """Requests while a job runs."""
        self.jobs += 1
        name, out = f"job-{self.jobs}", self.home.root / f"out-{self.jobs}"
        batch = absolute({"model": "digits:1", "inputs": self.inputs, "output": str(out), "threads": 1})
        self.up.call("POST", "/v1/jobs", {"name": name, "batch": batch})
        until(lambda: self._rows(name))
        before, begun = self._rows(name), time.perf_counter()
        found = self.round(seconds)
        rate = (self._rows(name) - before) / (time.perf_counter() - begun)
        self.up.call("POST", f"/v1/jobs/{name}/cancel", {})
        until(lambda: not runner.processes(self.home))
        shutil.rmtree(out)
        return msgspec.structs.replace(found, rows=rate)

    def _rows(self, name: str) -> int:
        (run,) = self.up.call("GET", f"/v1/jobs/{name}")["runs"] or [{}]
        return (run.get("progress") or {"rows": 0})["rows"]


def main() -> int:
    """Take turns, and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/tmp")) as folder:
        home = Home(Path(folder)).create()
        stage = Stage(home)
        alone: list[Round] = []
        beside: list[Round] = []
        try:
            for number in range(options.rounds):
                alone.append(stage.round(options.seconds))
                beside.append(stage.beside(options.seconds))
                print(f"round {number + 1}: alone {alone[-1]}, beside {beside[-1]}", flush=True)
        finally:
            stage.up.stop()
            clear(home)
    before, after = (statistics.median(each.p99 for each in rounds) for rounds in (alone, beside))
    rows = statistics.median(each.rows for each in beside)
    print(
        f"p99 {before:.0f} µs alone, {after:.0f} µs beside a job of {rows:,.0f} rows/s: {after / before - 1:+.1%} "
        f"(p50 {statistics.median(each.p50 for each in alone):.0f} and "
        f"{statistics.median(each.p50 for each in beside):.0f} µs), {RATE:.0f} requests/s"
    )
    return 0 if after / before - 1 <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
