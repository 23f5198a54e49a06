"""The same attacks on a platform of a user who is not root, whose children are of the same user."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.process import ordinary

TESTS = (
    *("tests/process/test_hostile.py", "tests/process/test_launch.py", "tests/packaging/test_model_process.py"),
    "tests/platform/test_hostile_model.py",
)
ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the whole suite is an ordinary user's")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_model_of_an_ordinary_user_s_platform_gets_no_further():
    """Under /tmp: Unix sockets need short paths, and the folders of pytest are root's alone."""
    with tempfile.TemporaryDirectory(prefix="o", dir="/tmp") as place:
        folder = Path(place)
        folder.chmod(0o755)
        pytest_there = (sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "-p", "no:xdist")
        done = subprocess.run(
            [sys.executable, ordinary.__file__, place, *pytest_there, "--basetemp", str(folder / "home" / "t"), *TESTS],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode == ordinary.CANNOT:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    skipped = [line for line in done.stdout.splitlines() if line.startswith("SKIPPED")]
    assert all("the platform does not run as root" in line for line in skipped), skipped
    assert "[same user]" not in "".join(skipped)
