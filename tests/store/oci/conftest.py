"""Registries: Debian's, with TLS and a login, and one that misbehaves as it is told."""

from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest

from argosy.store import objects
from argosy.store.layout import Layout
from argosy.store.oci.transfers import Transfers
from argosy.store.store import LINEAGE
from tests.store.oci.fake import Fake
from tests.store.oci.live import Registry, running
from tests.store.samples import model_manifest


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Debian's docker-registry behind TLS and a login."""
    with running(tmp_path_factory.mktemp("registry") / "r") as found:
        yield found


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No logins but those that a test makes. Returns the folder that stands in for ~/.docker."""
    for name in ("REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "SSL_CERT_FILE", "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    return tmp_path / "docker"


@pytest.fixture
def fake() -> Iterator[Fake]:
    with Fake() as running:
        yield running


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> obstore.store.MemoryStore:
    """What stands in for every bucket: a store in this process."""
    found = obstore.store.MemoryStore()
    monkeypatch.setattr(objects, "store", lambda bucket, retries=0: found)
    return found


@pytest.fixture
def moves(tmp_path: Path) -> Transfers:
    return Transfers(tmp_path / "moves")


@pytest.fixture
def package(layout: Layout, folder: Path) -> str:
    """The digest of a package in `layout`, to which two things refer."""
    digest = layout.put_folder(folder, manifest=model_manifest())
    layout.attach(digest, LINEAGE, b"{}", LINEAGE)
    layout.attach(digest, "application/x-note", b"a note", "text/plain")
    return digest
