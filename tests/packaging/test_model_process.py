"""A model in a process of its own: it answers as it would here, and has nothing of what its caller has."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.packaging.load import load
from argosy.packaging.model_process import load_in_process, packed, unpacked
from argosy.packaging.package import Package, open_package
from argosy.process import sandbox
from argosy.spec.errors import InvalidArgument, Untrusted
from argosy.spec.settings import Home, Settings
from argosy.spec.tensor import Tensor
from argosy.store import open_store
from tests.platform.packages import push_class

X, LABEL = np.float32([[1, 0], [2, 0]]), np.int64([1, 2])
CLASS = """
import os, resource, signal, socket
from argosy.process import sandbox
from argosy.spec.errors import InvalidArgument

def tried(what):
    try:
        what()
        return 1000
    except OSError:
        return 0

class Model:
    def predict(self, inputs):
        x = inputs["x"]
        if (x[:, 1] == 1).any():
            raise InvalidArgument("a one")
        if (x[:, 1] == 2).any():
            os.kill(os.getpid(), signal.SIGSEGV)
        found = x[:, 0].astype("i8")
        if (x[:, 1] == 3).any():
            found[:] = ("AWS_SECRET_ACCESS_KEY" in os.environ) * 10 + (os.environ.get("MODE") == "fast")
            found += tried(lambda: open("/proc/%d/environ" % os.getppid()).read())
            found += tried(socket.socket) + tried(os.fork) + tried(lambda: os.listdir(os.path.expanduser("~root")))
        if (x[:, 1] == 4).any():
            names = ("RLIMIT_CORE", "RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_NPROC")
            found[:] = [resource.getrlimit(getattr(resource, name))[1] for name in names]
        return {"label": found}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("apart")
    with contextlib.closing(open_store(Home(place / "s"), Settings())) as store:
        version = push_class(store, place / "made", CLASS, X, LABEL, name="m")
        return store.unpacked(version.digest)


@pytest.fixture
def package(folder: Path) -> Package:
    return open_package(folder, trusted=True)


def test_it_answers_as_it_would_here(package: Package):
    rows = np.zeros((5000, 2), np.float32)
    rows[:, 0] = np.arange(5000)
    here, apart = load(package), load_in_process(package, threads=1)
    assert apart.max_difference == here.max_difference
    for some in (rows, rows[::2], rows[:1], rows[:0]):
        assert (apart.engine.predict({"x": some})[0] == here.engine.predict({"x": some})[0]).all()
    with pytest.raises(InvalidArgument, match="a one"):
        apart.engine.predict({"x": np.float32([[0, 1]])})
    assert apart.engine.predict({"x": X})[0].tolist() == [1, 2]
    apart.close()
    here.close()


def test_it_has_nothing_of_its_caller(package: Package, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    apart = load_in_process(package, threads=1, environ={"MODE": "fast"})
    assert apart.engine.predict({"x": np.float32([[0, 3]])})[0].tolist() == [1]
    apart.close()


def test_it_is_bounded(package: Package):
    apart = load_in_process(package, threads=1)
    core, file_size, files, tasks = apart.engine.predict({"x": np.float32([[0, 4]] * 4)})[0].tolist()
    apart.close()
    assert core == 0
    assert 0 < file_size <= 16 * 1024**3
    assert 0 < files <= 65536
    if os.geteuid() or not sandbox.own_user():
        assert 0 < tasks < 2**22


def test_what_loading_refuses_is_refused_there(folder: Path):
    with pytest.raises(Untrusted):
        load_in_process(open_package(folder), threads=1).close()


def test_its_caller_ends_as_it_did(folder: Path):
    code = (
        "import sys; import numpy as np; from pathlib import Path\n"
        "from argosy.packaging.model_process import load_in_process\n"
        "from argosy.packaging.package import open_package\n"
        "apart = load_in_process(open_package(Path(sys.argv[1]), trusted=True), threads=1)\n"
        "apart.engine.predict({'x': np.float32([[0, 2]])})"
    )
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=False)
    assert done.returncode == -11
    assert "Fatal Python error: Segmentation fault" in done.stderr
    assert "in predict" in done.stderr


def test_it_does_not_outlive_its_caller(folder: Path):
    code = (
        "import os, sys; from pathlib import Path\n"
        "from argosy.packaging.model_process import load_in_process\n"
        "from argosy.packaging.package import open_package\n"
        "apart = load_in_process(open_package(Path(sys.argv[1]), trusted=True), threads=1)\n"
        "print(apart.engine._process.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=False)
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        fd = os.pidfd_open(int(done.stdout))
        import select

        assert select.select([fd], [], [], 30)[0], "it runs on"
        os.close(fd)


@given(st.lists(st.lists(st.binary(max_size=9), min_size=1, max_size=4), min_size=1, max_size=3))
def test_a_frame_holds_what_was_packed(texts: list[list[bytes]]):
    tensors = [Tensor(f"t{at}", "BYTES", np.array(each, dtype=object)) for at, each in enumerate(texts)]
    tensors.append(Tensor("n", "FP64", np.arange(6.0).reshape(2, 3).T))
    head, bodies = packed(tensors)
    found = unpacked(head, memoryview(b"".join(bytes(each) for each in bodies)))
    for made, read in zip(tensors, found, strict=True):
        assert made.array.tolist() == read.array.tolist()
    with pytest.raises(InvalidArgument):
        unpacked(head, memoryview(b"".join(bytes(each) for each in bodies) + b"x"))
