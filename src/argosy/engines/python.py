"""A user's own class: `load(self, path)` once, `predict(self, inputs)` for every batch.

`predict` is given a dict of numpy arrays by input name, or what it declares (`form_of`). It returns a dict of arrays by
output name, or one array where the signature has one output; where it declares what it takes, a DataFrame, a list of
values or a list of dicts as well. Anything it gets wrong is an Internal error that says what.
"""

import importlib
import inspect
import itertools
import sys
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, cast

import numpy as np

from argosy.engines.base import Engine, Loading, check_settings, check_shape, rows_of, short
from argosy.engines.frames import frame, strings
from argosy.engines.probe import complete
from argosy.spec.errors import ArgosyError, BadPackage, Internal, InvalidArgument, Untrusted
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import NUMPY, Array, as_bytes

Form = Literal["arrays", "frame", "rows", "names"]
"""How `predict` takes its inputs."""
FORMS: dict[str, Form] = {"dataframe": "frame", "list": "rows", "sequence": "rows", "ndarray": "names"}
"""The annotation of its one parameter → how it takes its inputs."""

_serial = itertools.count()
_lock = threading.RLock()


def forget(package: str) -> None:
    """Drop the package and its modules from `sys.modules`."""
    for name in _loaded({package}):
        del sys.modules[name]


@contextmanager
def own_modules(path: Path) -> Generator[None]:
    """While this is open, `import helper` finds the folder's helper.py first; afterwards nobody else does. No bytecode
    is written: the folder belongs to an immutable package."""
    names = {entry.stem for entry in path.iterdir() if entry.suffix == ".py" or entry.is_dir()}
    with _lock:
        aside = {name: sys.modules.pop(name) for name in _loaded(names)}
        bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
        sys.path.insert(0, str(path))
        importlib.invalidate_caches()
        try:
            yield
        finally:
            sys.path.remove(str(path))
            sys.dont_write_bytecode = bytecode
            for name in _loaded(names):
                del sys.modules[name]
            sys.modules.update(aside)


def _loaded(names: set[str]) -> list[str]:
    return [name for name in sys.modules if name.partition(".")[0] in names]


class PythonEngine(Engine):
    """An instance of the user's class. Its code is under a package name of its own, so that two models never meet."""

    def __init__(self, model: Any, signature: Signature, package: str) -> None:
        self.signature = signature
        self._model: Any = model
        self._package = package
        self._form = form_of(model.predict)

    def predict(self, inputs: Mapping[str, Array]) -> list[Array]:
        rows = rows_of(inputs) if self.signature.batched else None
        found = self._call(inputs)
        if unknown := [name for name in found if all(spec.name != name for spec in self.signature.outputs)]:
            raise Internal(f"predict returned an output '{unknown[0]}' that the signature does not have")
        return [_output(spec, found, rows) for spec in self.signature.outputs]

    def answers(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """What the model gives, unchecked but for being arrays: how packaging learns its outputs."""
        found = self._call(inputs)
        return {name: as_array(name, value) for name, value in found.items()}

    def _call(self, inputs: Mapping[str, Array]) -> dict[str, Any]:
        try:
            found: Any = self._asked(inputs)
        except ArgosyError:
            raise
        except Exception as error:
            raise Internal(f"the model's predict raised {type(error).__name__}: {short(error)}") from error
        if self._form != "arrays":
            found = _plain(found)
        if isinstance(found, dict):
            return cast("dict[str, Any]", found)
        if len(self.signature.outputs) > 1 or not isinstance(found, np.ndarray):
            raise Internal(f"predict returned a {type(found).__name__}; a dict of numpy arrays by name was expected")
        name = self.signature.outputs[0].name if self.signature.outputs else "output"
        return {name: found}

    def _asked(self, inputs: Mapping[str, Array]) -> Any:
        """Call `predict` with what it declares; texts are `str` there."""
        specs = self.signature.inputs
        if self._form == "arrays":
            return self._model.predict(dict(inputs))
        if self._form == "frame":
            return self._model.predict(frame(specs, inputs))
        given = {
            spec.name: strings(spec.name, inputs[spec.name]) if spec.datatype == "BYTES" else inputs[spec.name]
            for spec in specs
            if spec.name in inputs
        }
        if self._form == "names" and len(given) == 1 and not specs[0].columns:
            return self._model.predict(*given.values())
        if len(specs) == 1 and specs[0].columns:
            given = {name: given[specs[0].name][:, place] for place, name in enumerate(specs[0].columns)}
        if self._form == "names":
            return self._model.predict(**given)
        lists: list[Any] = [array.tolist() for array in given.values()]
        return self._model.predict([dict(zip(given, row, strict=True)) for row in zip(*lists, strict=True)])

    def close(self) -> None:
        """Call the model's own `close`, if it has one, and forget its modules."""
        try:
            if callable(close := getattr(self._model, "close", None)):
                close()
        finally:
            self._model = None
            forget(self._package)


def form_of(predict: Any) -> Form:
    """What `predict` declares that it takes: a pandas DataFrame; a list of rows, each a dict by name; or, with several
    parameters or one array, each input under its name."""
    try:
        parameters = list(inspect.signature(predict).parameters.values())
    except (TypeError, ValueError):
        return "arrays"
    if len([one for one in parameters if one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD]) > 1:
        return "names"
    noted = parameters[0].annotation if parameters else inspect.Parameter.empty
    text = noted if isinstance(noted, str) else getattr(noted, "__name__", str(noted))
    text = text.strip("'\"").rpartition("typing.")[2].partition("[")[0].rpartition(".")[2].lower()
    return FORMS.get(text, "arrays")


def _plain(found: Any) -> Any:
    """A DataFrame, a Series or a list that `predict` returned, as arrays."""
    if hasattr(found, "columns"):
        return {str(name): found[name].to_numpy() for name in found.columns}
    if hasattr(found, "to_numpy"):
        return found.to_numpy()
    if not isinstance(found, list):
        return found
    rows = cast("list[Any]", found)
    if rows and isinstance(rows[0], dict):
        names = cast("dict[str, Any]", rows[0])
        return {name: np.array([row[name] for row in rows]) for name in names}
    return np.array(rows)


def load(given: Loading) -> PythonEngine:
    """Import the class that `settings["class"]` names ("module:Class") from the folder, make one, call its `load`.
    Raises Untrusted where nobody vouches for it, before anything of it is run."""
    path, signature, settings, _, sample, trusted = given
    check_settings(settings, **{"class": str})
    if not trusted:
        raise Untrusted(f"{path.name} is Python code, and nobody here vouches for it: push it, or load it with trust")
    if signature is None:
        raise InvalidArgument("a Python model needs a signature, or a sample to find it from: give one with --sample")
    model, package = _instance(path, str(settings.get("class", "")))
    engine = PythonEngine(model, signature, package)
    if not signature.outputs:
        engine.signature = complete(signature.inputs, engine.answers, sample)
    return engine


def _instance(path: Path, name: str) -> tuple[Any, str]:
    module_name, _, class_name = name.partition(":")
    parts = module_name.split(".")
    if not class_name.isidentifier() or not all(part.isidentifier() for part in parts):
        raise InvalidArgument(f"the setting 'class' must be 'module:Class', not '{name}'")
    if not path.is_dir():
        raise BadPackage(f"{path.name} is no folder; a Python model is a folder that holds {module_name}.py")
    package = f"argosy_model_{next(_serial)}"
    sys.modules[package] = ModuleType(package)
    sys.modules[package].__path__ = [str(path)]
    try:
        with own_modules(path):
            module = importlib.import_module(f"{package}.{module_name}")
        kind = getattr(module, class_name, None)
        if not isinstance(kind, type) or not callable(getattr(kind, "predict", None)):
            raise BadPackage(f"{module_name}.py has no class '{class_name}' with a method predict(self, inputs)")
        model = kind()
        if callable(start := getattr(model, "load", None)):
            start(path) if inspect.signature(start).parameters else start()
    except BadPackage:
        forget(package)
        raise
    except (Exception, SystemExit) as error:
        forget(package)
        raise BadPackage(f"{name} cannot be loaded: {type(error).__name__}: {short(error)}") from error
    return model, package


def _output(spec: TensorSpec, found: dict[str, Any], rows: int | None) -> Array:
    if spec.name not in found:
        raise Internal(f"predict returned no output '{spec.name}'; it returned {', '.join(found) or 'nothing'}")
    array = as_array(spec.name, found[spec.name])
    check_shape(spec, array, rows)
    if spec.datatype == "BYTES" and array.dtype.kind in "OSU":
        return as_bytes(array)
    if array.dtype != NUMPY[spec.datatype]:
        raise Internal(f"output '{spec.name}' has dtype {array.dtype}; the signature says {spec.datatype}")
    return array


def as_array(name: str, value: Any) -> Array:
    """The value, if it is an array; Internal says what it is else."""
    if isinstance(value, np.ndarray):
        return cast("Array", value)
    raise Internal(f"output '{name}' is a {type(value).__name__}; predict must return numpy arrays")
