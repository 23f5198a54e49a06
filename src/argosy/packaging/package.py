"""A package folder, opened: `model.yaml` checked, the other files found."""

import sys
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from argosy.packaging.requirements import Needs
from argosy.spec.errors import ArgosyError, BadPackage, BadSignature, NotFound, Unsupported
from argosy.spec.package import LANGUAGE, ModelManifest
from argosy.spec.signature import check_inputs
from argosy.spec.strict import document, dump_yaml, load_yaml
from argosy.store.manifest import CONFIG, describe, image_manifest, layer, model_config
from argosy.store.manifest import MANIFEST as IMAGE_MANIFEST
from argosy.store.paths import check_path, hash_of, walk

if TYPE_CHECKING:
    from argosy.packaging.profile import Profile
    from argosy.spec.tensor import Tensor
    from argosy.store.store import Store

MANIFEST = "model.yaml"
INPUTS = "golden/inputs.oip"
OUTPUTS = "golden/outputs.oip"
PROFILE = "profile.json"
REQUIREMENTS = "requirements.txt"
LICENSE = "LICENSE"

_MAX_MANIFEST = 4 * 1024 * 1024
_MAX_PROFILE = 64 * 1024 * 1024
_MAX_GOLDEN = 256 * 1024 * 1024


class Package:
    """A model package as a folder. Reading it runs nothing of the model. `trusted`: whoever opened it vouches for it,
    so that it may run code of its author when it is loaded. `stored`: its digest, where it is of the store of the home.
    """

    def __init__(self, folder: Path, manifest: ModelManifest, trusted: bool = False, stored: str = "") -> None:
        self.folder = folder
        self.manifest = manifest
        self.trusted = trusted
        self.stored = stored

    @property
    def needs(self) -> Needs:
        """What has to be installed for it."""
        return Needs(self.manifest.requirements, self.trusted, self.stored)

    @property
    def weights(self) -> Path:
        """What the engine loads: a file or a folder."""
        return self.folder / self.manifest.weights

    @cached_property
    def _golden(self) -> "tuple[list[Tensor], list[Tensor]]":
        inputs, outputs = (_tensors(self.folder / name) for name in (INPUTS, OUTPUTS))
        try:
            check_inputs(self.manifest.signature, inputs)
        except ArgosyError as error:
            raise BadPackage(f"{INPUTS} does not fit the signature: {error.message}") from None
        declared = [(spec.name, spec.datatype) for spec in self.manifest.signature.every_output]
        if declared != [(tensor.name, tensor.datatype) for tensor in outputs]:
            raise BadPackage(f"{OUTPUTS} does not hold the outputs of the signature: {declared}")
        return inputs, outputs

    def digest(self) -> str:
        """`sha256:…` over every file of the folder, as the store would give it: that of its OCI manifest. Raises
        BadPackage for what no package has."""
        files = walk(self.folder, limit=sys.maxsize)
        layers = tuple(layer(each.path, f"sha256:{hash_of(each.file)}", each.size) for each in files)
        config = describe(CONFIG, model_config(self.manifest, layers))
        return describe(IMAGE_MANIFEST, image_manifest(config, layers)).digest

    def golden_inputs(self) -> "list[Tensor]":
        """The inputs of the golden examples. Raises BadPackage unless they fit the signature."""
        return self._golden[0]

    def golden_outputs(self) -> "list[Tensor]":
        """What the trained model gave for them, in the order of the signature's outputs."""
        return self._golden[1]

    def profile(self) -> "Profile | None":
        """The reference profile; None where the package was made without a sample. Raises BadPackage."""
        from argosy.packaging.profile import Profile

        path = self.folder / PROFILE
        if not path.exists():
            return None
        return document(path, Profile, PROFILE, _MAX_PROFILE)


def open_package(folder: Path, *, trusted: bool = False, digest: str = "", stored: str = "") -> Package:
    """Read and check `model.yaml`. What it says of trust is what the scan said when it was pushed, and vouches for
    nothing: `trusted` is the caller's word, as `stored` is. With `digest` every file is hashed: it is that of a package
    that has to be signed, and was when it was looked up.

    Raises NotFound without one, BadPackage where it is broken or points elsewhere; BadSignature for other bytes.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise NotFound(f"{folder} is no model package: it has no {MANIFEST}")
    if path.stat().st_size > _MAX_MANIFEST:
        raise BadPackage(f"{path} is larger than {_MAX_MANIFEST} bytes")
    try:
        manifest = load_yaml(path.read_bytes(), ModelManifest, str(path))
    except ArgosyError as error:
        raise BadPackage(error.message) from None
    check_path(manifest.weights)
    if not (folder / manifest.weights).exists():
        raise BadPackage(f"{path} names the weights '{manifest.weights}', which are not there")
    package = Package(folder, manifest, trusted, stored)
    if digest and (found := package.digest()) != digest:
        raise BadSignature(f"{folder} holds other bytes than it should: {found}, not {digest}")
    return package


def stored(store: "Store", digest: str) -> Package:
    """A package of the store, unpacked, and trusted if the store says so. Raises NotFound, BadPackage."""
    return open_package(store.unpacked(digest), trusted=store.registry.trusted(digest), stored=digest)


def check_tensors(package: Package) -> Package:
    """The package, unless it is a language model, whose engine is a server: then raises Unsupported."""
    name, engine = package.manifest.name, package.manifest.engine
    if engine in LANGUAGE:
        raise Unsupported(
            f"{name} is a language model, which takes no tensors: {engine}, a server of its own, answers by OpenAI's "
            f"API. Deploy it with  argosy deploy {name}:VERSION  and ask /v1/chat/completions, or  argosy chat {name}"
        )
    return package


def write_manifest(folder: Path, manifest: ModelManifest) -> None:
    (folder / MANIFEST).write_text(dump_yaml(manifest), "utf-8")


def _tensors(path: Path) -> "list[Tensor]":
    from argosy.protocol import tensorfile

    if not path.is_file():
        raise BadPackage(f"the package has no golden examples: {path.name} is missing")
    if path.stat().st_size > _MAX_GOLDEN:
        raise BadPackage(f"{path} is larger than {_MAX_GOLDEN} bytes")
    return tensorfile.read(path)
