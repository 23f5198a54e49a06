"""What a model file would import when loaded, found without loading it.

A pickle is run by pickle's own Python machine with every global replaced by an inert stand-in, so that nothing of the
file's author is ever called. joblib files hold raw arrays between the opcodes; they are stepped over exactly as joblib
reads them, so that no opcode can hide in one. Even so this happens in a child process (`quarantine`): a file can still
take memory and time.
"""

import math
import pickle
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any, ClassVar, cast

import msgspec
import numpy as np

from argosy.packaging.allow import objection
from argosy.packaging.compressed import open_plain
from argosy.packaging.detect import Format
from argosy.spec.errors import BadPackage, MissingExtra
from argosy.spec.package import Scan

Global = tuple[str, str]

_CHUNK = 1024 * 1024
_WRAPPER = ("joblib.numpy_pickle", "NumpyArrayWrapper")
_MAX_GLOBALS = 10_000


class Inert:
    """Stands for any object of the pickle: takes every call and every state, and does nothing."""

    def __new__(cls, *args: object, **kwargs: object) -> "Inert":
        return object.__new__(cls)

    def __init__(self, *args: object, **kwargs: object) -> None:
        return

    def __call__(self, *args: object, **kwargs: object) -> "Inert":
        return Inert()

    def __setstate__(self, state: object) -> None:
        return

    def __setitem__(self, key: object, value: object) -> None:
        return

    def append(self, item: object) -> None:
        return

    def extend(self, items: object) -> None:
        return

    def add(self, item: object) -> None:
        return


class Wrapper:
    """Stands for joblib's NumpyArrayWrapper. joblib makes it empty and gives it one state; no other way is accepted."""


def _reconstructor(cls: type, base: object, state: object) -> object:
    """copyreg's, for pickles of protocol 0 and 1."""
    return Wrapper() if cls is Wrapper else Inert()


_TRUE: dict[Global, Any] = {
    ("numpy", "dtype"): np.dtype,
    ("copyreg", "_reconstructor"): _reconstructor,
    ("copy_reg", "_reconstructor"): _reconstructor,
}


_Machine: Any = pickle._Unpickler  # pyright: ignore[reportPrivateUsage]


class Scanner(_Machine):
    """Runs one pickle inertly and records the globals it names. `joblib`: arrays follow their wrappers."""

    dispatch: ClassVar[dict[int, Any]] = dict(_Machine.dispatch)

    def __init__(self, handle: IO[bytes], joblib: bool, found: dict[Global, None] | None = None) -> None:
        _Machine.__init__(self, handle)
        self.handle = handle
        self.joblib = joblib
        self.found: dict[Global, None] = {} if found is None else found

    def find_class(self, module: str, name: str) -> Any:
        """Record the global; answer with a stand-in, and with the truth only for numpy's dtype and array class."""
        if self.joblib and (module, name) == _WRAPPER:
            return Wrapper
        self.found[module, name] = None
        if len(self.found) > _MAX_GLOBALS:
            raise BadPackage(f"it names more than {_MAX_GLOBALS} globals")
        return _TRUE.get((module, name)) or type(name, (Inert,), {})

    def persistent_load(self, pid: object) -> Any:
        """torch keeps its storages outside of the pickle."""
        return Inert()

    def get_extension(self, code: int) -> None:
        """Extension codes stand for names registered in the process that wrote the file."""
        raise BadPackage(f"it uses the pickle extension code {code}")

    def load_build(self) -> None:
        """BUILD: on a wrapper the array follows; on numpy's real dtype only its own kind of state is given to it."""
        stack = cast("list[Any]", self.stack)  # pyright: ignore
        state, target = stack[-1], stack[-2]
        if isinstance(target, Wrapper):
            stack.pop()
            stack[-1] = self._skip_array(state)
        elif isinstance(target, np.dtype):
            stack.pop()
            cast("Any", target).__setstate__(state)
        else:
            stack.pop()

    dispatch[pickle.BUILD[0]] = load_build

    def load_reduce(self) -> None:
        """REDUCE, where a function must not be handed the wrapper class: it could make one behind our back."""
        stack = cast("list[Any]", self.stack)  # pyright: ignore
        arguments, function = stack[-1], stack[-2]
        if function is not _reconstructor and _mentions_wrapper(arguments):
            raise BadPackage("it hides an array wrapper of joblib in a call")
        _Machine.load_reduce(self)  # pyright: ignore

    dispatch[pickle.REDUCE[0]] = load_reduce

    def _skip_array(self, state: Any) -> Inert:
        """As joblib.numpy_pickle.NumpyArrayWrapper.read_array: an inner pickle, or padding and then the raw bytes."""
        dtype, shape = state.get("dtype"), state.get("shape")
        if not isinstance(dtype, np.dtype) or not isinstance(shape, tuple):
            raise BadPackage("it holds an array without dtype or shape")
        if dtype.hasobject:
            Scanner(self.handle, False, self.found).load()
            return Inert()
        if state.get("numpy_array_alignment_bytes") is not None:
            _skip(self.handle, int.from_bytes(_exactly(self.handle, 1), "little"))
        axes = cast("tuple[Any, ...]", shape)
        if not all(type(axis) is int and axis >= 0 for axis in axes):
            raise BadPackage("it holds an array of impossible shape")
        _skip(self.handle, math.prod(axes) * cast("np.dtype[Any]", dtype).itemsize)
        return Inert()


def _mentions_wrapper(value: Any) -> bool:
    if isinstance(value, dict):
        value = list(cast("dict[Any, Any]", value).values())
    if isinstance(value, list | tuple):
        return any(item is Wrapper or _mentions_wrapper(item) for item in cast("list[Any]", value))
    return value is Wrapper or isinstance(value, Wrapper)


def _exactly(handle: IO[bytes], count: int) -> bytes:
    data = handle.read(count)
    if len(data) != count:
        raise EOFError
    return data


def _skip(handle: IO[bytes], count: int) -> None:
    while count:
        count -= len(_exactly(handle, min(count, _CHUNK)))


def globals_of(handle: IO[bytes], *, joblib: bool, where: str) -> list[Global]:
    """Every (module, name) the pickle would import. Raises BadPackage for one that is broken or cut off."""
    scanner = Scanner(handle, joblib)
    try:
        scanner.load()
    except BadPackage as error:
        raise BadPackage(f"{where}: {error.message}") from None
    except EOFError:
        raise BadPackage(f"{where} is a pickle that is cut off") from None
    except MemoryError:
        raise
    except Exception as error:
        raise BadPackage(f"{where} is a broken pickle: {error}") from None
    return list(scanner.found)


class Finding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The verdict; the top-level packages that the file's names come from; for skops the types it wants trusted."""

    scan: Scan
    packages: tuple[str, ...] = ()
    types: tuple[str, ...] = ()


def judge(names: list[Global]) -> Finding:
    """The verdict on the globals of a pickle."""
    packages = tuple(sorted({module.partition(".")[0] for module, _ in names}))
    return Finding(_scan_of(text for module, name in names if (text := objection(module, name))), packages)


def _scan_of(objections: Iterable[str]) -> Scan:
    found = tuple(sorted(set(objections)))
    return Scan(verdict="objected" if found else "clean", objections=found)


def scan(path: Path, kind: Format) -> Finding:
    """The verdict on a model file or folder. Raises BadPackage for a broken one, MissingExtra for a framework."""
    return SCANS.get(kind, _data_only)(path)


def job(path: str, kind: Format) -> Any:
    """`scan`, as a job of `quarantine`."""
    return msgspec.to_builtins(scan(Path(path), kind))


def _data_only(path: Path) -> Finding:
    return Finding(Scan(verdict="data-only"))


def _code(path: Path) -> Finding:
    return Finding(Scan(verdict="code"))


def _pickle(path: Path) -> Finding:
    return _pickled(path, joblib=False)


def _joblib(path: Path) -> Finding:
    return _pickled(path, joblib=True)


def _pickled(path: Path, *, joblib: bool) -> Finding:
    with open_plain(path) as handle:
        return judge(globals_of(handle, joblib=joblib, where=path.name))


def _skops(path: Path) -> Finding:
    try:
        from skops.io import get_untrusted_types
    except ImportError:
        raise MissingExtra.named("sklearn", "Reading skops files") from None
    try:
        names = sorted(get_untrusted_types(file=path))
    except Exception as error:
        raise BadPackage(f"{path.name} is a broken skops file: {error}") from None
    verdict = _scan_of(name for name in names if objection(*name.rpartition(".")[::2]))
    return Finding(verdict, tuple(sorted({name.partition(".")[0] for name in names})), tuple(names))


def _torch(path: Path) -> Finding:
    from argosy.engines import torch_file

    return Finding(_scan_of(torch_file.objections(path)))


LOADERS = frozenset({"mlflow.sklearn", "mlflow.xgboost", "mlflow.lightgbm", "mlflow.onnx", "mlflow.pyfunc.model"})
"""MLflow's own loader modules, whose files we know how to scan."""


def _mlflow(path: Path) -> Finding:
    """Every pickle of the folder, a loader that is not MLflow's own, and code that would be imported."""
    from argosy.engines import mlflow_file

    loader = mlflow_file.read(path).loader
    objections = [] if loader in LOADERS else [f"loader_module {loader}"]
    for file in sorted(path.rglob("*")):
        if file.is_file():
            objections += _mlflow_file(file, file.relative_to(path).as_posix()).scan.objections
    return Finding(_scan_of(objections))


def _mlflow_file(file: Path, name: str) -> Finding:
    if file.suffix == ".py":
        return Finding(_scan_of([f"code {name}"]))
    if file.suffix == ".skops":
        return _skops(file)
    with file.open("rb") as handle:
        head = handle.read(1)
    pickled = head == b"\x80" or file.suffix in (".pkl", ".pickle", ".joblib", ".cloudpickle")
    return _pickle(file) if pickled else _data_only(file)


SCANS: dict[str, Callable[[Path], Finding]] = {
    "joblib": _joblib,
    "pickle": _joblib,
    "skops": _skops,
    "mlflow": _mlflow,
    "torch-export": _torch,
    "python": _code,
}
