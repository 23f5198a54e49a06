"""The report as one page, in a real browser: nothing executes, nothing is loaded, it can be read in both colours."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from argosy.console import report as reports
from argosy.console.report import ColumnReport, EndpointReport, gather
from argosy.monitoring.drift.distribution import Distribution
from argosy.spec.errors import NotFound
from argosy.spec.settings import Home
from argosy.store import findings
from tests.console.conftest import SHOTS, Chromium
from tests.console.samples import HOSTILE, Samples, services
from tests.console.test_chromium import CONTRAST
from tests.monitoring.drift.world import EVERY, World
from tests.store.samples import put_alerts

pytestmark = pytest.mark.xdist_group("console")
DAY = 86400.0


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EndpointReport]:
    """Seven days of everything, of columns with hostile names."""
    home, now = Home(tmp_path_factory.mktemp("h")).create(), time.time()
    found = services(home, now, count=1)
    data, kinds = Samples(now), ("drift", "prediction", "estimate", "realised")
    made = [each for each in data.findings("fraud", now - 7 * DAY) if each.kind in kinds]
    findings.write(found.store.database, made)
    more = [_whole(now - hour * 3600) for hour in range(48)] + [_objective(now)]
    findings.write(found.store.database, more)
    shown = [msgspec.structs.replace(each, endpoint="fraud") for each in data.alerts()]
    put_alerts(found.store.database, shown)
    yield gather(found.store, "fraud", now - 7 * DAY, now)
    found.store.close()


def _whole(at: float) -> findings.Finding:
    return findings.Finding(
        endpoint="fraud",
        version="2",
        kind="multivariate",
        subject="domain classifier",
        at=at,
        window_start=at - 3600,
        window_end=at,
        rows=2000,
        effect=0.7,
        low=0.66,
        high=0.74,
        log_e=12.0,
        verdict="drift",
        detail={"margin": 0.55, "text": "AUC 0.700", "causes": [{"name": HOSTILE, "weight": 0.6}]},
    )


def _objective(at: float) -> findings.Finding:
    one = _whole(at)
    return msgspec.structs.replace(one, kind="slo", subject=HOSTILE, verdict="kept", detail={"text": "98 % is left"})


@pytest.fixture
def opened(chromium: Chromium, report: EndpointReport, tmp_path: Path) -> Chromium:
    path = tmp_path / "report.html"
    path.write_text(reports.page(report))
    chromium.driver.get(path.as_uri())
    return chromium


def test_it_holds_what_is_known(opened: Chromium):
    text = opened.run("document.querySelector('main').innerText")
    for words in ("Drift over time", "domain classifier", "accuracy", "Objectives", "Lineage", "What served", "amount"):
        assert words in text
    assert opened.run("document.querySelectorAll('svg').length") >= 3
    assert opened.run("document.querySelectorAll('.heat td.drift').length") > 10


def test_nothing_executes_and_nothing_is_loaded(opened: Chromium):
    assert "owned" not in opened.driver.title
    assert opened.run("document.querySelectorAll('script, img, iframe, link, object, form, a').length") == 0
    attributes = "[...document.querySelectorAll('*')].flatMap(e => e.getAttributeNames())"
    assert not [name for name in opened.run(attributes) if name.startswith("on")]
    assert HOSTILE in opened.run("document.querySelector('main').textContent")
    assert opened.run("performance.getEntriesByType('resource').length") == 0
    assert opened.complaints() == []


def test_an_injected_script_would_not_run(chromium: Chromium, report: EndpointReport, tmp_path: Path):
    """The page's own policy holds where escaping would fail."""
    path = tmp_path / "report.html"
    bad = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    path.write_text(reports.page(report).replace("<main>", f"<main>{bad}"))
    chromium.driver.get(path.as_uri())
    assert chromium.run("document.querySelectorAll('script').length") == 1
    assert "owned" not in chromium.driver.title
    assert any("Content Security Policy" in each for each in chromium.complaints())


def test_it_can_be_read_on_any_screen(opened: Chromium):
    for width, dark in ((1600, False), (400, True), (400, False), (1600, True)):
        opened.size(width, 1000)
        opened.dark(dark)
        assert opened.run("document.documentElement.scrollWidth") <= width
        assert opened.run(CONTRAST) == []
        opened.shoot(f"report-{width}-{'dark' if dark else 'light'}")


def test_it_prints_on_light_paper(opened: Chromium):
    import base64

    opened.dark(True)
    told: dict[str, Any] = opened.driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
    data = base64.b64decode(told["data"])
    assert data.startswith(b"%PDF")
    SHOTS.mkdir(parents=True, exist_ok=True)
    (SHOTS / "report.pdf").write_bytes(data)
    opened.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert opened.run("getComputedStyle(document.querySelector('h1')).color") == "rgb(27, 33, 38)"


def test_the_worst_page_is_two_megabytes_at_most(report: EndpointReport):
    shape = Distribution(labels=(HOSTILE[:40],) * 30, reference=(7,) * 30, current=(3,) * 30)
    names = [f"{HOSTILE} {place} " + "<" * 150 for place in range(512)]
    columns = tuple(
        ColumnReport(
            column=name[:200],
            side="input",
            rows=10**9,
            drifted=True,
            e=1e300,
            effect="shift",
            value=1.0,
            low=0.9,
            high=1.1,
            margin=0.05,
            distribution=shape,
        )
        for name in names
    )
    one = report.of("drift")[0]
    many = tuple(
        msgspec.structs.replace(
            one, subject=name[:200], window_end=one.window_end + 3600 * hour, verdict="drift", effect=0.5
        )
        for name in names
        for hour in range(60)
    )
    page = reports.page(msgspec.structs.replace(report, columns=columns, findings=many))
    assert 100_000 < len(page.encode()) <= reports.MOST_BYTES


def test_of_what_was_recorded_alone(tmp_path: Path):
    """Before any look, and after it; hidden columns show nothing."""
    world = World(tmp_path)
    for _ in range(3):
        world.pass_hour(older=30, look=False)
    since = world.now - DAY
    found = gather(world.store, "shop", since, world.now)
    assert (found.endpoint, found.version, found.rows) == ("shop", "1", 900)
    assert {each.column for each in found.columns if each.drifted} >= {"age"}
    assert "income" not in {each.column for each in found.columns if each.drifted}
    page = reports.page(found)
    assert "distributions of age" in page
    assert "Drift over time" not in page
    world.monitor.turn()
    assert "Drift over time" in reports.page(gather(world.store, "shop", since, world.now))
    world.store.close()


def test_what_is_not_there_is_told(tmp_path: Path):
    world = World(tmp_path)
    with pytest.raises(NotFound, match="there is no endpoint 'none'"):
        gather(world.store, "none", 0)
    empty = gather(world.store, "shop", world.now - EVERY, world.now)
    assert "nothing was recorded" in reports.page(empty)
    world.store.close()
