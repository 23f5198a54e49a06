from pathlib import Path

import pytest

from prove import transfer


@pytest.mark.slow
def test_small_changes_of_magika_cost_few_bytes(tmp_path: Path) -> None:
    assert transfer.prove(tmp_path, ["metadata"])


def test_a_share_above_its_goal_is_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = iter([("metadata", lambda: (b"old", b"new"))])
    monkeypatch.setattr(transfer, "changes", lambda _: found)
    monkeypatch.setattr(transfer, "sent", lambda *_: (1000, 6, "patch", 4))
    monkeypatch.setattr(transfer, "best", lambda *_: (4, "zstd"))
    assert not transfer.prove(tmp_path, [])
