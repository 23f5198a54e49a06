"""Names of content elsewhere: `host[:port]/repository[:tag][@digest]` in a registry, `s3://bucket/prefix[:tag][@digest]`
in a bucket.

Sources: OCI distribution-spec 1.1 (grammar of repositories and tags), as other tools read references. A host is never
assumed: a name without one is refused.
"""

import re

import msgspec

from argosy.spec.allow import BUCKETS
from argosy.spec.errors import InvalidArgument
from argosy.store.manifest import check_digest

MAX_REPOSITORY = 255
EXAMPLE = "registry.example/models/digits:1"

_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::[0-9]{1,5})?")
_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,62}")
_PREFIX = re.compile(r"[A-Za-z0-9_](?:[._-]*[A-Za-z0-9_])*(?:/[A-Za-z0-9_](?:[._-]*[A-Za-z0-9_])*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


class RemoteReference(msgspec.Struct, frozen=True):
    """A repository of a registry, or a prefix of a bucket (its host is "s3://bucket"), and in it a tag, a digest
    ("sha256:…"), both or neither."""

    host: str
    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        tag, digest = self.tag and f":{self.tag}", self.digest and f"@{self.digest}"
        return f"{self.host}/{self.repository}{tag}{digest}"

    @property
    def place(self) -> str:
        return f"{self.host}/{self.repository}"

    @property
    def in_bucket(self) -> bool:
        return self.host.startswith(BUCKETS)

    @property
    def name(self) -> str:
        """What is asked for: the digest, if there is one."""
        return self.digest or self.tag

    def with_tag(self, tag: str) -> "RemoteReference":
        """The same repository at another tag. Raises InvalidArgument for what is no tag."""
        if not _TAG.fullmatch(tag):
            raise InvalidArgument(f"'{tag[:80]}' is no tag: letters, digits, '_', '.' and '-', at most 128")
        return RemoteReference(self.host, self.repository, tag)


def parse(text: str) -> RemoteReference:
    """`registry.example/models/digits:1`, `s3://bucket/models/digits:1` → reference. Raises InvalidArgument, which says
    which part is wrong."""
    rest, at, digest = text.partition("@")
    bucket = text.startswith(BUCKETS)
    scheme, _, rest = rest.rpartition("://") if bucket else ("", "", rest)
    host, slash, path = rest.partition("/")
    if not bucket and (not slash or not ("." in host or ":" in host or host == "localhost")):
        raise InvalidArgument(f"'{text[:200]}' names no registry: begin with its host, as in {EXAMPLE}")
    repository, colon, tag = path.partition(":")
    if bucket and not _BUCKET.fullmatch(host):
        raise InvalidArgument(f"'{host[:80]}' in '{text[:200]}' is no bucket: write {scheme}://BUCKET/PREFIX:TAG")
    host = f"{scheme}://{host}" if bucket else check_host(host)
    reference = RemoteReference(host, repository, tag, check_digest(digest) if at else "")
    if len(repository) > MAX_REPOSITORY or not (_PREFIX if bucket else _REPOSITORY).fullmatch(repository):
        raise InvalidArgument(
            f"'{repository[:80]}' in '{text[:200]}' is no {'prefix' if bucket else 'repository'}: "
            f"{'' if bucket else 'lower-case '}letters and digits, with '.', '_', '-' between them and '/' between "
            f"parts, at most {MAX_REPOSITORY}"
        )
    if colon:
        reference.with_tag(tag)
    return reference


def check_host(host: str) -> str:
    """Raise InvalidArgument unless this is a host name or an address, with or without a port."""
    port = host.rpartition(":")[2]
    if not _HOST.fullmatch(host) or (port != host and port.isdecimal() and not 0 < int(port) < 65536):
        raise InvalidArgument(f"'{host[:80]}' is no host of a registry: write HOST or HOST:PORT, without https://")
    return host


def is_loopback(host: str) -> bool:
    """Whether a host, with or without a port, can only be this machine."""
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    return name in ("localhost", "[::1]") or re.fullmatch(r"127(?:\.[0-9]{1,3}){3}", name) is not None
