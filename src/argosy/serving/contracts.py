"""What each place that runs containers asks of one: where to listen, where the model lies, which paths ask what.

A contract is data, in `contracts.toml`; the little that is not is in `contract_app.py`, `multimodel.py` and
`lambda_runtime.py`. It is read once, at the start. Sources: the developer guides of SageMaker, Vertex AI, Azure ML,
Cloud Run, Lambda and Hugging Face Endpoints, KServe's ServingRuntime and MLflow's scoring server
(`docs/guides/clouds.md` names what each asks).
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from argosy.spec.address import Address
from argosy.spec.endpoint import Runtime
from argosy.spec.errors import InvalidArgument
from argosy.spec.package import MODEL_FOLDER

ANY = "0.0.0.0"
"""Whoever runs the container decides who reaches it."""


class Variable(NamedTuple):
    """A path that a variable of the environment gives: the method, what it asks for, and the path without it."""

    name: str
    method: str
    target: str
    default: str


class Contract(msgspec.Struct, frozen=True, kw_only=True):
    """What one place asks. `signs`: variables, or folders, that tell that it runs us. `models`: where a model may lie,
    first what comes first: folders, or variables with a folder or an address in a bucket. `ports`: variables with the
    port. `paths`: `METHOD /path` → a path of the data plane, or an operation of `ContractApp`. `echoed`: a header that
    an answer repeats. `grouped`: a body holds `instances`, a prediction is answered for each, whatever the model.
    `runtime`: its limits, where no option gives another.
    """

    title: str
    signs: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    host: str = ANY
    port: int = 8080
    ports: tuple[str, ...] = ()
    grpc_port: int | None = None
    paths: dict[str, str] = {}
    variables: tuple[Variable, ...] = ()
    echoed: str = ""
    grouped: bool = False
    runtime: Runtime = Runtime()


CONTRACTS = msgspec.toml.decode(Path(__file__).with_suffix(".toml").read_bytes(), type=dict[str, Contract])
"""By name, in the order in which their signs are looked for."""


class Binding(msgspec.Struct, frozen=True, kw_only=True):
    """A contract at work. `sign` is what it was found by. `source` is where its model lies, empty where the environment
    names none; `paths`: path → method → target; `multi`: models come and go by SageMaker's requests."""

    name: str
    contract: Contract
    http: Address
    grpc: Address | None
    sign: str
    source: str
    paths: dict[str, dict[str, str]]
    runtime: Runtime
    multi: bool = False
    environ: dict[str, str] = {}


def detect(environ: Mapping[str, str], exists: Callable[[str], bool] = os.path.isdir) -> str | None:
    """The contract of the place that runs this process, by its environment; None where nothing tells."""
    return next((name for name, one in CONTRACTS.items() if _present(one.signs, environ, exists)), None)


def bind(name: str, environ: Mapping[str, str], exists: Callable[[str], bool] = os.path.isdir) -> Binding:
    """A contract with what the environment says. Raises InvalidArgument for a port or a path that is none."""
    contract = CONTRACTS[name]
    port = contract.port
    if variable := next((one for one in contract.ports if environ.get(one)), ""):
        text = environ[variable]
        if not (text.isascii() and text.isdigit() and int(text) <= 65535):
            raise InvalidArgument(f"{variable} is '{text[:40]}'; {contract.title} gives a port by it")
        port = int(text)
    sources = [environ.get(one, "") if one[0] != "/" else one for one in (*contract.models, MODEL_FOLDER)]
    return Binding(
        name=name,
        contract=contract,
        http=Address(host=contract.host, port=port),
        grpc=None if contract.grpc_port is None else Address(host=contract.host, port=contract.grpc_port),
        sign=_present(contract.signs, environ, exists),
        source=next((one for one in sources if "://" in one or (one and exists(one))), ""),
        paths=_paths(contract, environ),
        runtime=contract.runtime,
        multi=name == "sagemaker" and environ.get("SAGEMAKER_MULTI_MODEL", "").lower() in ("1", "true"),
        environ={key: value for key, value in environ.items() if key.startswith("SAGEMAKER_")},
    )


def _present(signs: tuple[str, ...], environ: Mapping[str, str], exists: Callable[[str], bool]) -> str:
    return next((sign for sign in signs if (exists(sign) if sign[0] == "/" else environ.get(sign))), "")


def _paths(contract: Contract, environ: Mapping[str, str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    named = {"endpoint": environ.get("AIP_ENDPOINT_ID", "0"), "deployed": environ.get("AIP_DEPLOYED_MODEL_ID", "0")}
    pairs = [(*key.split(" "), target) for key, target in contract.paths.items()]
    for one in contract.variables:
        path = environ.get(one.name) or one.default.format(**named)
        if not path.startswith("/"):
            raise InvalidArgument(f"{one.name} is '{path[:80]}'; it must be a path, as in /predict")
        pairs.append((one.method, path, one.target))
    for method, path, target in pairs:
        found.setdefault(path.removesuffix("/") or "/", {})[method] = target
    return found
