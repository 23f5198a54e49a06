"""What a caller of the control API may make the platform read, write, call and tell: what its owner has set.

Checked when something is submitted or declared, and again when it is done: links, names and settings change.
"""

import os
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

import msgspec

from argosy.spec.allow import BUCKETS, Allow, bucket_parts, unsound
from argosy.spec.batch import BatchJob
from argosy.spec.errors import InvalidArgument, PermissionDenied
from argosy.spec.settings import Settings
from argosy.store.version import Reference

_WILD = re.compile(r"[*?\[]")


class Allowed(msgspec.Struct, frozen=True, kw_only=True):
    """What holds here. Unless `confined`, a caller is the user who runs the platform, and anything goes."""

    confined: bool = False
    allow: Allow = Allow()

    @classmethod
    def of(cls, settings: Settings) -> "Allowed":
        return cls(confined=settings.confined, allow=settings.allow)

    def check_job(self, job: BatchJob) -> None:
        """Raises PermissionDenied for places that are not allowed, InvalidArgument for a model that is neither a
        reference nor, where paths are allowed, an absolute path."""
        check_model(job.model, paths=not self.confined)
        for name, value in job.env.items():
            self.check_variable(value, f"the batch job's env.{name}")
        for text in job.inputs:
            self.check_place(text, "inputs", "the batch job's input", wild=True)
        self.check_place(job.output, "outputs", "the batch job's output")

    def check_place(self, text: str, field: str, what: str, *, wild: bool = False) -> None:
        """Raises PermissionDenied unless a path or address lies below one of the roots of this field of `allow`, links
        resolved. Where it may be `wild`, it is the folder above the first wildcard that has to."""
        parts = text.split("/")
        first = next((number for number, part in enumerate(parts) if wild and _WILD.search(part)), None)
        if not self.confined or (not unsound(text) and self.holds("/".join(parts[:first]), field)):
            return
        roots: Sequence[str] = getattr(self.allow, field)
        raise PermissionDenied(
            f"{what} '{text[:200]}' is not below {' or '.join(roots) or 'any place'}: callers of the control API name "
            f"only what allow.{field} in the platform's config.yaml says"
        )

    def holds(self, text: str, field: str) -> bool:
        """Whether a path or address lies below one of the roots of this field of `allow`, links resolved."""
        return not self.confined or any(_below(text, root) for root in getattr(self.allow, field))

    def check_url(self, url: str, what: str) -> None:
        """Raises PermissionDenied unless the URL is at one of `allow.hosts`."""
        parts = urlsplit(url)
        names = {parts.netloc} | ({parts.hostname or ""} if parts.port in (None, 80, 443) else set[str]())
        if self.confined and not names & {*self.allow.hosts}:
            raise PermissionDenied(
                f"{what} '{url[:200]}' is at no host that allow.hosts in the platform's config.yaml names"
            )

    def check_variable(self, text: str, where: str) -> None:
        """Raises PermissionDenied where a reference `$NAME` names a variable that no program may be given."""
        self.check_known(text, where)
        if self.confined and text.startswith("$") and self.allow.recipients(text[1:]):
            raise PermissionDenied(
                f"{where}: {text[:80]} may not be used: allow.secrets in the platform's config.yaml names hosts that "
                "it may be sent to, so it is given to no model, batch job or command: these refer to one without hosts"
            )

    def check_known(self, text: str, where: str) -> None:
        """Raises PermissionDenied where a reference `$NAME` names a variable that may not be told to anybody."""
        if self.confined and text.startswith("$") and self.allow.recipients(text[1:]) is None:
            raise PermissionDenied(
                f"{where}: {text[:80]} may not be used: declarations refer to the variables that allow.secrets in the "
                "platform's config.yaml names, and to no others"
            )


def check_model(model: str, *, paths: bool) -> None:
    """Raises InvalidArgument for a model that is no reference of the registry, and no absolute path where `paths` are
    taken."""
    if paths and os.path.isabs(model):
        return
    try:
        Reference.parse(model)
    except InvalidArgument as error:
        also = "" if paths else ": it is named as name:version, name@alias or by its digest, and never by a path"
        raise InvalidArgument(f"model: {error.message}{also}") from None


def _below(text: str, root: str) -> bool:
    if root.startswith(BUCKETS):
        wanted, found = bucket_parts(root), bucket_parts(text)
        return found[: len(wanted)] == wanted
    if not text.startswith("/") or unsound(text):
        return False
    top, path = os.path.realpath(root), os.path.realpath(text)
    return path == top or path.startswith(f"{top.rstrip('/')}/")
