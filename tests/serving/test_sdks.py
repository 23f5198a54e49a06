"""The SDKs of KServe and MLServer, unmodified, each in an environment of its own: `make sdks` installs them.

They need 0.8 GB and other versions of what we use, so that they are no dependencies of the tests.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from argosy.engines.base import Engine
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import as_bytes
from tests.serving.conftest import RunningReplica
from tests.serving.test_rows import NAMES, Flowers

pytestmark = pytest.mark.slow
SDKS = Path(__file__).parent / "sdks"
LABELS = {"label": NAMES}
FLOWERS = LABELS | {"probabilities": [[0, 1, 0], [0, 1, 0]]}
TOWNS = {"said": ["1 Bern", "2 Zürich"]}


class Mixed(Engine):
    """Two columns of two kinds; the answer has both."""

    releases_gil = True
    signature = Signature(
        inputs=(
            TensorSpec(name="age", datatype="FP64", shape=(-1,)),
            TensorSpec(name="city", datatype="BYTES", shape=(-1,)),
        ),
        outputs=(TensorSpec(name="said", datatype="BYTES", shape=(-1,)),),
    )

    def predict(self, inputs):
        pairs = zip(inputs["age"], inputs["city"], strict=True)
        return [as_bytes(np.array([f"{age:g} {city.decode()}" for age, city in pairs], object))]


@pytest.fixture(scope="module")
def calls():
    """`calls("kserve")`: what the calls of its script gave."""
    with RunningReplica({"flowers": Flowers(), "mixed": Mixed()}) as running:

        def run(name):
            python = Path(sys.prefix).with_name(f"{Path(sys.prefix).name}-{name}") / "bin" / "python"
            if not python.exists():
                pytest.skip(f"there is no environment with {name} at {python.parent.parent}: make sdks")
            script = [python, SDKS / f"{name}_calls.py", running.url, str(running.grpc)]
            done = subprocess.run(script, check=False, capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout.splitlines()[-1])

        yield run


def test_kserve(calls):
    found = calls("kserve")
    assert "404" in found.pop("v1 explain")
    assert "unknown model 'nobody'" in found.pop("v1 unknown")
    ready = {f"{way} ready": True for way in ("v1", "v2", "v2 model", "grpc", "grpc model")}
    assert found == ready | {
        "v2 live": True,
        "grpc live": True,
        "v1 lists": {"predictions": NAMES},
        "v1 objects": {"predictions": NAMES},
        "v2 False True": FLOWERS,
        "v2 False False": LABELS,
        "v2 True True": FLOWERS,
        "v2 True False": LABELS,
        "v2 dict": FLOWERS,
        "v2 columns": TOWNS,
        "grpc False": FLOWERS,
        "grpc True": FLOWERS,
    }


def test_mlserver(calls):
    assert calls("mlserver") == {
        **dict.fromkeys(("numpy", "numpy input", "pandas", "grpc False", "grpc True"), FLOWERS),
        **dict.fromkeys(("pandas mixed", "pandas texts", "base64", "texts"), TOWNS),
        "outputs": LABELS,
        "metadata": "flowers",
        "server": "argosy",
        "index": ["flowers", "mixed"],
    }
