"""The test bed of regions, with few requests and short phases: nothing is lost, and nothing goes where it may not."""

from pathlib import Path

import pytest

from prove import regions

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not regions.DATA.is_file(), reason=f"the round trips are not at {regions.DATA}"),
]


async def test_nothing_is_lost_but_what_was_in_flight(tmp_path_factory: pytest.TempPathFactory):
    folder: Path = tmp_path_factory.mktemp("r")
    phases, problems = await regions.run(folder, 0.1, 8.0)
    assert problems == []
    assert {each.name: each.losses for each in phases if each.losses} == {}
    shares = {each.name: each.shares for each in phases}
    assert shares["Frankfurt's replicas as well"].keys() == {"washington"}
