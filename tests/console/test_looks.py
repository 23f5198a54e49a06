"""What a real look found, in a real browser: the distributions behind a cell, under whatever names columns have."""

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import uvicorn
from starlette.applications import Starlette

from argosy.api import token
from argosy.console.app import pages
from argosy.monitoring.drift.detector import start
from argosy.monitoring.drift.geometry import geometry
from argosy.monitoring.drift.reference import Baseline
from argosy.monitoring.drift.window import Watched, evaluate_window
from argosy.profiles.cells import Column
from argosy.profiles.layout import Layout
from argosy.spec.settings import Home
from argosy.store import findings
from tests.console.conftest import Chromium, Console
from tests.console.samples import HOSTILE, services

pytestmark = pytest.mark.xdist_group("console")
NAMES = [HOSTILE, "</title>" * 1250, "a\0\x1b[2J\r\n\u202eb", "age"]


def baseline() -> Baseline:
    """A numeric column and one of categories for each name; 1,000 rows each."""
    columns: list[Column] = []
    counts: list[int] = []
    for place, name in enumerate(NAMES):
        edges = (0.0, 1.0, 2.0, 3.0, 4.0)
        columns.append(
            Column(side="input", tensor="x", datatype="FP32", name=name, kind="numbers", place=place, edges=edges)
        )
        counts += [250] * 4 + [0] * 4
    known = (HOSTILE, "\0", "plain")
    columns.append(Column(side="output", tensor="y", datatype="BYTES", name="y", kind="categories", known=known))
    counts += [500, 300, 200, 0, 0]
    layout = Layout(columns)
    where = geometry(layout, np.array(counts))
    return Baseline(layout, where, where.spread(counts))


@pytest.fixture(scope="module")
def looked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    home, now = Home(tmp_path_factory.mktemp("h")).create(), time.time()
    found, secret = services(home, now, count=1), token.ensure(home)
    base = baseline()
    window = base.counts.copy()
    window[:, 0], window[:, 1] = window[:, 1] / 4, window[:, 0]
    watched = Watched(endpoint="fraud", version="1", start=now - 3600, end=now - 60, at=now)
    told, wrong, _ = evaluate_window(watched, base, start(base.where, base.counts), window, 2160.0, base.counts)
    assert len(wrong) == len(NAMES) + 1
    findings.write(found.store.database, told)
    config = uvicorn.Config(
        Starlette(routes=pages(found, secret)),
        port=0,
        log_config=None,
        lifespan="off",
        ws="none",
        http="h11",
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield Console(f"http://127.0.0.1:{port}", secret, found.store.database)
    server.should_exit = True
    thread.join()
    found.store.close()


def test_every_cell_shows_its_distributions_under_its_own_name(chromium: Chromium, looked: Console):
    chromium.visit(looked, "/console/endpoints/fraud/drift")
    links = chromium.run("[...document.querySelectorAll('.heat td a')].map(e => e.href)")
    assert len(links) == len(NAMES) + 1
    names: set[str] = set()
    for link in links:
        chromium.driver.get(link)
        names.add(chromium.run("document.querySelector('#cell h3').textContent"))
        bars = "document.querySelectorAll('#cell svg[aria-label^=\"distributions of\"] rect.bar').length"
        assert chromium.run(bars) >= 3
        assert "owned" not in chromium.driver.title
        assert chromium.run("document.querySelectorAll('main img, main script').length") == 0
    assert names == {findings.subject(name) for name in NAMES} | {"y"}
    assert chromium.complaints() == []


def test_hovering_tells_a_bin_and_both_its_shares(chromium: Chromium, looked: Console):
    chromium.visit(looked, "/console/endpoints/fraud/drift?kind=prediction&subject=y")
    told = chromium.run("[...document.querySelectorAll('#cell rect.hover title')].map(e => e.textContent)")
    assert f"{HOSTILE[:39]}…: reference 50.00%, current 21.43%" in told
    assert any(each.startswith("?: reference 30.00%") for each in told)
