"""What bash, fish and zsh complete, each asked itself; the tables are those of a real registry."""

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
from tests.postgres import schema

BASH = """
source ./script
COMP_LINE="$1" COMP_POINT=${#1}
_argosy_completion argosy 2>/dev/null
printf '%s\\n' "${COMPREPLY[@]}"
"""


FISH = """
argosy completion fish | source
for line in $argv; complete -C $line; echo; end
"""
ZSH = r"""
zmodload zsh/zpty
zpty z "PS1= zsh -f -i"
zpty -w z 'autoload -Uz compinit && compinit -u -D; eval "$(argosy completion zsh)"'
zpty -w z 'probe() { zle complete-word; print -r -- "<<$BUFFER>>"; zle kill-whole-line }; zle -N probe'
zpty -w z "bindkey '^T' probe; print -r -- RE''ADY"
zpty -r z said '*READY*'
for line in "$@"; do
  zpty -w -n z "$line"$'\x14'
  zpty -r z said '*<<*>>*'
  print -r -- "${${said##*<<}%%>>*}"
done
zpty -d z
"""
"""A terminal in which zsh reads what is typed; a key of ours completes it and prints the line."""


@pytest.fixture
def registry(run, tmp_path, monkeypatch):
    """lin has two versions, the alias champion and an endpoint."""
    assert run("push", linear(tmp_path / "one.onnx"), "--name", "lin", "--alias", "champion").exit_code == 0
    assert run("push", linear(tmp_path / "two.onnx", weight=2.0), "--name", "lin").exit_code == 0
    with store() as place:
        moment = now()
        row = {"name": "line", "spec": Endpoint(name="line", model="lin:1"), "created": moment, "updated": moment}
        with place.database.begin() as connection:
            add(connection, endpoints_table, [row | {"revision": "r", "active": None, "held": 0, "generation": 1}])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script").write_text(run("completion", "bash").stdout)
    monkeypatch.setenv("PATH", f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))


def said(*command):
    """What a shell wrote to stdout."""
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=100).stdout


@pytest.fixture
def complete(registry):
    """`complete(line)`: what bash offers at its end."""
    return lambda line: said("bash", "-c", BASH, "bash", line).split()


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_bash_completes_commands_endpoints_models_and_versions(complete):
    assert complete("argosy und") == ["undeploy"]
    assert complete("argosy models ") == ["alias", "fetch", "ls", "rm", "show", "verify"]
    assert complete("argosy undeploy ") == ["line"]
    assert complete("argosy models ls ") == ["lin"]
    assert complete("argosy deploy l") == ["lin@champion", "lin:2", "lin:1"]
    assert complete("argosy deploy lin:") == ["2", "1"]
    assert complete("argosy deploy lin@c") == ["champion"]
    assert complete("argosy show lin:2") == ["2"]
    assert complete("argosy serve nothing-like-it") == []


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_names_are_completed_where_the_registry_is_in_postgresql(monkeypatch, postgres, request):
    monkeypatch.setenv("ARGOSY_STORE_DATABASE", schema(postgres))
    complete = request.getfixturevalue("complete")
    assert complete("argosy undeploy ") == ["line"]
    assert complete("argosy models ls ") == ["lin"]
    assert complete("argosy deploy l") == ["lin@champion", "lin:2", "lin:1"]


@pytest.mark.skipif(not shutil.which("fish"), reason="needs fish")
def test_fish_completes_names_and_shows_whole_help(registry):
    lines = "argosy und", "argosy undeploy ", "argosy deploy lin@", "argosy deploy lin:"
    command, endpoint, alias, versions, *_ = said("fish", "--private", "-c", FISH, *lines).split("\n\n")
    assert command == "undeploy\tRemove an endpoint and its replicas."
    assert endpoint == "line"
    assert alias == "lin@champion\tlin:1"
    assert [each.split("\t")[0] for each in versions.split("\n")] == ["lin:1", "lin:2"]
    assert "List models; with NAME, the versions of one." in said("fish", "--private", "-c", FISH, "argosy models ")


@pytest.mark.skipif(not shutil.which("zsh"), reason="needs zsh")
def test_zsh_completes_commands_endpoints_versions_and_aliases(registry):
    lines = "argosy und", "argosy undeploy ", "argosy deploy lin@", "argosy deploy lin:2", "argosy push --sam"
    assert said("zsh", "-f", "-c", ZSH, "zsh", *lines).splitlines() == [
        "argosy undeploy ",
        "argosy undeploy line ",
        "argosy deploy lin@champion ",
        "argosy deploy lin:2 ",
        "argosy push --sample ",
    ]


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
