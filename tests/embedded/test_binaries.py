"""The model as a shared library and as WebAssembly: from C, from threads of Python, in Node and in a browser."""

import ctypes
import json
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from click.testing import CliRunner

from argosy.cli.main import argosy
from argosy.client.local import locate
from argosy.embedded.binaries import module
from argosy.embedded.formats import gguf, onnx, ort
from argosy.embedded.web import web
from argosy.spec.errors import GoldenMismatch, MissingExtra, Unsupported
from tests import programs


@pytest.fixture(scope="module")
def network(digits, tmp_path_factory):
    """A package of a small network, which has buffers, and rows for it."""
    import joblib
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = digits
    model = make_pipeline(StandardScaler(), MLPClassifier((8,), max_iter=5, random_state=0))
    with pytest.warns(UserWarning, match="Maximum iterations"):
        model.fit(x, [f"<{number}>" for number in y])
    path = tmp_path_factory.mktemp("net") / "model.joblib"
    joblib.dump(model, path)
    located = locate(path)
    yield located.open(), np.ascontiguousarray(x[:200], np.float32)
    located.release()


@pytest.fixture(scope="module")
def library(network, tmp_path_factory):
    programs.need("gcc")
    folder = tmp_path_factory.mktemp("lib")
    ran = CliRunner().invoke(
        argosy, ["export", "lib", str(network[0].folder), "-o", str(folder), "--name", "net", "--json"]
    )
    assert ran.exit_code == 0, ran.output
    assert len(json.loads(ran.stdout)) == 4
    return folder


@pytest.mark.slow
def test_a_library_answers_threads_at_once_as_the_package_does(library, network):
    package, rows = network
    found = ctypes.CDLL(str(library / "lib/libnet.so"))
    found.net_signature.restype = ctypes.c_char_p
    about = json.loads(found.net_signature())
    assert about == json.loads((library / "signature.json").read_text())
    assert found.net_selftest() == 0
    labels, scores = np.zeros(len(rows), np.int32), np.zeros((len(rows), 10), np.float32)
    predict = found.net_predict_rows
    predict.restype = ctypes.c_int64
    pointers = [ctypes.c_void_p(each.ctypes.data) for each in (rows, labels, scores)]
    assert predict(ctypes.c_int64(len(rows)), *pointers) == 0

    def one(number):
        label, score = np.zeros(1, np.int32), np.zeros(10, np.float32)
        for _ in range(20):
            found.net_predict(*(ctypes.c_void_p(each.ctypes.data) for each in (rows[number], label, score)))
            assert label[0] == labels[number]
            assert (score == scores[number]).all()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(one, range(100)))
    golden = {tensor.name: tensor.array for tensor in package.golden_outputs()}
    assert {about["outputs"][0]["labels"][number] for number in labels} >= {each.decode() for each in golden["label"]}


def test_a_library_is_found_by_pkg_config(library, tmp_path):
    programs.need("pkg-config")
    path = {"PKG_CONFIG_PATH": str(library / "lib/pkgconfig")}
    flags = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "net"], env=os.environ | path, check=True, capture_output=True, text=True
    ).stdout.split()
    (tmp_path / "main.c").write_text('#include "net.h"\nint main(void) { return net_selftest(); }\n')
    subprocess.run(["gcc", "-Wall", "-Werror", "main.c", *flags, "-o", "main"], cwd=tmp_path, check=True)
    there = {"LD_LIBRARY_PATH": str(library / "lib")}
    assert subprocess.run([tmp_path / "main"], env=os.environ | there, check=False).returncode == 0


ADDON = """
#include <stddef.h>
#include "net.h"
typedef struct env_ *env;
typedef struct value_ *value;
typedef struct call_ *call;
int napi_get_cb_info(env, call, size_t *, value *, value *, void **);
int napi_get_typedarray_info(env, value, int *, size_t *, void **, value *, size_t *);
int napi_create_int32(env, int32_t, value *);
int napi_create_function(env, const char *, size_t, value (*)(env, call), void *, value *);
static value ask(env at, call made)
{
  value given[3], buffer, answer;
  void *data[3];
  size_t count = 3, length, offset;
  int type, each;
  napi_get_cb_info(at, made, &count, given, 0, 0);
  for (each = 0; each < 3; each++)
    napi_get_typedarray_info(at, given[each], &type, &length, &data[each], &buffer, &offset);
  napi_create_int32(at, net_predict(data[0], data[1], data[2]), &answer);
  return answer;
}
value napi_register_module_v1(env at, value exports)
{
  value made;
  (void)exports;
  napi_create_function(at, "ask", 3, ask, 0, &made);
  return made;
}
"""
CALLER = """
const ask = require("./ask.node"), row = new Float32Array(JSON.parse(process.argv[2]));
const label = new Int32Array(1), scores = new Float32Array(10);
console.log(JSON.stringify([ask(row, label, scores), label[0], Array.from(scores)]));
"""


@pytest.mark.slow
def test_a_library_is_called_from_node(library, network, tmp_path):
    programs.need("node")
    row = network[1][7]
    (tmp_path / "ask.c").write_text(ADDON)
    (tmp_path / "call.cjs").write_text(CALLER)
    where = ["-I", str(library / "include"), "-L", str(library / "lib"), f"-Wl,-rpath,{library / 'lib'}"]
    subprocess.run(
        ["gcc", "-Wall", "-Werror", "-shared", "-fPIC", "ask.c", *where, "-lnet", "-o", "ask.node"],
        cwd=tmp_path,
        check=True,
    )
    command = ["node", "call.cjs", json.dumps(row.tolist())]
    status, label, scores = json.loads(subprocess.run(command, cwd=tmp_path, check=True, capture_output=True).stdout)
    wanted, given = (np.zeros(1, np.int32), np.zeros(10, np.float32)), np.ascontiguousarray(row)
    ctypes.CDLL(str(library / "lib/libnet.so")).net_predict(
        *(ctypes.c_void_p(each.ctypes.data) for each in (given, *wanted))
    )
    assert (status, label) == (0, wanted[0][0])
    assert np.array(scores, np.float32).tolist() == wanted[1].tolist()


@pytest.mark.slow
def test_a_module_runs_in_wasmtime(network):
    import wasmtime

    programs.need("emcc")
    _, data = module(network[0], "net", "net:1")
    store = wasmtime.Store()
    exports = wasmtime.Instance(store, wasmtime.Module(store.engine, data), []).exports(store)
    assert exports["selftest"](store) == 0
    exports["memory"].write(store, network[1][3].tobytes(), exports["input"](store, 0))
    assert exports["predict"](store) == 0
    at = exports["output"](store, 1)
    scores = np.frombuffer(bytes(exports["memory"].read(store, at, at + 40)), np.float32)
    assert scores.sum() == pytest.approx(1)


@pytest.fixture(scope="module")
def folder(network, tmp_path_factory):
    """What `export web` writes."""
    programs.need("emcc")
    found = tmp_path_factory.mktemp("web")
    for name, data in web(network[0], "net", "net:1").items():
        (found / name).write_bytes(data)
    return found


NODE = """
import fs from "node:fs";
const { load } = await import(process.argv[2] + "/model.js");
const model = await load(), name = process.argv[3];
const errors = [];
for (const row of [{}, { nothing: 1 }, { [name]: [1, 2] }, { [name]: new Array(64).fill("a") }])
  try { model.predict(row); } catch (error) { errors.push(error.message); }
const rows = JSON.parse(fs.readFileSync(process.argv[2] + "/rows.json"));
const answers = rows.map((X) => model.predict({ [name]: X }));
console.log(JSON.stringify({ errors, answers, selftest: model.selftest() }));
"""


@pytest.mark.slow
def test_a_module_answers_in_node_and_refuses_what_is_no_row(folder, network, library, tmp_path):
    programs.need("node")
    package, rows = network
    (name,) = (spec.name for spec in package.manifest.signature.inputs)
    (folder / "rows.json").write_text(json.dumps(rows[:50].tolist()))
    (tmp_path / "ask.mjs").write_text(NODE)
    ran = subprocess.run(
        ["node", "ask.mjs", str(folder), name], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    said = json.loads(ran.stdout)
    assert said["selftest"] == 0
    assert [error.split(":")[0] for error in said["errors"]] == [
        f"the input '{name}' is missing",
        "there is no input 'nothing'",
        f"'{name}' has 2 values where 64 are needed",
        f"'{name}' [0] is no number",
    ]
    found = ctypes.CDLL(str(library / "lib/libnet.so"))
    label, scores = np.zeros(1, np.int32), np.zeros(10, np.float32)
    for row, answer in zip(rows, said["answers"], strict=False):
        found.net_predict(*(ctypes.c_void_p(each.ctypes.data) for each in (row, label, scores)))
        assert answer["label"] == f"<{label[0]}>"
        np.testing.assert_allclose(answer["probabilities"], scores, atol=1e-6)


def test_types_name_every_input_and_label(folder):
    text = (folder / "model.d.ts").read_text()
    assert '"label": "<0>" | "<1>"' in text
    assert "ArrayLike<number | null>" in text


@pytest.mark.slow
def test_the_page_works_in_a_browser_and_then_without_a_network(folder, in_a_browser):
    first, again = in_a_browser(folder)
    assert first["label"].startswith("<")
    assert again == first


@pytest.mark.slow
def test_a_module_that_answers_otherwise_is_not_given_away(network, monkeypatch):
    programs.need("emcc")
    programs.need("node")
    from argosy.embedded import verify
    from argosy.embedded.nets import generate
    from argosy.spec.errors import InvalidArgument

    monkeypatch.setitem(generate.EMIT, "Relu", lambda writer, op: writer.line("(void)0;"))
    with pytest.raises(GoldenMismatch):
        web(network[0], "net", "net:1", "c")
    monkeypatch.setattr(verify, "difference", lambda *_: 0.0)
    with pytest.raises(InvalidArgument, match="the self-test of net as WebAssembly failed"):
        web(network[0], "net", "net:1")


def test_a_compiler_that_is_missing_is_named_with_its_package(network, monkeypatch):
    real = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "emcc" else real(name))
    with pytest.raises(MissingExtra, match=r"export wasm needs emcc.*apt-get install emscripten"):
        web(network[0], "net", "net:1")


@pytest.mark.slow
def test_formats_of_other_runtimes(network):
    package, rows = network
    import onnxruntime

    (name,) = (spec.name for spec in package.manifest.signature.inputs)
    answers = []
    for data in (onnx(package, "net:1")["model.onnx"], ort(package, "net:1", "amd64")["model.ort"]):
        session = onnxruntime.InferenceSession(data)
        answers.append(session.run(["probabilities"], {name: rows.astype(np.float64)})[0])
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-6)
    assert ort(package, "net:1", "arm")["required_operators_and_types.config"]
    with pytest.raises(Unsupported, match="net:1 is no GGUF model, but one of onnx"):
        gguf(package, "net:1")
