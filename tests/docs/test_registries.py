"""The blocks of docs/guides/registries.md, run as a reader would."""

import shutil
from pathlib import Path

import pytest
import yaml

from tests.docs import page
from tests.programs import need
from tests.store.oci.live import PASSWORD, Registry


@pytest.mark.slow
def test_registries(reader, s3, tmp_path, monkeypatch):
    need("skopeo")
    registry = Registry(tmp_path / "registry")
    monkeypatch.setenv("PASSWORD", PASSWORD)
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    shutil.copy(registry.ca, "ca.pem")
    manifests: list[dict[str, list[dict[str, dict[str, str]]]]] = []
    try:
        registry.ready()
        said = page.run(
            "docs/guides/registries.md",
            reader,
            ports={"5000": registry.host.rpartition(":")[2]},
            checks={"yaml": lambda text: manifests.append(yaml.safe_load(text))},
        )
    finally:
        registry.stop()
    assert "1-image" in said.splitlines()
    assert "digits-eu:1" in said
    assert Path("mirror/index.json").exists()
    assert "digits-s3:1" in said
    assert manifests[0]["store"]["blobs"] == "s3://data/argosy"
    assert manifests[1]["volumes"][0]["image"]["reference"].endswith(":1-image")
