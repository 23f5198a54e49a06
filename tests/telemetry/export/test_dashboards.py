"""Dashboards that Grafana takes: one id a panel, a data source that is chosen, panels that do not overlap."""

import re
from pathlib import Path

import pytest

from argosy.telemetry.export.dashboards import HEIGHT, WIDTH, Dashboard, Panel, Row, grafana
from argosy.telemetry.export.files import DASHBOARDS
from tests.telemetry.export.kit import charts, dashboards, generated

ALL = dashboards(generated("127.0.0.1:7070", Path("/h/metrics.token"), Path("/out")))


@pytest.mark.parametrize("name", DASHBOARDS)
def test_ids_are_unique_and_every_query_asks_the_chosen_source(name):
    found = ALL[name]
    ids = [panel["id"] for panel in found["panels"]]
    assert len(set(ids)) == len(ids)
    variables = {each["name"]: each for each in found["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    for panel in charts(found):
        assert panel["targets"], panel["title"]
        assert len({each["refId"] for each in panel["targets"]}) == len(panel["targets"])
        for each in (panel, *panel["targets"]):
            assert each["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        for target in panel["targets"]:
            used = set(re.findall(r"\$(\w+)", target["expr"])) - {"__rate_interval"}
            assert used <= variables.keys(), target["expr"]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_do_not_overlap_and_titles_are_told_once(name):
    taken = set()
    for panel in ALL[name]["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= WIDTH
        taken |= cells
    titles = [panel["title"] for panel in charts(ALL[name])]
    assert len(set(titles)) == len(titles)


def test_the_dashboards_are_two_with_ids_of_their_own():
    assert {found["uid"] for found in ALL.values()} == {"argosy-fleet", "argosy-endpoint"}


def test_panels_that_do_not_fit_begin_a_line():
    panels = tuple(Panel(title=str(number), queries={"": "up"}, width=10) for number in range(3))
    found = Dashboard(uid="u", title="t", variables=(), rows=(Row(title="r", panels=panels),))
    placed = grafana(found)["panels"]
    assert [(each["gridPos"]["x"], each["gridPos"]["y"]) for each in placed] == [
        (0, 0),
        (0, 1),
        (10, 1),
        (0, 1 + HEIGHT),
    ]
