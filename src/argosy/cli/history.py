"""`argosy history`."""

from pathlib import Path
from typing import Any

import click

from argosy.cli.base import Command, json_option
from argosy.cli.completion import endpoints
from argosy.cli.here import store
from argosy.cli.output import Columns, emit, table
from argosy.console.words import clock
from argosy.spec.errors import Conflict, InvalidArgument, NotFound

BROKEN = Conflict.exit


@click.command(cls=Command)
@click.argument("name", required=False, shell_complete=endpoints)
@click.option("--at", metavar="TIME", help="What served then: 2026-01-31 or 2026-01-31T15:00, in UTC.")
@click.option("--verify", is_flag=True, help="Hash the whole ledger again and name the first broken link.")
@click.option("--export-head", is_flag=True, help="Print the end of the ledger, signed, as JSON to be kept elsewhere.")
@click.option(
    "--head",
    "heads",
    metavar="FILE",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False),
    help="With --verify: an exported head that the ledger has to contain and continue. Repeatable.",
)
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="The last entries.")
@json_option
def history(
    name: str | None,
    at: str | None,
    verify: bool,
    export_head: bool,
    heads: tuple[str, ...],
    limit: int,
    as_json: bool,
) -> None:
    """What happened to an endpoint, or to an alias: when, by whom, why, and which bytes serve.

    Works without a platform, too, and tells of endpoints that are deleted. Every entry is signed by a key of the home,
    in HOME/ledger.key. With --verify the exit status is 5 where the chain is broken, a signature does not fit, or the
    ledger does not continue a --head. JSON: a list of {seq, time, subject, event, actor, reason, body, previous, hash};
    with --at {endpoint, at, since, served}; with --verify {entries, head, broken, reason, signed: [{key, first, last,
    own}]}; with --export-head {seq, hash, time, key, signature}.

    \b
    Example:
      argosy history digits
      argosy history digits --at 2026-01-31T15:00
      argosy history digits@champion
      argosy history --export-head > head.json
      argosy history --verify --head head.json
    """
    if sum(map(bool, (verify, at, export_head))) > 1:
        raise InvalidArgument("--at, --verify and --export-head exclude each other")
    if heads and not verify:
        raise InvalidArgument("--head goes with --verify")
    if export_head:
        import msgspec

        from argosy.store import audit

        with store() as place:
            click.echo(msgspec.json.encode(audit.head(place.database)).decode())
    elif verify:
        _verify(heads, as_json)
    elif name is None:
        raise InvalidArgument("say of what: argosy history NAME")
    elif at is not None:
        _at(name, at, as_json)
    else:
        _entries(name, limit, as_json)


def _entries(name: str, limit: int, as_json: bool) -> None:
    from argosy.store import ledger

    with store() as place, place.database.read() as connection:
        found = ledger.entries(connection, name, limit)
    if not found:
        raise NotFound(f"the ledger knows nothing of '{name[:127]}'")
    columns: Columns = {
        "no": "seq",
        "time (UTC)": ("time", clock),
        "event": "event",
        "what": lambda one: _what(one.event, one.body),
        "who": "actor",
        "why": "reason",
    }
    emit(found, as_json, lambda: table(columns, found))


def _at(name: str, at: str, as_json: bool) -> None:
    from argosy.api.timeline import served_at

    with store() as place:
        found = served_at(place.database, name, at)

    def render() -> None:
        if not found.served:
            click.echo(f"nothing served {name} at {found.at}")
            return
        click.echo(f"{name} at {found.at}, so since {found.since}:")
        columns: Columns = {
            "share": ("weight", "{} %".format),
            "version": "version",
            "digest": "digest",
            "declared by": "actor",
            "why": "reason",
        }
        table(columns, found.served)

    emit(found, as_json, render)


def _verify(heads: tuple[str, ...], as_json: bool) -> None:
    from argosy.spec import strict
    from argosy.store import audit
    from argosy.store.signer import Head

    known = [strict.decode(Path(file).read_bytes(), Head, file) for file in heads]
    with store() as place:
        found = audit.verify(place.database, known)
    good = f"{found.entries} entries, every link holds; the last hash is {found.head}"
    bad = f"broken at entry {found.broken}: {found.reason}; the {found.entries} before it hold"

    def render() -> None:
        click.echo(good if found.broken is None else bad)
        keys = {each.key for each in known}
        for each in found.signed:
            whose = "of this home" if each.own else "of an exported head" if each.key in keys else "of another platform"
            click.echo(f"entries {each.first} to {each.last} are signed by the key {each.key}, {whose}")

    emit(found, as_json, render)
    if found.broken is not None:
        click.get_current_context().exit(BROKEN)


def _what(event: str, body: dict[str, Any]) -> str:
    """The body of an entry in one cell."""
    from argosy.cli.declaration import change_line

    if event == "declare":
        changes = "; ".join(change_line(change) for change in body["changes"] if change["field"] != "name")
        parts = [f"{body['version']} {body['digest'][7:19]}", changes, _keys(body)]
        return "; ".join(part for part in parts if part)
    if event == "serve":
        return ", ".join(f"{one['weight']} % {one['version']} {one['digest'][7:19]}" for one in body["traffic"]) or "-"
    if event == "alias":
        back = f", back from {body.get('before', 'a version it had')}" if body.get("back") else ""
        return f"{body['version']} {body['digest'][7:19]}{back}" if body["version"] else "removed"
    if event == "rollout":
        parts = [f"rollout {body['number']}: {body['phase']}", f"{body['weight']} %", body["reason"]]
        return ", ".join(part for part in parts if part)
    parts = [f"{key} {value}" for key, value in body.items() if isinstance(value, str | int | float)]
    return ", ".join([*parts, *([_keys(body)] if body.get("keys") else [])])


DONE = {"make": "made", "change": "changed", "revoke": "revoked"}


def _keys(body: dict[str, Any]) -> str:
    return ", ".join(f"{DONE[step['action']]} key {step['name']} {step['id']}" for step in body.get("keys", ()))
