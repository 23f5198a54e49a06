"""What a visitor of an endpoint finds first, and what the form makes of an answer."""

import ast
import asyncio
import json
from types import SimpleNamespace

import numpy as np
import pytest

from argosy.console import calling
from argosy.spec.address import Address
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import Tensor
from tests.console.conftest import Console

pytestmark = pytest.mark.xdist_group("console")

ROW = TensorSpec(name="x", datatype="FP32", shape=(-1, 2), columns=("age", "height"))
TEXT = TensorSpec(name="city", datatype="BYTES", shape=(-1,))


def example(**arrays):
    specs = {"x": ROW, "city": TEXT}
    tensors = [Tensor(name, specs[name].datatype, array) for name, array in arrays.items()]
    return calling._example(Signature(inputs=tuple(specs[name] for name in arrays), outputs=()), tensors)


def test_an_example_has_a_value_for_each_column_and_short_numbers():
    text = example(x=np.array([[0.1, np.nan], [1, 2]], "f4"), city=np.array(["Zürich".encode()], object))
    assert json.loads(text) == [{"age": 0.1, "height": None, "city": "Zürich"}]
    assert json.loads(example(x=np.array([[0.00041234567, 1234567]], "f4"))) == [
        {"age": 0.000412346, "height": 1234570}
    ]


def test_the_call_in_python_has_pythons_values_and_the_texts_as_they_are():
    status = SimpleNamespace(url="http://h/v2/models/m/infer", name="m", endpoint=SimpleNamespace(public=True))
    signature = Signature(inputs=(ROW, TEXT), outputs=(), batched=True)
    golden = [
        Tensor("x", "FP32", np.array([[np.nan, 2]], "f4")),
        Tensor("city", "BYTES", np.array([b"true nullarbor"], object)),
    ]
    call = calling._call(status, SimpleNamespace(manifest=SimpleNamespace(signature=signature)), golden)
    rows = call.python.partition('predict("m", ')[2].removesuffix("))")
    assert ast.literal_eval(rows) == [{"age": None, "height": 2.0, "city": "true nullarbor"}]


def test_an_example_that_is_long_or_of_no_rows_is_left_out():
    assert example(x=np.empty((0, 2), "f4")) == ""
    assert example(city=np.array([b"x" * 2000], object)) == ""


@pytest.mark.slow
def test_the_page_begins_with_address_signature_form_and_calls(console: Console):
    with console.client() as client:
        text = client.get("/console/endpoints/fraud").text
    call, charts = text.index('id="call"'), text.index('class="charts"')
    assert call < charts
    for words in (
        "Address",
        "/endpoints/fraud/docs",
        "Signature",
        "Try it",
        "curl",
        "Python",
        'name="rows"',
        "argosy keys create",
    ):
        assert words in text[call:charts]


def test_a_live_part_leaves_the_form_alone(console: Console):
    with console.client() as client:
        text = client.get("/console/endpoints/fraud", headers={"hx-request": "true"}).text
    assert 'id="call" class="panel call" hx-preserve="true"></section>' in text


def test_the_form_needs_its_token_and_says_why_nothing_answers(console: Console):
    with console.client() as client:
        page = client.get("/console/endpoints/fraud").text
        token = page.partition('name="form_token" value="')[2].partition('"')[0]
        refused = client.post("/console/endpoints/fraud/ask", data={"rows": "[]", "form_token": "x"})
        told = client.post("/console/endpoints/fraud/ask", data={"rows": "<script>", "form_token": token})
    assert refused.status_code == 403
    assert "Refused" in told.text
    assert "&lt;script&gt;" in told.text
    assert "<script>\n" not in told.text


@pytest.mark.parametrize(
    ("status", "body", "failed", "text"),
    [
        (200, b'{"predictions":[1]}', False, '{\n  "predictions": [\n    1\n  ]\n}'),
        (400, b'{"error":"no column age"}', True, "no column age"),
        (500, b"<html>", True, "<html>"),
        (200, b"not json", False, "not json"),
    ],
)
async def test_an_answer_as_it_is_shown(tmp_path, status, body, failed, text):
    asked: list[bytes] = []

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        asked.append(head.split(b"\r\n")[0] + await reader.readexactly(size))
        writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%s" % (status, len(body), body))
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(serve, tmp_path / "s")
    async with server:
        replica = type("Replica", (), {"http": Address(path=str(tmp_path / "s"))})()
        assert await calling._answer(replica, '[{"age": 1}]') == (failed, text)
    assert asked == [b'POST /invocations HTTP/1.1[{"age": 1}]']
