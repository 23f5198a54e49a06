"""What the registry answers: versions, models, and the references that name them."""

import re

import msgspec

from argosy.spec.endpoint import check_name
from argosy.spec.errors import InvalidArgument
from argosy.spec.package import Lineage, ModelManifest

MAX_NUMBER = 2**31 - 1

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Trust(msgspec.Struct, frozen=True, kw_only=True):
    """Who said that a package may run code, when (UTC, ISO 8601), and what the scan had said against it."""

    by: str
    at: str
    objections: tuple[str, ...] = ()


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """A package under a name. `size` is bytes, `created` UTC in ISO 8601, `aliases` those that point here. `trust`:
    who vouched in this store that it may run code of its author, None where nobody did."""

    name: str
    number: int
    digest: str
    size: int
    created: str
    manifest: ModelManifest
    lineage: Lineage
    aliases: tuple[str, ...] = ()
    trust: Trust | None = None

    @property
    def ref(self) -> str:
        """`name:number`."""
        return f"{self.name}:{self.number}"

    @property
    def engine(self) -> str:
        """The engine of its package."""
        return self.manifest.engine


class Moved(Version, frozen=True, kw_only=True):
    """The version that an alias points at now. `before` is the number it pointed at until then, None where it was new
    or pointed there already; `back`: it moved to a lower one, or to one it had before."""

    before: int | None = None
    back: bool = False


class ModelSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A name with what is under it: its latest number, how many versions, alias → number. Times UTC in ISO 8601."""

    name: str
    latest: int
    versions: int
    aliases: dict[str, int]
    created: str
    updated: str


class AliasMove(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the ledger: at `moved` (UTC, ISO 8601) the alias came to point at `number`, or at nothing."""

    name: str
    alias: str
    number: int | None
    moved: str


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """`name`, `name:number`, `name@alias` or `sha256:…`, taken apart."""

    name: str = ""
    number: int | None = None
    alias: str = ""
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """Raises InvalidArgument, saying what was meant where that can be told."""
        if _DIGEST.fullmatch(text):
            return cls(digest=text)
        if "@" in text:
            name, _, alias = text.partition("@")
            return cls(name=check_name(name, "model name"), alias=check_name(alias, "alias"))
        name, colon, number = text.partition(":")
        check_name(name, "model name")
        if not colon:
            return cls(name=name)
        if number.isascii() and number.isdecimal() and len(number) <= 10 and 1 <= int(number) <= MAX_NUMBER:
            return cls(name=name, number=int(number))
        hint = f"; an alias is written '{name}@{number[:63]}'" if number[:1].isalpha() else ""
        raise InvalidArgument(f"'{number[:80]}' is no version number of '{name}': versions are 1, 2, 3 …{hint}")
