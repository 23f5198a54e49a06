"""The image as a pod runs it: by the configuration of a revision, on a root that is read-only."""

import json
import urllib.request
from pathlib import Path

import msgspec
import pytest

from argosy.control.revision import revision_of
from argosy.spec.address import Address
from argosy.spec.endpoint import Endpoint
from argosy.store.version import Version
from argosy.targets.kubernetes.objects import CONFIG, Pods, configuration
from tests import ports
from tests.images.test_contracts import container
from tests.store.samples import digest_of, model_lineage, model_manifest


def pod(root: tuple[Path, dict], digest: str) -> tuple[tuple[Path, dict], int]:
    """A container with the configuration of a revision in it, and its port."""
    place, config = root
    version = Version(
        name="linear",
        number=1,
        digest=digest,
        size=1,
        created="",
        manifest=model_manifest(),
        lineage=model_lineage(),
    )
    told = configuration(revision_of(Endpoint(name="lines", model="linear:1"), version), Pods(image="any"))
    told = msgspec.structs.replace(told, http=Address(host="0.0.0.0", port=ports.free()))
    file = place / CONFIG.lstrip("/") / "replica.json"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(msgspec.json.encode(told))
    runs = config["config"] | {"Cmd": ["serve", "--config", f"{CONFIG}/replica.json"]}
    return (place, config | {"config": runs}), told.http.port


@pytest.mark.slow
def test_it_answers_to_the_name_of_its_endpoint(root: tuple[Path, dict]):
    there, port = pod(root, root[1]["config"]["Labels"]["dev.argosy.model.digest"])
    with container(there, 65532, {}, "ready"):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready", timeout=30) as answer:
            assert answer.status == 200
        body = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]})
        asked = urllib.request.Request(f"http://127.0.0.1:{port}/v2/models/lines/infer", body.encode())
        with urllib.request.urlopen(asked, timeout=30) as answer:
            assert json.loads(answer.read())["outputs"][0]["data"] == [12.0]


@pytest.mark.slow
def test_it_does_not_start_with_another_package(root: tuple[Path, dict]):
    there, _ = pod(root, digest_of(1))
    with container(there, 65532, {}, "error: /models holds other bytes than it should"):
        pass
