"""The proof of launches counts nothing that must not be, and sees it where it is."""

import contextlib

import pytest

from argosy.spec.offer import Launch
from argosy.spec.provider import Faults
from argosy.store.database import Database
from argosy.store.launches import Launches
from argosy.supply.replay import Replay
from prove import launches


@pytest.mark.slow
def test_controllers_that_are_killed_leave_no_orphan_and_no_double():
    counts = launches.prove(kills=25, seed=1)
    assert counts.good, counts.line(0.0)
    assert counts.kills.keys() >= {"heard", "done", "answered"}
    assert counts.machines


def test_what_must_not_be_is_counted(tmp_path):
    proof = launches.Proof(tmp_path, seed=1)
    proof.cloud = Replay("cloud", [launches.OFFER], faults=Faults(twice=1.0))
    proof.cloud.launch(Launch(id="a", offer=launches.OFFER, asked=1.0))
    with contextlib.closing(Database(proof.path)) as database:
        Launches(database).intend(Launch(id="b", offer=launches.OFFER, asked=1.0))
    proof.check()
    counts = proof.counts
    assert (counts.orphans, counts.doubles, counts.lost, counts.good) == (1, 1, 1, False)
