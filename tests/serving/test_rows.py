"""Rows over HTTP: KServe's protocol V1, MLflow's scoring server with MLflow's own client, and rows as they are."""

import gzip
import json
import warnings

import httpx
import numpy as np
import pytest

import argosy
from argosy.engines.base import Engine
from argosy.protocol import rows
from argosy.spec.endpoint import Runtime
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import as_bytes
from tests.serving.conftest import RunningReplica
from tests.serving.engines import Identity
from tests.serving.test_kserve_payloads import FLOWERS, SPECIES, Iris

COLUMNS = ("sepal_length", "sepal_width", "petal_length", "petal_width")


class Flowers(Engine):
    """The name of the species and its score, by named columns of one input."""

    releases_gil = True
    signature = Signature(
        inputs=(TensorSpec(name="x", datatype="FP64", shape=(-1, 4), columns=COLUMNS, nullable=True),),
        outputs=(
            TensorSpec(name="label", datatype="BYTES", shape=(-1,), semantic="label"),
            TensorSpec(name="probabilities", datatype="FP64", shape=(-1, 3)),
        ),
    )

    def predict(self, inputs):
        places = np.digitize(inputs["x"][:, 2], [2.5, 4.9])
        names = np.array(["setosa", "versicolor", "virginica"])
        return [as_bytes(names[places]), np.eye(3)[places]]


@pytest.fixture(scope="module")
def replica():
    with RunningReplica({"flowers": Flowers()}) as running:
        yield running


RECORDS = [dict(zip(COLUMNS, flower, strict=True)) for flower in FLOWERS]
NAMES = ["versicolor", "versicolor"]


def post(replica, path, value, **headers):
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    fields = {name.replace("_", "-"): text for name, text in headers.items()}
    return httpx.post(replica.url + path, content=body, headers=fields)


def test_kserve_v1_as_its_documentation_shows_it(replica):
    for value in (
        {"instances": FLOWERS},
        {"inputs": FLOWERS},
        {"instances": RECORDS},
        {"inputs": [{name: {"0": value} for name, value in row.items()} for row in RECORDS]},
    ):
        answer = post(replica, "/v1/models/flowers:predict", value, content_type="application/json")
        assert (answer.status_code, answer.json()) == (200, {"predictions": NAMES})
    assert httpx.get(f"{replica.url}/v1/models").json() == {"models": ["flowers"]}
    assert httpx.get(f"{replica.url}/v1/models/flowers").json() == {"name": "flowers", "ready": True}
    assert httpx.get(f"{replica.url}/v1/models/no").status_code == 404
    refused = post(replica, "/v1/models/flowers:predict", {"instances": 5})
    assert refused.status_code == 400
    assert list(refused.json()) == ["error"]
    assert post(replica, "/v1/models/no:predict", {"instances": FLOWERS}).status_code == 404
    assert httpx.get(f"{replica.url}/v1/models/flowers:predict").status_code == 405


@pytest.mark.slow
def test_mlflows_own_client(replica):
    pandas = pytest.importorskip("pandas")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client = pytest.importorskip("mlflow.pyfunc.scoring_server.client")
        server = client.ScoringServerClient(replica.config.http.host, replica.url.rpartition(":")[2])
        server.ping()
        assert server.get_version() == argosy.__version__
        frame = pandas.DataFrame(RECORDS)[list(reversed(COLUMNS))]
        assert server.invoke(frame).get_predictions()[0].tolist() == NAMES
        frame.iloc[0, 0] = np.nan
        assert server.invoke(frame).get_predictions()[0].tolist() == NAMES
        assert server.invoke(np.array(FLOWERS)).get_predictions()[0].tolist() == NAMES
        with pytest.raises(Exception, match=r"error code 400.*petals"):
            server.invoke(frame.rename(columns={"petal_length": "petals"}))


def test_mlflow_as_its_documentation_shows_it(replica):
    split = {"columns": list(COLUMNS), "data": FLOWERS}
    for value in (
        {"dataframe_split": split},
        {"dataframe_records": RECORDS},
        {"instances": FLOWERS},
        {"inputs": {name: [row[name] for row in RECORDS] for name in COLUMNS}},
        RECORDS,
    ):
        answer = post(replica, "/invocations", value, content_type="application/json; charset=utf-8")
        assert (answer.status_code, answer.json()) == (200, {"predictions": NAMES})
    assert post(replica, "/invocations", RECORDS[0]).json() == {"predictions": NAMES[:1]}
    head, *lines = [",".join(map(str, row)) for row in (tuple(reversed(COLUMNS)), *(row[::-1] for row in FLOWERS))]
    text = "\n".join([head, *lines, ",,,"]).encode()
    assert post(replica, "/invocations", text, content_type="text/csv").json() == {"predictions": [*NAMES, "virginica"]}
    assert httpx.get(f"{replica.url}/health").text == "\n"
    refused = post(replica, "/invocations", {"dataframe_split": {**split, "columns": [*COLUMNS[:3], "no"]}})
    assert refused.status_code == 400
    assert refused.json()["error_code"] == "BAD_REQUEST"
    assert refused.json()["message"] == refused.json()["error"]
    assert "'no'" in refused.json()["error"]


@pytest.mark.parametrize("kind", ["application/vnd.apache.parquet", "application/json; charset=latin-1"])
def test_other_content_types_are_refused(replica, kind):
    assert post(replica, "/invocations", RECORDS, content_type=kind).status_code == 415


def test_csv_is_not_of_v1(replica):
    assert post(replica, "/v1/models/flowers:predict", b"a\n1\n", content_type="text/csv").status_code == 415


def test_large_and_compressed_bodies(replica):
    many = {"instances": FLOWERS * 4000}
    body = json.dumps(many).encode()
    for answer in (
        post(replica, "/invocations", body),
        post(replica, "/invocations", gzip.compress(body), content_encoding="gzip"),
    ):
        assert answer.json()["predictions"] == NAMES * 4000
        assert answer.headers["content-encoding"] == "gzip"
    over = b'{"instances": [' + b" " * rows.MOST
    for path in ("/invocations", "/v1/models/flowers:predict"):
        refused = post(replica, path, over)
        assert refused.status_code == 413, refused.text


def test_rows_count_as_every_request_does(replica):
    model = replica.replica.plane.get("flowers")
    before = model.counts().requests, model.stats.failures.get("invalid_argument", 0)
    post(replica, "/invocations", RECORDS)
    post(replica, "/v1/models/flowers:predict", {"instances": RECORDS}, x_request_timeout_ms="0")
    assert model.counts().requests == before[0] + 2
    assert model.stats.failures["deadline_exceeded"]
    assert model.inflight == 0


def test_the_paths_of_the_gateway_are_answered_too(replica):
    base = "/endpoints/flowers"
    for path, value in (("/invocations", RECORDS), ("/v1/models/flowers:predict", {"instances": FLOWERS})):
        assert post(replica, base + path, value).json() == {"predictions": NAMES}
    assert "message" in post(replica, f"{base}/invocations", {}).json()
    assert httpx.get(f"{replica.url}{base}/v1/models/flowers").json() == {"name": "flowers", "ready": True}
    assert httpx.get(f"{replica.url}{base}/ping").status_code == 200
    for path in ("/v1/models/other:predict", "/v2/models/flowers/infer", "/metrics", "/argosy/counts", "", "/", "/v2",
                 "/endpoints/flowers/ping"):  # fmt: skip
        assert post(replica, base + path, RECORDS).status_code == 404
    assert post(replica, "/endpoints/other/invocations", RECORDS).status_code == 404


def test_a_server_of_several_models_asks_for_a_name(run_replica):
    replica = run_replica({"iris": Iris(), "other": Identity()}, runtime=Runtime())
    assert post(replica, "/v1/models/iris:predict", {"instances": FLOWERS}).json() == {"predictions": SPECIES}
    answer = post(replica, "/invocations", {"instances": FLOWERS})
    assert answer.status_code == 404
    assert "/v1/models/NAME:predict" in answer.json()["error"]
