"""Models that have no C, as a library over onnxruntime: from C, from threads of Python, from Node."""

import ctypes
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from click.testing import CliRunner

from argosy.cli.main import argosy
from argosy.client.local import locate
from argosy.embedded import binaries, export, runtime
from argosy.packaging.options import PushOptions
from argosy.spec.errors import InvalidArgument, MissingExtra, NotFound
from tests import programs
from tests.embedded.library import Library
from tests.embedded.nets.kit import TensorProto, helper, node, onnx, random, write
from tests.embedded.test_binaries import ADDON, CALLER

pytestmark = pytest.mark.xdist_group("embedded-runtime")


@pytest.fixture(scope="module")
def library(recurrent, tmp_path_factory):
    """What `export lib` writes of it."""
    programs.need("gcc")
    folder = tmp_path_factory.mktemp("lib")
    ran = CliRunner().invoke(argosy, ["export", "lib", str(recurrent), "-o", str(folder), "--name", "net"])
    assert ran.exit_code == 0, ran.output
    assert "over onnxruntime: input 'x' has the shape [-1, -1, 3]: C needs" in ran.stderr
    assert "libonnxruntime.so.1" in ran.stdout
    return folder


def answers(path, **feeds):
    import onnxruntime

    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, feeds)


def test_axes_are_free_and_threads_ask_at_once(recurrent, library):
    found = Library(library)
    assert found["selftest"]() == 0
    about = found.about
    assert about == json.loads((library / "signature.json").read_text())
    assert (about["engine"], about["inputs"][0]["shape"]) == ("onnxruntime", [-1, -1, 3])
    given = [random(rows, steps, 3, seed=rows) for rows in (1, 2, 7) for steps in (1, 5, 60)]
    wanted = [answers(recurrent, x=each)[0] for each in given]

    def ask(_):
        for each, want in zip(given, wanted, strict=True):
            (got,) = found.run(each)
            np.testing.assert_allclose(got, want, atol=1e-6)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(ask, range(8)))


def test_another_shape_is_refused_in_words(library):
    found = Library(library)
    assert found.run(random(2, 5, 4)) == (-1, "'x' has another shape than the model takes")
    assert found.run(random(5, 3)) == (-1, "'x' has another shape than the model takes")


def test_there_is_no_python_in_it_and_onnxruntime_is_beside_it(library, tmp_path):
    needed = subprocess.run(
        ["readelf", "-d", library / "lib/libnet.so"], check=True, capture_output=True, text=True
    ).stdout
    assert "python" not in needed
    shutil.copytree(library / "include", tmp_path / "include")
    shutil.copytree(library / "lib/pkgconfig", tmp_path / "lib/pkgconfig")
    shutil.copy(library / "lib/libnet.so", tmp_path / "lib/libnet.so")
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "net.h"\nint main(void)\n{\n  int failed = net_selftest();\n'
        "  puts(net_error());\n  return failed;\n}\n"
    )
    programs.need("pkg-config")
    flags = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "net"],
        env=os.environ | {"PKG_CONFIG_PATH": str(tmp_path / "lib/pkgconfig")},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    subprocess.run(["gcc", "-Wall", "-Werror", "-pedantic", "main.c", *flags, "-o", "main"], cwd=tmp_path, check=True)

    def ran():
        there = {"LD_LIBRARY_PATH": str(tmp_path / "lib"), "PATH": ""}
        return subprocess.run([tmp_path / "main"], env=there, check=False, capture_output=True, text=True)

    alone = ran()
    assert alone.returncode == 1
    assert "libonnxruntime.so.1: cannot open shared object file" in alone.stdout
    (tmp_path / "lib/libonnxruntime.so.1").symlink_to(library / "lib/libonnxruntime.so.1")
    assert ran().returncode == 0


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    """A network that has both, C and ONNX, and refuses missing values, as its sample has none."""
    folder = tmp_path_factory.mktemp("dense")
    nodes = [node("Gemm", ["x", "w", "b"], ["a"]), node("Softmax", ["a"], ["y"])]
    path = write(folder / "dense.onnx", nodes, [6], ["y"], {"w": random(6, 10), "b": random(10)})
    (folder / "sample.json").write_text(json.dumps({"x": random(20, 6).tolist()}))
    located = locate(path, PushOptions(sample=folder / "sample.json"))
    yield located.open()
    located.release()


@pytest.fixture(scope="module")
def fixed(dense, tmp_path_factory):
    """The library of it, over onnxruntime."""
    programs.need("gcc")
    folder = tmp_path_factory.mktemp("fixed")
    for path, data in binaries.library(dense, "net", "net:1", "onnxruntime").items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def test_rows_are_answered_one_by_one_and_together_and_refused_as_online(dense, fixed):
    found = Library(fixed)
    rows = random(30, 6, seed=2)
    scores = np.zeros((30, 10), np.float32)
    found["predict_rows"].restype = ctypes.c_int64

    def ask(function, *given):
        return found[function](*given, *(ctypes.c_void_p(each.ctypes.data) for each in (rows, scores)))

    assert ask("predict_rows", ctypes.c_int64(30)) == 0
    np.testing.assert_allclose(scores, answers(dense.weights, x=rows)[0], atol=1e-6)
    first = scores[0].copy()
    scores[:] = 0
    assert ask("predict") == 0
    np.testing.assert_allclose(scores[0], first, atol=1e-6)
    rows[4, 3] = np.nan
    assert ask("predict_rows", ctypes.c_int64(30)) == 5
    assert found["error"]() == b"input 'x', row 4: a value is missing"


def test_the_engine_is_chosen_and_can_be_forced(recurrent, dense, monkeypatch):
    located = locate(recurrent)
    package = located.open()
    try:
        with pytest.raises(InvalidArgument, match="C needs all axes after the first"):
            binaries.library(package, "net", "net:1", "c")
        assert binaries.planned(package, "net", "net:1", "auto", None, None)[0].startswith(
            "onnxruntime answers: input 'x' has the shape"
        )
        assert "gcc" in binaries.planned(dense, "net", "net:1", "auto", None, None)[0]
        monkeypatch.setattr(export, "LARGE", 100)
        (said, *_) = binaries.planned(dense, "net", "net:1", "auto", None, None)
        assert said.endswith("bytes, which is too much for C")
        real = shutil.which
        monkeypatch.setattr(shutil, "which", lambda name: None if name == "gcc" else real(name))
        with pytest.raises(MissingExtra, match=r"export lib needs gcc.*apt-get install gcc"):
            binaries.library(package, "net", "net:1")
    finally:
        located.release()


def test_a_delegate_that_is_not_here_is_planned_and_refused(recurrent, tmp_path):
    located = locate(recurrent)
    package = located.open()
    try:
        steps = binaries.planned(package, "net", "net:1", "auto", None, "qnn")
        assert "the session gets the provider QNN (backend_type=htp), and none of the model is left to" in steps[2]
        assert steps[3].startswith("cannot be done here: the onnxruntime in")
        assert steps[-1] == binaries.REPLAYED
        with pytest.raises(NotFound, match="has no QNN: get one"):
            binaries.library(package, "net", "net:1", delegate="qnn")
        with pytest.raises(NotFound, match=r"there is no libonnxruntime\.so below"):
            binaries.library(package, "net", "net:1", onnxruntime=tmp_path)
    finally:
        located.release()
    ran = CliRunner().invoke(
        argosy, ["export", "lib", str(recurrent), "-o", str(tmp_path / "x"), "--engine", "c", "--delegate", "qnn"]
    )
    assert ran.exit_code == 2
    assert "--delegate is one of onnxruntime" in ran.stderr
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_a_library_that_answers_otherwise_is_not_given_away(recurrent, monkeypatch):
    programs.need("gcc")
    located = locate(recurrent)
    real = runtime._raw
    monkeypatch.setattr(runtime, "_raw", lambda array: real(array + 0.01 if array.ndim == 2 else array))
    try:
        with pytest.raises(InvalidArgument, match=r"the self-test of libnet\.so failed.*output 'y' \[0\] is another"):
            binaries.library(located.open(), "net", "net:1")
    finally:
        located.release()


@pytest.mark.slow
def test_texts_and_half_floats(tmp_path):
    programs.need("gcc")
    keys, values = ["a", "é", "grün"], ["first", "", "dritter ß"]
    graph = helper.make_graph(
        [
            node("LabelEncoder", ["t"], ["u"], domain="ai.onnx.ml", keys_strings=keys, values_strings=values,
                 default_string="none"),
            node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        ],
        "texts",
        [
            helper.make_tensor_value_info("t", TensorProto.STRING, ["N", "T"]),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2]),
        ],
        [
            helper.make_tensor_value_info("u", TensorProto.STRING, ["N", "T"]),
            helper.make_tensor_value_info("h", TensorProto.FLOAT16, ["N", 2]),
        ],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 2)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), tmp_path / "texts.onnx")
    sample = {"t": [["a", "é"], ["grün", "b"], ["x", "a"]], "x": [[1e-7, -3e-5], [0.1, 65504.0], [-2.5, 0.0]]}
    (tmp_path / "sample.json").write_text(json.dumps(sample))
    ran = CliRunner().invoke(argosy, ["export", "lib", str(tmp_path / "texts.onnx"), "-o", str(tmp_path / "lib")])
    assert ran.exit_code == 0, ran.output
    found = Library(tmp_path / "lib", "texts")
    assert found["selftest"]() == 0
    words = np.array([[text.encode() for text in row] for row in (("a", "é"), ("grün", "other"))], object)
    numbers = np.array([[1e-7, -3e-5], [0.1, 65504]], np.float32)
    texts, halves = found.run(words, numbers)
    assert [text.decode() for text in texts.ravel()] == ["first", "", "dritter ß", "none"]
    assert halves.tolist() == numbers.astype(np.float16).tolist()


@pytest.mark.slow
def test_it_is_called_from_node(dense, fixed, tmp_path):
    programs.need("node")
    (tmp_path / "ask.c").write_text(ADDON.replace("data[0], data[1], data[2]", "data[0], data[2]"))
    (tmp_path / "call.cjs").write_text(CALLER)
    where = ["-I", str(fixed / "include"), "-L", str(fixed / "lib"), f"-Wl,-rpath,{fixed / 'lib'}"]
    command = ["gcc", "-Wall", "-Werror", "-shared", "-fPIC", "ask.c", *where, "-lnet", "-o", "ask.node"]
    subprocess.run(command, cwd=tmp_path, check=True)
    row = random(1, 6, seed=3)
    command = ["node", "call.cjs", json.dumps(row.ravel().tolist())]
    status, _, scores = json.loads(subprocess.run(command, cwd=tmp_path, check=True, capture_output=True).stdout)
    assert status == 0
    np.testing.assert_allclose(scores, answers(dense.weights, x=row)[0][0], atol=1e-6)


@pytest.fixture(scope="module")
def openvino(tmp_path_factory):
    """An unpacked wheel of onnxruntime with OpenVINO."""
    folder = tmp_path_factory.mktemp("openvino")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "-q", "-d", str(folder)]
    if subprocess.run([*command, "onnxruntime-openvino"], check=False, capture_output=True).returncode:
        pytest.skip("there is no onnxruntime-openvino: run  pip download onnxruntime-openvino  where one can")
    (wheel,) = folder.glob("*.whl")
    shutil.unpack_archive(wheel, folder / "wheel", "zip")
    return folder / "wheel"


@pytest.mark.slow
def test_a_delegate_takes_a_whole_model_or_is_refused(recurrent, forest, openvino, tmp_path):
    programs.need("gcc")
    import joblib

    command = ["export", "lib", "--delegate", "openvino", "--onnxruntime", str(openvino), "--name", "net"]
    ran = CliRunner().invoke(argosy, [*command, str(recurrent), "-o", str(tmp_path / "lib"), "--json"])
    assert ran.exit_code == 0, ran.output
    assert json.loads((tmp_path / "lib/signature.json").read_text())["delegate"] == "openvino"
    # In a process of its own: this one has another libonnxruntime.so.1.
    asks = (
        "import ctypes, sys; found = ctypes.CDLL(sys.argv[1]); failed = found.net_selftest()\n"
        "maps = open('/proc/self/maps').read(); sys.exit(failed or 'libopenvino_intel_cpu_plugin' not in maps)"
    )
    assert (
        subprocess.run([sys.executable, "-c", asks, str(tmp_path / "lib/lib/libnet.so")], check=False).returncode == 0
    )
    joblib.dump(forest, tmp_path / "forest.joblib")
    ran = CliRunner().invoke(argosy, [*command, str(tmp_path / "forest.joblib"), "-o", str(tmp_path / "no")])
    assert ran.exit_code == 2
    assert "fallback to CPU EP has been explicitly disabled" in ran.stderr
    assert not (tmp_path / "no").exists()
