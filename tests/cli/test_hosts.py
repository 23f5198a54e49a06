import json
from types import SimpleNamespace

import pytest

from argosy.cli import hosts
from argosy.supply import benchmark
from argosy.supply.benchmark import Shown
from argosy.supply.hosts import Figures


@pytest.fixture
def shown(monkeypatch):
    """What a machine shows, without one."""
    told = {}

    def show(given, claimed, effort):
        told.update(command=given.command, claimed=claimed, effort=effort)
        measured = Figures(compute=2e10, memory=2e9, rtt=0.01)
        reasons = ("compute is less",) if claimed.compute > 2e10 else ()
        return Shown(measured=measured, refused=reasons, seconds=12.0)

    monkeypatch.setattr(benchmark, "show", show)
    return told


def test_a_machine_that_is_what_it_claims(run, shown):
    result = run("hosts", "check", "--on", "ssh worker", "--claim", "memory=2e9")
    assert result.exit_code == 0, result.output
    assert "2e+10" in result.stdout
    assert "admitted" in result.stdout
    assert shown["command"][:4] == ["ssh", "worker", "python3", "-c"]
    assert shown["claimed"] == Figures(memory=2e9)


def test_hosts_that_are_evicted_are_listed_and_allowed(run, monkeypatch):
    row = {"host": "10.0.0.7", "names": ["10.0.0.7"], "since": 1767225600.0, "reason": "it\x1b[31mlies"}
    asked = []

    def delete(path, **query):
        asked.append(path)

    api = SimpleNamespace(get=lambda path: [row], delete=delete)
    monkeypatch.setattr(hosts, "control", lambda: api)
    assert run("hosts", "allow", "a/b").exit_code == 0
    assert asked == ["/v1/hosts/a%2Fb"]
    listed = run("hosts", "ls")
    assert "10.0.0.7" in listed.stdout
    assert "\x1b[31m" not in listed.stdout


def test_one_that_is_not(run, shown):
    result = run("hosts", "check", "--claim", "compute=3e10", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["refused"] == ["compute is less"]


@pytest.mark.parametrize("claim", ["speed=1", "memory=much"])
def test_claims_that_make_no_sense_are_refused(run, shown, claim):
    result = run("hosts", "check", "--claim", claim)
    assert result.exit_code == 2
    assert claim in result.stderr
