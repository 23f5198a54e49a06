"""A Dockerfile that makes the image of a model, with its context, for those who build with docker, podman or buildah.

What runs is as in an image of `argosy.images.build`; the base, and with it the interpreter, is of the one who builds.
"""

import base64
import hashlib
import io
import json
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from argosy import __version__
from argosy.images import build, debian, wheels
from argosy.images.build import REQUIREMENTS, Builder, ImageModel, check_servable, environ_of, labels_of, model_tree
from argosy.images.image import WRITABLE, settings_of
from argosy.images.platforms import PLATFORMS
from argosy.images.tree import FOLDER
from argosy.spec.errors import Conflict
from argosy.spec.foreign import printable
from argosy.spec.package import MODEL_FOLDER
from argosy.store.durable import storage

WHEEL = f"argosy-{__version__}-py3-none-any.whl"
SAFE = {"PYTHONSAFEPATH": "1", "PYTHONNOUSERSITE": "1"}
"""What the options -P and -s of `wheels.PROGRAM` say, for a command that pip writes."""


def write_context(builder: Builder, model: ImageModel, folder: Path) -> list[str]:
    """Write the Dockerfile and all that it names to `folder`, which appears whole or not at all. Returns the paths in
    it. Raises Conflict for a folder that is not empty, Untrusted, MissingExtra, InvalidArgument, Unavailable,
    StorageFull."""
    check_servable(model.package, grpc=builder.options.grpc)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Conflict(f"{folder} exists and is not empty; name a folder that does not exist yet")
    locks, tree = builder.wheel_locks(model), model_tree(model, "model")
    for name, text in locks.items():
        tree.file(f"{name}.txt", text.encode())
    tree.file(WHEEL, argosy_wheel())
    tree.file("Dockerfile", dockerfile(model, builder.ports, locks, builder.options.epoch).encode())
    with storage(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".argosy-context-") as work:
            place = Path(work, "context")
            place.mkdir()
            place.chmod(FOLDER)
            tree.unpack(place)
            place.rename(folder)
    return sorted(tree.nodes)


def dockerfile(model: ImageModel, ports: tuple[int, ...], locks: Iterable[str], epoch: int) -> str:
    """The text, from what changes least to the model. The base has no host: each builder completes its name."""
    lock = debian.lock_of(PLATFORMS["linux/amd64"])
    settings = settings_of(environ_of(model, ports) | SAFE, labels_of(model, lock, epoch), ports)
    head = f"""\
# The image of {model.name}, written by `argosy image dockerfile` of Argosy {__version__}. In this folder:
#   docker build -t {model.name}:{model.version} .
# BASE needs Python {lock.python}, pip, a shell and the C library of GNU. PIP_INDEX_URL is where pip gets the wheels.
ARG BASE=python:{lock.python}-slim-{lock.release}
FROM ${{BASE}}
ARG BASE
ARG PIP_INDEX_URL

# The user, and the one folder that a container may write to, whatever its user.
RUN echo '{build.NONROOT}' >> /etc/passwd \\
 && echo '{build.NONROOT_GROUP}' >> /etc/group \\
 && mkdir -p {WRITABLE} && chmod 1777 {WRITABLE}
"""
    model_lines = ["# The model package.", f"COPY model/ {MODEL_FOLDER}/", ""]
    return "\n".join([head, *_packages(locks), *model_lines, *_settings(settings)])


def _packages(locks: Iterable[str]) -> list[str]:
    pip, lines = "pip install --no-cache-dir --no-deps", list[str]()
    for name in locks:
        into = f"{pip} --target /{REQUIREMENTS}" if name == "requirements" else pip
        lines += [f"# Locked wheels: {name}.", f"COPY {name}.txt /tmp/{name}.txt"]
        lines += [f"RUN {into} --require-hashes --only-binary :all: -r /tmp/{name}.txt", ""]
    return [*lines, "# Argosy.", f"COPY {WHEEL} /tmp/{WHEEL}", f"RUN {pip} --no-index /tmp/{WHEEL}", ""]


def _settings(settings: Mapping[str, Any]) -> list[str]:
    lines = [f"ENV {name}={quoted(value)}" for name, _, value in (each.partition("=") for each in settings["Env"])]
    base = "org.opencontainers.image.base.name"
    lines += [f"LABEL {name}={quoted(value)}" for name, value in settings["Labels"].items() if name != base]
    return [
        "# What runs where, as in an image of `argosy image build`.",
        *lines,
        f'LABEL {base}="${{BASE}}"',
        f"EXPOSE {' '.join(settings['ExposedPorts'])}",
        f"WORKDIR {settings['WorkingDir']}",
        f"STOPSIGNAL {settings['StopSignal']}",
        f"USER {settings['User']}",
        f"ENTRYPOINT {json.dumps(settings['Entrypoint'])}",
        f"CMD {json.dumps(settings['Cmd'])}",
        "",
    ]


def quoted(text: str) -> str:
    """A value of ENV or LABEL in one line, nothing in it expanded."""
    text = " ".join(printable(text).split())
    for letter in '\\"$':
        text = text.replace(letter, f"\\{letter}")
    return f'"{text}"'


def argosy_wheel() -> bytes:
    """Argosy as it runs here, as a wheel: the same files give the same bytes (PyPA, binary distribution format)."""
    root = f"{wheels.PACKAGES.format(debian.PYTHON)}/"
    nodes = wheels.argosy_tree(debian.PYTHON).nodes
    files = {path.removeprefix(root): node.read() for path, node in nodes.items() if path.startswith(root)}
    info = next(path.partition("/")[0] for path in files if ".dist-info/" in path)
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: argosy\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    hashes = {path: base64.urlsafe_b64encode(hashlib.sha256(data).digest()) for path, data in sorted(files.items())}
    record = [f"{path},sha256={each.decode().rstrip('=')},{len(files[path])}\n" for path, each in hashes.items()]
    files[f"{info}/RECORD"] = "".join([*record, f"{info}/RECORD,,\n"]).encode()
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for path, data in sorted(files.items()):
            entry = zipfile.ZipInfo(path)  # of 1980, the first time that a zip file can tell
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, data)
    return sink.getvalue()
