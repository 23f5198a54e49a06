"""Which revision a declaration means."""

import hashlib
from typing import Any

import msgspec

from argosy.engines.language.process import ENGINES
from argosy.spec.endpoint import Endpoint, Runtime
from argosy.spec.language import Language
from argosy.spec.revision import Revision
from argosy.store.version import Version


def revision_of(endpoint: Endpoint, version: Version) -> Revision:
    """The revision that serves `version` as `endpoint` declares it: the same bytes and settings give the same id.

    The endpoint and the version's name are part of it, since replicas answer to the one and report the other.
    """
    target = endpoint.target or "local"
    what = (endpoint.name, version.ref, version.digest, _facts(endpoint.runtime), endpoint.resources)
    about = version.manifest.language
    language = (endpoint.language or Language()) if about and (about.kind == "generator" or endpoint.shares) else None
    what = what if target == "local" else (*what, target)
    if language is not None and language.adapters and live(target, version.manifest.engine):
        what = (*what, msgspec.structs.replace(language, adapters=("any:1",)))  # it has to be started for them
    elif language is not None:
        what = (*what, language)
    return Revision(
        id=hashlib.sha256(msgspec.json.encode(what)).hexdigest()[:10],
        endpoint=endpoint.name,
        model=version.name,
        version=str(version.number),
        digest=version.digest,
        runtime=endpoint.runtime,
        resources=endpoint.resources,
        target=target,
        language=language,
        engine=version.manifest.engine if language is not None else "",
        encodes=about is not None and about.kind in ("encoder", "reranker"),
    )


def live(target: str, engine: str) -> bool:
    """Whether replicas there load and unload adapters as they run, so that these are no part of a revision's id."""
    return target == "local" and not ENGINES[engine].numbers


LATER = ("env", "network", "subprocesses", "sandbox", "strict")
"""Fields of `Runtime` that revisions without them have no trace of: those of before go on under the same id."""


def _facts(runtime: Runtime) -> dict[str, Any]:
    facts: dict[str, Any] = msgspec.to_builtins(runtime, order="deterministic")
    plain: dict[str, Any] = msgspec.to_builtins(Runtime())
    return {name: value for name, value in facts.items() if name not in LATER or value != plain[name]}
