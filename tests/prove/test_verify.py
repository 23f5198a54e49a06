from pathlib import Path

from prove import verify


def test_altered_updates_are_refused(tmp_path: Path) -> None:
    refused, taken = verify.mutations(tmp_path, 60)
    assert taken == []
    assert refused == dict.fromkeys(verify.KINDS, 10)
    assert verify.signature(tmp_path, 3) > 0
    assert min(verify.hashing(tmp_path, 1_000_000, 1)) > 0
