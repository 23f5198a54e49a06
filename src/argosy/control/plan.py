"""What a declaration would change: field by field, and what that leads to. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, cast

import msgspec

from argosy.control.keys import KeyStep
from argosy.control.revision import revision_of
from argosy.spec.endpoint import Endpoint
from argosy.spec.secret import masked
from argosy.store.endpoints import Declared
from argosy.store.version import Version

Action = Literal["nothing", "create", "revision", "scale", "settings"]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One field. `old` and `new` are as in the declaration; nothing of it is there on one side: None."""

    field: str
    old: Any = None
    new: Any = None

    def __str__(self) -> str:
        return f"{self.field}: {_shown(self.old)} → {_shown(self.new)}"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What would happen: `create` an endpoint, roll out a new `revision`, `scale` the one there is, change `settings`
    or API `keys`, which need no new replica, or `nothing`. `generation` is the one that was compared with; 0: there is
    none yet.
    """

    name: str
    action: Action
    changes: tuple[Change, ...]
    generation: int
    version: str
    digest: str
    revision: str
    keys: tuple[KeyStep, ...] = ()


def difference(old: Endpoint | None, new: Endpoint) -> tuple[Change, ...]:
    """The fields in which two declarations differ, in the order of the declaration. Defaults count as given. What may
    be a secret in a value is hidden."""
    before = dict(_fields(msgspec.to_builtins(old))) if old else {}
    after = dict(_fields(msgspec.to_builtins(new)))
    if old is None:
        plain = dict(_fields(msgspec.to_builtins(Endpoint(name=new.name, model=new.model))))
        return tuple(
            _change(field, None, value)
            for field, value in after.items()
            if field in ("name", "model") or plain.get(field) != value
        )
    return tuple(
        _change(field, before.get(field), after.get(field))
        for field in dict.fromkeys((*after, *before))
        if before.get(field) != after.get(field)
    )


def _change(field: str, old: Any, new: Any) -> Change:
    return Change(**masked({"field": field, "old": old, "new": new}))


def plan(declared: Declared | None, new: Endpoint, version: Version, keys: tuple[KeyStep, ...] = ()) -> Plan:
    """From what is `declared` to what `new` with its resolved `version` asks, and what happens to `keys` for that."""
    wanted, changes = revision_of(new, version), difference(declared and declared.endpoint, new)
    same = declared is not None and wanted.id == declared.revision
    if declared is not None and not same and not changes:
        changes = (Change(field="version", old="", new=version.ref),)
    if declared is None:
        action: Action = "create"
    elif not same:
        action = "revision"
    elif any(each.field.partition(".")[0] == "replicas" for each in changes):
        action = "scale"
    else:
        action = "settings" if changes or keys else "nothing"
    return Plan(
        name=new.name,
        action=action,
        changes=changes,
        generation=declared.generation if declared else 0,
        version=version.ref,
        digest=version.digest,
        revision=wanted.id,
        keys=keys,
    )


def _fields(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested mappings as `runtime.threads` → value; lists are leaves."""
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _fields(cast("Mapping[str, Any]", inner), f"{path}{key}.")
        else:
            yield f"{path}{key}", list(cast("tuple[Any, ...]", inner)) if isinstance(inner, tuple) else inner


def _shown(value: Any) -> str:
    return "-" if value is None else msgspec.json.encode(value).decode() if not isinstance(value, str) else value
