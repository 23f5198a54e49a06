"""Rollouts judged by a user's own metric, through a real Prometheus that scrapes the user's application."""

import asyncio
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from argosy.spec.settings import Home
from argosy.store.store import Store
from tests.platform.packages import push
from tests.platform.up import PATIENCE, Load, Up, until
from tests.ports import free
from tests.programs import need

CONFIG = """
global: {scrape_interval: 500ms, scrape_timeout: 400ms}
scrape_configs: [{job_name: shop, static_configs: [{targets: ["127.0.0.1:%d"]}]}]
"""
METRIC = {
    "name": "clicks",
    "query": 'sum(clicks{endpoint="$endpoint",revision="$revision"})',
    "every": 1,
    "worse": "lower",
    "low": 0,
    "high": 1,
}
GUARD = {
    "alpha": 0.1,
    "margin": 0.3,
    "latency_quantiles": [],
    "latency_tolerance": 100.0,
    "latency_margin": 200.0,
    "min_requests": 20,
    "patience": 3,
    "metrics": [METRIC],
}


class Shop:
    """The user's application as Prometheus sees it: the share of clicks by the revision that gave the answer."""

    def __init__(self) -> None:
        self.clicks: dict[str, float] = {}
        self.port = free()

    def open(self) -> None:
        clicks = self.clicks

        class Page(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                lines = [f'clicks{{endpoint="digits",revision="{r}"}} {share}\n' for r, share in clicks.items()]
                self.send_response(200)
                self.send_header("content-type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write("".join(lines).encode())

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Page)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Visitors(Load):
    """A load whose answers lead to clicks: `shares` by the number that the answer holds."""

    def __init__(self, url: str, key: str, shop: Shop, shares: dict[float, float]) -> None:
        super().__init__(url, key)
        self.shop, self.shares = shop, shares

    async def _client(self) -> None:
        body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 1, 1, 1]}]}
        async with httpx.AsyncClient(headers={"authorization": f"Bearer {self.key}"}, timeout=PATIENCE) as client:
            while not self._stop.is_set():
                answer = await client.post(self.url, json=body)
                share = self.shares[answer.json()["outputs"][0]["data"][0]]
                self.shop.clicks[answer.headers["x-argosy-revision"]] = share
                self.good += 1
                await asyncio.sleep(0.01)


@pytest.fixture
def shop() -> Iterator[Shop]:
    opened = Shop()
    opened.open()
    yield opened
    opened.close()


@pytest.fixture
def prometheus(shop: Shop, tmp_path: Path) -> Iterator[str]:
    """The address of a server that scrapes the shop."""
    (tmp_path / "prometheus.yml").write_text(CONFIG % shop.port)
    log = tmp_path / "log"
    options = [f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"]
    with log.open("wb") as out:
        server = subprocess.Popen(
            [need("prometheus"), *options, "--web.listen-address=127.0.0.1:0"], stdout=out, stderr=out
        )
    try:
        found = until(lambda: re.search(r"Listening on.*?(127\.0\.0\.1:\d+)", log.read_text()))
        yield f"http://{found.group(1)}"
    finally:
        server.kill()
        server.wait()


@pytest.fixture
async def platform(home: Home, store: Store, start: Callable[..., Up], prometheus: str) -> Up:
    home.config.write_text(f"control: {{port: 0}}\ngateway: {{port: 0}}\nprometheus: {{url: '{prometheus}'}}\n")
    for number in (1, 2):
        push(store, home.root / f"p{number}", float(number))
    return await asyncio.to_thread(start().ready)


async def watched(call: Any, good: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The rollout, once it is as wanted."""
    found: dict[str, Any] = {}
    try:
        async with asyncio.timeout(60):
            while not found or not good(found):
                await asyncio.sleep(0.1)
                found = await call("GET", "/v1/endpoints/digits/rollout")
    except TimeoutError:
        pytest.fail(f"it did not come to that: {found}")
    return found


async def begin(call: Any, seconds: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """The endpoint with digits:1, and what declares digits:2 with half of the traffic for so long."""
    endpoint = {"model": "digits:1", "guard": GUARD}
    canary = {"strategy": "canary", "steps": [{"weight": 50, "seconds": seconds}]}
    deployed = await call("PUT", "/v1/endpoints/digits", endpoint, wait=60)
    return deployed, endpoint | {"model": "digits:2", "rollout": canary}


@pytest.mark.slow
async def test_a_candidate_that_a_users_metric_finds_worse_is_rolled_back(platform: Up, shop: Shop):
    call = partial(asyncio.to_thread, platform.call)
    deployed, new = await begin(call, 60)
    async with Visitors(deployed["url"], deployed["key"], shop, {1.0: 0.95, 2.0: 0.05}):
        await call("PUT", "/v1/endpoints/digits", new)
        over = await watched(call, lambda each: not each["live"])
    assert over["phase"] == "rolled-back"
    assert over["reason"].startswith("metric 'clicks' got worse: 0.05 against the stable's 0.95"), over["reason"]


@pytest.mark.slow
async def test_a_metric_that_stops_arriving_pauses_the_rollout_until_it_is_back(platform: Up, shop: Shop):
    call = partial(asyncio.to_thread, platform.call)
    deployed, new = await begin(call, 20)
    async with Visitors(deployed["url"], deployed["key"], shop, {1.0: 0.5, 2.0: 0.5}) as load:
        await call("PUT", "/v1/endpoints/digits", new)
        await watched(call, lambda each: "0.5 against" in str(each["findings"]))
        shop.close()
        paused = await watched(call, lambda each: "stopped arriving" in each["reason"] or not each["live"])
        assert "the metric 'clicks' stopped arriving" in paused["reason"]
        assert paused["reason"].endswith("the query gives no data for the candidate and the stable revision")
        await watched(call, lambda each: each["spent"] > 20)
        await load.more()
        still = await call("GET", "/v1/endpoints/digits/rollout")
        assert (still["phase"], still["verdict"], still["weight"]) == ("shifting", "pause", 50)
        shop.open()
        over = await watched(call, lambda each: not each["live"])
    assert over["phase"] == "done", over
