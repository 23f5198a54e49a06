"""`argosy export`."""

from pathlib import Path

import click

from argosy.cli import clouds, embedded
from argosy.cli.base import Group, json_option
from argosy.cli.completion import sources
from argosy.cli.here import place, settings
from argosy.cli.kubernetes import crd, kubernetes, platform
from argosy.cli.output import emit
from argosy.cli.runtime import Bytes
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


@export.command("c")
@click.argument("ref", shell_complete=sources)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The folder to write to.")
@click.option("--name", help="The name of the function, in C.  [default: that of the model]")
@click.option("--max-flash", type=Bytes(), help="The flash there is, as in 64KiB.")
@click.option("--max-ram", type=Bytes(), help="The RAM there is, for static data and the stack.")
@click.option("--verify", is_flag=True, help="Compile it, and run its self-test here and on two emulated boards.")
@json_option
def c(
    ref: str, output: Path, name: str | None, max_flash: int | None, max_ram: int | None, verify: bool, as_json: bool
) -> None:
    """Write a model as C99, for software without an operating system or beside one.

    REF is a version, a package folder or a model file. The function in NAME.c answers one row. It needs no malloc, no
    libc and no file. NAME_test.c replays the golden examples and ends with 0 if all are answered. report.txt says what
    the model takes of a device: measured where gcc or arm-none-eabi-gcc is installed, else estimated. What cannot be
    written in C is refused by name. JSON: the report.

    \b
    Example:
      argosy export c digits:1 -o digits --max-flash 64KiB --verify
      gcc -Os -c digits/digits.c
    """
    import msgspec

    from argosy.client.local import locate
    from argosy.embedded.code import as_identifier
    from argosy.embedded.export import Options
    from argosy.embedded.export import export as exported
    from argosy.telemetry.export.files import write

    located = locate(ref)
    try:
        model = f"{located.name}:{located.version}"
        options = Options(max_flash=max_flash, max_ram=max_ram, verify=verify)
        found = exported(located.open(), name or as_identifier(located.name, "model"), model, options)
    finally:
        located.release()
    write(output.expanduser().absolute(), found.files)
    emit(msgspec.to_builtins(found.report), as_json, lambda: click.echo(found.files["report.txt"].decode(), nl=False))


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
    token.ensure_metrics(home)
    folder = output.expanduser().absolute()
    wanted = target or _target()
    if not re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}", wanted):
        raise InvalidArgument(f"--target '{wanted[:100]}' must be HOST:PORT, as in 127.0.0.1:7070")
    paths = write(
        folder, files(wanted, token.metrics_path(home), job, prometheus, folder, tls.scraped(home, settings()))
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
