"""The target `argosy` of MLflow's deployments: a deployment is an endpoint of the platform.

MLflow loads this module by its entry point. Its contract (`mlflow.deployments.base`): one subclass of
BaseDeploymentClient, the functions `run_local` and `target_help`, calls that block, and no exception but
MlflowException.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import httpx
import msgspec
from mlflow.artifacts import download_artifacts  # pyright: ignore[reportUnknownVariableType]
from mlflow.deployments import BaseDeploymentClient, PredictionsResponse
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import ErrorCode

from argosy.cli import here, keys
from argosy.cli.apply import WAIT_SECONDS, settle, write
from argosy.packaging.options import PushOptions
from argosy.packaging.push import push
from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import INTERRUPTED, ArgosyError, Conflict, InvalidArgument, NotFound, from_http

Base: Any = BaseDeploymentClient
"""MLflow's class, whose methods have no types."""
P = ParamSpec("P")
T = TypeVar("T")

CODES = {
    400: "INVALID_PARAMETER_VALUE",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    409: "RESOURCE_ALREADY_EXISTS",
    413: "INVALID_PARAMETER_VALUE",
    422: "INVALID_PARAMETER_VALUE",
    429: "REQUEST_LIMIT_EXCEEDED",
    501: "NOT_IMPLEMENTED",
    503: "TEMPORARILY_UNAVAILABLE",
}
"""HTTP status of an error → MLflow's name of it."""
PUSH = "push."
FLAVORS = (None, "python_function")
HELP = """\
The target is `argosy`: the platform whose folder ARGOSY_HOME names (`argosy up`), or whose control API
ARGOSY_CONTROL_URL names. A deployment is an endpoint; what it serves is a version of the model of the same name.

  mlflow deployments create -t argosy --name digits -m models:/digits/3 -C replicas=2
  mlflow deployments predict -t argosy --name digits -I rows.json
  mlflow deployments update -t argosy --name digits -m runs:/RUN/model
  mlflow deployments delete -t argosy --name digits

-m is whatever MLflow finds a model by, a path to an MLflow model, or a model file or package folder of Argosy.

-C KEY=VALUE, for create and update:
  replicas=2, timeout=30, retries=2, public=true, runtime.max_batch_size=128, ...   fields of an endpoint's declaration
  push.trust=true      the model may run code of its author: pickles, python_function
  push.sample=FILE     rows that fit the model;  push.engine=NAME, push.convert=false  as of `argosy push`

For run-local: options of `argosy serve` without the dashes, as in -C port=9000 -C trust=true.
"""


def _raising(function: Callable[P, T]) -> Callable[P, T]:
    """The function, which raises MlflowException alone."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except MlflowException:
            raise
        except ArgosyError as error:
            code = CODES.get(error.http, "INTERNAL_ERROR")
            raise MlflowException(error.message, error_code=ErrorCode.Value(code)) from error
        except Exception as error:
            raise MlflowException(f"{type(error).__name__}: {error}") from error

    return call


def target_help() -> str:
    """What `mlflow deployments help -t argosy` prints."""
    return HELP


@_raising
def run_local(
    target: str, name: str, model_uri: str, flavor: str | None = None, config: Mapping[str, Any] | None = None
) -> None:
    """Serve a model in the foreground, by `argosy serve`, until it is interrupted."""
    _check(target, flavor)
    options: list[str] = []
    for key, value in (config or {}).items():
        options += [f"--{key}"] if str(value).lower() == "true" else [f"--{key}", str(value)]
    command = [sys.executable, "-m", "argosy", "serve", str(_local(model_uri)), "--name", name, *options]
    status = subprocess.run(command, check=False).returncode
    if status not in (0, INTERRUPTED):
        raise InvalidArgument(f"argosy serve ended with status {status}; what it printed says why")


class ArgosyDeploymentClient(Base):
    """Deployments as endpoints of the platform that the environment names."""

    @_raising
    def __init__(self, target_uri: str) -> None:
        Base.__init__(self, target_uri)
        self.target: str = target_uri
        _check(target_uri, None)

    @_raising
    def create_deployment(
        self,
        name: str,
        model_uri: str,
        flavor: str | None = None,
        config: Mapping[str, Any] | None = None,
        endpoint: str | None = None,
    ) -> dict[str, Any]:
        """Package the model, declare an endpoint of it, and wait until it answers."""
        _check(self.target, flavor, endpoint)
        api = here.control()
        if any(one["endpoint"]["name"] == name for one in api.endpoints()):
            raise Conflict(f"there is a deployment '{name}': update it, or delete it before")
        fields, options = _configured(config)
        declared = _declaration({"name": name, "model": self._push(name, model_uri, options), **fields})
        found, _ = write(api, declared, 0, f"mlflow deployments create -m {model_uri}")
        return _shown(name, settle(api, name, WAIT_SECONDS, _quiet)) | {"url": found["url"], "flavor": flavor}

    @_raising
    def update_deployment(
        self,
        name: str,
        model_uri: str | None = None,
        flavor: str | None = None,
        config: Mapping[str, Any] | None = None,
        endpoint: str | None = None,
    ) -> None:
        """Move the endpoint to another model, or change its settings, and wait until it answers."""
        _check(self.target, flavor, endpoint)
        api = here.control()
        status = api.endpoint(name)
        fields, options = _configured(config)
        if model_uri is not None:
            fields["model"] = self._push(name, model_uri, options)
        elif options != PushOptions():
            raise InvalidArgument("push.* is said of a model, and none is given: add -m")
        declared = _declaration(_merged(status["endpoint"], fields))
        write(api, declared, status["generation"], f"mlflow deployments update -m {model_uri}")
        settle(api, name, WAIT_SECONDS, _quiet)

    @_raising
    def delete_deployment(
        self, name: str, config: Mapping[str, Any] | None = None, endpoint: str | None = None
    ) -> None:
        """Remove the endpoint. One that is not there is deleted already."""
        _check(self.target, None, endpoint)
        if config:
            raise InvalidArgument("there is nothing to configure about a delete")
        try:
            here.control().delete(here.endpoint_path(name), actor=here.actor(), reason="mlflow deployments delete")
        except NotFound:
            return

    @_raising
    def list_deployments(self, endpoint: str | None = None) -> list[dict[str, Any]]:
        """All endpoints of the platform."""
        _check(self.target, None, endpoint)
        return [_shown(one["endpoint"]["name"], one) for one in here.control().endpoints()]

    @_raising
    def get_deployment(self, name: str, endpoint: str | None = None) -> dict[str, Any]:
        """One endpoint, as it is."""
        _check(self.target, None, endpoint)
        return _shown(name, here.control().endpoint(name))

    @_raising
    def predict(
        self, deployment_name: str | None = None, inputs: Any = None, endpoint: str | None = None
    ) -> PredictionsResponse:
        """The endpoint's predictions for a data frame, an array, a list of rows, or arrays by name."""
        _check(self.target, None, endpoint)
        name = deployment_name or ""
        status, key = here.control().endpoint(name), keys.find(here.place(), name)
        url = f"{status['url'].partition('/v2/')[0]}/endpoints/{name}/invocations"
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key.key}"} if key else {})
        answer = httpx.post(url, content=_body(inputs), headers=headers, timeout=60)
        if answer.status_code != 200:
            raise from_http(answer.status_code, _message(answer))
        return PredictionsResponse(answer.json())

    @_raising
    def predict_stream(
        self, deployment_name: str | None = None, inputs: Any = None, endpoint: str | None = None
    ) -> Any:
        """Raises MlflowException: the models of this target answer at once."""
        raise MlflowException("this target does not stream", error_code=ErrorCode.Value("NOT_IMPLEMENTED"))

    def _push(self, name: str, model_uri: str, options: PushOptions) -> str:
        source = _local(model_uri)
        with here.store() as store:
            return push(source, name=name, store=store, options=options, report=_quiet).ref


def _quiet(step: str) -> None:
    """Progress that nobody reads."""


def _check(target: str, flavor: str | None, endpoint: str | None = None) -> None:
    """Raise InvalidArgument for what this target has not."""
    if target.rstrip(":/") != "argosy":
        raise InvalidArgument(f"the target is '{target}'; it is argosy alone: ARGOSY_HOME names the platform")
    if flavor not in FLAVORS:
        raise InvalidArgument(
            f"flavor is '{flavor}': Argosy chooses the engine by the model; push.engine names another"
        )
    if endpoint is not None:
        raise InvalidArgument("a deployment is an endpoint here, and is in no other: leave out endpoint")


def _local(model_uri: str) -> Path:
    """The files of a model: those of a path, else what MLflow downloads."""
    path = Path(model_uri)
    return path if path.exists() else Path(download_artifacts(artifact_uri=model_uri))


def _configured(config: Mapping[str, Any] | None) -> tuple[dict[str, Any], PushOptions]:
    """Fields of a declaration, those in sections too, and the options of a push. Raises InvalidArgument."""
    fields: dict[str, Any] = {}
    pushed: dict[str, Any] = {}
    for key, value in (config or {}).items():
        if key.startswith(PUSH):
            pushed[key.removeprefix(PUSH)] = value
            continue
        if key in ("name", "model"):
            raise InvalidArgument(f"{key} is given by an option of its own, not by -C")
        *sections, last = key.split(".")
        place = fields
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    if unknown := set(pushed) - set(PushOptions.__struct_fields__):
        raise InvalidArgument(f"there is no push.{min(unknown)}")
    try:
        options = msgspec.convert(pushed, PushOptions, strict=False, dec_hook=lambda kind, value: kind(value))
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"push: {error}") from None
    return fields, options


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(base)
    for key, value in changes.items():
        inner = found.get(key)
        found[key] = _merged(inner, value) if isinstance(value, dict) and isinstance(inner, dict) else value  # pyright: ignore[reportUnknownArgumentType]
    return found


def _declaration(fields: dict[str, Any]) -> Endpoint:
    try:
        return msgspec.convert(fields, Endpoint, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"endpoint '{fields['name']}': {error}") from None


def _shown(name: str, status: Mapping[str, Any]) -> dict[str, Any]:
    wanted = ("state", "version", "digest", "ready", "replicas", "url", "reason", "endpoint")
    return {"name": name} | {key: status[key] for key in wanted if key in status}


def _body(inputs: Any) -> bytes:
    """A request as MLflow's scoring server takes it."""
    if hasattr(inputs, "to_json") and hasattr(inputs, "columns"):
        return b'{"dataframe_split":%s}' % inputs.to_json(orient="split", index=False).encode()
    if isinstance(inputs, Mapping):
        inputs = {name: _plain(value) for name, value in cast("Mapping[str, Any]", inputs).items()}
    return json.dumps({"inputs": _plain(inputs)}).encode()


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:200] or f"the endpoint answered {answer.status_code}"
