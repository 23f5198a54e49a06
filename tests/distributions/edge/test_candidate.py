"""A candidate in its own process: whatever it does, what serves goes on."""

import os
import signal
import threading

import numpy as np
import pytest

from argosy_edge import candidate, model
from argosy_edge.candidate import Candidate, CandidateTask
from argosy_edge.errors import BadPackage, Internal, Unavailable
from argosy_edge.server import DeviceServer
from argosy_edge.wire import Budget, Trial
from tests.distributions.edge.packages import ROWS, busy, classifier, large


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    place = tmp_path_factory.mktemp("packages")
    made = {
        "same": classifier,
        "permuted": lambda folder: classifier(folder, order=(2, 0, 1)),
        "busy": lambda folder: busy(folder, 400),
        "hungry": lambda folder: large(folder, 600_000_000),
    }
    return {name: (place / name, make(place / name)) for name, make in made.items()}


@pytest.fixture(scope="module")
def stable(packages):
    return model.load(*packages["same"])


@pytest.fixture
def served(stable):
    """A server that serves the classifier, and is not listened to."""
    found = DeviceServer(0)
    found.swap(stable)
    yield found
    found.stop()


@pytest.fixture
def try_(packages, served):
    """Begin the trial of a package beside what is served."""
    begun = []

    def begin(name, trial=Trial(rows=10), budget=Budget(), **change):  # noqa: B008
        folder, manifest = packages[name]
        begun.append(Candidate(CandidateTask(folder=str(folder), manifest=manifest | change, budget=budget), trial))
        begun[-1].wait()
        served.candidate = begun[-1]
        return begun[-1]

    yield begin
    for each in begun:
        each.stop()


def asked(served, rows):
    """The labels of rows that are asked one by one, the next when the candidate has had the last."""
    found = []
    for row in rows:
        found.append(int(served.ask({"x": row[None]})[1]["label"][0]))
        until(lambda: not served.candidate or served.candidate.trouble or served.candidate.idle)
    return found


def until(true):
    for _ in range(6000):
        if true():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not become true")


def labels(stable):
    return stable.answer({"x": ROWS})["label"].tolist()


def test_a_good_one_agrees(try_, served, stable):
    tried = try_("same")
    assert tried.selftest.rows == 8
    assert asked(served, ROWS) == labels(stable)
    found = tried.quality()
    assert (found.compared, found.agreed) == (8, 8)
    assert (found.stable.requests, found.candidate.requests, found.candidate.errors) == (8, 8, 0)
    assert tried.quality().compared == 0


@pytest.mark.slow
def test_one_with_permuted_classes_disagrees_and_callers_do_not_see_it(try_, served, stable):
    tried = try_("permuted")
    assert asked(served, ROWS) == labels(stable)
    found = tried.quality()
    assert (found.compared, found.agreed) == (8, 0)


@pytest.mark.slow
def test_live_it_answers_a_growing_share_of_the_callers(try_, served, stable):
    try_("permuted", Trial(rows=4, mode="live"))
    mine, theirs = asked(served, np.repeat(ROWS[:1], 12, axis=0)), labels(stable)[0]
    assert mine[0] == theirs
    assert all(label != theirs for label in mine[4:])


@pytest.mark.slow
def test_a_slow_one_is_seen_to_be_and_slows_nobody(try_, served, stable):
    tried = try_("busy", Trial(rows=10, mode="live"))
    assert asked(served, ROWS[:3]) == labels(stable)[:3]
    found = tried.quality()
    first = [next(place for place, count in enumerate(arm.latency) if count) for arm in (found.stable, found.candidate)]
    assert first[1] >= first[0] + 3


@pytest.mark.parametrize("mode", ["shadow", pytest.param("live", marks=pytest.mark.slow)])
def test_one_that_crashes_is_told_of_and_the_others_answer(try_, served, stable, mode):
    tried = try_("same", Trial(mode=mode, rows=1))
    os.kill(tried.pid, signal.SIGSEGV)
    assert asked(served, ROWS) == labels(stable)
    until(lambda: tried.trouble)
    assert "its process ended by SIGSEGV" in tried.trouble
    assert tried.to_blame


@pytest.mark.slow
def test_one_that_the_system_killed_is_not_to_blame(try_):
    tried = try_("same")
    os.kill(tried.pid, signal.SIGKILL)
    until(lambda: tried.trouble)
    assert "memory may be short" in tried.trouble
    assert not tried.to_blame


@pytest.mark.parametrize(
    ("by", "blame"), [(signal.SIGKILL, False), pytest.param(signal.SIGSEGV, True, marks=pytest.mark.slow)]
)
def test_one_that_ends_as_it_is_asked_is_told_of_as_any_other(try_, served, stable, monkeypatch, by, blame):
    tried = try_("same")
    send = candidate._send

    def late(link, value):
        os.kill(tried.pid, by)
        os.waitid(os.P_PID, tried.pid, os.WEXITED | os.WNOWAIT)
        send(link, value)

    monkeypatch.setattr(candidate, "_send", late)
    assert asked(served, ROWS[:1]) == labels(stable)[:1]
    until(lambda: tried.trouble)
    assert "its process" in tried.trouble
    assert tried.to_blame == blame


def test_one_that_hangs_is_ended(try_, served, stable, monkeypatch):
    monkeypatch.setattr(candidate, "LONGEST_ANSWER", 0.3)
    tried = try_("same", Trial(mode="live", rows=1))
    os.kill(tried.pid, signal.SIGSTOP)
    assert asked(served, ROWS) == labels(stable)
    assert tried.trouble == "it did not answer within 0.3 s"
    assert tried.quality().candidate.errors == 1


@pytest.mark.slow
def test_one_that_takes_too_much_memory_is_ended(try_, served, stable):
    tried = try_("hungry", budget=Budget(memory=50_000_000))
    greedy = np.full((1, 4), 10, "f4")
    served.ask({"x": greedy})
    until(lambda: tried.trouble)
    assert "bytes of memory; it may take" in tried.trouble
    assert asked(served, ROWS) == labels(stable)


@pytest.mark.slow
def test_where_it_refuses_what_the_other_answers_that_is_an_error(try_, served, packages):
    signature = packages["same"][1]["signature"]
    port = signature["inputs"][0] | {"domain": {"limits": [2.9]}}
    tried = try_("same", signature={**signature, "inputs": [port]})
    served.ask({"x": np.full((1, 4), 3, "f4")})
    until(lambda: tried.idle)
    found = tried.quality()
    assert (found.stable.errors, found.candidate.errors, found.compared) == (0, 1, 0)
    assert not tried.trouble


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"weights": "none.onnx"}, "has no file 'none.onnx'"),
        ({"engine": "torch"}, "devices run onnx alone"),
    ],
)
def test_one_that_does_not_load_says_why(packages, change, said):
    folder, manifest = packages["same"]
    tried = Candidate(CandidateTask(folder=str(folder), manifest=manifest | change), Trial())
    with pytest.raises(BadPackage, match=said):
        tried.wait()
    tried.stop()
    assert tried.beside({"x": ROWS}, Internal("it failed"), 0.1) is None


@pytest.mark.slow
def test_one_that_is_stopped_while_it_loads_is_not_to_blame(packages):
    folder, manifest = packages["same"]
    tried = Candidate(CandidateTask(folder=str(folder), manifest=manifest), Trial())
    tried.stop()
    with pytest.raises(Unavailable, match="it was stopped"):
        tried.wait()
    assert not os.path.exists(f"/proc/{tried.pid}/exe")
