"""`argosy export`."""

from pathlib import Path

import click

from argosy.cli import clouds, embedded
from argosy.cli.base import Group, json_option
from argosy.cli.here import place, settings
from argosy.cli.kubernetes import crd, kubernetes, platform
from argosy.cli.output import emit
from argosy.spec.errors import InvalidArgument


@click.group(cls=Group)
def export() -> None:
    """Write files for other systems.

    \b
    Example:
      argosy export grafana --output monitoring
      argosy export kserve digits:1 --image registry.example/digits:1 -o digits
    """


for _command in (*clouds.COMMANDS, *embedded.COMMANDS):
    export.add_command(_command)
export.add_command(kubernetes)
export.add_command(platform)
export.add_command(crd)


@export.command()
@click.option("--output", type=click.Path(path_type=Path), required=True, help="The folder to write to.")
@click.option("--job", default="argosy", show_default=True, help="The name of Prometheus' job.")
@click.option("--target", metavar="HOST:PORT", help="Where Prometheus reaches the control API.  [default: as it runs]")
@click.option(
    "--prometheus", default="http://127.0.0.1:9090", show_default=True, help="Where Grafana finds Prometheus."
)
@json_option
def grafana(output: Path, job: str, target: str | None, prometheus: str, as_json: bool) -> None:
    """Write dashboards and rules for Grafana and Prometheus.

    For Prometheus a configuration with recording and alerting rules, for Grafana two dashboards. They know endpoints
    and their objectives by the metrics alone: nothing has to be written again when a declaration changes. Prometheus
    reads a token from a file in the home, which opens /metrics and nothing else. JSON: a list of paths.

    \b
    Example:
      argosy export grafana --output monitoring
      prometheus --config.file monitoring/prometheus/prometheus.yml
    """
    import re

    from argosy.api import tls, token
    from argosy.telemetry.export.files import files, write

    if not re.fullmatch(r"[A-Za-z0-9_-]{1,63}", job):
        raise InvalidArgument(f"--job '{job[:63]}' must be letters, digits, '_' and '-'")
    home = place()
    token.ensure_of(home, "metrics")
    folder = output.expanduser().absolute()
    wanted = target or _target()
    if not re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}", wanted):
        raise InvalidArgument(f"--target '{wanted[:100]}' must be HOST:PORT, as in 127.0.0.1:7070")
    paths = write(
        folder, files(wanted, token.path_of(home, "metrics"), job, prometheus, folder, tls.scraped(home, settings()))
    )
    shown = [str(path) for path in paths]
    emit(shown, as_json, lambda: click.echo("\n".join(shown)))


def _target() -> str:
    """Where the platform of this home listens, or would by its settings. Raises InvalidArgument where neither says."""
    from argosy.client.control import reached

    if found := reached():
        return found.url.partition("://")[2]
    where = settings().control
    if not where.port:
        raise InvalidArgument("control.port is 0, and no platform runs: start it, or name --target HOST:PORT")
    return f"[{where.host}]:{where.port}" if ":" in where.host else f"{where.host}:{where.port}"
