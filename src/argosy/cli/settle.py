"""After a declaration: keep the key that came with it, and follow the endpoint until it rests."""

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


def keep(name: str, found: dict[str, Any]) -> str:
    """Save a new key; where the saved key lies, if there is one."""
    from argosy.cli import keyfile

    if found.get("key"):
        return str(keyfile.save(place(), name, keyfile.SavedKey(found["key_id"], found["key"], found["url"])))
    return ""


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
        if step != told or sys.stderr.isatty():
            report(told := step)
        if time.monotonic() >= end:
            reason = f": {status['reason']}" if status["reason"] else ""
            raise DeadlineExceeded(f"'{name}' is still {status['state']} after {seconds:g} s{reason}; see  argosy ps")
