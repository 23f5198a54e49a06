"""Grafana's JSON of a dashboard: panels in rows, with variables for data source, job and endpoint."""

from importlib import resources
from typing import Any, Literal

import msgspec

Json = dict[str, Any]

SOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
SCHEMA = 39
"""The version of Grafana's dashboard schema (Grafana 10 and later)."""
WIDTH, HEIGHT = 24, 8


class Panel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A chart, or with `kind: stat` a number. `queries`: legend → PromQL; so many of the 24 columns wide."""

    title: str
    queries: dict[str, str]
    unit: str = "short"
    kind: Literal["timeseries", "stat"] = "timeseries"
    width: int = 8
    text: str = ""


class Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A heading and what stands under it."""

    title: str
    panels: tuple[Panel, ...]


class Variable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a reader chooses, from a query for labels."""

    name: str
    label: str
    query: str


class Dashboard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file of this folder, `fleet.yaml` or `endpoint.yaml`."""

    uid: str
    title: str
    variables: tuple[Variable, ...]
    rows: tuple[Row, ...]


def read(name: str) -> Json:
    """The dashboard `fleet` or `endpoint`."""
    text = resources.files("argosy.telemetry.export").joinpath(f"{name}.yaml").read_bytes()
    return grafana(msgspec.yaml.decode(text, type=Dashboard))


def grafana(dashboard: Dashboard) -> Json:
    """The dashboard as Grafana takes it."""
    source = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "hide": 0}
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "tags": ["argosy"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": []},
        "links": [{"type": "dashboards", "title": "Argosy", "tags": ["argosy"], "asDropdown": True, "keepTime": True}],
        "templating": {"list": [source, *map(_variable, dashboard.variables)]},
        "panels": _panels(dashboard.rows),
    }


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


def _panels(rows: tuple[Row, ...]) -> list[Json]:
    """Rows and panels, each with its place: a panel that does not fit begins a line."""
    found: list[Json] = []
    y = 0
    for row in rows:
        heading: Json = {"type": "row", "title": row.title, "collapsed": False, "panels": []}
        found.append(heading | {"id": len(found) + 1, "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1}})
        x, y = 0, y + 1
        for panel in row.panels:
            if x + panel.width > WIDTH:
                x, y = 0, y + HEIGHT
            place = {"x": x, "y": y, "w": panel.width, "h": HEIGHT}
            found.append(_panel(panel) | {"id": len(found) + 1, "gridPos": place})
            x += panel.width
        y += HEIGHT
    return found


def _panel(panel: Panel) -> Json:
    targets: list[Json] = [
        {"refId": chr(ord("A") + place), "datasource": SOURCE, "expr": expr, "legendFormat": name}
        for place, (name, expr) in enumerate(panel.queries.items())
    ]
    defaults: Json = {"unit": panel.unit}
    if panel.kind == "stat":
        targets = [each | {"instant": True, "range": False} for each in targets]
        options: Json = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "graphMode": "none"}
    else:
        defaults |= {"min": 0, "custom": {"lineWidth": 1, "fillOpacity": 10, "showPoints": "never"}}
        options = {
            "legend": {"displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.text,
        "datasource": SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": targets,
    }
