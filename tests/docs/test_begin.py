"""The pages of the first ten minutes, run as a reader would: tutorial and clients on one platform, then the rest."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docs import page


def javascript(text):
    """Run it with Node.js, where that is there."""
    if shutil.which("node"):
        Path("client.mjs").write_text(text)
        saved = page.shell(page.Block("clients.md", "", 0, "sh", "KEY=$(argosy keys show iris) node client.mjs"), 60)
        assert "label: " in saved


NUMBER = re.compile(r"\d+\.\d+(e-?\d+)?")


def shape(line):
    """A line without its numbers, whose last digits differ from machine to machine."""
    return NUMBER.sub("#", line)


@pytest.mark.slow  # the README's quick start walks the same way in every run
def test_tutorial_and_clients(reader):
    told = page.run("docs/tutorial.md", reader, shown=["text"])
    assert "setosa" in told
    assert "the first was better" in told
    shown = [
        line for block in page.blocks("docs/tutorial.md") if block.language == "text" for line in block.text.split("\n")
    ]
    assert {shape(line) for line in shown} <= {shape(line) for line in told.split("\n")}
    subprocess.run(["argosy", "up", "-d"], check=True, capture_output=True)
    subprocess.run(["argosy", "deploy", "iris:1"], check=True, capture_output=True)
    told = page.run(
        "docs/clients.md",
        {},
        ports={"8080": os.environ["ARGOSY_GATEWAY_PORT"]},
        checks={"js": javascript},
        shown=["text"],
    )
    assert '"outputs"' in told


@pytest.mark.slow
def test_python_class(reader):
    assert "by " in page.run("docs/python-class.md", reader)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # those of MLflow in a reader's own process
def test_frameworks(reader):
    told = page.run("docs/frameworks.md", reader, shown=["text"])
    for engine in ("engine onnx", "sooner than xgboost", "sooner than lightgbm", "engine catboost", "engine mlflow"):
        assert engine in told


@pytest.mark.torch
def test_pytorch(reader):
    first, *_ = (block for block in page.blocks("docs/frameworks.md") if block.language == "python")
    page.python(first, reader)
    export, push = (block for block in page.blocks("docs/frameworks.md") if block.heading == "PyTorch")
    page.python(export, reader)
    assert "classes setosa, versicolor, virginica" in page.shell(push, 120)
