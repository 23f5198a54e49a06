"""`python -m prove.step`: a load step of 10 × on this machine, with automatic scaling, as a picture.

Requests come by a Poisson process, whether the last ones were answered or not. Each holds a replica for a tenth of a
second without a core, as a call to an accelerator does, so that a small machine can show many replicas. Every tenth of
a second the replicas that are ready and the latest answers' times are noted. Everything is real but the model.
"""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

import httpx
import msgspec
import numpy as np

from argosy.protocol import tensorfile
from argosy.spec import strict
from argosy.spec.package import Conversion, Lineage, ModelManifest, Scan, Source
from argosy.spec.settings import Home, Settings
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import tensor
from argosy.store import open_store
from tests.platform.up import Up, clear

SERVICE = 0.1
LOW, HIGH = 3.0, 30.0
MODEL = f"""import time
class Model:
    def load(self, path): ...
    def predict(self, inputs):
        time.sleep({SERVICE} * len(inputs["x"]))
        return {{"y": inputs["x"]}}
"""
LINEAGE = Lineage(pushed_by="prove", pushed_at="2026-01-01T00:00:00Z", host="here")
SCALING = {"min": 1, "max": 8, "wait": 0.5, "window": 15, "history": 120, "patience": 15}
BODY = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1.0]}]}
WIDTH, PANEL, LEFT, TOP = 900, 150, 60, 40


class Answer(msgspec.Struct):
    """A request: seconds since the begin, seconds until its answer, its status."""

    at: float
    took: float
    status: int


class Course(msgspec.Struct):
    """What was seen: (seconds, ready, wanted), and every answer."""

    replicas: list[tuple[float, int, int]] = []
    answers: list[Answer] = []


def push(home: Home, folder: Path) -> None:
    """The model, as a package in the home's store."""
    (folder / "weights").mkdir(parents=True)
    (folder / "golden").mkdir()
    (folder / "weights/model.py").write_text(MODEL)
    one = np.ones((1, 1), np.float32)
    tensorfile.write(folder / "golden/inputs.oip", [tensor("x", one)])
    tensorfile.write(folder / "golden/outputs.oip", [tensor("y", one)])
    column = {"datatype": "FP32", "shape": (-1, 1)}
    manifest = ModelManifest(
        name="slow",
        engine="python",
        weights="weights",
        settings={"class": "model:Model"},
        signature=Signature(inputs=(TensorSpec(name="x", **column),), outputs=(TensorSpec(name="y", **column),)),
        source=Source(name="model.py", digest="sha256:" + "0" * 64, format="python"),
        conversion=Conversion(source="python", converted=False, reason="it is Python already"),
        scan=Scan(verdict="code", trusted=True),
        golden_rows=1,
    )
    (folder / "model.yaml").write_text(strict.dump_yaml(manifest))
    store = open_store(home, Settings())
    store.add(folder, name="slow", manifest=manifest, lineage=LINEAGE, trusted=True)
    store.close()


async def drive(platform: Up, url: str, phases: list[tuple[float, float]]) -> Course:
    """Load in phases of (seconds, requests a second)."""
    course, begun, chance = Course(), time.monotonic(), random.Random(0)
    limits = httpx.Limits(max_connections=1000)
    async with httpx.AsyncClient(timeout=60, limits=limits) as client:
        watching = asyncio.create_task(_watch(platform, course, begun))
        asked: list[asyncio.Task[None]] = []
        due = begun
        for seconds, rate in phases:
            end = due + seconds
            while due < end:
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                asked.append(asyncio.create_task(_ask(client, url, course, begun)))
                due += chance.expovariate(rate)
        await asyncio.gather(*asked)
        watching.cancel()
    return course


async def _ask(client: httpx.AsyncClient, url: str, course: Course, begun: float) -> None:
    sent = time.monotonic()
    try:
        status = (await client.post(url, json=BODY)).status_code
    except httpx.HTTPError:
        status = 0
    course.answers.append(Answer(sent - begun, time.monotonic() - sent, status))


async def _watch(platform: Up, course: Course, begun: float) -> None:
    while True:
        found = await asyncio.to_thread(platform.call, "GET", "/v1/endpoints/slow")
        course.replicas.append((time.monotonic() - begun, found["ready"], found["replicas"]))
        await asyncio.sleep(0.2)


def svg(course: Course, phases: list[tuple[float, float]]) -> str:
    """Replicas above, latencies below, over the same time."""
    total = sum(seconds for seconds, _ in phases)
    height = TOP + 2 * PANEL + 10
    frame = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif"'
    title = (
        f"A load step from {phases[0][1]:g} to {phases[1][1]:g} requests/s, {SERVICE:g} s each: "
        "replicas wanted (orange) and ready (blue); seconds until the answer (red)"
    )
    parts = [
        f'<svg {frame} font-size="12"><rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{LEFT}" y="18" font-size="14">{title}</text>',
    ]
    most = max(wanted for _, _, wanted in course.replicas)
    for colour, which in (("#f2b06b", 2), ("#4c78a8", 1)):
        parts.append(_line([(each[0], each[which]) for each in course.replicas], total, most, TOP, colour))
    slowest = max(each.took for each in course.answers)
    points = [(each.at, each.took) for each in course.answers]
    dots = "".join(_dot(_place(*point, total, slowest, TOP + PANEL)) for point in points)
    parts += [_axis(TOP, f"{most}"), _axis(TOP + PANEL, f"{slowest:.1f} s"), dots, "</svg>", ""]
    return "\n".join(parts)


def _place(at: float, value: float, total: float, most: float, top: int) -> tuple[float, float]:
    return LEFT + (WIDTH - LEFT - 20) * min(at / total, 1.0), top + PANEL - 24 - (PANEL - 40) * value / most


def _dot(place: tuple[float, float]) -> str:
    return f'<circle cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="1.5" fill="#d62728" fill-opacity="0.5"/>'


def _line(points: list[tuple[float, int]], total: float, most: float, top: int, colour: str) -> str:
    path, before = "", None
    for at, value in points:
        x, y = _place(at, value, total, most, top)
        path += f"M{x:.1f} {y:.1f}" if before is None else f"H{x:.1f}V{y:.1f}" if value != before else f"H{x:.1f}"
        before = value
    return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'


def _axis(top: int, most: str) -> str:
    base = top + PANEL - 24
    return (
        f'<line x1="{LEFT}" x2="{WIDTH - 20}" y1="{base}" y2="{base}" stroke="#888"/>'
        f'<text x="{LEFT - 8}" y="{top + 20}" text-anchor="end">{most}</text>'
        f'<text x="{LEFT - 8}" y="{base}" text-anchor="end">0</text>'
    )


def figures(course: Course, begin: float, end: float) -> str:
    """One line about a stretch of time."""
    took = np.array([each.took for each in course.answers if begin <= each.at < end])
    bad = sum(each.status != 200 for each in course.answers if begin <= each.at < end)
    ready = [each[1] for each in course.replicas if begin <= each[0] < end]
    return (
        f"{begin:4.0f} to {end:4.0f} s: {len(took)} requests, {bad} failed, median {np.median(took):.2f} s, "
        f"99 % {np.quantile(took, 0.99):.2f} s; {min(ready)} to {max(ready)} replicas ready"
    )


def main() -> int:
    """Run, print figures, write the picture; 1 if a request failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/guides/autoscaling-live.svg"))
    parser.add_argument("--seconds", type=float, default=30.0, help="before the step; twice that during and after it")
    options = parser.parse_args()
    phases = [(options.seconds, LOW), (2 * options.seconds, HIGH), (2 * options.seconds, LOW)]
    folder = Path(tempfile.mkdtemp(prefix="step"))
    home = Home(folder / "h").create()
    home.config.write_text("control: {port: 0}\ngateway: {port: 0, max_connections_per_address: 1024}\n")
    push(home, folder / "package")
    try:
        platform = Up(home).ready()
        spec = {"model": "slow:1", "replicas": SCALING, "public": True}
        url = platform.call("PUT", "/v1/endpoints/slow", spec, wait=60)["url"]
        course = asyncio.run(drive(platform, url, phases))
        platform.stop()
    finally:
        clear(home)
        shutil.rmtree(folder, ignore_errors=True)
    options.out.write_text(svg(course, phases))
    step, over = phases[0][0], phases[0][0] + phases[1][0]
    for begin, end in ((0, step), (step, step + 10), (step + 10, over), (over, over + phases[2][0])):
        print(figures(course, begin, end))
    return 1 if any(each.status != 200 for each in course.answers) else 0


if __name__ == "__main__":
    sys.exit(main())
