"""The blocks of docs/guides/signing.md, run as a reader would."""

import json
from pathlib import Path

import pytest

from tests.docs import page
from tests.programs import need
from tests.store.oci.live import Registry


@pytest.mark.slow
def test_signing(reader, tmp_path, monkeypatch):
    need("openssl")
    registry = Registry(tmp_path / "registry", tls=False)
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    try:
        registry.ready()
        said = page.run(
            "docs/guides/signing.md",
            reader,
            ports={"5000": registry.host.rpartition(":")[2]},
            shown=["text"],
        )
    finally:
        registry.stop()
    assert "exit status 8" in said
    assert "digits:1 is signed by ada@example.org" in said
    assert said.count("which counts as release.pub") == 2
    assert json.loads(Path("digits.cdx.json").read_text())["specVersion"] == "1.6"
