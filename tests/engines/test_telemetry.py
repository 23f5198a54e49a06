import os
import subprocess
import sys

CODE = """
import os
import argosy.engines
import argosy.engines.onnx
print(os.listdir(os.environ["TMPDIR"]))
"""


def test_onnxruntime_reports_nothing(tmp_path):
    environ = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env=environ | {"TMPDIR": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
