"""`argosy demo` with a stage that plays nothing; the real one is in tests/demo."""

import contextlib
import signal
from pathlib import Path

import msgspec
import pytest

from argosy.spec.settings import Home
from argosy_examples import loop, needs, stage
from argosy_examples.case import Score
from argosy_examples.loop import Link, Loop, Stretch
from argosy_examples.stage import Figures, Live

FIGURES = Figures(
    name="digits",
    about="",
    ref="digits:1",
    engine="onnx",
    replicas=2,
    form="JSON",
    rows=359,
    requests=1000,
    rows_each=1,
    connections=8,
    score=Score(measure="accuracy", value=0.978, floor=0.95, note="guessing gives 0.10"),
    good=True,
    p50_ms=0.84,
    p99_ms=4.1,
    requests_per_second=7925.4,
    rows_per_second=7925.4,
)


class Running:
    """A stage on which every model is the same."""

    home = Home(Path("/the/home"))
    gateway, key = "http://127.0.0.1:1", "ak_1"
    live = (Live(name="digits", url="http://127.0.0.1:1/v2/models/digits/infer", example=Path("/the/home/x.json")),)

    def __init__(self, figures):
        self.figures = figures

    def play(self, prepare, report):
        assert callable(prepare)
        return self.figures


@pytest.fixture(params=[True, False])
def good(request, monkeypatch):
    """Whether the models are good; the stage is replaced."""
    figures = msgspec.structs.replace(FIGURES, good=request.param)

    @contextlib.contextmanager
    def replaced(folder, report):
        yield Running(figures)

    monkeypatch.setattr(needs, "check", lambda: None)
    monkeypatch.setattr(stage, "stage", replaced)
    return request.param


def test_once_prints_a_table_and_the_exit_status_says_whether_all_is_good(run, good):
    result = run("demo", "--once")
    assert result.exit_code == (0 if good else 1)
    assert result.stdout.count("digits:1") == 3
    for part in ("accuracy 0.978 (floor 0.95)", "0.8", "4.1", "7925", "ok" if good else "fail"):
        assert part in result.stdout
    assert "guessing gives 0.10" in result.stderr
    assert "curl" not in result.stdout


def test_json(run, good):
    found = msgspec.json.decode(run("demo", "--once", "--json").stdout)
    assert [one["good"] for one in found] == [good] * 3


def test_it_stays_up_and_says_how_to_call_the_endpoints(run, good, monkeypatch):
    def pause():
        raise KeyboardInterrupt

    monkeypatch.setattr(signal, "pause", pause)
    result = run("demo")
    assert result.exit_code == (0 if good else 1)
    for part in ("curl ", "Bearer ak_1", "@/the/home/x.json", "ARGOSY_HOME=/the/home", "Ctrl-C"):
        assert part in result.stdout


@pytest.mark.parametrize("held", [True, False])
def test_drift_prints_the_loop_and_the_exit_status_says_whether_it_has_closed(run, good, monkeypatch, held):
    stretch = Stretch(flights="mornings", version="1", rows=4000, estimated="0.718", realised="0.705")
    links = (Link(name="calm", told="as ever", held=True), Link(name="quality returns", told="0.735", held=held))
    found = Loop(links=links, stretches=(stretch,), reference=0.704, seconds=150.2)

    class Player:
        def __init__(self, place, key, report):
            assert (place, key) == (Running.home, Running.key)

        def play(self):
            return found

    monkeypatch.setattr(needs, "check_drift", lambda: None)
    monkeypatch.setattr(loop, "Player", Player)
    result = run("demo", "--drift")
    assert result.exit_code == (0 if held else 1)
    said = "the loop has closed, after 150 s" if held else "the loop is broken at 'quality returns'"
    for part in (said, "0.718", "0.705", "as ever"):
        assert part in result.stdout
    assert msgspec.json.decode(run("demo", "--drift", "--json").stdout)["links"][1]["held"] is held
    assert run("demo", "--drift", "--once").exit_code == 2
