"""Loading a package: the engine, and proof that it answers as the trained model did."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from argosy.engines import Engine
from argosy.engines import load as load_engine
from argosy.packaging import golden, requirements
from argosy.packaging.package import Package, check_tensors, open_package
from argosy.packaging.prediction import Prediction, prediction
from argosy.packaging.rows import to_tensors
from argosy.spec.errors import Untrusted
from argosy.spec.signature import Signature, check_inputs
from argosy.spec.tensor import Tensor


class LoadedModel:
    """A package in this process, ready to answer. `max_difference` is the largest seen in the golden replay."""

    def __init__(self, package: Package, engine: Engine, max_difference: float) -> None:
        self.package = package
        self.engine = engine
        self.max_difference = max_difference

    @property
    def signature(self) -> Signature:
        """What the model takes and gives."""
        return self.engine.signature

    def predict(self, x: Any, outputs: Sequence[str] = ()) -> Prediction:
        """Answer for an array, a dict of arrays or lists, a list of rows or of dicts, a pandas DataFrame, or one row:
        a dict of values.

        Values are cast to the signature where nothing is lost. Returns a dict of arrays by output name: of the
        `outputs` named, which may be on request, else of all that are always given. Raises InvalidArgument.
        """
        tensors = to_tensors(x, self.signature.inputs)
        check_inputs(self.signature, tensors)
        arrays = self.engine.answer({tensor.name: tensor.array for tensor in tensors}, outputs)
        specs = self.signature.chosen(outputs)
        named = [Tensor(spec.name, spec.datatype, array) for spec, array in zip(specs, arrays, strict=True)]
        return prediction(named, specs)

    def close(self) -> None:
        """Give back what the model holds."""
        self.engine.close()


def load(package: Package, *, threads: int = 0) -> LoadedModel:
    """Check what the package needs, load its engine, replay its golden examples.

    `threads` 0 takes the cores this process may use. Raises Unsupported for a language model, MissingExtra naming the
    pip command, Untrusted for a package that could run code and that nobody vouches for, BadPackage, and GoldenMismatch
    saying which output, row and by how much.
    """
    manifest = check_tensors(package).manifest
    if manifest.scan.objections and not package.trusted:
        raise Untrusted(
            f"the package was made of what would import {', '.join(manifest.scan.objections[:5])} when loaded, and "
            "nobody here vouches for it: push its source, or pull it, with --trust"
        )
    requirements.check_installed(manifest.requirements)
    inputs, outputs = package.golden_inputs(), package.golden_outputs()
    engine = load_engine(
        manifest.engine,
        package.weights,
        signature=manifest.signature,
        settings=manifest.settings,
        threads=threads,
        trusted=package.trusted,
    )
    try:
        largest = golden.replay(engine, inputs, outputs, manifest.tolerance)
    except BaseException:
        engine.close()
        raise
    return LoadedModel(package, engine, largest)


class Check(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which package to check: its folder, and whether it may run code of its author."""

    folder: str
    trusted: bool = False


def check(package: Check) -> float:
    """Load a package and replay its golden examples, as a job of `quarantine`. Returns the largest difference."""
    return load(open_package(Path(package.folder), trusted=package.trusted), threads=1).max_difference


CHECK = "argosy.packaging.load:check"
