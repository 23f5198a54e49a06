"""When replicas ended, through ends of the platform too."""

import os
import time

import msgspec

from argosy.process.enter import BEAT
from argosy.spec.address import Address
from argosy.spec.revision import Replica
from argosy.targets import ends
from argosy.targets.ends import EndLog

ONE = Replica(id="d-0", endpoint="d", revision="a", phase="ready", http=Address(host="h", port=1), started=1000.0)


def test_ends_outlive_the_platform_for_a_while(tmp_path):
    log, now = EndLog(tmp_path / "local.ends"), time.time()
    later = msgspec.structs.replace(ONE, started=2000.0)
    log.add(ONE, now - 2 * ends.KEPT)
    log.add(later, now)
    assert [*log.found] == [ONE.run, later.run]
    next_ = EndLog(tmp_path / "local.ends")
    next_.load()
    assert next_.found == {later.run: (later, now)}
    (tmp_path / "local.ends").write_text("[")
    EndLog(tmp_path / "local.ends").load()


def test_the_last_ones_are_remembered(tmp_path, monkeypatch):
    monkeypatch.setattr(ends, "MOST", 2)
    log = EndLog(tmp_path / "no folder" / "local.ends")
    for started in (1.0, 2.0, 3.0):
        log.add(msgspec.structs.replace(ONE, started=started), 4.0)
    assert [*log.found] == ["d-0/2.0", "d-0/3.0"]


def test_one_that_ended_unseen_did_after_its_last_beat(tmp_path):
    file, beats = tmp_path / "x.run", tmp_path / "beats"
    assert ends.unseen(file, beats) is None
    ends.begin(file, ONE)
    os.utime(file, (1000.0, 1000.0))
    assert ends.unseen(file, beats) == (ONE, 1000.0 + BEAT / 2), "it never came to a beat"
    beats.touch()
    os.utime(beats, (1234.5, 1234.5))
    assert ends.unseen(file, beats) == (ONE, 1234.5 + BEAT / 2)
    os.utime(beats, (2e9, 2e9))
    assert (ends.unseen(file, beats) or (ONE, 0.0))[1] <= time.time(), "a model may write what it likes"
