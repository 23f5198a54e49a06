"""The pages of the first ten minutes, run as a reader would: tutorial and clients on one platform, then the rest."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docs import page


def places():
    """What a reader has by default, and here."""
    return {"8080": os.environ["ARGOSY_GATEWAY_PORT"], "~/.argosy": os.environ["ARGOSY_HOME"]}


def javascript(text):
    """Run it with Node.js, where that is there."""
    if shutil.which("node"):
        Path("client.mjs").write_text(text)
        saved = page.shell(page.Block("clients.md", "", 0, "sh", f"{KEY}; KEY=$KEY node client.mjs"), 60)
        assert "label: " in saved


KEY = 'KEY=$(python3 -c \'import json; print(json.load(open("h/keys/iris.json"))["key"])\')'


@pytest.mark.timeout(240)
def test_tutorial_and_clients(reader):
    told = page.run("docs/tutorial.md", reader, shown=["text"])
    assert "setosa" in told
    assert "the first was better" in told
    subprocess.run(["argosy", "up", "-d"], check=True, capture_output=True)
    subprocess.run(["argosy", "deploy", "iris:1"], check=True, capture_output=True)
    told = page.run("docs/clients.md", {}, ports=places(), checks={"js": javascript}, shown=["text"])
    assert '"outputs"' in told


@pytest.mark.timeout(120)
def test_python_class(reader):
    assert "by " in page.run("docs/python-class.md", reader)


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.filterwarnings("default")  # those of MLflow in a reader's own process
def test_frameworks(reader):
    told = page.run("docs/frameworks.md", reader, shown=["text"])
    for engine in ("engine onnx", "engine xgboost", "engine lightgbm", "engine mlflow"):
        assert engine in told
