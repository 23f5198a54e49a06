"""Every expression of the generated files, with the dashboards' variables filled in."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from argosy.telemetry.export.files import DASHBOARDS, RULES, files


def generated(target: str, token: Path, output: Path) -> dict[str, bytes]:
    """The files of a job `argosy`."""
    return files(target, token, "argosy", "http://127.0.0.1:9090", output)


def dashboards(found: dict[str, bytes]) -> dict[str, Any]:
    """Path → dashboard."""
    return {name: json.loads(found[name]) for name in DASHBOARDS}


def charts(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Its panels without headings."""
    yield from (panel for panel in dashboard["panels"] if panel["type"] != "row")


def queries(dashboard: dict[str, Any], **variables: str) -> Iterator[tuple[str, str]]:
    """Title of the panel and expression."""
    for panel in charts(dashboard):
        for target in panel["targets"]:
            expr = target["expr"]
            for name, value in ({"__rate_interval": "1m"} | variables).items():
                expr = expr.replace(f"${name}", value)
            yield panel["title"], expr


def rules(found: dict[str, bytes]) -> list[dict[str, Any]]:
    """Every rule."""
    return [rule for group in yaml.safe_load(found[RULES])["groups"] for rule in group["rules"]]
