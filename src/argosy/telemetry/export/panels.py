"""Grafana's JSON: panels in rows, with variables for data source, job and endpoint. Pure."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

Json = dict[str, Any]

SOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
SCHEMA = 39
"""The version of Grafana's dashboard schema (Grafana 10 and later)."""
WIDTH, HEIGHT = 24, 8


class Target(NamedTuple):
    """A query, and how its series are called."""

    expr: str
    legend: str


class Panel(NamedTuple):
    """A chart. `kind` is Grafana's; `unit` one of its units; so many of the 24 columns wide."""

    title: str
    targets: Sequence[Target]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    text: str = ""


class Row(NamedTuple):
    """A heading and what stands under it."""

    title: str
    panels: Sequence[Panel]


class Variable(NamedTuple):
    """What a reader chooses, from a query for labels."""

    name: str
    label: str
    query: str


def dashboard(uid: str, title: str, variables: Iterable[Variable], rows: Iterable[Row]) -> Json:
    """A whole dashboard."""
    return {
        "uid": uid,
        "title": title,
        "tags": ["argosy"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": []},
        "links": [{"type": "dashboards", "title": "Argosy", "tags": ["argosy"], "asDropdown": True, "keepTime": True}],
        "templating": {"list": [_source(), *map(_variable, variables)]},
        "panels": _placed(rows),
    }


def _source() -> Json:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "hide": 0}


def _variable(each: Variable) -> Json:
    return {
        "name": each.name,
        "label": each.label,
        "type": "query",
        "datasource": SOURCE,
        "definition": each.query,
        "query": {"query": each.query, "refId": each.name},
        "refresh": 2,
        "sort": 1,
        "hide": 0,
    }


def _placed(rows: Iterable[Row]) -> list[Json]:
    found: list[Json] = []
    y = 0
    for row in rows:
        found.append(_row(len(found) + 1, row.title, y))
        x, y = 0, y + 1
        for panel in row.panels:
            if x + panel.width > WIDTH:
                x, y = 0, y + HEIGHT
            found.append(_panel(len(found) + 1, panel, {"x": x, "y": y, "w": panel.width, "h": HEIGHT}))
            x += panel.width
        y += HEIGHT
    return found


def _row(number: int, title: str, y: int) -> Json:
    return {
        "id": number,
        "type": "row",
        "title": title,
        "collapsed": False,
        "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1},
        "panels": [],
    }


def _panel(number: int, panel: Panel, where: Json) -> Json:
    targets = [
        {"refId": chr(ord("A") + place), "datasource": SOURCE, "expr": each.expr, "legendFormat": each.legend}
        for place, each in enumerate(panel.targets)
    ]
    if panel.kind != "timeseries":
        targets = [{**each, "instant": True, "range": False} for each in targets]
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.text,
        "datasource": SOURCE,
        "gridPos": where,
        "fieldConfig": {"defaults": {"unit": panel.unit, **_custom(panel)}, "overrides": []},
        "options": _options(panel),
        "targets": targets,
    }


def _custom(panel: Panel) -> Json:
    if panel.kind != "timeseries":
        return {}
    return {"min": 0, "custom": {"lineWidth": 1, "fillOpacity": 10, "showPoints": "never"}}


def _options(panel: Panel) -> Json:
    if panel.kind == "stat":
        return {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "graphMode": "none"}
    return {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}
