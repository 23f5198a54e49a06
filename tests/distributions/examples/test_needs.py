import re

import pytest

from argosy import __version__
from argosy.spec import install
from argosy.spec.errors import MissingExtra
from argosy_examples import needs


def test_what_is_missing_is_named_with_its_command(monkeypatch):
    monkeypatch.setattr(needs, "PACKAGES", ("json", "no_such_package"))
    with pytest.raises(
        MissingExtra, match="no_such_package.*pip install " + re.escape(install.beside("argosy-examples", __version__))
    ):
        needs.check()
    with pytest.raises(MissingExtra, match="no_such_package"):
        needs.folder_of("no_such_package")
    with pytest.raises(MissingExtra):
        needs.require("no_such_package")


def test_folders_are_found_without_an_import():
    assert (needs.folder_of("json") / "decoder.py").is_file()


def test_what_drift_needs_more_is_named_with_the_extra_that_brings_it(monkeypatch):
    monkeypatch.setattr(needs, "find_spec", lambda name: None if name == "duckdb" else object())
    with pytest.raises(MissingExtra, match="duckdb.*pip install " + re.escape(install.extras("monitoring"))):
        needs.check_drift()
