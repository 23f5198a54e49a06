"""From `argosy up` to Parquet: what was asked and answered is what the log has, whoever asked and how."""

import json
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from click.testing import CliRunner
from pyarrow import parquet

from argosy.cli.main import argosy
from argosy.control.recording import recorder
from argosy.profiles import files as folder
from argosy.spec.recorder import read_report
from argosy.spec.settings import Home, Settings
from argosy.store import open_store
from argosy.store.payloads import layout
from argosy.store.payloads.query import Query, read
from tests.monitoring.recorder import shop
from tests.platform.up import Up, clear, until

PAYLOAD = {"flush": 0.2, "redact": ["email"], "hash": ["income"]}


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    place = Home(tmp_path_factory.mktemp("h")).create()
    place.config.write_text("control: {port: 0}\ngateway: {port: 0}\n")
    store = open_store(place, Settings())
    for number in (1, 2):
        shop.push(store, place.root / f"package{number}")
    store.close()
    yield place
    clear(place)


@pytest.fixture
def platform(home: Home) -> Iterator[Up]:
    up = Up(home).ready()
    yield up
    if up.process.poll() is None:
        up.kill()


def deploy(platform: Up, **more: Any) -> str:
    spec = {"model": "shop:1", "public": True, "runtime": {"threads": 1}, "payload": PAYLOAD, **more}
    answer = platform.call("PUT", "/v1/endpoints/shop", spec, wait=60)
    assert answer["endpoint"]["state"] == "ready", answer
    return answer["url"]


def listening(platform: Up) -> None:
    """Wait until the recorder has told the replica what it wants."""
    until(lambda: (found := read_report(platform.home)) and found.replicas)


def body(values: dict[str, Any], id: str) -> dict[str, Any]:
    inputs = [
        {"name": "x", "datatype": "FP32", "shape": list(values["x"].shape), "data": values["x"].ravel().tolist()},
        {
            "name": "email",
            "datatype": "BYTES",
            "shape": [len(values["email"])],
            "data": [each.decode() for each in values["email"]],
        },
    ]
    return {"id": id, "inputs": inputs}


def ask_triton(module: Any, address: str, values: dict[str, Any], id: str) -> None:
    inputs = [module.InferInput("x", list(values["x"].shape), "FP32"), module.InferInput("email", [1], "BYTES")]
    inputs[0].set_data_from_numpy(values["x"])
    inputs[1].set_data_from_numpy(values["email"])
    client = module.InferenceServerClient(address)
    client.infer("shop", inputs, request_id=id)
    client.close()


def rows(home: Home, enough: int, **more: Any) -> list[dict[str, Any]]:
    """The log, once it has so many rows."""

    def look() -> list[dict[str, Any]]:
        if not list(home.payloads.rglob("*.parquet")):
            return []
        found = read(home.payloads, Query(endpoint="shop", **more)).table.to_pylist()
        return found if len(found) >= enough else []

    return until(look)


def test_what_was_asked_and_answered_is_in_the_log(platform: Up, home: Home):
    url = deploy(platform)
    listening(platform)
    address = url.removeprefix("http://").partition("/")[0]
    asked = {name: shop.rows(1, seed=k) for k, name in enumerate(("json", "binary", "grpc"))}
    begun = time.time()
    assert httpx.post(url, json=body(asked["json"], "json")).status_code == 200
    ask_triton(triton_http, address, asked["binary"], "binary")
    ask_triton(triton_grpc, address, asked["grpc"], "grpc")
    large = shop.rows(150, seed=9)
    assert httpx.post(url, json=body(large, "large")).status_code == 200
    assert httpx.post(url, json=body(shop.rows(1, seed=3), "")).status_code == 200
    old = {"x": -asked["json"]["x"], "email": asked["json"]["email"]}
    assert httpx.post(url, json=body(old, "broken")).status_code == 500
    assert httpx.post(url, content=b"{nonsense", headers={"x-request-id": str(uuid.uuid4())}).status_code == 400
    found = rows(home, 3 + 150 + 3)
    by_id = {row["request_id"]: row for row in found}
    for name, values in asked.items():
        row, right = by_id[name], shop.answers(values)
        assert (row["input.age"], row["input.distance"]) == (values["x"][0, 0], values["x"][0, 2])
        assert (row["output.label"], row["output.score"]) == (right["label"][0].decode(), right["score"][0])
        assert (row["row"], row["rows"], row["code"], row["weight"]) == (0, 1, 200, 1)
        assert row["version"] == "1"
        assert row["replica"].startswith("shop-")
        assert begun <= row["time"].timestamp() <= time.time()
        assert 0 < row["latency"] < time.time() - begun
        assert len(row["input.income"]) == 32
    mine = [row for row in found if row["request_id"] == "large"]
    assert [row["row"] for row in mine] == list(range(150))
    assert {row["rows"] for row in mine} == {150}
    assert [row["input.age"] for row in mine] == large["x"][:, 0].tolist()
    assert [row["output.score"] for row in mine] == shop.answers(large)["score"].tolist()
    assert by_id["broken"]["code"] == 500
    assert by_id["broken"]["input.age"] == old["x"][0, 0]
    assert by_id["broken"]["output.score"] is None
    (unread,) = [row for row in found if row["code"] == 400]
    assert unread["rows"] == 0
    assert len(unread["request_id"]) == 36
    assert len(found) == 3 + 150 + 3
    assert platform.stop() == 0
    assert recorder(home).found() == []
    hidden(home, b"secret", large["x"][:, 1])
    (version,) = folder.versions(home.profiles, "shop")
    counted = [one for one in folder.read(home.profiles, "shop", version) if not one.segment]
    assert sum(one.rows for one in counted) == 3 + 150 + 1
    compared(home)


def compared(home: Home) -> None:
    """`argosy drift` reads what was counted: as drawn for the sample, but for what is hidden."""
    result = CliRunner(env={"ARGOSY_HOME": str(home.root)}).invoke(argosy, ["drift", "shop", "--fail", "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["version"], told["rows"], told["drifted"]) == ("1", 154, [])
    rows = {one["column"]: one["rows"] for one in told["columns"]}
    assert (rows["age"], rows["income"], rows["email"]) == (154, 154, 0)


def hidden(home: Home, word: bytes, numbers: np.ndarray) -> None:
    """Neither is in a file that the recorder wrote, nor in what a reader makes of it."""
    files = [path for root in (home.payloads, home.profiles) for path in Path(root).rglob("*") if path.is_file()]
    files = [path for path in files if path.name != layout.LOCK or path.stat().st_size]
    assert {path.suffix for path in files} == {".parquet", ".profiles"}
    large = {float(number) for number in numbers if number > 1000}
    for path in files:
        data = path.read_bytes()
        if path.suffix == ".parquet":
            lines = parquet.read_table(path).to_pylist()
            data += repr(lines).encode()
            assert large.isdisjoint(value for line in lines for value in line.values() if isinstance(value, float))
        assert word not in data, path
        assert not [number for number in large if np.float32(number).tobytes() in data], path


@pytest.mark.slow
def test_a_log_comes_and_goes_without_a_new_replica_and_follows_a_rollout(platform: Up, home: Home):
    url = deploy(platform, payload=None)
    (pid,) = platform.pids()
    assert httpx.post(url, json=body(shop.rows(1), "before")).status_code == 200
    assert recorder(home).found() == []
    deploy(platform)
    assert platform.pids() == [pid]
    listening(platform)
    assert httpx.post(url, json=body(shop.rows(1), "first")).status_code == 200
    rows(home, 1)
    deploy(platform, model="shop:2")
    until(lambda: len(platform.pids()) == 1 and platform.pids() != [pid])

    def second() -> bool:
        """The new replica finds the recorder within a second; what it answered before that is not kept."""
        assert httpx.post(url, json=body(shop.rows(1), "second")).status_code == 200
        return rows(home, 1)[-1]["request_id"] == "second"

    until(second)
    found = {(row["request_id"], row["version"]) for row in rows(home, 2)}
    assert found == {("first", "1"), ("second", "2")}
    until(lambda: platform.call("GET", "/v1/status")["recorder"]["records"] >= 2)
    assert platform.stop() == 0


@pytest.mark.slow
def test_a_recorder_that_died_comes_back_and_a_new_controller_keeps_it(platform: Up, home: Home):
    url = deploy(platform)
    listening(platform)
    (first,) = recorder(home).found()
    assert httpx.post(url, json=body(shop.rows(1), "first")).status_code == 200
    rows(home, 1)
    first.kill()
    (second,) = until(lambda: [each for each in recorder(home).found() if each.pid != first.pid])
    until(lambda: (found := read_report(home)) and found.pid == second.pid and found.replicas)
    platform.kill()
    again = Up(home).ready()
    assert httpx.post(url, json=body(shop.rows(1), "second")).status_code == 200
    assert [row["request_id"] for row in rows(home, 2)] == ["first", "second"]
    assert recorder(home).found() == [second]
    assert again.stop() == 0
    assert recorder(home).found() == []


def test_profiles_by_segment_need_no_log(platform: Up, home: Home):
    url = deploy(platform, payload=None, monitor={"segments": ["label"]})
    listening(platform)
    asked = shop.rows(50)
    assert httpx.post(url, json=body(asked, "some")).status_code == 200
    until(lambda: (found := read_report(home)) and found.replicas)
    time.sleep(1.5)
    assert platform.stop() == 0
    now = datetime.now(UTC)
    found = folder.read(home.profiles, "shop", "1", now - timedelta(hours=1), now + timedelta(hours=1))
    old = int((asked["x"][:, 0] > 40).sum())
    counted: dict[str, int] = {}
    for one in found:
        counted[one.segment] = counted.get(one.segment, 0) + one.rows
    assert counted == {"": 50, "label=yes": old, "label=no": 50 - old}
    assert not home.payloads.exists()


def test_what_cannot_be_watched_or_hidden_is_refused_when_it_is_declared(platform: Up, tmp_path: Path):
    (tmp_path / "rows.csv").write_text("age,income\n1,2\n")
    for payload, monitor, says in (
        ({"redact": ["salary"]}, None, "'salary' is to be hidden, and is no column of the model"),
        (PAYLOAD, {"segments": ["income"]}, "'income' is hidden in the payload log"),
        (PAYLOAD, {"segments": ["salary"]}, "no column 'salary' is profiled"),
        (None, {"decision": "output.label"}, "declare payload, too"),
        (PAYLOAD, {"decision": "output.lable"}, "'output.lable', which is no output that the log holds"),
        (PAYLOAD, {"reference": "rows.csv"}, "must be an absolute path"),
        (PAYLOAD, {"reference": str(tmp_path / "none.csv")}, "there is no file"),
        (PAYLOAD, {"reference": str(tmp_path / "rows.csv")}, "no column 'label' with the labels"),
        (PAYLOAD, {"evry": 60}, "did you mean 'every'"),
    ):
        spec = {"model": "shop:1", "public": True, "payload": payload, "monitor": monitor}
        for method, path in (("POST", "/v1/endpoints/shop/plan"), ("PUT", "/v1/endpoints/shop")):
            answer = platform.ask(method, path, json=spec)
            status = 404 if says == "there is no file" else 400
            assert (answer.status_code, says in answer.text) == (status, True), answer.text
