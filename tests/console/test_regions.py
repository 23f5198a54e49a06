"""The page of regions: a map by cost, with capacity and traffic, and what is wrong where."""

import pytest

from argosy.console import chart
from argosy.console.chart import Bubble
from tests.console.conftest import Console
from tests.console.samples import HOSTILE

pytestmark = pytest.mark.xdist_group("console")


def test_each_region_has_its_capacity_traffic_cost_and_troubles(console: Console):
    text = console.text("/console/regions")
    assert 'href="/console/regions" aria-current="page"' in text
    rows = {name: text.split(f'<th scope="row" class="whole">{name}</th>')[1].split("</tr>")[0] for name in SHOWN}
    assert ">4/5<" in rows["west"]
    assert ">12.5<" in rows["west"]
    assert ">7.5 $<" in rows["west"]
    assert "draining" in rows["south"]
    assert "away" in rows["far"]
    assert 'class="bubble away"' in text
    assert text.count(">placed 3<") == 1
    assert "12.5 requests/s" in text
    assert "does not answer" in text
    assert "roads: &#34;" in text
    assert HOSTILE not in text


SHOWN = ("here", "west", "south", "far")


def test_the_area_of_a_bubble_is_its_size_and_names_are_text():
    drawn = chart.bubbles([Bubble("ready", "<a>", 4.0, ["x"]), Bubble("away", "b", 1.0, ["<y>"])], "l")
    first, second = (float(each.split('"')[0]) for each in drawn.split(' r="')[1:])
    assert first == pytest.approx(2 * second, abs=0.1)
    assert "&lt;a&gt;" in drawn
    assert "&lt;y&gt;" in drawn
    assert "<circle" not in chart.bubbles([], "l")
    assert chart.bubbles([Bubble("ready", "free", 0.0, [])], "l").count("<circle") == 1
