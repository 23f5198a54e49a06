"""`argosy completion`, and what the shell completes: endpoints, models, versions, aliases.

Names are read from the database alone, without the registry's library: a key press has no time for it, and no platform
need run.
"""

import contextlib
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import BashComplete, CompletionItem, FishComplete, ShellComplete, ZshComplete

from argosy.cli.base import Command
from argosy.spec.settings import home, load

MOST = 1000
VERSIONS = (
    "SELECT name || ':' || number, REPLACE(SUBSTR(created, 1, 19), 'T', ' ') FROM versions ORDER BY name, number DESC"
)
ALIASES = "SELECT name || '@' || alias, name || ':' || number FROM aliases ORDER BY 1"
MODELS = "SELECT name, last_number || ' versions' FROM models ORDER BY 1"
JOBS = "SELECT name, '' FROM jobs ORDER BY 1"
ENDPOINTS = "SELECT name, '' FROM endpoints ORDER BY 1"


class Bash(BashComplete):
    """Bash cuts words at ':' and '@' too: the line is cut at spaces instead, and what bash has already is left out."""

    source_template = r"""%(complete_func)s() {
    local line="${COMP_LINE:0:$COMP_POINT}" type value had
    local -a words
    read -ra words <<< "$line"
    [[ "$line" == *" " ]] && words+=("")
    local current="${words[-1]}"
    had="${current%%"${current##*[:@]}"}"
    COMPREPLY=()
    while IFS=',' read -r type value; do
        case "$type" in
            file) compopt -o default ;;
            dir) compopt -o dirnames ;;
            plain) COMPREPLY+=("${value#"$had"}") ;;
        esac
    done < <(env COMP_WORDS="$line" COMP_CWORD=$((${#words[@]} - 1)) %(complete_var)s=bash_complete "$1")
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class Fish(FishComplete):
    """Fish shows a help text to its end, also behind a comma."""

    source_template = FishComplete.source_template.replace('string split ","', 'string split -m 1 ","')


SHELLS: dict[str, type[ShellComplete]] = {"bash": Bash, "zsh": ZshComplete, "fish": Fish}


def _names(incomplete: str, *queries: str) -> list[CompletionItem]:
    """Names that begin so, of the first column, each with the second as its help; none where there is no database, for
    a key press has nowhere to say why."""
    found: list[tuple[str, str]] = []
    with contextlib.suppress(Exception), contextlib.closing(_open()) as database:
        for query in queries:
            found += database.execute(query).fetchall()
    return [CompletionItem(name, help=about) for name, about in found if name.startswith(incomplete)][:MOST]


def _open() -> Any:
    """A connection of sqlite3 or psycopg to the registry's database."""
    place = home()
    driver, _, where = load(place).store.database.partition("://")
    if driver.startswith("postgres"):
        import psycopg

        return psycopg.connect(f"postgresql://{where}", connect_timeout=2)
    path = Path(where.removeprefix("/")) if where else place.database
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=0.5)


def endpoints(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return _names(incomplete, ENDPOINTS)


def models(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return _names(incomplete, MODELS)


def jobs(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return _names(incomplete, JOBS)


def references(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Versions and aliases, as in digits:3 and digits@champion."""
    return _names(incomplete, ALIASES, VERSIONS)


def sources(context: click.Context, parameter: click.Parameter, incomplete: str) -> Iterable[CompletionItem]:
    """References, and files of models."""
    return [*_names(incomplete, ALIASES, VERSIONS), CompletionItem(incomplete, type="file")]


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(list(SHELLS)))
def completion(shell: str) -> None:
    """Print a script by which the shell completes commands, options, endpoints, models and versions.

    \b
    Put the line of your shell into its start file:
      eval "$(argosy completion bash)"         ~/.bashrc
      eval "$(argosy completion zsh)"          ~/.zshrc, after compinit
      argosy completion fish | source          ~/.config/fish/config.fish
    \b
    Example:
      argosy completion bash > /etc/bash_completion.d/argosy
    """
    root = click.get_current_context().find_root().command
    click.echo(SHELLS[shell](root, {}, "argosy", "_ARGOSY_COMPLETE").source())
