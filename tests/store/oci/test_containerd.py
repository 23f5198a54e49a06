"""containerd, which Kubernetes gives image volumes by, pulls and mounts what is pushed and built."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from argosy.store.layout import Layout
from argosy.store.oci import reference
from argosy.store.oci.client import Client
from argosy.store.oci.credentials import Credential
from argosy.store.oci.repository import Repository
from argosy.store.oci.transfers import Transfers
from argosy.store.oci.twin import publish
from tests.kubernetes import programs
from tests.store.oci.live import PASSWORD, USER, Registry
from tests.store.samples import FILES

pytestmark = pytest.mark.slow

CONFIG = """
version = 3
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri",
                    "io.containerd.nri.v1.nri"]
[grpc]
address = "{folder}/grpc.sock"
[ttrpc]
address = "{folder}/ttrpc.sock"
"""


@pytest.fixture(scope="module")
def ctr(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """`ctr images …` of a containerd of its own, in the namespace of Kubernetes."""
    folder, built = tmp_path_factory.mktemp("containerd"), programs.folder()
    if not (built / "containerd").exists():
        message = "containerd is not built; run make kubernetes"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    if os.getuid():
        pytest.skip("containerd mounts as root alone: run the tests as root")
    (folder / "config.toml").write_text(CONFIG.format(folder=folder))
    with (folder / "log").open("wb") as log:
        daemon = subprocess.Popen([built / "containerd", "-c", folder / "config.toml"], stdout=log, stderr=log)
    try:
        while not (folder / "grpc.sock").exists():
            assert daemon.poll() is None, (folder / "log").read_text()
            time.sleep(0.02)

        def call(*words: object) -> str:
            command = [built / "ctr", "-a", folder / "grpc.sock", "-n", "k8s.io", "images", *map(str, words)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            return done.stdout

        yield call
    finally:
        daemon.terminate()
        daemon.wait()


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("snapshotter", ["overlayfs", "native"])
def test_the_image_of_a_package_is_mounted(
    ctr, registry: Registry, layout: Layout, package: str, moves: Transfers, tmp_path: Path, snapshotter: str
):
    name = f"{registry.host}/containerd/{snapshotter}:1"
    login = Credential(USER, PASSWORD)
    with Client(registry.host, ca=Path(registry.ca), credential=login) as client:
        publish(Repository(client.probe()), reference.parse(name), layout, package, moves)
    ctr("pull", "--local", "--user", f"{USER}:{PASSWORD}", "--tlscacert", registry.ca, f"{name}-image")
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    ctr("mount", "--snapshotter", snapshotter, f"{name}-image", mounted)
    try:
        assert files_of(mounted / "models") == FILES
        assert sorted(path.name for path in mounted.iterdir()) == ["models"]
    finally:
        ctr("unmount", mounted)
