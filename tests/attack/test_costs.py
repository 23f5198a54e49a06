"""What a small input costs the processes of a platform: each grows little, and others are answered all the same."""

import pytest

from attack.costs import MOST_MIB, measure_platform, rest
from attack.platform import CONFIG, Watched, running
from attack.surfaces import SURFACES


@pytest.mark.slow
@pytest.mark.parametrize("surface", [name for name in SURFACES if "TLS" not in name])
def test_the_worst_inputs_of_a_surface_grow_no_process(surface: str):
    costs = measure_platform(surface, worst=True)
    assert costs
    assert [each for each in costs if each.mib > MOST_MIB] == []


@pytest.mark.slow
def test_what_took_the_controller_for_minutes_is_told_at_once(tmp_path_factory: pytest.TempPathFactory):
    """Names without end were compared each with each; a key of 1,000,000 characters with every other; a key with scopes
    without end became the gateway's to hold."""
    wanted = {
        "batch jobs": {"columns to keep without end": "201", "an unknown key of 1 MB": "400"},
        "control API": {"keys without end": "200", "a key with scopes without end": "400"},
    }
    with running(tmp_path_factory.mktemp("c") / "h", CONFIG) as platform:
        for surface, names in wanted.items():
            door, inputs = SURFACES[surface]
            for one in inputs(platform):
                if one.name in names:
                    with Watched(platform, door) as watched:
                        assert rest(one, one.make(), watched)[1] == names[one.name], one.name
                        assert watched.grown[0] <= MOST_MIB
