"""Whose signatures count; and that nothing but what was signed is taken for it."""

import base64
import json
import random
from pathlib import Path

import pytest

from argosy.spec.errors import ArgosyError, BadSignature
from argosy.spec.signing import Signatures, Signer
from argosy.store.layout import Layout
from argosy.trust.bundle import BUNDLE, sign
from argosy.trust.keys import PrivateKey
from argosy.trust.policy import Signed, admit, admit_stored, beside, good, in_folder, judge, signers
from argosy.trust.statement import files_of, statement
from tests.store.samples import FILES, model_manifest, write_folder
from tests.trust.conftest import Authority, certificate, make_key, pem, write_key


@pytest.fixture
def ada(tmp_path: Path) -> PrivateKey:
    key = make_key()
    write_key(tmp_path / "ada.pem", key)
    return key


@pytest.fixture
def policy(tmp_path: Path, ada: PrivateKey) -> Signatures:
    signer = Signer(key=str(tmp_path / "ada.pub"), models=("digits", "dig-*"))
    return Signatures(signers={"ada": signer}, require=("digits", "prod-*"))


def test_what_has_to_be_signed_is_said_by_patterns(folder, policy, ada):
    def find():
        return in_folder(folder, "digits", beside(folder))

    assert not admit(policy, find, "other:1", "other")
    for model, endpoint in (("digits", ""), ("digits", "test"), ("dig-2", "prod-a")):
        with pytest.raises(BadSignature, match=f"x:1 is not signed.*ada may sign '{model}': argosy sign x:1 --key"):
            admit(policy, find, "x:1", model, endpoint)
    beside(folder).write_bytes(sign("digits", files_of(folder), ada))
    assert admit(policy, find, "digits:1", "digits")
    with pytest.raises(BadSignature, match=r"demands it of 'prod-a', and nobody may sign 'fraud'"):
        admit(policy, find, "fraud:1", "fraud", "prod-a")


def test_a_package_of_the_store(tmp_path, folder, policy, ada):
    layout = Layout(tmp_path / "store")
    digest = layout.put_folder(folder, manifest=model_manifest())
    with pytest.raises(BadSignature, match="digits:7 is not signed"):
        admit_stored(policy, layout, digest, "digits:7")
    for data in (b"no bundle", sign("digits", files_of(folder), make_key()), sign("digits", {"a": "0" * 64}, ada)):
        layout.attach(digest, BUNDLE, data, BUNDLE)
        with pytest.raises(BadSignature, match="digits:7 has no signature that counts"):
            admit_stored(policy, layout, digest, "digits:7")
    layout.attach(digest, BUNDLE, sign("digits", files_of(folder), ada), BUNDLE)
    assert admit_stored(policy, layout, digest, "digits:7")


def test_a_key_that_is_gone_counts_no_more(tmp_path, folder, policy, ada):
    beside(folder).write_bytes(sign("digits", files_of(folder), ada))
    (tmp_path / "ada.pub").unlink()
    with pytest.raises(BadSignature, match=r"there is no file .*/ada\.pub"):
        admit(policy, lambda: in_folder(folder, "digits", beside(folder)), "digits:1", "digits")


def test_an_authority_of_the_policy(tmp_path, folder):
    authority, key = Authority(), make_key()
    (tmp_path / "ca.pem").write_bytes(pem(authority.root))
    beside(folder).write_bytes(sign("digits", files_of(folder), key, authority.chain("ada", key)))
    for identity, counts in (("ada@example.org", True), ("eve@example.org", False), ("", True)):
        signer = Signer(authority=str(tmp_path / "ca.pem"), identity=identity)
        (found,) = judge(
            in_folder(folder, "digits", beside(folder)), signers(Signatures(signers={"release": signer}), "digits")
        )
        assert (found.signer == "release", found.by) == (counts, "ada@example.org")


def test_a_signature_of_nonsense_is_refused_and_told_in_plain_text(tmp_path, folder, policy):
    authority, key = Authority(), make_key()
    odd = certificate("ada\x1b[2J", key, ("issuer", authority.below))
    said = json.loads(sign("digits", files_of(folder), key, [odd, authority.issuer]))
    (found,) = judge(Signed(name="digits", files=files_of(folder), bundles={"a": json.dumps(said).encode()}), {})
    assert found.by == "ada?[2J@example.org"
    chain = said["verificationMaterial"]["x509CertificateChain"]["certificates"]
    whole = base64.b64decode(chain[0]["rawBytes"])
    for data in (b"", b"x", whole[:40], whole.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x3e")):
        chain[0]["rawBytes"] = base64.b64encode(data).decode()
        (found,) = judge(Signed(name="digits", files={}, bundles={"a": json.dumps(said).encode()}), {})
        assert "holds what is no certificate" in found.wrong


class Mutants:
    """Packages that are not what was signed: of each kind in turn, at random places."""

    def __init__(self, folder: Path, key: PrivateKey) -> None:
        self.folder, self.key, self.random = folder, key, random.Random(0)
        self.bundle = sign("digits", files_of(folder), key)
        self.other = sign("digits", files_of(folder) | {"LICENSE": "0" * 64}, key)

    def __call__(self, number: int) -> bytes:
        """Change the folder; the signature that goes with it."""
        kinds = (
            self.alter,
            self.add,
            self.remove,
            self.rename,
            self.swap,
            self.cut,
            self.field,
            self.said,
            self.stolen,
        )
        return kinds[number % len(kinds)]() or self.bundle

    def undo(self) -> None:
        """Make the folder what was signed."""
        for path in sorted(self.folder.rglob("*"), reverse=True):
            if path.is_file() and str(path.relative_to(self.folder)) not in FILES:
                path.unlink()
            elif path.is_dir() and not any(path.iterdir()):
                path.rmdir()
        write_folder(self.folder)

    def path(self) -> Path:
        return self.folder / self.random.choice(sorted(FILES))

    def alter(self) -> None:
        path = self.path()
        data = bytearray(path.read_bytes())
        data[self.random.randrange(len(data))] ^= 1 << self.random.randrange(8)
        path.write_bytes(data)

    def add(self) -> None:
        place = self.random.choice(["", "weights/", "golden/", "new/"])
        name = self.random.choice(["a.py", ".gitignore", "model.sig", f"{self.random.random()}"])
        write_folder(self.folder, {place + name: self.random.choice([b"", b"import os"])})

    def remove(self) -> None:
        self.path().unlink()

    def rename(self) -> None:
        path = self.path()
        path.rename(path.with_name(self.random.choice(["other", path.name + ".bak", path.name.swapcase()])))

    def swap(self) -> None:
        one, two = self.random.sample(sorted(FILES), 2)
        write_folder(self.folder, {one: FILES[two], two: FILES[one]})

    def cut(self) -> None:
        path = self.path()
        data = path.read_bytes()
        keep = self.random.randrange(len(data))
        path.write_bytes(self.random.choice([data[:keep], data + b"\0", data + data]))

    def field(self) -> bytes:
        """A bit of what was signed, of the signature or of the key's name; or another type."""
        said = json.loads(self.bundle)
        envelope, material = said["dsseEnvelope"], said["verificationMaterial"]["publicKey"]
        which = self.random.randrange(6)
        if which == 0:
            envelope["payload"] = self.flip(envelope["payload"])
        elif which == 1:
            envelope["signatures"][0]["sig"] = self.flip(envelope["signatures"][0]["sig"])
        elif which == 2:
            material["hint"] = "0" * 63 + self.random.choice("0123456789abcdef")
        elif which == 3:
            envelope["payloadType"] += " "
        elif which == 4:
            said["mediaType"] = said["mediaType"].replace("0.3", f"0.{self.random.randrange(3)}")
        else:
            part = self.random.choice([said, envelope])
            del part[self.random.choice(sorted(part))]
        return json.dumps(said).encode()

    def flip(self, text: str) -> str:
        data = bytearray(base64.b64decode(text))
        data[self.random.randrange(len(data))] ^= 1 << self.random.randrange(8)
        return base64.b64encode(data).decode()

    def said(self) -> bytes:
        """Other words in the envelope: files in another order, or those that an intruder has put there."""
        bundle = json.loads(self.bundle)
        said = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
        if self.random.random() < 0.5:
            self.random.shuffle(said["predicate"]["resources"])
            said["predicate"]["resources"].append(said["predicate"]["resources"].pop(0))
            payload = json.dumps(said).encode()
        else:
            self.alter()
            payload = statement("digits", files_of(self.folder))
        bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
        return json.dumps(bundle).encode()

    def stolen(self) -> bytes:
        """The right key's signature of another package, or another key's of this one."""
        if self.random.random() < 0.5:
            return self.other
        return sign("digits", files_of(self.folder), make_key())


@pytest.mark.slow
def test_a_thousand_mutants_are_refused(folder, policy, ada):
    mutants, place, counting = Mutants(folder, ada), beside(folder), signers(policy, "digits")

    def look() -> str:
        return good(judge(in_folder(folder, "digits", place), counting), "it").signer

    place.write_bytes(mutants.bundle)
    assert look() == "ada"
    seen: set[str] = set()
    for number in range(1000):
        place.write_bytes(mutants(number))
        with pytest.raises(BadSignature) as caught:
            look()
        seen.add(caught.value.message.rpartition(": ")[2])
        mutants.undo()
    place.write_bytes(mutants.bundle)
    assert look() == "ada"
    assert len(seen) > 20, "each is refused for a reason of its own"


def test_mutants_in_a_store_are_refused(tmp_path, folder, policy, ada):
    mutants, layout = Mutants(folder, ada), Layout(tmp_path / "store")
    refused = 0
    for number in range(36):
        bundle = mutants(number)
        try:
            digest = layout.put_folder(folder, manifest=model_manifest())
        except ArgosyError:  # without its weights or model.yaml it is no package
            digest = ""
        if digest:
            layout.attach(digest, BUNDLE, bundle, BUNDLE)
            with pytest.raises(BadSignature):
                admit_stored(policy, layout, digest, "digits:1")
            refused += 1
        mutants.undo()
    assert refused > 24
