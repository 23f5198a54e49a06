"""control.log: whatever is said, and however often, it stays small."""

import logging
from pathlib import Path

import pytest

from argosy.control import logs
from argosy.control.logs import ALIKE, ALL, WINDOW, Calm
from argosy.spec.settings import Home


def record(message: str, *words: object) -> logging.LogRecord:
    return logging.LogRecord("argosy.x", logging.ERROR, "x.py", 1, message, words, None)


def test_what_is_said_again_and_again_is_left_out_and_counted():
    now = 0.0
    calm = Calm(lambda: now)
    assert sum(calm.filter(record("caller %d left", number)) for number in range(1000)) == ALIKE
    assert calm.filter(record("something else"))
    now = WINDOW
    assert calm.filter(last := record("caller %d left", 7))
    assert last.getMessage() == f"caller 7 left ({1000 - ALIKE} messages before this were left out)"


def test_messages_that_are_all_different_are_bounded_as_well():
    calm = Calm(lambda: 0.0)
    assert sum(calm.filter(record(f"caller {number} left")) for number in range(10 * ALL)) == ALL


def test_libraries_write_there_too_and_nothing_goes_to_standard_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    home = Home(tmp_path).create()
    with logs.written(home):
        for _ in range(100):
            logging.getLogger("asyncio").error("out of system resource")
        logging.getLogger("argosy.control").info("well")
    text = (home.logs / "control.log").read_text()
    assert (text.count("out of system resource"), text.count("INFO argosy.control: well")) == (ALIKE, 1)
    assert capfd.readouterr().err == ""
