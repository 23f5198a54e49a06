"""What a device checks before it loads an update: how long signatures take, how fast files are hashed, what is refused.

    python -m prove.verify --mutations 1000

Times are of the agent's own code. The signature: the platform's over the update, and a signer's over the files of the
package. Hashing: a folder with one large file against `openssl dgst -sha256` on that file, by turns; the best of each
counts, since load from elsewhere only takes. Mutations are of an update and its files: each has to be refused, by the
signature, by the state machine or by the hashes of the files. The exit status is 1 where something is missed.
"""

import argparse
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from argosy.edge import statement as platform
from argosy.edge import wire
from argosy.trust import bundle
from argosy_edge import signed
from argosy_edge.errors import AgentError
from argosy_edge.slots import verify
from argosy_edge.state import Asked, Content, State
from argosy_edge.transfer import hashed
from argosy_edge.update import decide
from argosy_edge.wire import Envelope, Update, WireError

MILLISECONDS, SPEED = 20.0, 0.9
FLEET, FLOOR = "cars", 7


class Refused(Exception):
    """The state machine takes no such update."""


class Signed:
    """A package on disk, and the update that a fleet's platform has signed for it."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        self.key, self.signer = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        random = np.random.default_rng(18)
        sizes = {"weights/model.onnx": size, "golden/inputs.oip": 4000, "golden/outputs.oip": 4000, "model.yaml": 900}
        for path, each in sizes.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(random.bytes(each))
        self.update = self.of(FLOOR + 1)
        self.envelope = self.seal(self.update)

    def of(self, index: int) -> wire.Update:
        paths = sorted(path for path in self.folder.rglob("*") if path.is_file())
        files = tuple(
            wire.UpdateFile(path=str(path.relative_to(self.folder)), size=path.stat().st_size, sha256=hashed(path))
            for path in paths
        )
        manifest = {"name": "m", "signature": {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]}}
        return wire.Update(
            fleet=FLEET, index=index, ref="m:3", package="sha256:" + "ab" * 32, files=files, manifest=manifest
        )

    def seal(self, update: wire.Update) -> Envelope:
        signed = bundle.sign("m", {each.path: each.sha256 for each in update.files}, self.signer)
        return msgspec.convert(msgspec.to_builtins(platform.seal(update, self.key, signed)), Envelope)

    def checked(self, envelope: Envelope) -> Update:
        keys, signers = ([_pem(key)] for key in (self.key, self.signer))
        return signed.check(envelope, FLEET, keys, signers)

    def taken(self, envelope: Envelope, folder: Path) -> None:
        """All that a device checks. Raises what it raises."""
        update = self.checked(envelope)
        before = Content(index=FLOOR, ref="m:2", package="sha256:" + "cd" * 32, envelope="")
        state = State(committed="a", free="b", slots={"a": before}, floor=FLOOR)
        if decide(Asked(update=update, envelope="e"), state)[0].step != "fetch":
            raise Refused(f"update {update.index} is older than {FLOOR}")
        verify(folder, update)


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _flipped(data: bytes, picked: random.Random) -> bytes:
    changed = bytearray(data)
    changed[picked.randrange(len(data))] ^= 1 << picked.randrange(8)
    return bytes(changed)


class Mutations:
    """Ways to alter an update. Each changes `folder`, a copy, or gives another envelope."""

    def __init__(self, signed: Signed, seed: int) -> None:
        self.signed, self.picked = signed, random.Random(seed)

    def manifest(self, folder: Path) -> Envelope:
        """What is signed, by a bit or by a field."""
        envelope, update = self.signed.envelope, self.signed.update
        if self.picked.random() < 0.5:
            return msgspec.structs.replace(envelope, payload=_flipped(envelope.payload, self.picked))
        names = [{"ref": "m:4"}, {"index": FLOOR + 9}, {"machines": ("x86_64",)}, {"payloads": 1.0}, {"manifest": {}}]
        changed = msgspec.structs.replace(update, **self.picked.choice(names))
        return msgspec.structs.replace(envelope, payload=msgspec.json.encode(changed))

    def signature(self, folder: Path) -> Envelope:
        """The signature, its key, or the signer's."""
        envelope, kind = self.signed.envelope, self.picked.randrange(4)
        if kind == 0:
            return msgspec.structs.replace(envelope, signature=_flipped(envelope.signature, self.picked))
        if kind == 1:
            return msgspec.structs.replace(envelope, bundle=b"")
        other = ec.generate_private_key(ec.SECP256R1())
        if kind == 2:
            files = {each.path: each.sha256 for each in self.signed.update.files}
            return msgspec.structs.replace(envelope, bundle=bundle.sign("m", files, other))
        forged = platform.seal(self.signed.update, other, envelope.bundle)
        return msgspec.structs.replace(envelope, signature=forged.signature)

    def weights(self, folder: Path) -> Envelope:
        """A bit of a file."""
        path = folder / self.picked.choice(self.signed.update.files).path
        path.write_bytes(_flipped(path.read_bytes(), self.picked))
        return self.signed.envelope

    def order(self, folder: Path) -> Envelope:
        """Two files in each other's place, on disk or in the list."""
        one, other = self.picked.sample(self.signed.update.files, 2)
        if self.picked.random() < 0.5:
            (folder / one.path).rename(folder / "aside")
            (folder / other.path).rename(folder / one.path)
            (folder / "aside").rename(folder / other.path)
            return self.signed.envelope
        places = {one.path: other, other.path: one}
        files = tuple(
            wire.UpdateFile(path=each.path, size=found.size, sha256=found.sha256)
            for each in self.signed.update.files
            for found in [places.get(each.path, each)]
        )
        changed = msgspec.structs.replace(self.signed.update, files=files)
        return msgspec.structs.replace(self.signed.envelope, payload=msgspec.json.encode(changed))

    def files(self, folder: Path) -> Envelope:
        """A file too many, too few, a link or an end that is missing."""
        path, kind = folder / self.picked.choice(self.signed.update.files).path, self.picked.randrange(4)
        if kind == 0:
            (path.parent / self.picked.choice((".hidden", "extra.py", "model.yaml.bak"))).write_bytes(b"")
        elif kind == 1:
            path.unlink()
        elif kind == 2:
            path.rename(folder.parent / "elsewhere")
            path.symlink_to(folder.parent / "elsewhere")
        else:
            path.write_bytes(path.read_bytes()[: -1 - self.picked.randrange(100)])
        return self.signed.envelope

    def replay(self, folder: Path) -> Envelope:
        """An older update, with all that was signed for it."""
        return self.signed.seal(self.signed.of(self.picked.randrange(FLOOR)))

    @property
    def kinds(self) -> dict[str, Callable[[Path], Envelope]]:
        return {each.__name__: each for each in (getattr(self, name) for name in KINDS)}


KINDS = ("manifest", "signature", "weights", "order", "files", "replay")


def mutations(folder: Path, count: int) -> tuple[Counter[str], list[str]]:
    """How many were refused of each kind, and what was taken."""
    signed = Signed(folder / "package", 20_000)
    signed.taken(signed.envelope, signed.folder)
    mutated, refused, taken = Mutations(signed, 18), Counter[str](), []
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        copy = shutil.copytree(signed.folder, folder / f"{number}" / "copy")
        envelope = mutated.kinds[kind](copy)
        try:
            signed.taken(envelope, copy)
            taken.append(f"{kind}, number {number}")
        except (AgentError, WireError, Refused):
            refused[kind] += 1
        shutil.rmtree(copy.parent)
    return refused, taken


def signature(folder: Path, rounds: int = 50) -> float:
    """The median of the milliseconds in which both signatures of an update are verified."""
    signed, times = Signed(folder / "signed", 20_000), []
    for _ in range(rounds):
        began = time.perf_counter()
        signed.checked(signed.envelope)
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def hashing(folder: Path, size: int, rounds: int = 7) -> tuple[float, float]:
    """Bytes a second of the device, and of openssl."""
    signed = Signed(folder / "large", size)
    times: dict[str, list[float]] = {"device": [], "openssl": []}
    command = ["openssl", "dgst", "-sha256", str(signed.folder / "weights" / "model.onnx")]
    update = msgspec.convert(msgspec.to_builtins(signed.update), Update)
    for _ in range(rounds):
        for name, work in (("device", lambda: verify(signed.folder, update)), ("openssl", lambda: _run(command))):
            began = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - began)
    return size / min(times["device"]), size / min(times["openssl"])


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True)


def prove(folder: Path, count: int, size: int) -> bool:
    """Whether all of it holds."""
    took = signature(folder)
    refused, taken = mutations(folder, count)
    goals = {
        f"both signatures in {took:.2f} ms": took <= MILLISECONDS,
        f"{refused.total():,} of {count:,} altered updates refused": refused.total() == count,
    }
    if shutil.which("openssl"):
        device, openssl = hashing(folder, size)
        goals[f"{device / 1e6:,.0f} MB/s hashed, {device / openssl:.2f} of openssl's"] = device >= SPEED * openssl
    else:
        print("skipped: openssl is not installed")
    for goal, met in goals.items():
        print(f"{'met   ' if met else 'missed'}  {goal}")
    print(*(f"        {kind}: {number} refused" for kind, number in refused.items()), sep="\n")
    print(*(f"        taken: {each}" for each in taken[:10]), sep="\n", end="\n" if taken else "")
    return all(goals.values())


def main() -> int:
    """0 where all holds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--mutations", type=int, default=1000)
    parser.add_argument("--megabytes", type=int, default=256)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pv") as folder:
        return 0 if prove(Path(folder), options.mutations, options.megabytes * 1_000_000) else 1


if __name__ == "__main__":
    sys.exit(main())
