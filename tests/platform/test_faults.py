"""What the platform stands on goes away and comes back."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from argosy.spec.settings import Home, load
from argosy.store import open_store
from tests import postgres as stores
from tests.platform.up import STAND_IN_UP, Up, until
from tests.store.samples import model_lineage, model_manifest, write_folder


@pytest.mark.slow
def test_a_database_that_goes_away_and_comes_back(home: Home, postgres: str, start: Callable[..., Up]):
    database = stores.schema(postgres)
    home.config.write_text(f"control: {{port: 0}}\ngateway: {{port: 0}}\nstore: {{database: '{database}'}}\n")
    store = open_store(home, load(home, {}))
    folder = write_folder(home.root / "package")
    (folder / "behaviour").write_text("ok")
    package = store.add(folder, name="digits", manifest=model_manifest(), lineage=model_lineage()).ref
    store.close()
    platform = start(STAND_IN_UP).ready()
    spec = {"model": package, "replicas": 2, "public": True}
    url = platform.call("PUT", "/v1/endpoints/digits", spec, wait=60)["url"]
    stores.stop(Path(postgres))
    try:
        until(lambda: "does not answer" in platform.call("GET", "/v1/status")["error"])
        refused = platform.ask("PUT", "/v1/endpoints/digits", json={**spec, "replicas": 1})
        assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
        before = platform.pids()
        os.kill(before[0], signal.SIGKILL)
        until(lambda: len(platform.pids()) == 2 and before[0] not in platform.pids())
        assert httpx.post(url, json={}).status_code == 200
    finally:
        stores.start(Path(postgres))
    until(lambda: platform.call("GET", "/v1/status")["error"] == "")
    platform.call("PUT", "/v1/endpoints/digits", {**spec, "replicas": 1}, wait=60)
    until(lambda: len(platform.pids()) == 1)
    assert httpx.post(url, json={}).status_code == 200
    assert platform.stop() == 0
