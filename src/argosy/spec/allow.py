"""What the owner of a platform lets callers of its control API name: files, hosts, variables."""

import re
from collections.abc import Sequence

import msgspec

from argosy.spec.errors import InvalidArgument
from argosy.spec.secret import VARIABLE

BUCKETS = ("s3://", "gs://", "az://")
"""What the addresses of objects begin with."""
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"({_LABEL}(\.{_LABEL})*|\[[0-9a-f:.]+\])(:(?P<port>[0-9]{{1,5}}))?")


class Allow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a caller of the control API may name of this machine and its surroundings; set in the file or environment.

    `inputs` and `outputs` are the places that batch jobs read and write, `references` where the files of
    `monitor.reference` lie: absolute folders, of the first two also `s3://bucket/prefix` (or `gs://`, `az://`); what
    lies below is meant.
    `hosts` are those that webhooks of triggers may call, as in `ci.example.org` (ports 80 and 443) or
    `ci.example.org:8443`. `secrets` are variables of the platform's environment that a declaration may refer to by
    `$NAME`, each with those of `hosts` that a webhook may send it to (a list, or one text with spaces between): to no
    other, and into the environment of no program. One without hosts is for programs of this machine alone: models,
    batch jobs and commands.

    As long as nothing is set and the API is not open to other machines (`control.expose`), a caller is the user who
    runs the platform, and may name anything. Otherwise what is not set here may not be named.
    """

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    secrets: dict[str, tuple[str, ...] | str] | tuple[str, ...] = {}

    def __post_init__(self) -> None:
        for field in ("inputs", "outputs", "references"):
            for text in getattr(self, field):
                _check_root(f"allow.{field}", text, remote=field != "references")
        for text in self.hosts:
            found = _HOST.fullmatch(text)
            if found is None or not 1 <= int(found["port"] or 1) <= 65535:
                raise InvalidArgument(
                    f"allow.hosts: '{text[:80]}' is no host: write ci.example.org, ci.example.org:8443 or [fd00::1]:80 "
                    "in lower case, without a scheme or path"
                )
        _check_secrets(self)

    def recipients(self, name: str) -> Sequence[str] | None:
        """The hosts that the variable of this name may be sent to; None where declarations may not refer to it."""
        found = self.secrets.get(name) if isinstance(self.secrets, dict) else None
        return found.split() if isinstance(found, str) else found


def _check_secrets(allow: Allow) -> None:
    if wrong := next((each for each in allow.secrets if not VARIABLE.fullmatch(each)), None):
        raise InvalidArgument(f"allow.secrets: '{wrong[:80]}' is no name of a variable: write it without the $")
    if isinstance(allow.secrets, tuple) and allow.secrets:
        first = allow.secrets[0]
        raise InvalidArgument(
            f"allow.secrets must say for each variable where it may go: instead of [{first}, …] write "
            f"secrets: {{{first}: [ci.example.org]}} with the hosts of allow.hosts that webhooks may send it to, or "
            f"{{{first}: []}} where it is for models, batch jobs and commands on this machine"
        )
    for name in allow.secrets:
        if odd := next((each for each in allow.recipients(name) or () if each not in allow.hosts), None):
            raise InvalidArgument(f"allow.secrets.{name}: '{odd[:80]}' is none of allow.hosts: write it there as well")


def _check_root(where: str, text: str, *, remote: bool) -> None:
    good = (
        bool(bucket_parts(text)) if remote and text.startswith(BUCKETS) else text.startswith("/") and not unsound(text)
    )
    if not good:
        also = " or s3://bucket/prefix" if remote else ""
        raise InvalidArgument(f"{where}: '{text[:80]}' must be the absolute path of a folder{also}, without '..'")


def unsound(path: str) -> bool:
    """Whether a path holds parts that lead elsewhere than they read: `..`, `.`, a second leading slash, control
    characters."""
    return path.startswith("//") or not path.isprintable() or any(part in (".", "..") for part in path.split("/"))


def bucket_parts(text: str) -> list[str]:
    """Scheme, bucket and key of an address such as `s3://bucket/key`, by parts; none for what is no plain address."""
    scheme, separator, rest = text.partition("://")
    if scheme + separator not in BUCKETS or unsound(rest):
        return []
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{1,62}", rest.split("/")[0]):
        return []
    return [scheme, *(part for part in rest.split("/") if part)]
