"""Functions of ours in a child process: errors come back as themselves, and whatever ends the child has a name."""

import os
import signal
import threading
import time
from pathlib import Path

import msgspec
import psutil
import pytest

from argosy.packaging.load import CHECK, Check
from argosy.process import child as module
from argosy.process.child import Child, Invocation, perform
from argosy.spec.errors import BadPackage, Internal, NotFound, Unavailable


class Asked(msgspec.Struct):
    """A job for `behave`."""

    what: str
    size: int = 0


def behave(asked: Asked) -> dict[str, str]:
    """What a function of ours may do in a child."""
    if asked.what == "crash":
        print("these are my last words", flush=True)
        os.kill(os.getpid(), asked.size)
    if asked.what == "exit":
        os._exit(asked.size)
    if asked.what == "hang":
        time.sleep(600)
    if asked.what == "loud":
        os.write(1, b"x" * 1_000_000)
        print("not an answer")
    if asked.what == "large":
        return {"size": "x" * asked.size}
    if asked.what == "memory":
        raise MemoryError
    if asked.what == "raise":
        raise ValueError("a sentence")
    return {"pid": str(os.getpid()), "length": str(len(asked.what)), "nice": str(os.nice(0))}


@pytest.fixture(autouse=True)
def findable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a child run the functions of this file."""
    monkeypatch.setattr(module, "MODULE", "tests.process.child_of_tests")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))


BEHAVE = "tests.process.test_child:behave"


def child(timeout: float = 60.0, **more: object) -> Child:
    return Child("it", timeout=timeout, failure=Unavailable, **more)


def test_answers_come_back_as_their_type_and_jobs_share_the_child():
    with child(nice=3) as one:
        first = one.run(BEHAVE, Asked("a"), dict[str, str])
        second = one.run(BEHAVE, Asked("x" * 3_000_000), dict[str, str])
    assert first["pid"] == second["pid"] != str(os.getpid())
    assert (first["length"], second["length"]) == ("1", "3000000")
    assert int(first["nice"]) == os.nice(0) + 3
    assert not psutil.pid_exists(int(first["pid"]))


def test_what_a_function_prints_is_no_answer():
    with child() as one:
        assert one.run(BEHAVE, Asked("loud"), dict[str, str])["length"] == "4"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_crash_says_which_signal_and_its_last_words(number: signal.Signals):
    words = "Fatal Python error: Segmentation fault" if number == signal.SIGSEGV else "these are my last words"
    with child() as one:
        with pytest.raises(Unavailable, match=rf"it crashed the process that ran it \({number.name}\); .*{words}"):
            one.run(BEHAVE, Asked("crash", number), dict[str, str])
        assert one.run(BEHAVE, Asked("again"), dict[str, str])["length"] == "5", "the next job gets a new child"


def test_an_end_a_hang_and_too_large_an_answer_are_failures(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(Unavailable, match=r"it ended the process that ran it \(exit status 7\)"), child() as one:
        one.run(BEHAVE, Asked("exit", 7), dict[str, str])
    with child(timeout=60.0) as one:
        one.run(BEHAVE, Asked(""), dict[str, str])
        assert one._process is not None
        pid = one._process.pid
        one.timeout = 0.1
        with pytest.raises(Unavailable, match=r"it did not finish within 0\.1 s and was stopped"):
            one.run(BEHAVE, Asked("hang"), dict[str, str])
        assert not psutil.pid_exists(pid)
    monkeypatch.setattr(module, "MAX_ANSWER", 1_000_000)
    with pytest.raises(Unavailable, match="answer with over 1000000 bytes"), child() as one:
        one.run(BEHAVE, Asked("large", 2_000_000), dict[str, str])


def test_an_answer_of_another_type_is_nonsense():
    with pytest.raises(Unavailable, match="made the child process answer nonsense"), child() as one:
        one.run(BEHAVE, Asked(""), int)


def test_memory_that_does_not_suffice_is_a_failure():
    with pytest.raises(Unavailable, match="it needs more memory than it may have"), child() as one:
        one.run(BEHAVE, Asked("memory"), dict[str, str])


def test_a_child_that_is_cancelled_ends_and_none_follows():
    with child() as one:
        one.run(BEHAVE, Asked(""), dict[str, str])
        threading.Timer(0.2, one.cancel).start()
        with pytest.raises(Unavailable, match="SIGKILL"):
            one.run(BEHAVE, Asked("hang"), dict[str, str])
        with pytest.raises(Unavailable, match="it was not begun, since the platform ends"):
            one.run(BEHAVE, Asked(""), dict[str, str])


def test_nothing_is_left_open_or_lying_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    before = len(os.listdir("/proc/self/fd"))
    for what in ("", "exit", "crash"):
        try:
            with child() as one:
                one.run(BEHAVE, Asked(what, 9), dict[str, str])
        except Unavailable:
            pass
    assert len(os.listdir("/proc/self/fd")) == before
    assert list(tmp_path.iterdir()) == []


def test_errors_of_the_table_come_back_as_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.undo()
    with (
        pytest.raises(NotFound, match="is no model package"),
        Child("x", timeout=60, failure=BadPackage) as one,
    ):
        one.run(CHECK, Check(folder=str(tmp_path)), float)


def test_what_a_plain_message_stands_for_is_a_note_of_the_error():
    with pytest.raises(Unavailable) as told, child() as one:
        one.run(BEHAVE, Asked("raise"), int)
    assert "Traceback" not in str(told.value)
    (note,) = told.value.__notes__
    assert note.startswith("in the child process:\nTraceback")


@pytest.mark.parametrize("function", ["os:system", "argosyx:f", "builtins:exec", ".os:system", "argosy.process", ""])
def test_only_functions_of_ours_run(function: str):
    outcome = perform(Invocation(function=function, job=msgspec.Raw(b"{}")))
    assert outcome.message.startswith("failed with")


def test_a_child_that_cannot_be_started_is_an_error_of_the_table(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "posix_spawn", _refuse)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(Internal, match="cannot start"), child() as one:
        one.run(BEHAVE, Asked(""), dict[str, str])
    assert len(os.listdir("/proc/self/fd")) == before


def _refuse(*_: object, **__: object) -> int:
    raise BlockingIOError(11, "Resource temporarily unavailable")
