"""From a model package to an image: layers by how often they change, each made only where its inputs have changed."""

import hashlib
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from threading import RLock
from urllib.parse import quote

import msgspec

from argosy import __version__
from argosy.images import debian, wheels
from argosy.images.bytecode import Compiler
from argosy.images.debian import BaseLock
from argosy.images.image import GRPC_PORT, PORT, WRITABLE, Contents, Image, contents, time_of
from argosy.images.layers import Compression, Layer, LayerCache
from argosy.images.platforms import PLATFORMS, Platform, host
from argosy.images.tree import Tree
from argosy.packaging import environment
from argosy.packaging.environment import Report
from argosy.packaging.lock import pins, without
from argosy.packaging.package import Package
from argosy.spec.errors import InvalidArgument, Unsupported, Untrusted
from argosy.spec.package import DATA_ONLY, LANGUAGE, MODEL_FOLDER
from argosy.spec.settings import Home
from argosy.store.paths import walk
from argosy.trust.sbom import Component, required

NONROOT, NONROOT_GROUP = "nonroot:x:65532:65532::/var/lib/argosy:/nonexistent", "nonroot:x:65532:"
COMPLETE = ("onnx", wheels.LLAMACPP)
"""Engines that are in our locks with all that they need."""
REQUIREMENTS = "opt/requirements"
"""Where packages lie that a model requires; they come before those of Argosy."""


class ImageOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to build: the platforms, how layers are compressed, whether gRPC is served too, a folder of locks instead of
    those that are part of Argosy, whether a bill of material refers to each platform, the time in all files in seconds
    since 1970."""

    platforms: tuple[str, ...] = ()
    compression: Compression = "zstd"
    grpc: bool = False
    locks: Path | None = None
    bills: bool = False
    epoch: int = 0


class ImageModel(msgspec.Struct, frozen=True, kw_only=True):
    """What the image serves: the name in URLs, the version, the digest of the package, whether it may run code."""

    package: Package
    name: str
    version: str
    digest: str
    trusted: bool = False


class Builder:
    """Builds the layers of images, which it keeps in the cache of a home."""

    def __init__(self, home: Home, options: ImageOptions, report: Report = lambda step: None) -> None:
        self.home, self.options, self.report = home, options, report
        self.cache = LayerCache(home.cache / "layers", options.compression, options.epoch)
        self._work, self._once = ExitStack(), RLock()
        self._trees: dict[str, Tree] = {}
        self._compiler: Compiler | None = None

    def build(self, model: ImageModel, ref: str) -> Contents:
        """The image of a model for every platform, under the name `ref`. Raises Unsupported, MissingExtra, BadPackage,
        Unavailable, Untrusted, StorageFull."""
        check_servable(model.package, grpc=self.options.grpc)
        names = self.options.platforms or (host().name,)
        with self._work:
            images = [self._image(model, PLATFORMS[name]) for name in dict.fromkeys(names)]
        blobs = {layer.digest: self.cache.blob(layer) for image in images for layer in image.layers}
        return contents(images, blobs, ref, bills=self.options.bills)

    def _image(self, model: ImageModel, platform: Platform) -> Image:
        lock = debian.lock_of(platform, self.options.locks)
        texts = self.wheel_locks(model)
        steps: list[Callable[[], Layer]] = [
            partial(self._libraries, lock, platform),
            partial(self._interpreter, lock, platform),
            *(partial(self._wheels, name, text, lock, platform) for name, text in texts.items()),
            partial(self._argosy, lock),
            partial(self._model, model),
        ]
        with ThreadPoolExecutor(len(steps)) as pool:
            layers = tuple(made.result() for made in [pool.submit(step) for step in steps])
        return Image(
            name=model.name,
            platform=platform,
            parts=parts_of(model, lock, texts.values()),
            layers=layers,
            environ=environ_of(model, self.ports),
            labels=labels_of(model, lock, self.options.epoch),
            ports=self.ports,
            epoch=self.options.epoch,
        )

    @property
    def ports(self) -> tuple[int, ...]:
        """Where a container listens."""
        return (PORT, GRPC_PORT) if self.options.grpc else (PORT,)

    def wheel_locks(self, model: ImageModel) -> dict[str, str]:
        """Name → lock of wheels, from what changes least; `requirements` are those of the model."""
        more = (
            wheels.LLAMACPP if model.package.manifest.engine in LANGUAGE else wheels.GRPC if self.options.grpc else ""
        )
        names = tuple(filter(None, (wheels.SERVE, more)))
        texts = {name: wheels.lock_text(name, self.options.locks) for name in names}
        needs = self._needs(model, texts)
        return texts | ({"requirements": needs} if needs else {})

    def _libraries(self, lock: BaseLock, platform: Platform) -> Layer:
        def make() -> Tree:
            return with_users(self._packages(lock, platform).part(lambda path: not debian.INTERPRETER.match(path)))

        return self.cache.layer(f"Debian {lock.release}: C and C++ libraries, certificates", lock, make)

    def _interpreter(self, lock: BaseLock, platform: Platform) -> Layer:
        def make() -> Tree:
            tree = self._packages(lock, platform).part(lambda path: bool(debian.INTERPRETER.match(path)))
            return self._compiled(tree, "the standard library")

        return self.cache.layer(f"Debian {lock.release}: Python {lock.python}", lock, make)

    def _packages(self, lock: BaseLock, platform: Platform) -> Tree:
        with self._once:
            if platform.name not in self._trees:
                self.report(f"Debian packages for {platform.name}")
                files = debian.download(lock, debian.cache_folder() / "debian")
                self._trees[platform.name] = debian.tree_of(files, platform)
            return self._trees[platform.name]

    def _wheels(self, name: str, text: str, lock: BaseLock, platform: Platform) -> Layer:
        def make() -> Tree:
            self.report(f"locked wheels ({name}) for {platform.name}")
            into = REQUIREMENTS if name == "requirements" else ""
            return self._compiled(wheels.tree_of(text, platform, lock.python, self._folder(), into), f"{name} wheels")

        inputs = [platform.name, lock.python, hashlib.sha256(text.encode()).hexdigest()]
        return self.cache.layer(f"locked wheels: {name}", inputs, make)

    def _needs(self, model: ImageModel, texts: Mapping[str, str]) -> str:
        """The lock of what the model requires beside the other locks; nothing for ONNX and for language models."""
        if model.package.manifest.engine in COMPLETE:
            return ""
        had = [pin for text in texts.values() for pin in pins(text)]
        return without(environment.lock_of(self.home, model.package.needs, self.report), had)

    def _argosy(self, lock: BaseLock) -> Layer:
        tree = wheels.argosy_tree(lock.python)
        inputs = [[path, hashlib.sha256(node.read()).hexdigest()] for path, node in sorted(tree.nodes.items())]
        return self.cache.layer(f"Argosy {__version__}", [lock.python, inputs], lambda: self._compiled(tree, "Argosy"))

    def _model(self, model: ImageModel) -> Layer:
        made = partial(model_tree, model, MODEL_FOLDER.lstrip("/"))
        return self.cache.layer(f"model {model.name}:{model.version}", model.digest, made)

    def _compiled(self, tree: Tree, what: str) -> Tree:
        with self._once:
            if self._compiler is None:
                here = host()
                lock = debian.lock_of(here, self.options.locks)
                self._compiler = Compiler(self._packages(lock, here), self._folder(), here, lock.python)
        self.report(f"Compiling {what}")
        return self._compiler.compile(tree)

    def _folder(self) -> Path:
        """A folder until the build has ended."""
        return Path(self._work.enter_context(tempfile.TemporaryDirectory(prefix="argosy-image-")))


def write_locks(folder: Path, report: Report) -> list[Path]:
    """Lock what apt and the index of packages of this machine deliver now. Returns the files. Raises Unsupported,
    Unavailable, InvalidArgument."""
    environment.uv()
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, bytes] = {}
    for platform in PLATFORMS.values():
        report(f"Debian packages for {platform.name}")
        lock = debian.make_lock(platform)
        found[debian.file_name(platform)] = msgspec.json.format(msgspec.json.encode(lock), indent=1) + b"\n"
    report("wheels")
    for name, text in wheels.make_locks(debian.PYTHON, PLATFORMS["linux/amd64"]).items():
        found[f"{name}.txt"] = text.encode()
    for name, data in found.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in found]


def check_servable(package: Package, *, grpc: bool = False) -> None:
    """Raise Untrusted for a model that would run code of its author and that nobody vouches for, Unsupported for a
    language model whose engine images do not have, and for gRPC of one."""
    name, engine = package.manifest.name, package.manifest.engine
    if engine in LANGUAGE and (engine != wheels.LLAMACPP or grpc):
        what = "gRPC, which language models do not speak" if grpc else f"{engine}, whose own images are the base for it"
        raise Unsupported(f"{name} cannot be made an image here with {what}: see docs/guides/images.md")
    if engine not in DATA_ONLY and not package.trusted:
        raise Untrusted(
            f"{package.manifest.name} runs code of its author ({package.manifest.engine}), and nobody here vouches for "
            "it: push its source with --trust"
        )


def model_tree(model: ImageModel, into: str) -> Tree:
    tree = Tree()
    for entry in walk(model.package.folder, limit=2**63):
        tree.file(f"{into}/{entry.path}", entry.file)
    return tree


def with_users(tree: Tree) -> Tree:
    """The base with the users of an image, names looked up by DNS, and the folder that a container may write to,
    whatever its user."""
    tree.file("etc/passwd", f"root:x:0:0:root:/root:/nonexistent\n{NONROOT}\n".encode())
    tree.file("etc/group", f"root:x:0:\n{NONROOT_GROUP}\n".encode())
    tree.file("etc/nsswitch.conf", b"hosts: files dns\n")
    tree.folder(WRITABLE.lstrip("/"), 0o1777)
    tree.folder("tmp", 0o1777)
    return tree


def environ_of(model: ImageModel, ports: tuple[int, ...]) -> dict[str, str]:
    """The environment of a container: what `argosy serve` serves where, and one place to write."""
    found = {
        "PATH": "/usr/local/bin:/usr/bin",
        "LANG": "C.UTF-8",
        "HOME": WRITABLE,
        "TMPDIR": WRITABLE,
        "ARGOSY_HOME": WRITABLE,
        "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "ARGOSY_SERVE_MODEL": MODEL_FOLDER,
        "ARGOSY_SERVE_NAME": model.name,
        "ARGOSY_SERVE_HOST": "0.0.0.0",
        "ARGOSY_SERVE_PORT": str(ports[0]),
    }
    found |= {"PYTHONPATH": f"/{REQUIREMENTS}"} if model.package.manifest.engine not in COMPLETE else {}
    found |= {"ARGOSY_SERVE_TRUST": "1"} if model.trusted else {}
    return found | ({"ARGOSY_SERVE_GRPC_PORT": str(ports[1])} if len(ports) > 1 else {})


def labels_of(model: ImageModel, lock: BaseLock, epoch: int) -> dict[str, str]:
    """The annotations that the OCI specification names, and the digest of the package. None names a machine or a
    moment."""
    manifest, place = model.package.manifest, "org.opencontainers.image"
    found = {
        f"{place}.title": model.name,
        f"{place}.description": manifest.description,
        f"{place}.version": model.version,
        f"{place}.licenses": manifest.license,
        f"{place}.created": time_of(epoch),
        f"{place}.base.name": f"debian:{lock.release}",
        "dev.argosy.version": __version__,
        "dev.argosy.model.digest": model.digest,
        "dev.argosy.model.engine": manifest.engine,
    }
    return {name: value for name, value in found.items() if value}


def parts_of(model: ImageModel, lock: BaseLock, wheel_locks: Iterable[str]) -> tuple[Component, ...]:
    """What the image of a model is made of, as its bill of material names it."""
    system = f"pkg:deb/debian/{{}}@{{}}?arch={lock.architecture}&distro={lock.release}"
    found = [Component(name="debian", kind="operating-system", version=lock.release)]
    found += [
        Component(
            name=each.name,
            version=each.version,
            purl=system.format(quote(each.name), quote(each.version)),
            sha256=each.sha256,
        )
        for each in lock.packages
    ]
    found += [required(pin) for text in wheel_locks for pin in pins(text)]
    found.append(
        Component(name="argosy", kind="application", version=__version__, purl=f"pkg:pypi/argosy@{__version__}")
    )
    license = model.package.manifest.license
    found.append(Component(name=model.name, kind="machine-learning-model", version=model.digest, license=license))
    return tuple(found)


def epoch_of(text: str) -> int:
    """SOURCE_DATE_EPOCH as a number, 0 without it. Raises InvalidArgument."""
    if not re.fullmatch(r"[0-9]{0,11}", text):
        raise InvalidArgument(f"SOURCE_DATE_EPOCH must be seconds since 1970, not '{text[:40]}'")
    return int(text or 0)
