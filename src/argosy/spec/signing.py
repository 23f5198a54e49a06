"""Who may sign packages, and what has to be signed: the section `signatures` of `config.yaml`."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from msgspec import field

from argosy.spec.endpoint import check_name
from argosy.spec.strict import Declaration, require


def matches(patterns: Iterable[str], *names: str) -> bool:
    """Whether a pattern (`*`, `?`, `[…]`, as of a shell) is one of the names."""
    return any(name and fnmatchcase(name, pattern) for pattern in patterns for name in names)


class Signer(Declaration, frozen=True, kw_only=True):
    """Who may sign the models that match `models`: whoever has the private key to `key`, or a certificate for
    `identity` (an e-mail address, URI or DNS name; empty: for anybody) that leads to one of `authority`. Both are PEM
    files, by absolute path."""

    models: tuple[str, ...] = ("*",)
    key: str = ""
    authority: str = ""
    identity: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        path = self.key or self.authority
        checks = {
            "a signer has either a key or an authority": bool(self.key) != bool(self.authority),
            "identity is that of a certificate: set authority as well": not self.identity or bool(self.authority),
            f"'{path[:80]}' must be the absolute path of a PEM file": path.startswith("/"),
        }
        require("signatures.signers: ", checks)


class Signatures(Declaration, frozen=True, kw_only=True):
    """Which endpoints and models run signed packages only: those that match a pattern of `require`. `signers` are those
    whose signatures count, by a name; they stand in the file alone."""

    signers: dict[str, Signer] = field(default_factory=dict[str, Signer])
    require: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.signers:
            check_name(name, "signatures.signers: the name of a signer")
