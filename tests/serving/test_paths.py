"""What clients do to paths, methods and content types: each works, or is told why not."""

import httpx
import pytest

from tests.serving.conftest import RunningReplica
from tests.serving.test_kserve_payloads import FLOWERS, SPECIES, Iris
from tests.serving.test_rows import NAMES, RECORDS, Flowers

TENSOR = {"inputs": [{"name": "x", "datatype": "FP64", "shape": [2, 4], "data": FLOWERS}]}


@pytest.fixture(scope="module")
def client():
    with (
        RunningReplica({"flowers": Flowers(), "plain": Iris()}) as running,
        httpx.Client(base_url=running.url) as opened,
    ):
        yield opened


@pytest.mark.parametrize(
    "path",
    ["/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/flowers", "/v2/models/flowers/versions/1/ready",
     "/v1/models", "/v1/models/flowers", "/endpoints/flowers/v1/models/flowers", "/ping", "/metrics", "/openapi.json",
     "/docs", "/endpoints/flowers/openapi.json", "/endpoints/flowers/docs"],
)  # fmt: skip
def test_a_slash_at_the_end_and_head_where_get_is(client, path):
    whole = client.get(path)
    assert whole.status_code == 200
    assert client.get(f"{path}/").status_code == 200
    assert client.get(f"{path}//").status_code == 404
    head = client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == whole.headers["content-type"]
    refused = client.put(path)
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")
    if path.endswith("openapi.json"):
        assert client.get(f"{path}/").json() == whole.json()


@pytest.mark.parametrize(
    ("path", "body", "answer"),
    [
        ("/v2/models/flowers/infer", TENSOR, "outputs"),
        ("/v1/models/flowers:predict", {"instances": RECORDS}, "predictions"),
        ("/endpoints/flowers/invocations", RECORDS, "predictions"),
    ],
)
def test_a_slash_at_the_end_where_post_is(client, path, body, answer):
    assert client.post(f"{path}/", json=body).json().keys() >= {answer}
    for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"):
        refused = client.request(
            method, path, headers={"origin": "http://other", "access-control-request-method": "POST"}
        )
        assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
        assert not any(name.startswith("access-control") for name in refused.headers)
        assert method == "HEAD" or f"takes POST, not {method}" in refused.json()["error"]
    assert client.post(f"{path}/", content=b"{").status_code == 400
    empty = client.post(path)
    assert (empty.status_code, "the request body is empty" in empty.text) == (400, True)


def test_an_error_at_mlflows_path_with_a_slash_has_mlflows_keys(client):
    assert client.post("/endpoints/flowers/invocations/", content=b"{").json()["error_code"] == "BAD_REQUEST"


@pytest.mark.parametrize(
    "path", ["/v1/models/flowers/versions/1:predict", "/v1/models/flowers/versions/1", "/", "//v2"]
)
def test_what_is_not_there_is_404_whatever_the_method(client, path):
    for method in ("GET", "POST", "HEAD"):
        assert client.request(method, path).status_code == 404


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json; charset=utf-8; x=y", 200),
        ('APPLICATION/JSON;charset="UTF-8"', 200),
        ("application/json; charset=us-ascii", 200),
        ("text/csv; header=present", 200),
        ("text/csv; charset=utf8", 200),
        ("application/json; charset=utf-16", 415),
        ("text/csv; header=present; charset=latin-1", 415),
        ("multipart/form-data; boundary=x", 415),
        ("application/x-ndjson", 415),
    ],
)
def test_of_a_content_type_the_kind_and_the_charset_count(client, kind, status):
    body = ",".join(RECORDS[0]) + "\n" + ",".join(map(str, FLOWERS[0])) + "\n"
    content = body if kind.startswith("text/csv") else '{"instances": [[6.8, 2.8, 4.8, 1.4]]}'
    answer = client.post("/endpoints/flowers/invocations", content=content, headers={"content-type": kind})
    assert answer.status_code == status
    assert answer.json().get("predictions") == (NAMES[:1] if status == 200 else None)


@pytest.mark.parametrize("orient", ["split", "records", "index", "columns", "values", "table"])
def test_every_orient_of_pandas_is_read_or_told_what_to_send(client, orient):
    pandas = pytest.importorskip("pandas")
    text = pandas.DataFrame(RECORDS).to_json(orient=orient)
    answer = client.post("/endpoints/flowers/invocations", content=text)
    if orient in ("records", "columns", "values"):
        assert answer.json() == {"predictions": NAMES}
    else:
        assert answer.status_code == 400
        assert "no column of the model" in answer.json()["error"]
        assert "'dataframe_split'" in answer.json()["error"]
    split = client.post("/endpoints/flowers/invocations", content=f'{{"dataframe_split": {text}, "params": {{}}}}')
    assert split.status_code == (200 if orient == "split" else 400)


def test_lists_by_column_without_a_key(client):
    columns = {name: [row[name] for row in RECORDS] for name in RECORDS[0]}
    assert client.post("/endpoints/flowers/invocations", json=columns).json() == {"predictions": NAMES}
    mixed = client.post("/endpoints/flowers/invocations", json={**columns, "petal_width": 1.0})
    assert "a list for each column, or one value for each" in mixed.json()["error"]
    assert client.post("/endpoints/plain/invocations", json={"input-0": FLOWERS[0]}).json() == {
        "predictions": SPECIES[:1]
    }


def test_what_python_writes_for_nan_is_told(client):
    body = b'{"inputs": [{"name": "x", "datatype": "FP64", "shape": [1, 4], "data": [NaN, 1, 2, 3]}]}'
    refused = client.post("/v2/models/flowers/infer", content=body)
    assert (refused.status_code, "NaN, which is null here" in refused.json()["error"]) == (400, True)
    assert "NaN" not in client.post("/v2/models/flowers/infer", content=b"{").json()["error"]
