"""The pages of fleets: the list, a deployment as a map of its waves, and what its devices tell."""

import pytest

from tests.console.conftest import Console
from tests.console.samples import HOSTILE

pytestmark = pytest.mark.xdist_group("console")


def test_fleets_say_how_many_devices_they_have_and_how_far_their_deployment_is(console: Console):
    text = console.text("/console/fleets")
    row = text.split(">factory</a>")[1].split("</tr>")[0]
    assert ">59</td>" in row
    assert ">3</td>" in row
    assert "2: digits:2" in row
    assert "running" in row
    assert "17 committed" in row
    assert "7 rolled back" in row
    assert ">nothing</a>" in text
    assert 'href="/console/fleets" aria-current="page"' in text


def test_a_fleet_is_a_map_of_waves_with_a_cell_for_each_device(console: Console):
    text = console.text("/console/fleets/factory")
    waves = text.split("<h3>Wave ")[1:]
    assert [wave.count("<rect") for wave in waves] == [10, 50]
    assert [wave.count('class="cell committed"') for wave in waves] == [10, 7]
    assert "<title>factory-0015: trial</title>" in waves[1]
    assert "<title>factory-0012: refused, the disk is full</title>" in waves[1]
    assert "12 with digits:2" not in text
    assert "11 with digits:2" in text
    assert "48 with digits:1" in text


def test_it_tells_reasons_bytes_agreement_and_who_is_silent_or_suspended(console: Console):
    text = console.text("/console/fleets/factory")
    assert "6.9 MiB of 57.2 MiB in full (12.0 %)" in text
    assert "97.0 %" in text
    assert "the disk is full" in text
    assert "it is an armv7l" in text
    assert "7 parts of reports could not be used" in text
    silent = text.split("Silent devices")[1].split("</table>")[0]
    assert "factory-0003" in silent
    assert "factory-0004" not in silent
    assert "factory-0007" in text.split("Suspended and revoked devices")[1]


def test_what_devices_say_is_text(console: Console):
    text = console.text("/console/fleets/factory")
    assert HOSTILE not in text
    assert "<script>document" not in text
    assert "&lt;script&gt;document" in text


def test_in_a_large_fleet_a_cell_stands_for_several_devices(console: Console):
    text = console.text("/console/fleets/ships")
    second = text.split("<h3>Wave ")[2]
    assert "a cell is 3" in second
    assert second.count("<rect") <= 1200


def test_another_deployment_is_chosen_by_its_number(console: Console):
    assert "No device has been assigned yet." in console.text("/console/fleets/factory?deployment=1")
    assert "argosy fleet deploy nothing MODEL" in console.text("/console/fleets/nothing")
    with console.client() as client:
        for path in ("factory?deployment=x", "factory?deployment=9", "factory?deployment=٣", "none"):
            assert client.get(f"/console/fleets/{path}").status_code == 404
