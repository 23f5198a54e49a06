"""A blob on its way: chunks that are lost, refused or too small, and a push that was killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from argosy.spec.errors import InvalidArgument, Unavailable
from argosy.store.layout import Layout
from argosy.store.manifest import describe
from argosy.store.oci import reference, upload
from argosy.store.oci.client import Client
from argosy.store.oci.credentials import Credential
from argosy.store.oci.push import Folder, push
from argosy.store.oci.repository import Repository
from argosy.store.oci.transfers import Transfers, Upload
from argosy.store.oci.upload import Uploader
from tests.store.oci.fake import Fake
from tests.store.oci.live import PASSWORD, USER, Registry
from tests.store.oci.test_client import client_of
from tests.store.samples import model_manifest

DATA = bytes(range(250)) * 40
BLOB = describe("application/octet-stream", DATA)


class Bytes:
    """One blob, from memory."""

    def read(self, blob, start, length):
        yield DATA[start : start + length]


def send(fake: Fake, moves: Transfers, chunk: int) -> bool:
    with client_of(fake) as client:
        return Uploader(client, "models/x", Bytes(), moves, chunk=chunk).send(BLOB)


def patched(fake: Fake) -> list[str]:
    return [each.headers["content-range"] for each in fake.sent("PATCH")]


def test_one_request_or_chunks(fake: Fake, moves: Transfers):
    assert send(fake, moves, 10_000)
    assert not fake.sent("PATCH")
    assert not send(fake, moves, 10_000)
    fake.blobs.clear()
    assert send(fake, moves, 4_000)
    assert patched(fake) == ["0-3999", "4000-7999", "8000-9999"]
    assert fake.blobs == {BLOB.digest: DATA}
    assert moves.upload(f"{fake.host}/models/x", BLOB.digest) is None


def test_a_chunk_is_at_least_what_the_registry_wants(fake: Fake, moves: Transfers):
    fake.least = "6000"
    send(fake, moves, 1_000)
    assert patched(fake) == ["0-5999", "6000-9999"]


def test_a_chunk_that_is_too_large_is_sent_smaller(fake: Fake, moves: Transfers, monkeypatch):
    monkeypatch.setattr(upload, "SMALL", 2_500)
    fake.most_patch = 3_000
    send(fake, moves, 9_000)
    assert patched(fake) == ["0-8999", "0-2499", "2500-4999", "5000-7499", "7500-9999"]


def test_a_registry_that_takes_nothing(fake: Fake, moves: Transfers):
    fake.most_patch = 1
    with pytest.raises(Unavailable, match="takes no more than 0 of 10000 bytes"):
        send(fake, moves, 9_000)


def test_an_answer_that_is_lost(fake: Fake, moves: Transfers):
    fake.lost = [2]
    send(fake, moves, 4_000)
    assert patched(fake) == ["0-3999", "4000-7999", "8000-9999"]


def test_an_upload_that_was_left_goes_on(fake: Fake, moves: Transfers):
    place = f"{fake.host}/models/x"
    fake.uploads["old"] = bytearray(DATA[:3_000])
    moves.save(place, BLOB.digest, Upload("/v2/models/x/blobs/uploads/old?state=a%3D", 1_000))
    send(fake, moves, 4_000)
    assert patched(fake) == ["3000-6999", "7000-9999"]
    fake.blobs.clear()
    moves.save(place, BLOB.digest, Upload("/v2/models/x/blobs/uploads/gone?state=a%3D", 1_000))
    send(fake, moves, 10_000)
    assert fake.blobs == {BLOB.digest: DATA}


def test_an_upload_that_has_other_bytes_is_not_gone_on_with_twice(fake: Fake, moves: Transfers):
    place = f"{fake.host}/models/x"
    fake.uploads["old"] = bytearray(b"x" * 3_000)
    moves.save(place, BLOB.digest, Upload("/v2/models/x/blobs/uploads/old?state=a%3D", 3_000))
    with pytest.raises(InvalidArgument, match="DIGEST_INVALID other bytes"):
        send(fake, moves, 4_000)
    assert send(fake, moves, 4_000)
    assert fake.blobs == {BLOB.digest: DATA}


def test_transfers_keep_what_was_seen_within_bounds(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("argosy.store.oci.transfers.MOST_KNOWN", 3)
    moves = Transfers(tmp_path / "m")
    moves.seen("registry.example", "one", ["a", "b"])
    moves.seen("registry.example", "two", ["b", "c", "d"])
    assert [moves.repository("registry.example", each) for each in "abcd"] == ["", "two", "two", "two"]
    assert not moves.repository("other.example", "b")


KILLED = """
import sys
from pathlib import Path
import threading
from argosy.store.layout import Layout
from argosy.store.oci import reference
from argosy.store.oci.client import Client
from argosy.store.oci.credentials import Credential
from argosy.store.oci.push import Folder, push
from argosy.store.oci.repository import Repository
from argosy.store.oci.transfers import Transfers

host, ca, root, digest, moves = sys.argv[1:]

class Stops(Folder):
    def read(self, blob, start, length):
        if start >= 1_000_000:
            print("stopped", flush=True)
            threading.Event().wait()
        return super().read(blob, start, length)

with Client(host, ca=Path(ca), credential=Credential("ada", "s3cret")) as client:
    place = reference.parse(f"{host}/killed/push:1")
    remote = Repository(client.probe(), chunk=250_000)
    push(remote, place, Layout(Path(root)).descriptor(digest), Stops(Path(root)), Transfers(Path(moves)))
"""


def test_a_push_that_is_killed_goes_on_in_the_middle_of_a_blob(
    registry: Registry, tmp_path: Path, layout: Layout, folder: Path
):
    (folder / "weights" / "model.onnx").write_bytes(os.urandom(2_000_000))
    digest = layout.put_folder(folder, manifest=model_manifest())
    words = [sys.executable, "-c", KILLED, registry.host, registry.ca, str(layout.root), digest, str(tmp_path / "m")]
    child = subprocess.Popen(words, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"stopped\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    lines: list[str] = []
    place = reference.parse(f"{registry.host}/killed/push:1")
    credential = Credential(USER, PASSWORD)
    with Client(registry.host, ca=Path(registry.ca), credential=credential, report=lines.append) as client:
        moves = Transfers(tmp_path / "m")
        remote = Repository(client.probe(), chunk=250_000)
        done = push(remote, place, layout.descriptor(digest), Folder(layout.root), moves)
    assert lines[0].endswith("at 1,000,000 of 2,000,000 bytes")
    assert done.digest == digest
