"""Checks: what is registered, what each one needs, and how it says that the server failed or cannot be judged."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from argosy_conformance.subject import Subject

Verdict = Literal["passed", "failed", "skipped"]
Mode = Literal["", "tolerant", "strict"]
"""What a server is to do with requests that only fit; empty where either will do."""
Need = Literal["model", "binary", "grpc", "repository", "disruption", "drain", "single", "models"]

Run = Callable[["Subject"], str | None]
"""Judges a server: returns None where the strict rule holds, or a sentence where only a documented alternative does."""


class Failed(Exception):
    """The server broke the rule; the text says what was expected and what was seen."""


class Skipped(Exception):
    """The server or the model does not permit this check; the text says why."""


class Check(msgspec.Struct, frozen=True):
    """One rule: `id` is unique, `group` one of `GROUPS`, `needs` is looked at before `run` is called."""

    id: str
    group: str
    title: str
    needs: tuple[Need, ...]
    run: Run


GROUPS = (
    "health",
    "metadata",
    "ids",
    "data",
    "outputs",
    "malformed",
    "tolerance",
    "binary",
    "compression",
    "grpc_service",
    "grpc_data",
    "grpc_errors",
    "equivalence",
    "batching",
    "readiness",
    "repository",
    "cancellation",
)
"""The groups, in the order they run and print."""

CONTRACTS: dict[str, tuple[str, ...]] = {
    "sagemaker": (),
    "vertex": (),
    "azureml": (),
    "cloudrun": (),
    "lambda": (),
    "huggingface": (),
    "kserve": ("health", "metadata", "data", "grpc_service"),
    "mlflow": (),
    "openai": (),
}
"""What a cloud, or OpenAI's clients, ask of a container: its group, and the groups that are run beside it."""

CHECKS: dict[str, Check] = {}


def check(id: str, title: str, *, needs: tuple[Need, ...] = ()) -> Callable[[Run], Run]:
    """Register a check under the group that its id begins with."""

    def register(run: Run) -> Run:
        group = id.partition(".")[0]
        if group not in (*GROUPS, *CONTRACTS) or id in CHECKS:
            raise ValueError(f"check {id}: unknown group, or the id is taken")
        CHECKS[id] = Check(id, group, title, needs, run)
        return run

    return register
