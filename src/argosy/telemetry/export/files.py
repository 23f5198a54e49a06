"""The files that `argosy export grafana` writes: for Prometheus, its configuration and rules; for Grafana, its
dashboards and how to provision them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from argosy.spec.errors import InvalidArgument
from argosy.store.durable import replace, storage
from argosy.telemetry.export import dashboards
from argosy.telemetry.export.rules import groups

RULES = "prometheus/rules/argosy.yml"
PROMETHEUS = "prometheus/prometheus.yml"
DASHBOARDS = ("grafana/dashboards/argosy-fleet.json", "grafana/dashboards/argosy-endpoint.json")
PROVIDER = "grafana/provisioning/dashboards/argosy.yml"
PLAIN: Mapping[str, Any] = {}
SOURCE = "grafana/provisioning/datasources/argosy.yml"


def files(
    target: str, token: Path, job: str, prometheus: str, output: Path, tls: Mapping[str, Any] = PLAIN
) -> dict[str, bytes]:
    """Path → content. `target` is `host:port` of the control API, `token` the file that opens its metrics, `tls` how
    Prometheus speaks to it; `prometheus` the URL where Grafana finds Prometheus."""
    folder = str(output / "grafana" / "dashboards")
    provider = {"name": "argosy", "folder": "Argosy", "type": "file", "options": {"path": folder}}
    source = {"name": "Prometheus", "type": "prometheus", "access": "proxy", "url": prometheus, "isDefault": True}
    return {
        PROMETHEUS: _yaml(scrape(target, token, job, tls)),
        RULES: _yaml({"groups": groups(job)}),
        DASHBOARDS[0]: _json(dashboards.read("fleet")),
        DASHBOARDS[1]: _json(dashboards.read("endpoint")),
        PROVIDER: _yaml({"apiVersion": 1, "providers": [provider]}),
        SOURCE: _yaml({"apiVersion": 1, "datasources": [source]}),
    }


def scrape(target: str, token: Path, job: str, tls: Mapping[str, Any] = PLAIN) -> dict[str, Any]:
    """Prometheus' configuration: one target tells of gateway, replicas and controller."""
    return {
        "global": {"scrape_interval": "15s", "evaluation_interval": "15s"},
        "rule_files": ["rules/argosy.yml"],
        "scrape_configs": [
            {
                "job_name": job,
                "metrics_path": "/metrics",
                "authorization": {"type": "Bearer", "credentials_file": str(token)},
                **tls,
                "static_configs": [{"targets": [target]}],
            }
        ],
    }


def write(output: Path, found: dict[str, bytes]) -> list[Path]:
    """Write them, each whole or not at all, over what an earlier export left. Raises InvalidArgument, StorageFull."""
    paths: list[Path] = []
    try:
        with storage(output):
            for name, data in found.items():
                path = output / name
                path.parent.mkdir(parents=True, exist_ok=True)
                replace(path, data, path.parent)
                paths.append(path)
    except OSError as error:
        raise InvalidArgument(f"--output {output}: {error.filename or output}: {error.strerror}") from None
    return paths


def _yaml(value: Any) -> bytes:
    import yaml

    return yaml.safe_dump(value, sort_keys=False, width=10_000, allow_unicode=True).encode()


def _json(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
