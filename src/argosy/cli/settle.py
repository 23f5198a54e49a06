"""After a declaration: keep a key that came with it, and follow the endpoint until it rests."""

import sys
import time
from typing import Any

import click

from argosy.cli.here import place
from argosy.cli.output import Report
from argosy.client.control import ControlClient
from argosy.spec.errors import BadPackage, DeadlineExceeded

RESTING = ("ready", "stopped", "failed")
POLL_SECONDS = 2.0
WAIT_SECONDS = 600.0

reason_option = click.option("-m", "--reason", default="", help="Why: it goes into the ledger (argosy history).")
generation_option = click.option(
    "--generation",
    type=click.IntRange(min=0),
    help="The generation this is made on (0: none yet); a conflict if it has another one.",
)


def keep(name: str, found: dict[str, Any]) -> list[tuple[str, str]]:
    """New keys as (name, text) for people, who see them this once. One is saved for `argosy predict`, if none was."""
    from argosy.cli import keyfile

    for step in found["changed"]["keys"]:
        if step["action"] == "revoke":
            keyfile.forget(place(), step["id"])
    own = [{"name": name, "id": found["key_id"], "key": found["key"]}] if found["key"] else []
    shown: list[tuple[str, str]] = []
    for key in [*own, *found["keys"]]:
        kept = "not shown again"
        if key in own or keyfile.find(place(), name) is None:
            path = keyfile.save(place(), name, keyfile.SavedKey(key["id"], key["key"], found["url"]))
            kept += f"; kept in {path}"
        shown.append((f"key {key['name']}" if found["keys"] else "key", f"{key['key']}  ({kept})"))
    return shown


def forget_revoked(api: ControlClient, name: str) -> None:
    """Delete the saved key of an endpoint that was deleted, if it was revoked along with it."""
    from argosy.cli import keyfile

    saved = keyfile.find(place(), name)
    if saved and any(key["id"] == saved.id and key["revoked"] for key in api.get("/v1/keys")):
        keyfile.forget(place(), saved.id)


def settle(api: ControlClient, name: str, seconds: float, report: Report) -> dict[str, Any]:
    """Follow an endpoint until it rests. Raises BadPackage when it fails, DeadlineExceeded when it takes too long."""
    end = time.monotonic() + seconds
    told = ""
    while True:
        status = api.get(f"/v1/endpoints/{name}", wait=max(0.0, min(POLL_SECONDS, end - time.monotonic())))
        if status["state"] == "failed":
            raise BadPackage(status["reason"])
        if status["state"] in RESTING:
            return status
        step = f"{status['state']}: {status['ready']} of {status['replicas']} replicas ready"
        if sys.stderr.isatty():
            report(f"{step}  {status['reason']}")
        elif step != told:
            report(told := step)
        if time.monotonic() >= end:
            reason = f": {status['reason']}" if status["reason"] else ""
            raise DeadlineExceeded(f"'{name}' is still {status['state']} after {seconds:g} s{reason}; see  argosy ps")
