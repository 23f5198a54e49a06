"""Who a device is: a key that it made and that never leaves it, and what it was told when it enrolled.

    key.pem        the key, P-256, for the owner of the folder alone
    device.json    name, fleet, whose updates count, and how the platform is reached
    ratchet        what the last session gave

The token by which it enrolled is nowhere: it is not needed again.
"""

import os
import platform
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from argosy_edge import __version__, durable, signed, statement
from argosy_edge.errors import BadPackage, InvalidArgument, NotFound, PermissionDenied
from argosy_edge.wire import Enrolled, Envelope, Facts, KeySet


class Platform(msgspec.Struct, frozen=True, kw_only=True):
    """How the platform is reached. Where `authority` (PEM) is given, it is believed and no other; `plain`: HTTP is
    meant, in a network that encrypts."""

    url: str
    authority: str = ""
    plain: bool = False


class _File(msgspec.Struct, frozen=True, kw_only=True):
    enrolled: Enrolled
    platform: Platform


class Identity:
    """The identity in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key: ec.EllipticCurvePrivateKey | None = None
        self._known: _File | None = None

    @property
    def enrolled(self) -> Enrolled | None:
        """Whom the platform says it is; None before it is enrolled. Raises BadPackage for a file that is damaged."""
        found = self._file()
        return found.enrolled if found else None

    @property
    def platform(self) -> Platform:
        """How its platform is reached. Raises NotFound before it is enrolled."""
        if (found := self._file()) is None:
            raise NotFound(f"{self.folder} holds no device: run  argosy-edge enrol")
        return found.platform

    def _file(self) -> _File | None:
        path = self.folder / "device.json"
        if self._known is None:
            try:
                self._known = msgspec.json.decode(path.read_bytes(), type=_File)
            except FileNotFoundError:
                return None
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise BadPackage(f"{path} is damaged: {error}; enrol the device anew in another folder") from None
        return self._known

    @property
    def public_key(self) -> str:
        """The public half of the key, in PEM; the key is made if there is none. Raises PermissionDenied, OSError."""
        return statement.pem(self._private().public_key())

    def sign(self, data: bytes) -> bytes:
        """The key's signature. Raises PermissionDenied, OSError."""
        return self._private().sign(data, ec.ECDSA(hashes.SHA256()))

    def _private(self) -> ec.EllipticCurvePrivateKey:
        if self._key is None:
            self._key = self._read() or self._make()
        return self._key

    def _read(self) -> ec.EllipticCurvePrivateKey | None:
        path = self.folder / "key.pem"
        try:
            if path.stat().st_mode & 0o077:
                raise PermissionDenied(
                    f"others can read {path}, who are this device then: remove the folder and enrol it anew, and have "
                    "the old one revoked (argosy fleet revoke)"
                )
            key = load_pem_private_key(path.read_bytes(), None)
        except FileNotFoundError:
            return None
        except ValueError:
            key = None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise BadPackage(f"{path} is no key of a device: remove the folder and enrol it anew")
        return key

    def _make(self) -> ec.EllipticCurvePrivateKey:
        """A new key, on the disk before anybody hears of it."""
        if self._file() is not None:
            raise NotFound(f"the key in {self.folder} is gone: remove the folder and enrol the device anew")
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        durable.sync_folder(self.folder.parent)
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        durable.write(self.folder / "key.pem", pem, 0o600)
        return key

    def keep(self, enrolled: Enrolled, platform: Platform) -> None:
        """It is enrolled. Raises InvalidArgument for keys that cannot be read, OSError."""
        try:
            for pem in enrolled.keys:
                statement.public_key(pem)
        except statement.BadStatement as error:
            raise InvalidArgument(f"the platform's keys for updates: {error}") from None
        found = _File(enrolled=enrolled, platform=platform)
        durable.write(self.folder / "device.json", msgspec.json.encode(found))
        self._known = found

    def believe(self, sets: Sequence[Envelope]) -> None:
        """Take over the keys for updates that followed, each set by the signature of the one before. Raises
        BadStatement, OSError."""
        enrolled = self.enrolled
        if not sets or enrolled is None:
            return
        found = signed.renewed(KeySet(number=enrolled.number, keys=enrolled.keys), sets)
        self.keep(msgspec.structs.replace(enrolled, number=found.number, keys=found.keys), self.platform)

    @property
    def ratchet(self) -> str:
        """What the last session gave; empty before the first."""
        try:
            return (self.folder / "ratchet").read_text("ascii")
        except FileNotFoundError:
            return ""

    @ratchet.setter
    def ratchet(self, text: str) -> None:
        durable.write(self.folder / "ratchet", text.encode("ascii"))


def facts(folder: Path) -> Facts:
    """What this machine is; `folder` is on the disk that counts."""
    import onnxruntime  # takes a while, and most commands do without

    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        free = 0
    return Facts(
        machine=platform.machine()[:32],
        agent=__version__,
        python=platform.python_version()[:32],
        onnxruntime=str(getattr(onnxruntime, "__version__", ""))[:32],
        memory=pages * size,
        disk=free,
    )
