"""The entry point of the command `argosy`."""

import click

from argosy.cli.base import Root


@click.group("argosy", cls=Root, invoke_without_command=True)
@click.version_option(package_name="argosy", message="argosy %(version)s")
@click.pass_context
def argosy(context: click.Context) -> None:
    """From a model file to a live endpoint.

    \b
      argosy serve model.onnx                          an endpoint in seconds
      argosy up -d                                     the platform on this machine
      argosy push model.joblib --name digits           → digits:1
      argosy deploy digits:1 --replicas 2              → a URL and a key
      argosy predict digits -d @rows.json              answers

    Everything lives in one folder, ARGOSY_HOME (default ~/.argosy).
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main() -> None:
    """Run the command line of this process."""
    argosy(prog_name="argosy")
