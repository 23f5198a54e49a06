"""Every page in Chromium: what it shows, at which widths, in which colours, and what it keeps out."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from argosy.console import pages
from argosy.console.session import Sessions
from argosy.store import findings
from argosy.store.database import Database
from argosy.store.devices import Devices
from argosy.store.fleets import Fleets
from tests.console.conftest import Chromium, Console
from tests.store.samples import put_alerts
from tests.store.test_findings import alert, finding

pytestmark = pytest.mark.xdist_group("console")

PAGES = {
    "overview": "/console",
    "endpoint": "/console/endpoints/fraud?range=7d",
    "rollout": "/console/endpoints/fraud/rollout",
    "drift": "/console/endpoints/fraud/drift",
    "performance": "/console/endpoints/fraud/performance",
    "history": "/console/endpoints/fraud/history",
    "declaration": "/console/endpoints/fraud/declaration",
    "models": "/console/models",
    "version": "/console/models/fraud/2",
    "alerts": "/console/alerts",
    "jobs": "/console/jobs",
    "job": "/console/jobs/nightly",
    "fleets": "/console/fleets",
    "fleet": "/console/fleets/factory",
    "keys": "/console/keys",
    "usage": "/console/usage",
    "regions": "/console/regions",
    "plans": "/console/plans",
    "plan": "/console/plans?plan=2",
    "cost": "/console/cost?range=7d",
    "login": "/console/login",
    "confirm": "/console/endpoints/fraud/do/abort",
}


CLIPPED = """[...document.querySelectorAll('.panel td, .panel th, .panel h2, .tabs a')].filter(each => {
  const outer = each.closest('.panel, .tabs').getBoundingClientRect(), inner = document.createRange();
  inner.selectNodeContents(each);
  return each.checkVisibility() && !each.closest('.scroll, .heat, thead')
    && inner.getBoundingClientRect().right > outer.right + 1;
}).map(each => each.textContent.trim().slice(0, 40))"""
"""Texts that reach beyond their panel; what scrolls by itself, and names that end with an ellipsis, may."""


def open_page(chromium: Chromium, console: Console, name: str) -> None:
    if name == "login":
        chromium.driver.get(console.url + PAGES[name])
    else:
        chromium.visit(console, PAGES[name])


def test_a_version_shows_its_golden_examples_and_what_it_was_made_of(console: Console):
    with console.client() as client:
        text = client.get(PAGES["version"]).text
    for words in (
        "Golden examples: 2 rows",
        "0.3333",
        "&#39;NO&#39;",
        "categorical",
        "Apache-2.0",
        "data-only",
        "sha256:",
        "<dt>Signed</dt><dd>by sha256:",
        "is no Sigstore bundle",
    ):
        assert words in text
    assert "<script>" not in text.partition("<dt>Signed</dt>")[2].partition("</div>")[0]


def test_an_endpoint_shows_its_objectives_and_what_is_left_of_their_budgets(console: Console):
    with console.client() as client:
        text, other = client.get(PAGES["endpoint"]).text, client.get("/console/endpoints/digits").text
    for words in ("availability", "62 %", "-150 %", "99.9 %", "0.2 s", "page: ", "&lt;script&gt;fast"):
        assert words in text
    assert "Objectives" not in other


def test_performance_shows_what_fell_and_where_the_estimate_was_too_good(console: Console):
    with console.client() as client:
        text = client.get(PAGES["performance"]).text
    for words in (">accuracy <", "fell", "below", "the estimate was too good: accuracy was 0.881", "agrees"):
        assert words in text


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_every_width_in_both_colours_without_complaints(chromium: Chromium, console: Console, name: str):
    open_page(chromium, console, name)
    for width, dark in ((1600, True), (1280, False), (390, True), (390, False)):
        chromium.size(width, 1000)
        chromium.dark(dark)
        assert chromium.run("document.documentElement.scrollWidth") <= width
        assert chromium.run(CLIPPED) == []
        chromium.shoot(f"{name}-{width}-{'dark' if dark else 'light'}")
    assert chromium.run("document.querySelector('main').innerText.length") > 20
    assert chromium.complaints() == []


def test_parts_are_there_once_something_wrote_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    database = Database(tmp_path / "t.db").create()
    services: Any = SimpleNamespace(store=SimpleNamespace(database=database, fleets=Fleets(Devices(database))))
    console = pages.Console(services, Sessions("secret"))
    assert console.parts() == {"traffic"}
    findings.write(database, [finding()])
    put_alerts(database, [alert()])
    assert console.parts() == {"traffic"}
    monkeypatch.setattr(pages, "FRESH", -1.0)
    assert console.parts() == {"traffic", "findings", "alerts"}
    database.close()
