"""`argosy performance` on what the platform has found."""

import time

import msgspec
import pytest

from argosy.control.revision import revision_of
from argosy.control.state import State
from argosy.spec.endpoint import Endpoint
from argosy.spec.monitor import Monitor
from argosy.spec.payload import PayloadLog
from argosy.spec.settings import Settings
from argosy.store import findings, open_store
from argosy.store.findings import Finding
from tests.monitoring.recorder import shop

HOUR = 3600
WATCHED = Monitor()


@pytest.fixture
def declare(place):
    """Declare the shop, with or without a monitor, and note what was found."""
    store = open_store(place, Settings())
    version = shop.push(store, place.root / "package")

    def declared(*found: Finding, monitor: Monitor | None = WATCHED) -> None:
        payload = PayloadLog() if monitor else None
        endpoint = Endpoint(name="shop", model="shop:1", payload=payload, monitor=monitor)
        State(store.database).declare(endpoint, revision_of(endpoint, version))
        findings.write(store.database, found)

    yield declared
    store.close()


def found(kind: str, verdict: str, hours: float = 1, version: str = "1", effect: float | None = 0.8, **more) -> Finding:
    end = time.time() // HOUR * HOUR - (hours - 1) * HOUR
    interval = {} if effect is None else {"low": effect - 0.01, "high": effect + 0.01}
    shape = {"subject": "accuracy", "rows": 1000, "effect": effect} | interval | more
    return Finding(
        endpoint="shop", version=version, kind=kind, at=end, window_start=end - HOUR, window_end=end, verdict=verdict,
        **shape,
    )  # fmt: skip


def test_windows_with_both_figures_and_the_verdict(run, declare):
    declare(
        found("estimate", "as expected", 2),
        found("realised", "below", 2, effect=0.77, detail={"maturity": 0.93}),
        found("estimate", "not estimable: 3 rows are too few; 30 are the least", effect=None, rows=3),
        found("estimate", "as expected", 40),
        found("estimate", "as expected", subject="f1", effect=0.5),
    )
    result = run("performance", "shop", "--fail")
    assert result.exit_code == 0, result.output
    first, second = result.stdout.splitlines()[1:3]
    assert "0.800 (0.790 to 0.810)  0.770 (0.760 to 0.780)  93%     as expected; below" in first
    assert second.endswith("not estimable: 3 rows are too few; 30 are the least")
    assert "accuracy of 'shop', version 1 serves; nothing has fallen" in result.stdout
    assert "0.500 (0.490" in run("performance", "shop", "--metric", "f1").stdout
    told = msgspec.json.decode(run("performance", "shop", "--since", "3d", "--json").stdout)
    assert (told["metric"], told["version"], told["fallen"], len(told["windows"])) == ("accuracy", "1", [], 3)
    assert told["windows"][1]["realised"]["detail"]["maturity"] == 0.93
    assert told["windows"][2]["realised"] is None


@pytest.mark.parametrize(
    ("kind", "verdict", "says"),
    [
        ("estimate", "fell", "the estimate fell"),
        ("realised", "fell", "as labels say"),
        ("reconcile", "the estimate was too good", "too good"),
    ],
)
def test_a_fall_of_the_serving_version_fails(run, declare, kind, verdict, says):
    ripe = {"detail": {"maturity": 0.9}}
    declare(
        found(kind, "as expected", 3, **ripe),
        found(kind, verdict, 2, **ripe),
        found("realised", "below", detail={"maturity": 0.2}),
        found("estimate", "not estimable: 3 rows are too few", effect=None),
    )
    result = run("performance", "shop", "--fail")
    assert result.exit_code == 11
    assert says in result.stdout
    assert run("performance", "shop").exit_code == 0


def test_what_fell_before_or_served_before_does_not_fail(run, declare):
    declare(found("estimate", "fell", 2), found("estimate", "as expected"), found("estimate", "fell", version="0"))
    assert run("performance", "shop", "--fail").exit_code == 0


def test_nothing_found_says_why(run, declare):
    declare()
    result = run("performance", "shop", "--fail")
    assert (result.exit_code, "a window is told once it is over" in result.stdout) == (0, True)
    assert "there is no endpoint 'none'" in run("performance", "none").stderr
    declare(monitor=None)
    result = run("performance", "shop")
    assert (result.exit_code, "declares no monitor" in result.stderr) == (5, True)
