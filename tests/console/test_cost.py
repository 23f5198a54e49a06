"""The page of cost: bars of dollars, idle apart, and what endpoints and keys cost."""

import pytest

from argosy.console import chart, words
from argosy.console.chart import Stack
from argosy.console.cost import bars
from argosy.spec.offer import CostRow
from tests.console.conftest import Console
from tests.console.samples import HOSTILE

pytestmark = pytest.mark.xdist_group("console")


def test_the_page_adds_up_and_shows_idle_apart(console: Console):
    text = console.text("/console/cost")
    assert 'href="/console/cost" aria-current="page"' in text
    assert "of which" in text
    assert "waited" in text
    endpoints = text.split('<h2 class="spaced">Endpoints')[1].split("</table>")[0]
    row = endpoints.split(">words</a>")[1].split("</tr>")[0]
    assert "0.1667 $" not in row.split("Requests")[0]
    assert endpoints.index(">fraud</a>") < endpoints.index(">spam</a>") < endpoints.index(">digits</a>")
    assert text.count('class="stack idle"') > 20
    assert 'class="stack rest"' in text
    assert "rows 3.9 $, price times time 4 $" in text
    assert "Without a price, and not counted: spam" in text
    assert HOSTILE not in text


@pytest.mark.parametrize(("chosen", "shown"), [("7d", "7d"), ("30d", "30d"), ("1e9d", "24h")])
def test_a_range_is_chosen(console: Console, chosen: str, shown: str):
    assert f'href="/console/cost?range={shown}" aria-current="page"' in console.text(f"/console/cost?range={chosen}")


def test_bars_hold_every_dollar_of_their_time_and_no_other():
    def row(hour: int, endpoint: str, cost: float, use: str = "requests") -> CostRow:
        return CostRow(hour=hour, endpoint=endpoint, version="", use=use, cost=cost)

    rows = [row(0, "early", 9.0), row(7200, "late", 9.0), row(3600, "a", 1.0), row(5400, "a", 2.0)]
    rows += [row(3600, f"n{at}", 0.1) for at in range(8)] + [row(5400, "a", 4.0, "idle")]
    found = bars(rows, 3600, 7200, 1800)
    assert {each.name for each in found.stacks} == {"a", "n0", "n1", "n2", "n3", "n4", "others", "idle"}
    assert sum(sum(each.values) for each in found.stacks) == pytest.approx(7.8)
    assert found.stacks[-1] == Stack("idle", "idle", [0.0, 4.0])
    assert found.stacks[0].values == [1.0, 2.0]


def test_stacked_bars_stand_on_each_other_and_escape_names():
    series = [Stack("part0", "<a>", [1.0, 0.0]), Stack("idle", "idle", [3.0, 0.0])]
    drawn = chart.stacked(0.0, 3600.0, series, "x", words.money)
    assert drawn.count('class="stack') == 2
    assert "&lt;a&gt; 1 $ of 4 $" in drawn
    lower, upper = (each.split('"') for each in drawn.split("<rect ")[1:3])
    assert float(upper[5]) + float(upper[9]) == pytest.approx(float(lower[5]), abs=0.11)
    assert "<rect" not in chart.stacked(0.0, 3600.0, [Stack("idle", "idle", [])], "x", words.money)
