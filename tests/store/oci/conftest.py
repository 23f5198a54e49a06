"""Registries: Debian's, with TLS and a login, and one that misbehaves as it is told."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.store.oci.live import Registry


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Debian's docker-registry behind TLS and a login."""
    running = Registry(tmp_path_factory.mktemp("registry") / "r")
    try:
        yield running.ready()
    finally:
        running.stop()


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No logins but those that a test makes. Returns the folder that stands in for ~/.docker."""
    for name in ("REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "SSL_CERT_FILE", "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    return tmp_path / "docker"
