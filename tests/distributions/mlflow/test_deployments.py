"""MLflow's own client, unmodified, with the target `argosy`."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from argosy.packaging.options import PushOptions
from argosy.spec.errors import InvalidArgument, NotFound, Unavailable
from tests.cli.models import linear


@pytest.fixture
def mlflow():
    """Not imported with this file: it takes a second, in every process that collects tests."""
    import mlflow.deployments
    import mlflow.exceptions

    return mlflow


@pytest.fixture
def target(mlflow):
    import argosy_mlflow.deployments as target

    return target


@pytest.fixture
def client(tmp_path, monkeypatch, mlflow):
    """MLflow's client of a home in which nothing runs."""
    monkeypatch.setenv("ARGOSY_HOME", str(tmp_path / "home"))
    return mlflow.deployments.get_deploy_client("argosy")


@pytest.mark.slow
def test_mlflow_finds_the_target_and_prints_its_help(mlflow):
    done = subprocess.run(
        [sys.executable, "-m", "mlflow", "deployments", "help", "-t", "argosy"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "push.trust=true" in done.stdout
    assert type(mlflow.deployments.get_deploy_client("argosy")).__name__ == "ArgosyDeploymentClient"


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda client: client.list_deployments(), "TEMPORARILY_UNAVAILABLE"),
        (lambda client: client.create_deployment("m", "/nowhere"), "TEMPORARILY_UNAVAILABLE"),
        (lambda client: client.get_deployment("m"), "TEMPORARILY_UNAVAILABLE"),
        (lambda client: client.predict("m", [[1]]), "TEMPORARILY_UNAVAILABLE"),
        (lambda client: client.create_deployment("m", "x", flavor="sklearn"), "INVALID_PARAMETER_VALUE"),
        (lambda client: client.create_deployment("m", "x", endpoint="e"), "INVALID_PARAMETER_VALUE"),
        (lambda client: client.delete_deployment("m", config={"a": 1}), "INVALID_PARAMETER_VALUE"),
        (lambda client: client.predict_stream("m", {}), "NOT_IMPLEMENTED"),
        (lambda client: client.create_endpoint("e"), "INTERNAL_ERROR"),
        (lambda client: client.explain("m"), "INTERNAL_ERROR"),
    ],
)
def test_nothing_but_mlflow_exceptions(client, mlflow, call, code):
    with pytest.raises(mlflow.exceptions.MlflowException) as caught:
        call(client)
    assert caught.value.error_code == code


def test_nor_without_a_client(mlflow, target):
    with pytest.raises(mlflow.exceptions.MlflowException) as caught:
        mlflow.deployments.get_deploy_client("argosy:/elsewhere")
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"
    with pytest.raises(mlflow.exceptions.MlflowException):
        target.run_local("argosy", "m", "models:/none/1")


def test_configuration_is_fields_of_the_declaration_and_options_of_the_push(target):
    given = {
        "replicas": "2",
        "public": "true",
        "runtime.max_batch_size": "8",
        "push.trust": "true",
        "push.sample": "r.csv",
    }
    fields, options = target._configured(given)
    declared = target._declaration({"name": "m", "model": "m:1", **fields})
    assert (declared.replicas, declared.public, declared.runtime.max_batch_size) == (2, True, 8)
    assert (options.trust, str(options.sample)) == (True, "r.csv")
    assert target._configured(None) == ({}, PushOptions())
    merged = target._merged({"runtime": {"threads": 1, "timeout": 2}, "replicas": 1}, {"runtime": {"threads": 3}})
    assert merged == {"runtime": {"threads": 3, "timeout": 2}, "replicas": 1}
    for wrong in ({"push.nothing": 1}, {"name": "x"}, {"push.trust": "perhaps"}):
        with pytest.raises(InvalidArgument):
            target._configured(wrong)
    with pytest.raises(InvalidArgument, match="unknown field"):
        target._declaration({"name": "m", "model": "m:1", "nothing": 1})


def test_inputs_are_written_as_mlflows_server_reads_them(target):
    frame = pd.DataFrame({"a": [1], "b": [2.5]})
    assert json.loads(target._body(frame)) == {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2.5]]}}
    assert json.loads(target._body(np.ones((1, 2)))) == {"inputs": [[1.0, 1.0]]}
    assert json.loads(target._body({"a": np.array([1])})) == {"inputs": {"a": [1]}}
    assert json.loads(target._body([[1]])) == {"inputs": [[1]]}


class Control:
    """A control API of one endpoint that is gone."""

    def delete(self, path, **query):
        raise NotFound("gone")

    def endpoints(self):
        raise Unavailable("down")


def test_a_delete_may_be_repeated(client, mlflow, target, monkeypatch):
    monkeypatch.setattr(target.here, "control", Control)
    client.delete_deployment("m")
    with pytest.raises(mlflow.exceptions.MlflowException, match="down"):
        client.list_deployments()


@pytest.fixture
def platform(client, monkeypatch):
    for name in ("GATEWAY", "CONTROL"):
        monkeypatch.setenv(f"ARGOSY_{name}_PORT", "0")
    argosy = [sys.executable, "-m", "argosy"]
    subprocess.run([*argosy, "up", "-d"], check=True, env=os.environ, capture_output=True)
    yield client
    subprocess.run([*argosy, "down"], check=True, env=os.environ, capture_output=True)


@pytest.mark.slow
def test_create_predict_update_list_delete(platform, mlflow, tmp_path):
    client = platform
    first, second = (linear(tmp_path / f"{number}.onnx", weight=number) for number in (1.0, 2.0))
    made = client.create_deployment("lin", str(first), config={"runtime.threads": "1", "runtime.max_batch_size": 8})
    assert (made["name"], made["state"]) == ("lin", "ready")
    frame = pd.DataFrame([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    assert client.predict("lin", frame).get_predictions("ndarray").tolist() == [[6.0], [15.0]]
    with pytest.raises(mlflow.exceptions.MlflowException, match="there is a deployment") as caught:
        client.create_deployment("lin", str(second))
    assert caught.value.error_code == "RESOURCE_ALREADY_EXISTS"
    with pytest.raises(mlflow.exceptions.MlflowException) as caught:
        client.predict("lin", pd.DataFrame([[1.0]]))
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"
    client.update_deployment("lin", str(second), config={"replicas": "2"})
    assert client.predict("lin", frame).get_predictions("ndarray").tolist() == [[12.0], [30.0]]
    found = client.get_deployment("lin")
    assert found["endpoint"]["runtime"]["max_batch_size"] == 8
    assert found["endpoint"]["replicas"] == 2
    assert [one["name"] for one in client.list_deployments()] == ["lin"]
    rows = tmp_path / "rows.json"
    rows.write_text(frame.to_json())
    command = [sys.executable, "-m", "mlflow", "deployments", "predict", "-t", "argosy", "--name", "lin", "-I", rows]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == {"predictions": [[12.0], [30.0]]}
    client.delete_deployment("lin")
    client.delete_deployment("lin")
    with pytest.raises(mlflow.exceptions.MlflowException) as caught:
        client.get_deployment("lin")
    assert caught.value.error_code == "RESOURCE_DOES_NOT_EXIST"


SAVE = """
import sys, numpy as np, mlflow.sklearn
from sklearn.linear_model import LinearRegression
x = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
model = LinearRegression().fit(x, [2.0, 1.0, 3.0])
mlflow.sklearn.save_model(model, sys.argv[1], input_example=x, pip_requirements=["scikit-learn"])
"""


@pytest.mark.slow
def test_a_model_of_mlflow_goes_by_its_uri(platform, tmp_path):
    folder = tmp_path / "model"
    subprocess.run([sys.executable, "-c", SAVE, folder], check=True, capture_output=True)
    made = platform.create_deployment("reg", folder.as_uri(), config={"push.trust": "true", "runtime.threads": 1})
    assert made["state"] == "ready"
    found = platform.predict("reg", np.array([[1.0, 1.0], [0.0, 1.0]])).get_predictions("ndarray")
    assert found.reshape(-1).round(3).tolist() == [3.0, 2.0]
