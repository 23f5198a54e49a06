"""A home of its own for each test, and the command line inside this process."""

import pytest
from click.testing import CliRunner

from argosy.cli.main import argosy
from argosy.spec.settings import Home


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A fresh ARGOSY_HOME."""
    for variable in ("ARGOSY_URL", "ARGOSY_KEY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("ARGOSY_HOME", str(tmp_path / "home"))
    return Home(tmp_path / "home").create()


@pytest.fixture
def run(place):
    """`run("models", "ls", "--json")`: the result, with `.exit_code`, `.stdout` and `.stderr`."""

    def call(*args, **kwargs):
        return CliRunner().invoke(argosy, [str(arg) for arg in args], **kwargs)

    return call
