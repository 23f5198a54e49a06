"""The heat map: what stands where, and how dark."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from argosy.console.heat import LEVELS, drifted, heat, level
from argosy.store.findings import Finding


def finding(subject: str = "age", end: float = 3600, effect: float | None = 0.05, **more: object) -> Finding:
    base = Finding(
        endpoint="digits",
        version="digits:1",
        kind="drift",
        subject=subject,
        at=end,
        window_start=end - 3600,
        window_end=end,
        rows=100,
        effect=effect,
        verdict="no drift",
    )
    return msgspec.structs.replace(base, **more)


def test_nothing_gives_nothing():
    assert heat([]).rows == ()


def test_a_missing_window_is_an_empty_place():
    found = heat([finding("a", 3600), finding("a", 10800), finding("b", 7200)])
    assert [window.end for window in found.windows] == [3600, 7200, 10800]
    cells = {row.subject: [bool(each) for each in row.cells] for row in found.rows}
    assert cells == {"a": [True, False, True], "b": [False, True, False]}


def test_predictions_come_first_then_what_drifted_then_the_largest_effects():
    found = heat(
        [
            finding("calm", effect=0.01),
            finding("large", effect=0.5),
            finding("moved", effect=0.2, verdict="drift"),
            finding("score", kind="prediction"),
            finding("all", kind="multivariate"),
        ]
    )
    assert [row.subject for row in found.rows] == ["all", "score", "moved", "large", "calm"]


def test_levels_go_by_the_margin_and_never_past_the_last():
    assert [level(finding(effect=each)) for each in (0.0, 0.05, -0.05, 0.1, 9.0)] == [0, 1, 1, 2, LEVELS]
    assert level(finding(effect=0.1, detail={"margin": 1.0})) == 0
    assert level(finding(effect=0.1, detail={"margin": "much"})) == 0
    assert level(finding(effect=0.1, detail={"margin": 0})) == 2
    assert [level(each) for each in (None, finding(effect=None), finding(effect=float("nan")))] == [-1, -1, -1]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 400), st.booleans()), min_size=1, max_size=300))
def test_many_windows_are_put_together_and_what_drifted_is_never_lost(given_: list[tuple[str, int, bool]]):
    findings = [finding(s, 3600.0 * n, verdict="drift" if bad else "no drift") for s, n, bad in given_]
    found = heat(findings)
    assert len(found.windows) <= 48
    assert all(len(row.cells) == len(found.windows) for row in found.rows)
    assert found.windows == tuple(sorted(found.windows, key=lambda window: window.end))
    for row in found.rows:
        bad = any(each.subject == row.subject and drifted(each) for each in findings)
        assert bad == any(each is not None and drifted(each) for each in row.cells)
        for window, cell in zip(found.windows, row.cells, strict=True):
            assert cell is None or window.start <= cell.window_start <= cell.window_end <= window.end


def test_an_effect_is_measured_from_what_is_none():
    detail = {"margin": 0.55, "zero": 0.5}
    shown = [level(finding(effect=effect, detail=detail)) for effect in (0.4, 0.5, 0.52, 0.56, 0.9)]
    assert shown == [0, 0, 0, 2, 5]
    assert level(finding(effect=0.9, detail={"margin": 0.5, "zero": 0.5})) == 0
