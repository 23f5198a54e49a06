"""control.log: whatever is said, and however often, it stays small."""

import logging
from pathlib import Path

import pytest

from argosy.platform import up
from argosy.platform.up import ALIKE
from argosy.spec.settings import Home


def test_libraries_write_there_too_and_nothing_goes_to_standard_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    home = Home(tmp_path).create()
    with up.written(home):
        for _ in range(100):
            logging.getLogger("asyncio").error("out of system resource")
        logging.getLogger("argosy.platform").info("well")
    text = (home.logs / "control.log").read_text()
    assert (text.count("out of system resource"), text.count("INFO argosy.platform: well")) == (ALIKE, 1)
    assert capfd.readouterr().err == ""
