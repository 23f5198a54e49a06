"""The suites of the clouds' contracts: a right server passes, each fault is found; and Argosy's own server passes."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from argosy.packaging.build import build
from argosy.packaging.options import PushOptions
from argosy.spec.errors import InvalidArgument
from argosy_conformance import render, run, select
from argosy_conformance.check import CONTRACTS
from tests.cli.models import linear
from tests.distributions.conformance.clouds import PREDICT, ROWS, Function, fake, patient
from tests.ports import free

__all__ = ["patient"]

pytestmark = pytest.mark.usefixtures("patient")
PLACES = ("/opt/ml/models/a/model", "/opt/ml/models/b/model")
FAULTS = {
    "sagemaker": {
        "unhealthy": "ping",
        "reversed": "rows",
        "no-csv": "csv",
        "one-line": "accept_csv",
        "bad-echo": "attributes",
        "small": "payload",
        "crashes": "nonsense",
        "no-chunks": "chunked",
        "bad-parameters": "execution_parameters",
        "one-for-all": "rows",
    },
    "vertex": {
        "unhealthy": "health",
        "one-for-all": "instances",
        "no-parameters": "parameters",
        "plain": "content",
        "small": "payload",
        "crashes": "nonsense",
    },
    "azureml": {"unhealthy": "liveness", "bare": "rows", "crashes": "nonsense"},
    "cloudrun": {"unhealthy": "health", "strict-host": "name", "no-chunks": "chunked", "reversed": "rows"},
    "huggingface": {"unhealthy": "health", "bare": "inputs", "no-parameters": "parameters", "strict-host": "name"},
    "kserve": {"no-names": "names", "one-for-all": "predict", "crashes": "nonsense", "strict-host": "name"},
    "mlflow": {"unhealthy": "health", "no-split": "dataframe_split", "no-code": "errors", "bare": "instances"},
}


def judge(url, contract, **options):
    return run(url, contract=contract, checks=[contract], model="m", rows=ROWS, **options)


def failed(report):
    return {result.id.partition(".")[2] for result in report.of("failed")}


def test_every_contract_has_a_suite_of_its_own():
    for contract in CONTRACTS:
        ours = [check for check in select(contract=contract) if check.group == contract]
        assert len(ours) >= 4
    assert not {check.group for check in select()} & set(CONTRACTS)
    with pytest.raises(InvalidArgument, match="is no contract"):
        select(contract="nowhere")


@pytest.mark.parametrize("contract", PREDICT)
def test_a_right_server_passes_and_each_fault_is_found(contract):
    with fake(contract) as url:
        report = judge(url, contract)
    assert report.ok, render(report)
    assert f"Contract {contract} conformance of {url}" in render(report)
    for fault, id in FAULTS[contract].items():
        with fake(contract, [fault]) as url:
            report = run(url, contract=contract, checks=[f"{contract}.{id}"], model="m", rows=ROWS)
        assert failed(report) == {id}, f"{fault}: {render(report)}"


def test_a_multi_model_server_passes_and_each_fault_is_found():
    with fake("sagemaker", multi=True) as url:
        report = judge(url, "sagemaker", models=PLACES)
    assert report.ok, render(report)
    assert report["sagemaker.models"].verdict == "passed"
    assert report["sagemaker.ping"].verdict == "skipped"
    for fault, id in (("load-twice", "models"), ("bad-list", "models"), ("ghosts", "models_invoke")):
        with fake("sagemaker", [fault], multi=True) as url:
            report = judge(url, "sagemaker", models=PLACES)
        assert id in failed(report), f"{fault}: {render(report)}"


@pytest.mark.parametrize(
    ("fault", "id"), [("", ""), ("wrong-id", "invoke"), ("no-gateway", "gateway"), ("hides-errors", "error")]
)
def test_a_function_of_lambda(fault, id):
    url = f"http://127.0.0.1:{free()}"
    with Function(url, fault):
        checks = [f"lambda.{id}"] if id else None
        report = run(url, contract="lambda", rows=ROWS, checks=checks)
    assert failed(report) == ({id} if id else set()), render(report)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    folder = tmp_path_factory.mktemp("contracts") / "model"
    folder.mkdir()
    file = linear(folder.parent / "m.onnx", features=2)
    build(file, "m", folder / "package", PushOptions(), lambda step: None)
    return folder


@contextlib.contextmanager
def served(tmp_path, contract, port, environ, *more, ends=False):
    """`argosy serve` as a cloud starts it: no file is named, and nothing but TMPDIR may be written. It is told to end,
    unless it `ends` by itself."""
    tmp_path.mkdir()
    variables = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path), "ARGOSY_HOME": str(tmp_path / "home"), **environ}
    command = [sys.executable, "-m", "argosy", "serve", *more]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=variables
    ) as process:
        try:
            line = ""
            while "url " not in line and "models come by" not in line:
                line = process.stdout.readline()
                assert line, f"{contract} did not start: {process.wait()}"
            yield f"http://127.0.0.1:{port}"
        finally:
            if not ends:
                process.send_signal(signal.SIGTERM)
            rest = process.stdout.read()
            assert process.wait(60) == 0, rest


ENVIRONMENTS = {
    "sagemaker": lambda place, port: {"SAGEMAKER_MODEL_PATH": place, "SAGEMAKER_BIND_TO_PORT": port},
    "vertex": lambda place, port: {"AIP_HTTP_PORT": port},
    "azureml": lambda place, port: {"AZUREML_MODEL_DIR": place},
    "cloudrun": lambda place, port: {"K_SERVICE": "m", "PORT": port},
    "huggingface": lambda place, port: {"PORT": port},
    "kserve": lambda place, port: {"PORT": port},
    "mlflow": lambda place, port: {},
}
NAMED = ("vertex", "cloudrun", "huggingface", "kserve", "mlflow")
"""Contracts whose folder a test cannot make: the package is named."""


@pytest.mark.parametrize(
    "contract",
    [name if name in ("sagemaker", "vertex") else pytest.param(name, marks=pytest.mark.slow) for name in ENVIRONMENTS],
)
def test_argosy_serve_passes(tmp_path, package, contract):
    port = str(free())
    more = ["--contract", contract] if contract in ("huggingface", "kserve", "mlflow") else []
    more += [str(package / "package")] if contract in NAMED else []
    more += ["--port", port] if contract in ("azureml", "mlflow") else []
    more += ["--grpc-port", str(free())] if contract == "kserve" else []
    with served(tmp_path / "temp", contract, port, ENVIRONMENTS[contract](str(package), port), *more) as url:
        report = run(url, contract=contract, grpc=f"127.0.0.1:{more[-1]}" if contract == "kserve" else None)
    assert report.ok, render(report)
    ours = [
        result for result in report.results if result.group == contract and not result.id.startswith("sagemaker.mod")
    ]
    skipped = {result.id for result in ours if result.verdict != "passed"}
    assert skipped <= {"mlflow.dataframe_records"}, render(report)
    assert not list((tmp_path / "temp").iterdir()), "it left files"


def test_argosy_serve_passes_as_a_multi_model_server(tmp_path, package):
    port, places = str(free()), []
    for name in ("a", "b"):
        places.append(tmp_path / name)
        places[-1].mkdir()
        (places[-1] / "package").symlink_to(package / "package")
    environ = {"SAGEMAKER_MULTI_MODEL": "true", "SAGEMAKER_BIND_TO_PORT": port}
    with served(tmp_path / "temp", "sagemaker", port, environ) as url:
        report = run(url, contract="sagemaker", rows=ROWS, models=[str(place) for place in places])
    assert report.ok, render(report)
    assert not [result for result in report.results if result.verdict == "skipped" and ".models" in result.id]


def listens(address, process):
    """Wait until a process accepts connections there."""
    host, _, port = address.partition(":")
    while True:
        assert process.poll() is None
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.02)


def test_argosy_serve_passes_as_a_function_of_lambda(tmp_path, package):
    api = f"127.0.0.1:{free()}"
    environ = {"AWS_LAMBDA_RUNTIME_API": api, "LAMBDA_TASK_ROOT": str(package)}
    rows = tmp_path / "rows.json"
    rows.write_text(json.dumps(ROWS))
    command = [sys.executable, "-m", "argosy", "conformance", f"http://{api}", "--contract", "lambda", "--rows", rows]
    with subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE, text=True) as suite:
        listens(api, suite)
        with served(tmp_path / "temp", "lambda", 0, environ, "--port", "0", ends=True):
            report = json.loads(suite.communicate(timeout=60)[0])
    assert {result["verdict"] for result in report["results"]} == {"passed"}, report
