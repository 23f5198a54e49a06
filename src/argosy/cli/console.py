"""`argosy console`."""

import os
import sys
import webbrowser

import click

from argosy.cli.base import Command, json_option
from argosy.cli.here import control
from argosy.cli.output import emit


@click.command(cls=Command)
@click.option("--print", "only_print", is_flag=True, help="Print the URL; open no browser.")
@json_option
def console(only_print: bool, as_json: bool) -> None:
    """Open the console of the running platform in the browser, signed in.

    The URL works once and for a minute. Where there is no browser, it is printed alone. JSON: {url}.

    \b
    Example:
      argosy console
      argosy console --print
    """
    api = control()
    url = api.url + api.post("/console/tickets")["path"]
    emit({"url": url}, as_json, lambda: click.echo(url))
    screen = sys.platform == "darwin" or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
    if not only_print and not as_json and screen and sys.stdout.isatty():
        webbrowser.open(url)
