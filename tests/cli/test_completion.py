"""What the shell completes, asked as bash asks it; the tables are those of a real registry."""

import os
import shutil
import subprocess
import sys

import pytest

from argosy.cli.completion import SHELLS
from argosy.cli.here import store
from argosy.spec.endpoint import Endpoint
from argosy.store.endpoints import endpoints_table
from argosy.store.table import add, now
from tests.cli.models import linear

BASH = """
source ./script
COMP_LINE="$1" COMP_POINT=${#1}
_argosy_completion argosy 2>/dev/null
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def complete(run, tmp_path, monkeypatch):
    """`complete(line)`: what bash offers at its end, where lin has two versions, the alias champion and an endpoint."""
    assert run("push", linear(tmp_path / "one.onnx"), "--name", "lin", "--alias", "champion").exit_code == 0
    assert run("push", linear(tmp_path / "two.onnx", weight=2.0), "--name", "lin").exit_code == 0
    with store() as place:
        moment = now()
        row = {"name": "line", "spec": Endpoint(name="line", model="lin:1"), "created": moment, "updated": moment}
        with place.database.begin() as connection:
            add(connection, endpoints_table, [row | {"revision": "r", "active": None, "held": 0, "generation": 1}])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script").write_text(run("completion", "bash").stdout)
    path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"

    def call(line):
        done = subprocess.run(
            ["bash", "-c", BASH, "bash", line],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"PATH": path},
        )
        return done.stdout.split()

    return call


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_bash_completes_commands_endpoints_models_and_versions(complete):
    assert complete("argosy und") == ["undeploy"]
    assert complete("argosy models ") == ["alias", "ls", "rm", "show", "verify"]
    assert complete("argosy undeploy ") == ["line"]
    assert complete("argosy models ls ") == ["lin"]
    assert complete("argosy deploy l") == ["lin@champion", "lin:2", "lin:1"]
    assert complete("argosy deploy lin:") == ["2", "1"]
    assert complete("argosy deploy lin@c") == ["champion"]
    assert complete("argosy show lin:2") == ["2"]
    assert complete("argosy serve nothing-like-it") == []


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_has_a_script(run, shell):
    script = run("completion", shell).stdout
    assert f"_ARGOSY_COMPLETE={shell}_complete" in script


def test_without_a_home_nothing_is_completed_and_nothing_made(run, place, monkeypatch):
    monkeypatch.setenv("ARGOSY_HOME", str(place.root / "none"))
    monkeypatch.setenv("COMP_WORDS", "argosy deploy ")
    monkeypatch.setenv("COMP_CWORD", "2")
    monkeypatch.setenv("_ARGOSY_COMPLETE", "bash_complete")
    result = run(prog_name="argosy")
    assert (result.stdout.strip(), result.exit_code) == ("", 0)
    assert not (place.root / "none").exists()
