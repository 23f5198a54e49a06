"""One model served in this process, without a platform; under the contract of a cloud, or without one."""

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Self

import msgspec

from argosy.client.local import Located, locate, sole_model
from argosy.packaging import environment
from argosy.packaging.options import PushOptions
from argosy.serving import contracts
from argosy.serving.config import ModelConfig, ReplicaConfig
from argosy.serving.contract_app import ContractApp
from argosy.serving.contracts import Binding
from argosy.serving.http import HttpApp
from argosy.serving.server import MakeApp, Started, run
from argosy.spec.address import Address
from argosy.spec.errors import ArgosyError, InvalidArgument, NotFound
from argosy.spec.package import MODEL_FOLDER
from argosy.spec.settings import home
from argosy.store import objects
from argosy.store.paths import check_path

RUNTIME_API = "AWS_LAMBDA_RUNTIME_API"


def chosen(name: str, environ: Mapping[str, str] = os.environ) -> Binding | None:
    """The contract of this name; of `auto` that of the place that runs this process; none of `none`."""
    found = (
        contracts.detect(environ) if name == "auto" else next((one for one in contracts.CONTRACTS if one == name), None)
    )
    return contracts.bind(found, environ) if found else None


def addresses(binding: Binding | None, environ: Mapping[str, str] = os.environ) -> tuple[Address, Address | None]:
    """Where HTTP and gRPC are served if no option says so: where the contract asks, else where an image says by its
    environment, else at port 8000 of loopback. A contract's gRPC is left out in an image without its library. Raises
    InvalidArgument."""
    if binding is not None:
        return binding.http, binding.grpc if find_spec("grpc") else None
    host = environ.get("ARGOSY_SERVE_HOST", "127.0.0.1")
    ports = {name: environ[name] for name in ("ARGOSY_SERVE_PORT", "ARGOSY_SERVE_GRPC_PORT") if environ.get(name)}
    if wrong := next((name for name, text in ports.items() if not re.fullmatch(r"[0-9]{1,5}", text)), ""):
        raise InvalidArgument(f"{wrong} is '{ports[wrong][:40]}'; it must be a port")
    grpc = ports.get("ARGOSY_SERVE_GRPC_PORT")
    http = Address(host=host, port=int(ports.get("ARGOSY_SERVE_PORT", "8000")))
    return http, Address(host=host, port=int(grpc)) if grpc else None


class Serving(contextlib.ExitStack):
    """A replica in this process, from the search for its model to its end. As a context manager it deletes at the end
    what it unpacked."""

    def __init__(
        self,
        name: str | None,
        config: ReplicaConfig,
        options: PushOptions,
        binding: Binding | None,
        *,
        install: bool = True,
    ) -> None:
        super().__init__()
        self.name = name or ""
        self._config = config
        self._options = options
        self._binding = binding
        self._install = install
        self._multi = False
        self._api = os.environ.get(RUNTIME_API, "") if binding and binding.name == "lambda" else ""

    def __enter__(self) -> Self:
        super().__enter__()
        return self

    def prepare(self, source: str | None, report: Callable[[str], None]) -> Path | None:
        """Find the model of a file or reference, or where the contract has it: its package; None where models come by
        requests. Raises what `locate` raises, and InvalidArgument where nothing is named."""
        if source is None and self._binding is not None and self._binding.multi:
            self._multi = True
            return None
        with self._reported():
            named = sole_model(Path(source)) if source and Path(source).is_dir() else source
            found = self._locate(named or self._placed(), report)
            self._installed(found, report)
        self.name = self.name or found.name
        self._config = msgspec.structs.replace(self._config, models=(_model(found, self.name),))
        return found.folder

    def run(self, started: Started) -> None:
        """Serve until a signal. Raises what loading and binding raise."""
        make: MakeApp = HttpApp
        if self._binding is not None:
            binding = msgspec.structs.replace(self._binding, runtime=self._config.runtime)
            make = partial(ContractApp, binding=binding)
            if self._multi:
                from argosy.serving.multimodel import MultiModelApp

                make = partial(MultiModelApp, binding=binding, fetch=self._fetch)
            elif self._api:
                from argosy.serving.lambda_runtime import LambdaApp

                make = partial(LambdaApp, binding=binding, api=self._api)
        with self._reported():
            run(self._config, started, make)

    @contextlib.contextmanager
    def _reported(self):
        """Tell Lambda of a start that fails."""
        try:
            yield
        except ArgosyError as error:
            if self._api:
                from argosy.serving.lambda_runtime import report_failure

                report_failure(self._api, error)
            raise

    def _installed(self, found: Located, report: Callable[[str], None]) -> None:
        """Begin again with the packages of the model, where this process lacks them and may install them."""
        if self._install:
            folder = environment.prepare(home(), found.open().needs, report)
            path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
            if folder and str(folder) not in path:
                found.release()
                environ = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(folder), *path]))}
                os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environ)

    def _locate(self, source: str | Path, report: Callable[[str], None] = lambda step: None) -> Located:
        found = locate(source, self._options, report)
        self.callback(found.release)
        return found

    def _fetch(self, name: str, place: str) -> tuple[ModelConfig, Callable[[], None]]:
        found = self._locate(sole_model(Path(place)))
        return _model(found, name), found.release

    def _placed(self) -> Path:
        binding = self._binding
        if binding is None:
            raise InvalidArgument(
                "FILE_OR_REF is missing: name a model file, a package folder or a version, as digits:1"
            )
        if not binding.source:
            known = ", ".join((*binding.contract.models, MODEL_FOLDER))
            raise NotFound(f"{binding.contract.title} has put no model in {known}, and FILE_OR_REF names none")
        if "://" not in binding.source:
            return sole_model(Path(binding.source))
        folder = Path(self.enter_context(tempfile.TemporaryDirectory(prefix="argosy-")))
        download(binding.source, folder)
        return sole_model(folder)


def download(url: str, folder: Path) -> None:
    """The objects below an address in a bucket as files of a folder. Raises NotFound where there are none."""
    base = url.rstrip("/") + "/"
    found = sorted(each for each in objects.walk(base) if not each.endswith("/"))
    if not found:
        raise NotFound(f"there is nothing at {url}")
    for each in found:
        path = folder / check_path(each.removeprefix(base))
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.writelines(objects.stream(each))


def _model(located: Located, name: str) -> ModelConfig:
    return ModelConfig(
        name=name,
        package=str(located.folder),
        version=located.version,
        digest=located.digest,
        trusted=located.trusted,
        exact=located.signed,
    )
