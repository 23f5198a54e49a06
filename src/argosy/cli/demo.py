"""`argosy demo`."""

import click

from argosy.cli.base import Command


@click.command(cls=Command)
@click.option("--once", is_flag=True, help="End after the results instead of staying up.")
def demo(once: bool) -> None:
    """Deploy three real models and send them real data through the gateway.

    A scikit-learn classifier on handwritten digits, a LightGBM model on a table with missing values, and a network that
    recognises file types. Prints accuracy, latency and throughput of each, then stays up until Ctrl-C.

    \b
    Example:
      argosy demo --once
    """
    from argosy.demo import run

    run(once=once)
