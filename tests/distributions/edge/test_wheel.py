"""The agent as it is installed: its wheel in an environment of its own, what it weighs, and what it takes of memory."""

import json
import os
import subprocess
from pathlib import Path

import msgspec
import pytest

from argosy.client.local import locate
from argosy.packaging.environment import uv
from argosy_edge import __version__
from tests.edge.test_transfer import PAIRS, file_of, made

pytestmark = pytest.mark.xdist_group("argosy-edge wheel")
ROOT = Path(__file__).parents[3]
MB = 1_000_000
WEIGHT = """
import json, re
from importlib.metadata import distributions

known = {each.name.lower().replace("_", "-"): each for each in distributions()}

def closure(name):
    found = {name}
    for need in known[name].requires or ():
        other = re.match(r"[\\w.-]+", need)[0].lower().replace("_", "-")
        if other in known and "extra ==" not in need:
            found |= closure(other)
    return found

def size(names):
    return sum(file.locate().stat().st_size for name in names for file in known[name].files if file.locate().is_file())

given = closure("onnxruntime") | closure("numpy")
print(json.dumps({name: size([name]) for name in closure("argosy-edge") - given}))
"""
APPLY = """
import json, sys
from pathlib import Path
from argosy_edge import assemble
from argosy_edge.wire import Transfer, UpdateFile, WireError
import msgspec

assert "zstandard" not in sys.modules
for words in json.load(sys.stdin):
    way, file = msgspec.json.decode(words["way"], type=Transfer), msgspec.json.decode(words["file"], type=UpdateFile)
    base = Path(words["old"]) if way.kind == "patch" else None
    assemble.apply(way, Path(words["blob"]), Path(words["into"]), file, base)
    damaged = Path(words["blob"]).read_bytes()
    Path(words["blob"]).write_bytes(damaged[:-3])
    try:
        assemble.apply(way, Path(words["blob"]), Path(words["into"] + "-damaged"), file, base)
    except WireError:
        continue
    raise SystemExit("a blob that was cut was taken")
assert "zstandard" not in sys.modules
"""
RESIDENT = """
import re

def resident():
    return int(re.search(r"RssAnon:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) * 1024
"""
"""What is the process's own. Pages of files come and go with what the machine has in its cache."""
BARE = f"""{RESIDENT}
import sys
import numpy
import onnxruntime

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
loaded = resident()
for _ in range(5):
    session.run(None, {{"bytes": numpy.zeros((1, 2048), "i4")}})
print(loaded, resident())
"""
AGENT = f"""{RESIDENT}
import http.client, json, pkgutil, sys
from importlib import import_module
import argosy_edge
from argosy_edge import model, server

for module in pkgutil.iter_modules(argosy_edge.__path__):
    import_module(f"argosy_edge.{{module.name}}")
served = server.DeviceServer(0).start()
loaded = model.load(sys.argv[1], json.load(open(sys.argv[2])))
loaded.selftest(whole=False)
served.swap(loaded)
before = resident()
link = http.client.HTTPConnection("127.0.0.1", served.port)
one = {{"name": "bytes", "datatype": "INT32", "shape": [1, 2048], "data": [7] * 2048}}
for _ in range(5):
    link.request("POST", f"/v2/models/{{loaded.name}}/infer", json.dumps({{"inputs": [one]}}))
    answer = link.getresponse()
    assert answer.status == 200, answer.read()
    answer.read()
print(before, resident())
link.close()
served.stop()
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder of commands of an environment that has the wheel and what it needs, and nothing else."""
    place = tmp_path_factory.mktemp("installed")
    built = [uv(), "build", "-q", "--wheel", str(ROOT / "distributions/edge"), "-o", str(place)]
    subprocess.run(built, check=True, capture_output=True)
    (wheel,) = place.glob("*.whl")
    subprocess.run([uv(), "venv", "-q", "--python", "3.11", str(place / "env")], check=True, capture_output=True)
    python = place / "env/bin/python"
    subprocess.run(
        [uv(), "pip", "install", "-q", "--compile-bytecode", "--python", str(python), str(wheel)],
        check=True,
        capture_output=True,
    )
    return python.parent


def said(*command, given=""):
    environ = {"PATH": os.environ["PATH"], "ORT_DISABLE_TELEMETRY": "1"}
    ran = subprocess.run([*map(str, command)], env=environ, input=given, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.slow
def test_the_wheel_is_small_and_all_of_it_is_importable(installed):
    weights = json.loads(said(installed / "python", "-c", WEIGHT))
    assert {"argosy-edge", "cryptography", "msgspec"} <= set(weights)
    assert sum(weights.values()) <= 25 * MB, weights


@pytest.mark.slow
def test_the_command_runs_with_nothing_but_its_dependencies(installed):
    helped = said(installed / "argosy-edge", "--help")
    assert all(f"    {name} " in helped for name in ("enrol", "run", "status"))
    assert said(installed / "argosy-edge", "--version") == f"argosy-edge {__version__}\n"


@pytest.mark.slow
def test_what_the_platform_compresses_is_read_without_zstandard(installed, tmp_path):
    asked = []
    for pair, (old, new) in PAIRS.items():
        for kind, base in (("full", None), ("patch", old)):
            folder = tmp_path / f"{pair}-{kind}"
            folder.mkdir()
            way, blob = made(folder, kind, new, base)
            words = {"way": msgspec.json.encode(way).decode(), "file": msgspec.json.encode(file_of(new)).decode()}
            asked.append(words | {"blob": str(blob), "old": str(folder / "old"), "into": str(folder / "out")})
    said(installed / "python", "-c", APPLY, given=json.dumps(asked))
    for words, new in zip(asked, (new for _, new in PAIRS.values() for _ in range(2)), strict=True):
        assert Path(words["into"]).read_bytes() == new


@pytest.mark.slow
def test_with_magika_it_takes_little_more_memory_than_a_session(installed, tmp_path):
    magika = pytest.importorskip("magika", reason="needs magika: pip install magika")
    located = locate(Path(magika.__file__).parent / "models/standard_v3_3/model.onnx")
    try:
        package = located.open()
        (tmp_path / "manifest.json").write_bytes(msgspec.json.encode(package.manifest))
        bare = said(installed / "python", "-c", BARE, package.weights)
        agent = said(installed / "python", "-c", AGENT, package.folder, tmp_path / "manifest.json")
    finally:
        located.release()
    (loaded, asked), (bare_loaded, bare_asked) = (map(int, text.split()) for text in (agent, bare))
    assert loaded <= 50 * MB
    assert loaded - bare_loaded <= 10 * MB
    assert asked - bare_asked <= 12 * MB
