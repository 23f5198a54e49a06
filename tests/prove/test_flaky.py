from pathlib import Path

import pytest

from prove import flaky


@pytest.mark.slow
def test_an_update_comes_over_a_link_that_breaks_and_loses(tmp_path: Path) -> None:
    try:
        assert flaky.prove(tmp_path, 2_000_000, kills=0, seconds=100.0)
    except flaky.Lacking as lacking:
        pytest.skip(str(lacking))
