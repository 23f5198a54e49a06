"""A hostile model on a real platform: of its home, its processes and its sockets it reaches nothing."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from argosy.platform import leftovers
from argosy.process import sandbox
from argosy.spec.settings import Home
from argosy.store.store import Store
from argosy.targets.launch import folder
from argosy.targets.tags import replicas
from tests.platform.packages import push_class
from tests.platform.up import Up, until

LACKS = [part.lacks for part in sandbox.parts() if part.lacks and part.needed]
pytestmark = pytest.mark.skipif(bool(LACKS), reason=f"no whole sandbox here: {LACKS}")
X, LABEL = np.float32([[1, 2], [3, 4]]), np.int64([1, 3])
HOSTILE = (Path(__file__).parents[1] / "process" / "hostile.py").read_text()
SECRETS = ("token", "argosy.db", "control.json", "envoy.json", "control.log", "config.yaml", "lock")
HONEST = "class Model:\n    def predict(self, inputs):\n        return {'label': inputs['x'][:, 0].astype('i8')}\n"


@pytest.mark.slow
def test_it_reaches_nothing_of_the_platform_that_runs_it(home: Home, store: Store, start: Callable[..., Up]):
    for name, source in (("honest", HONEST), ("hostile", HOSTILE)):
        push_class(store, home.root / f"made-{name}", source, X, LABEL, name=name)
    platform = start().ready()
    made = {"model": "honest:1", "replicas": 1}
    assert platform.call("PUT", "/v1/endpoints/honest", made, wait=60)["endpoint"]["state"] == "ready"
    neighbour, gateway = replicas(home.root)[0][0], leftovers.gateways(home)[0]
    for victim in (platform.process.pid, neighbour.pid, gateway.pid):
        runtime = {"env": {"TRIED": json.dumps(_told(home, victim))}}
        made = {"model": "hostile:1", "replicas": 1, "runtime": runtime}
        deployed = platform.call("PUT", "/v1/endpoints/hostile", made, wait=60)
        assert deployed["endpoint"]["state"] == "ready", deployed
        assert _said(home)["found"] == {}
        assert psutil.pid_exists(victim)
    assert not list(home.root.rglob("hostile.d"))


def _told(home: Home, victim: int) -> dict[str, object]:
    """All that lies in the home, and one process."""
    paths = sorted(home.root.rglob("*"))
    running = json.loads((home.run / "control.json").read_text())
    sockets = [str(path) for path in paths if path.is_socket()]
    names = {path.name for path in paths}
    assert {"token", "argosy.db", "admin.sock", "labels.sock", "control.json", "envoy.json"} <= names, names
    files = [str(path) for path in paths if path.is_file() and path.name in SECRETS]
    folders = [
        str(path) for path in (home.root, home.run, home.run / "r", home.run / "gateway", home.root / "keys", home.logs)
    ]
    return {
        "pid": victim,
        "port": int(running["url"].rpartition(":")[2]),
        "abstract": "nobody",
        "shared": [0, 0, 0],
        "queue": "nobody",
        "files": files,
        "folders": folders,
        "written": [os.path.dirname(sandbox.__file__)],
        "sockets": sockets,
    }


def _said(home: Home) -> dict[str, object]:
    def written() -> list[Path]:
        return list(folder(home).glob("*/told.json"))

    until(written)
    path = max(written(), key=lambda each: each.stat().st_mtime)
    text = path.read_text()
    path.unlink()
    return json.loads(text)
