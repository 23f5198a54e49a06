"""The one launcher: how every Python child of ours is started. What it starts is told in `argosy.process.enter`.

Nothing in the working folder is imported (`-P`), which is one that is named. A child that runs a model is in a sandbox
before it imports anything but this room.
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from argosy.process import environ, sandbox
from argosy.process.sandbox import Policy

ENTER = "argosy.process.enter"


class Child(NamedTuple):
    """A command and its environment, for `spawn` or for subprocess."""

    command: list[str]
    environ: dict[str, str]


def python(module: str) -> tuple[str, ...]:
    """The command that runs a module of ours; what it is told comes after."""
    return (sys.executable, "-P", "-m", ENTER, module)


def ours(
    module: str,
    *arguments: str,
    folder: Path,
    more: Mapping[str, str] | None = None,
    given: Mapping[str, str] = os.environ,
) -> Child:
    """A child that runs our code alone, in `folder`; `more` is added to its environment."""
    return Child([*python(module), *arguments], of_ours(folder, more or {}, given))


def of_ours(folder: Path, more: Mapping[str, str], given: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of such a child, which says where it works."""
    told = {sandbox.VARIABLE: json.dumps({"folder": str(folder.absolute())})}
    return environ.of_ours(given) | dict(more) | told


def model(module: str, *arguments: str, folder: Path, policy: Policy, more: Mapping[str, str] | None = None) -> Child:
    """A child that runs a model, in a sandbox with `folder` to work in; `more` is added to its environment."""
    return Child([*python(module), *arguments], of_model(folder, policy, more or {}))


def of_model(folder: Path, policy: Policy, more: Mapping[str, str]) -> dict[str, str]:
    """The environment of such a child, which says what its sandbox is."""
    told = {sandbox.VARIABLE: json.dumps({"folder": str(folder.absolute()), "policy": policy._asdict()})}
    given = environ.of_model(os.environ, folder.absolute()) | dict(more) | told
    return given if policy.user else {name: given[name] for name in given.keys() - environ.PINNING}
