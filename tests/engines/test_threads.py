from pathlib import Path

import pytest

from argosy.engines.threads import cores, threads_of


@pytest.mark.parametrize(
    ("text", "limit"), [("max 100000", None), ("50000 100000", 1), ("150000 100000", 2), ("", None), ("1 0", None)]
)
def test_the_control_group_limits(tmp_path: Path, text: str, limit: int | None) -> None:
    quota = tmp_path / "cpu.max"
    quota.write_text(text)
    free = cores(tmp_path / "missing")
    assert cores(quota) == (free if limit is None else min(limit, free))


def test_zero_takes_what_is_there() -> None:
    assert threads_of(0) == cores() >= 1
    assert threads_of(3) == 3
