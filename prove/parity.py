"""One golden set, every mode: online, batch, in process, the agent of devices here and for aarch64 under QEMU, shared
library, WebAssembly, browser, C here, C under QEMU, and onnxruntime in place of C.

    python -m prove.parity --models forest,network

For each model and mode the largest absolute difference from the golden outputs, and whether all labels are the same;
the exit status is 1 where a mode that could be run is off by more than 1e-5 (convolutions: 1e-4), or has another label.
A mode whose programs are not installed is named with what it lacks.
"""

import argparse
import functools
import http.server
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np

import argosy
from argosy.client.local import locate
from argosy.embedded import selftest, verify
from argosy.embedded.binaries import library as shared
from argosy.embedded.export import Generated, generate
from argosy.embedded.web import web
from argosy.packaging.package import Package
from argosy.spec.errors import MissingExtra
from argosy.telemetry.export.files import write
from argosy_edge import model as device
from argosy_edge.server import DeviceServer
from prove import aarch64
from tests.embedded.library import Library
from tests.ports import free

Answers = dict[str, np.ndarray]
COMMAND = str(Path(sys.executable).with_name("argosy"))
CONVOLUTIONS = 1e-4
CLOSE = 1e-5


class Lacking(Exception):
    """A program that a mode needs."""


class Case:
    """A package, its golden examples and its C."""

    def __init__(self, path: Path, folder: Path, bound: float, installed: Path | None = None) -> None:
        self.folder, self.bound, self.installed = folder, bound, installed
        self.located = locate(path, trust=True)
        self.package: Package = self.located.open()
        self.inputs = {tensor.name: tensor.array for tensor in self.package.golden_inputs()}
        self.wanted = {tensor.name: tensor.array for tensor in self.package.golden_outputs()}
        self.code: Generated = generate(self.package, "model", "model:1")

    def rows(self) -> list[dict[str, Any]]:
        """As JSON has them."""
        count = len(next(iter(self.inputs.values())))
        return [{name: plain(array[at]) for name, array in self.inputs.items()} for at in range(count)]


def plain(values: np.ndarray) -> Any:
    """A value, or a list of them; texts as str, missing numbers as None."""
    found = [each.decode() if isinstance(each, bytes) else each for each in np.asarray(values).ravel().tolist()]
    found = [None if isinstance(each, float) and each != each else each for each in found]
    return found[0] if len(found) == 1 else found


def in_process(case: Case) -> Answers:
    """`argosy.load`."""
    return argosy.load(case.package.folder, trust=True).predict(case.inputs)


def online(case: Case) -> Answers:
    """`argosy serve`, over HTTP."""
    port = free()
    command = [COMMAND, "serve", str(case.package.folder), "--trust", "--port", str(port)]
    with subprocess.Popen(
        [*command, "--name", "model"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            url = f"http://127.0.0.1:{port}/v2/models/model"
            for _ in range(600):
                try:
                    if httpx.get(f"{url}/ready").status_code == 200:
                        break
                except httpx.TransportError:
                    pass
                time.sleep(0.1)
            tensors = [
                {"name": t.name, "datatype": t.datatype, "shape": list(t.array.shape), "data": _flat(t.array)}
                for t in case.package.golden_inputs()
            ]
            answer = httpx.post(f"{url}/infer", json={"inputs": tensors}, timeout=60).raise_for_status().json()
            return {each["name"]: np.array(each["data"]).reshape(each["shape"]) for each in answer["outputs"]}
        finally:
            server.terminate()


def _flat(array: np.ndarray) -> list[Any]:
    found = plain(array)
    return found if isinstance(found, list) else [found]


def batch(case: Case) -> Answers:
    """`argosy batch run`, over JSON lines."""
    source, output = case.folder / "rows.jsonl", case.folder / "batch"
    source.write_text("".join(json.dumps(row) + "\n" for row in case.rows()))
    command = [COMMAND, "batch", "run", str(case.package.folder), "--trust", "--workers", "1"]
    ran = subprocess.run(
        [*command, "--input", str(source), "-o", str(output), "--format", "jsonl"],
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        raise RuntimeError(ran.stderr)
    lines = [json.loads(line) for part in sorted(output.glob("*.jsonl")) for line in part.read_text().splitlines()]
    return {name: np.array([line[name] for line in lines]) for name in case.wanted}


def agent(case: Case) -> Answers:
    """The server of the agent of devices, asked over HTTP with bytes."""
    import tritonclient.http as triton

    loaded = device.load(case.package.folder, _manifest(case))
    loaded.selftest()
    server = DeviceServer(0).start()
    try:
        server.swap(loaded)
        inputs: list[Any] = []
        for tensor in case.package.golden_inputs():
            inputs.append(triton.InferInput(tensor.name, list(tensor.array.shape), tensor.datatype))
            inputs[-1].set_data_from_numpy(tensor.array)
        with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
            answer = client.infer(loaded.name, inputs)
        return {name: answer.as_numpy(name) for name in case.wanted}
    finally:
        server.stop()


def agent_aarch64(case: Case) -> Answers:
    """The agent's program for aarch64, under qemu-user."""
    _need(aarch64.QEMU)
    answer = aarch64.golden(case.package.folder, _manifest(case))["answer"]
    return {each["name"]: np.array(each["data"]).reshape(each["shape"]) for each in answer["outputs"]}


def _manifest(case: Case) -> dict[str, Any]:
    """As an update has it."""
    if case.package.manifest.engine != "onnx":
        raise Lacking(f"devices run onnx packages, and this one is of the engine {case.package.manifest.engine}")
    return msgspec.json.decode(msgspec.json.encode(case.package.manifest))


def library(case: Case) -> Answers:
    """The function of the compiled C."""
    _need("gcc")
    found = verify.answers(case.code.code, case.code.vectors.inputs)
    return _named(case, found)


def over_onnxruntime(case: Case) -> Answers:
    """The library over onnxruntime."""
    _need("gcc")
    folder = case.folder / "library"
    write(folder, shared(case.package, "model", "model:1", "onnxruntime"))
    found = Library(folder, "model").run(*case.inputs.values())
    return dict(zip(case.wanted, found, strict=True))


def _named(case: Case, found: tuple[np.ndarray, ...]) -> Answers:
    return {
        port.tensor: np.array(port.labels)[values] if port.labels else values
        for port, values in zip(case.code.code.outputs, found, strict=True)
    }


def self_tests(case: Case) -> dict[str, float]:
    """The self-test here and on emulated boards: the largest difference is not told, but that it is within bounds."""
    for program in ("gcc", "arm-none-eabi-gcc", "qemu-system-arm"):
        _need(program)
    code = case.code.code
    files = code.files | {f"{code.name}_test.c": selftest.source(code, case.code.vectors)}
    return dict.fromkeys(verify.verify(code.name, files).checks, 0.0)


NODE = """
import fs from "node:fs";
const model = await (await import(process.argv[2] + "/model.js")).load();
const rows = JSON.parse(fs.readFileSync(process.argv[2] + "/rows.json"));
const found = [];
for (const row of rows) found.push(await model.predict(row));
console.log(JSON.stringify(found));
"""


def _page(case: Case, engine: str) -> Path:
    if engine == "c":
        _need("emcc")
    folder = case.folder / f"page-{engine}"
    if not folder.exists():
        try:
            found = web(case.package, "model", "model:1", engine, case.installed)
        except MissingExtra:
            raise Lacking("onnxruntime-web is not installed: npm install onnxruntime-web") from None
        rows = json.dumps(case.rows()).encode()
        write(folder, {**found, "rows.json": rows, "ask.mjs": NODE.encode()})
    return folder


def _tensors(case: Case, answers: list[dict[str, Any]]) -> Answers:
    return {name: np.array([answer[name] for answer in answers]) for name in case.wanted}


def webassembly(case: Case, engine: str = "c") -> Answers:
    """The module, in Node."""
    _need("node")
    folder = _page(case, engine)
    ran = subprocess.run(["node", "ask.mjs", str(folder)], cwd=folder, check=True, capture_output=True, text=True)
    return _tensors(case, json.loads(ran.stdout))


def browser(case: Case, engine: str = "c") -> Answers:
    """The page, in Chromium."""
    from selenium import webdriver

    from tests.programs import FLAGS

    folder, chromium, driver_ = _page(case, engine), _need("chromium", "google-chrome"), _need("chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in FLAGS:
        options.add_argument(flag)
    with _served(folder) as url:
        driver = webdriver.Chrome(options, webdriver.ChromeService(driver_))
        try:
            driver.set_script_timeout(60)
            driver.get(url)
            script = (
                "const [rows, done] = arguments, found = []; import('./model.js').then((m) => m.load())"
                ".then(async (model) => { for (const row of rows) found.push(await model.predict(row)); done(found) })"
            )
            return _tensors(case, driver.execute_async_script(script, case.rows()))
        finally:
            driver.quit()


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _need(*names: str) -> str:
    if found := next(filter(None, map(shutil.which, names)), None):
        return found
    raise Lacking(f"{names[0]} is not installed")


MODES: dict[str, Callable[[Case], Answers]] = {
    "in process": in_process,
    "online": online,
    "batch": batch,
    "agent": agent,
    "agent, aarch64": agent_aarch64,
    "shared library": library,
    "WebAssembly": webassembly,
    "browser": browser,
    "library over ort": over_onnxruntime,
    "Node, ort-web": functools.partial(webassembly, engine="onnxruntime"),
    "browser, ort-web": functools.partial(browser, engine="onnxruntime"),
}


def difference(case: Case, found: Answers) -> float:
    """The largest; infinite where a label is another one."""
    largest = 0.0
    for name, want in case.wanted.items():
        got = np.asarray(found[name])
        if want.dtype.kind == "f":
            largest = max(largest, float(np.abs(got.reshape(want.shape).astype(float) - want).max()))
        else:
            texts = [[_text(each) for each in np.asarray(side).ravel().tolist()] for side in (want, got)]
            largest = largest if texts[0] == texts[1] else np.inf
    return largest


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def models(folder: Path) -> dict[str, tuple[Callable[[], Path], float]]:
    """How each is made, and its bound."""
    return {
        "forest": (functools.partial(_forest, folder), CLOSE),
        "boosted": (functools.partial(_boosted, folder), CLOSE),
        "network": (functools.partial(_network, folder), CLOSE),
        "images": (functools.partial(_images, folder), CONVOLUTIONS),
    }


def _saved(folder: Path, name: str, model: Any) -> Path:
    import joblib
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    joblib.dump(model.fit(x, [f"digit {number}" for number in y]), folder / f"{name}.joblib")
    return folder / f"{name}.joblib"


def _forest(folder: Path) -> Path:
    from sklearn.ensemble import RandomForestClassifier

    return _saved(folder, "forest", RandomForestClassifier(50, max_depth=10, random_state=0))


def _boosted(folder: Path) -> Path:
    from sklearn.ensemble import GradientBoostingClassifier

    return _saved(folder, "boosted", GradientBoostingClassifier(n_estimators=10, random_state=0))


def _network(folder: Path) -> Path:
    import warnings

    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _saved(
            folder, "network", make_pipeline(StandardScaler(), MLPClassifier((32,), max_iter=20, random_state=0))
        )


def _images(folder: Path) -> Path:
    from tests.embedded.nets.kit import image_net

    return image_net(folder / "images.onnx")


def main() -> int:
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="forest,boosted,network,images")
    parser.add_argument("--onnxruntime-web", type=Path, help="where npm has installed it, if not here")
    given = parser.parse_args()
    wanted = given.models.split(",")
    failed = False
    with tempfile.TemporaryDirectory(prefix="parity-") as place:
        root = Path(place)
        for name, (make, bound) in models(root).items():
            if name not in wanted:
                continue
            (root / name).mkdir()
            case = Case(make(), root / name, bound, given.onnxruntime_web)
            print(f"{name}, {len(case.rows())} golden examples, at most {bound:g}")
            for mode, ask in MODES.items():
                try:
                    gap = difference(case, ask(case))
                except Lacking as lacking:
                    print(f"  {mode:16} not run: {lacking}")
                    continue
                failed |= not gap <= bound
                print(f"  {mode:16} {gap:.2g}{'' if gap <= bound else '  MISSED'}")
            try:
                for mode in self_tests(case):
                    print(f"  C, {mode:13} self-test passed")
            except Lacking as lacking:
                print(f"  C, self-tests    not run: {lacking}")
            case.located.release()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
