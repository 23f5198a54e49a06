"""The image under the contracts of clouds: the same bytes, another environment, a root that is read-only."""

import contextlib
import os
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from argosy_conformance import render, run
from tests import ports
from tests.distributions.conformance.clouds import patient
from tests.images.test_build import SEPARATE

__all__ = ["patient"]

ROWS = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
MOUNT = 'mount --bind "$0" "$0" && mount -t proc proc "$0/proc" && mount -o remount,ro,bind "$0" && exec "$@"'
DEVICES = 'mount --rbind /dev "$0/dev" && mount -t tmpfs -o mode=1777 none "$0/var/lib/argosy" && '
"""What starts processes needs besides: devices, and a folder to write to."""
CONTRACTS = {
    "sagemaker": (0, lambda port: {"SAGEMAKER_BIND_TO_PORT": port}),
    "vertex": (65532, lambda port: {"AIP_HTTP_PORT": port}),
    "cloudrun": (12345, lambda port: {"K_SERVICE": "linear", "PORT": port}),
}


@contextlib.contextmanager
def container(root: tuple[Path, dict], user: int, environ: dict, ready: str, more: str = ""):
    """The container, once it has printed this."""
    place, config = root
    (place / "dev").mkdir(exist_ok=True)
    if os.getuid() or subprocess.run([*SEPARATE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs root and mount namespaces, as in a container that may mount")
    own = dict(each.split("=", 1) for each in config["config"]["Env"])
    words = [*config["config"]["Entrypoint"], *config["config"]["Cmd"]]
    enter = ["chroot", f"--userspec={user}:{user}", str(place), *words]
    with subprocess.Popen(
        [*SEPARATE, "sh", "-c", MOUNT.replace("exec", f"{more}exec"), str(place), *enter],
        env=own | environ | {"PATH": f"{own['PATH']}:/usr/sbin:/bin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            assert any(ready in line for line in process.stdout), f"it ended with {process.wait()}"
            reader = threading.Thread(target=process.stdout.read)
            reader.start()
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
            reader.join()


@pytest.mark.slow
@pytest.mark.parametrize("contract", CONTRACTS)
@pytest.mark.usefixtures("patient")
def test_the_image_passes(root: tuple[Path, dict], contract: str):
    user, environ = CONTRACTS[contract]
    port = str(ports.free())
    with container(root, user, environ(port), "is ready"):
        report = run(f"http://127.0.0.1:{port}", contract=contract, model="linear")
    assert report.ok, render(report)
    skipped = {result.id for result in report.results if result.verdict == "skipped"}
    assert skipped <= {"sagemaker.models", "sagemaker.models_invoke", "sagemaker.models_unknown"}, render(report)


@pytest.mark.slow
def test_the_image_passes_as_a_function_of_lambda(root: tuple[Path, dict]):
    api = f"127.0.0.1:{ports.free()}"
    reports = []
    suite = threading.Thread(target=lambda: reports.append(run(f"http://{api}", contract="lambda", rows=ROWS)))
    suite.start()
    host, _, port = api.partition(":")
    while suite.is_alive():
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection((host, int(port)), timeout=5):
            break
    environ = {"AWS_LAMBDA_RUNTIME_API": api}
    with container(root, 993, environ, "is ready"):
        suite.join(60)
    assert reports, "the suite has not ended"
    assert {result.verdict for result in reports[0].results} == {"passed"}, render(reports[0])
