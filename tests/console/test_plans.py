"""The page of plans: the current one with its alternatives in money, and what is proposed instead."""

import pytest

from tests.console.conftest import Chromium, Console
from tests.console.samples import HOSTILE

pytestmark = pytest.mark.xdist_group("console")


def test_a_plan_has_its_cost_bound_and_alternatives_in_money(console: Console):
    text = console.text("/console/plans")
    assert 'href="/console/plans" aria-current="page"' in text
    for words in (
        "Plan 2 <",
        "current, 2",
        "by the platform: without south",
        "<strong>3.65 $</strong> an hour, 87.6 $ a day. No plan costs less than 3.6 $ an hour: a gap of at most 1.37 %",
        "Left out: south; there go on: 3 × fraud",
        "3 x fraud on aws/oregon/A10G",
        "31.2 $",
        "nothing: 4.50/s would not be served",
        'href="/console/plans?plan=3">Plan 3</a> is proposed instead, south is back: 3.65 $ an hour.',
        "neb/no/H100/spot: GPUs are cut: 1 into 1 x 3g.40gb + 1 x ",
        "of 1 machine, 1.25 $/h is not used",
    ):
        assert words in text
    assert HOSTILE not in text
    other = console.text("/console/plans?plan=3")
    assert "It is not applied: " in other
    assert "argosy plans apply 3" in other
    assert "Plan 2 <" in console.text("/console/plans?plan=nonsense")


def test_the_dearest_alternative_has_the_longest_bar(chromium: Chromium, console: Console):
    chromium.visit(console, "/console/plans")
    widths = chromium.run(
        "[...document.querySelectorAll('td svg.weights rect')].map(e => e.getBoundingClientRect().width)"
    )
    assert len(widths) == 1
    assert widths[0] > 20
    cells = chromium.run(
        "[...document.querySelectorAll('main table:first-of-type td[data-label=Instead]')].map(e => e.innerText)"
    )
    assert cells == ["3 x fraud on aws/oregon/A10G", "nothing: 4.50/s would not be served"]
    assert "owned" not in chromium.driver.title
    assert chromium.complaints() == []
