"""Settings of scaling policies: those that are tried, and in words."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from argosy.capacity.autoscale import Autoscale
from argosy.capacity.policy import Policy
from argosy_simulators.baselines.static import Static


def grid(**choices: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """Every combination of the choices."""
    for values in itertools.product(*choices.values()):
        yield dict(zip(choices, values, strict=True))


def setting(policy: Policy[Any] | None) -> str:
    """What differs from the defaults."""
    if policy is None:
        return ""
    parts: list[Any] = [policy.scaling, policy] if isinstance(policy, Autoscale) else [policy]
    changed: list[str] = []
    for part in parts:
        fields: tuple[str, ...] = type(part).__struct_fields__
        names = [name for name in fields if name not in ("interval", "scaling", "max")]
        default = None if isinstance(part, Static) else type(part)()
        changed += [f"{n} {getattr(part, n):g}" for n in names if getattr(part, n) != getattr(default, n, None)]
    return ", ".join(changed)
