"""Pages of models that have no C, over onnxruntime-web: in Node, and in a browser."""

import json
import shutil
import subprocess

import numpy as np
import pytest
from click.testing import CliRunner

from argosy.cli.main import argosy
from argosy.client.local import locate
from argosy.embedded.web import onnxruntime_web as located_by
from argosy.embedded.web import web
from argosy.spec.errors import InvalidArgument, MissingExtra, NotFound
from tests.embedded.nets.kit import TensorProto, helper, node, onnx, random


@pytest.fixture(scope="module")
def folder(recurrent, onnxruntime_web, tmp_path_factory):
    """What `export web` writes of it."""
    found = tmp_path_factory.mktemp("page")
    command = ["export", "web", str(recurrent), "-o", str(found), "--onnxruntime-web", str(onnxruntime_web)]
    ran = CliRunner().invoke(argosy, command)
    assert ran.exit_code == 0, ran.output
    assert "over onnxruntime: input 'x' has the shape [-1, -1, 3]" in ran.stderr
    return found


def asked(folder, rows):
    """What Node says of rows: answers, or what is wrong with them."""
    (folder / "rows.json").write_text(json.dumps(rows))
    script = (
        "const { load } = await import('./model.js'); const model = await load(), said = [];"
        "for (const row of JSON.parse((await import('node:fs')).readFileSync('rows.json')))"
        "  said.push(await model.predict(row).catch((error) => error.message));"
        "console.log(JSON.stringify(said));"
    )
    command = ["node", "--input-type=module", "-e", script]
    return json.loads(subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout)


@pytest.mark.slow
def test_rows_of_any_length_are_answered_in_node_and_what_is_no_row_is_refused(folder, recurrent):
    import onnxruntime

    session = onnxruntime.InferenceSession(recurrent, providers=["CPUExecutionProvider"])
    rows = [random(length, 3, seed=length) for length in (1, 4, 30)]
    nested = [{"x": row.tolist()} for row in rows]
    flat = [{"x": row.ravel().tolist()} for row in rows]
    bad = [{}, {"y": 1}, {"x": [1, 2]}, {"x": [["a", 0, 0]]}]
    *answers, missing, unknown, short, text = asked(folder, [*nested, *flat, *bad])
    for row, *given in zip(rows, answers[:3], answers[3:], strict=True):
        want = session.run(None, {"x": row[None]})[0][0]
        for each in given:
            np.testing.assert_allclose(each["y"], want, atol=1e-6)
    assert (missing, unknown) == ("the input 'x' is missing", "there is no input 'y': x")
    assert (short, text) == ("'x' has 2 values where 3 are needed", "'x' [0] is no number")


@pytest.mark.slow
def test_the_page_works_in_a_browser_without_threads_and_then_without_a_network(folder, in_a_browser):
    first, again = in_a_browser(folder)
    assert np.shape(first["y"]) == (4,)
    assert again == first


@pytest.mark.slow
def test_a_page_that_answers_otherwise_is_not_given_away(recurrent, onnxruntime_web, monkeypatch):
    from argosy.embedded import runtime

    real = runtime._raw
    monkeypatch.setattr(runtime, "_raw", lambda array: real(array + 0.01 if array.ndim == 2 else array))
    located = locate(recurrent)
    try:
        with pytest.raises(InvalidArgument, match="golden example 0 of net:1 is not answered as it has to be here"):
            web(located.open(), "net", "net:1", onnxruntime_web=onnxruntime_web)
    finally:
        located.release()


@pytest.mark.slow
def test_texts_and_whole_numbers(onnxruntime_web, tmp_path):
    keys, values = ["a", "é", "grün"], ["first", "", "dritter ß"]
    graph = helper.make_graph(
        [
            node("LabelEncoder", ["t"], ["u"], domain="ai.onnx.ml", keys_strings=keys, values_strings=values,
                 default_string="none"),
            node("Add", ["n", "n"], ["twice"]),
        ],
        "texts",
        [
            helper.make_tensor_value_info("t", TensorProto.STRING, ["N", "T", "S"]),
            helper.make_tensor_value_info("n", TensorProto.INT64, ["N"]),
        ],
        [
            helper.make_tensor_value_info("u", TensorProto.STRING, ["N", "T", "S"]),
            helper.make_tensor_value_info("twice", TensorProto.INT64, ["N"]),
        ],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 2)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), tmp_path / "texts.onnx")
    command = ["export", "web", str(tmp_path / "texts.onnx"), "-o", str(tmp_path / "page")]
    ran = CliRunner().invoke(argosy, [*command, "--onnxruntime-web", str(onnxruntime_web)])
    assert ran.exit_code == 0, ran.output
    (said, gap) = asked(tmp_path / "page", [{"t": [["a", "é"], ["grün", "b"]], "n": 21}, {"t": [["a"]], "n": None}])
    assert said == {"u": [["first", ""], ["dritter ß", "none"]], "twice": 42}
    assert gap == "'n' [0]: a value is missing"
    assert '"t": Nested<string | null>;' in (tmp_path / "page/model.d.ts").read_text()


def test_onnxruntime_web_is_named_or_found_by_npm_or_asked_for(recurrent, tmp_path, monkeypatch):
    located = locate(recurrent)
    real = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "npm" else real(name))
    try:
        with pytest.raises(
            MissingExtra,
            match=r"needs onnxruntime-web.*npm install onnxruntime-web  here.*no C: input 'x' has the shape",
        ):
            web(located.open(), "net", "net:1")
        with pytest.raises(InvalidArgument, match="C needs all axes after the first"):
            web(located.open(), "net", "net:1", "c")
    finally:
        located.release()
    with pytest.raises(NotFound, match=r"there is no onnxruntime-web in .*ort\.wasm\.bundle\.min\.mjs"):
        located_by(tmp_path, "")
    for file in ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"):
        path = tmp_path / "node_modules/onnxruntime-web/dist" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert located_by(tmp_path, "") == tmp_path / "node_modules/onnxruntime-web"
