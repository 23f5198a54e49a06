"""`argosy history` and `models alias` where no platform runs: proofs of the ledger, and aliases that move back."""

import json

import pytest
import sqlalchemy as sa

from argosy.cli import history
from argosy.spec.settings import Settings
from argosy.store import open_store
from argosy.store.ledger import S, T, ledger_table, signatures_table
from tests.store.samples import digest_of, model_lineage, model_manifest


@pytest.fixture
def store(place):
    opened = open_store(place, Settings())
    for n in (1, 2, 3):
        opened.registry.register("digits", digest_of(n), manifest=model_manifest(), lineage=model_lineage(), size=1)
    yield opened
    opened.close()


def test_an_exported_head_tells_later_whether_the_ledger_continues_it(run, store, tmp_path):
    for version in (1, 2):
        assert run("models", "alias", "digits@champion", version).exit_code == 0
    head = tmp_path / "head.json"
    head.write_text(run("history", "--export-head").stdout)
    told = json.loads(head.read_text())
    assert (told["seq"], sorted(told)) == (2, ["hash", "key", "seq", "signature", "time"])
    assert run("models", "alias", "digits@champion", 3).exit_code == 0
    good = run("history", "--verify", "--head", head)
    assert good.exit_code == 0
    assert f"entries 1 to 3 are signed by the key {told['key']}, of this home" in good.stdout
    with store.database.begin() as connection:
        connection.execute(sa.delete(ledger_table).where(T.seq >= 2))
        connection.execute(sa.delete(signatures_table).where(S.seq >= 2))
    assert run("history", "--verify").exit_code == 0
    bad = run("history", "--verify", "--head", head, "--json")
    assert (bad.exit_code, json.loads(bad.stdout)["broken"]) == (5, 2)
    head.write_text(json.dumps(told | {"seq": 1}))
    assert "not what was exported" in run("history", "--verify", "--head", head).stderr
    head.write_text('{"seq": 1}')
    assert run("history", "--verify", "--head", head).exit_code == 2
    assert "goes with --verify" in run("history", "--head", head).stderr


def test_an_alias_that_moves_back_is_told_and_can_be_forbidden(run, store, place):
    assert "back" not in run("models", "alias", "digits@champion", 3).stdout
    moved = run("models", "alias", "digits@champion", 1)
    assert moved.stdout == "digits@champion → digits:1: back, from digits:3\n"
    told = json.loads(run("models", "alias", "digits@champion", 3, "--json").stdout)
    assert (told["before"], told["back"], told["endpoints"]) == (1, True, [])
    assert "back from digits:3" in run("history", "digits@champion").stdout
    place.config.write_text("store: {forbid_alias_back: true}\n")
    refused = run("models", "alias", "digits@champion", 2)
    assert (refused.exit_code, "forbid_alias_back" in refused.stderr) == (5, True)
    assert run("models", "alias", "digits@champion", "--delete").exit_code == 0
    assert run("models", "alias", "digits@champion", 1).exit_code == 5


def test_a_rollout_is_told_in_words():
    body = {"candidate": "b", "stable": "a", "number": 2, "phase": "done", "step": 0, "reason": "all are ready"}
    assert history._what("rollout", body | {"weight": 100}) == "rollout 2: done, 100 %, all are ready"
    assert history._what("rollout", body | {"weight": 0, "reason": ""}) == "rollout 2: done, 0 %"
