"""Files of attackers. Each tries to make `marker`, to read a file, or to reach beyond an array; none may be loaded."""

import collections
import copyreg
import functools
import io
import operator
import os
import pickle
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import numpy._core.multiarray as multiarray
import numpy._core.numeric as numeric
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from tests.engines.honest import TEXTS, numbers


class Call:
    """Pickles as a call of a function, with a state where one is given: what an attacker writes."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None) -> None:
        self.call = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> Any:
        return self.call


class Pickler(pickle._Pickler):
    """Writes names as they are, whether they lead to the object or not."""

    def save_global(self, obj: Any, name: str | None = None) -> None:
        if type(obj) is Named:
            self.save(obj.module)
            self.save(obj.name)
            self.write(pickle.STACK_GLOBAL)
        else:
            super().save_global(obj, name)

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if type(obj) is Named:
            self.save_global(obj)
        elif type(obj) is New:
            self.save(obj.kind)
            self.write(b")\x81")
            self.save(obj.state)
            self.write(b"b")
        else:
            super().save(obj, save_persistent_id)


class Named:
    """A global of this name."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    def __call__(self) -> None:
        """copyreg wants something that can be called."""


class New:
    """An empty object of a class, given this state."""

    def __init__(self, kind: Any, state: Any) -> None:
        self.kind, self.state = kind, state


def dumps(value: Any) -> bytes:
    file = io.BytesIO()
    Pickler(file, 4).dump(value)
    return file.getvalue()


def dumped(value: Any) -> bytes:
    file = io.BytesIO()
    joblib.dump(value, file)
    return file.getvalue()


def text(name: str) -> bytes:
    """SHORT_BINUNICODE"""
    return b"\x8c" + bytes([len(name)]) + name.encode()


def name_of(module: str, name: str) -> bytes:
    return text(module) + text(name) + b"\x93"


def files(marker: Path) -> dict[str, bytes]:
    """Name of the attack → the file."""
    touch = f"touch {marker}"
    found: dict[str, bytes] = {}
    for group in (_calls, _hidden, _opcodes, _classes, _bombs):
        found |= dict(group(touch, marker))
    return found


def _calls(touch: str, marker: Path) -> Iterator[tuple[str, bytes]]:
    code = f"open({str(marker)!r}, 'w')"
    for protocol in range(6):
        yield f"system-{protocol}", pickle.dumps(Call(os.system, touch), protocol)
    for function, *arguments in (
        (eval, code),
        (exec, code),
        (subprocess.Popen, ["touch", str(marker)]),
        (open, str(marker), "w"),
        (getattr, "", "join"),
        (operator.attrgetter, "system"),
        (operator.methodcaller, "system", touch),
        (functools.partial, os.system, touch),
        (functools.reduce, operator.add, [touch]),
        (map, os.system, [touch]),
        (__import__, "os"),
        (pickle.loads, pickle.dumps(Call(os.system, touch))),
        (np.load, str(marker)),
        (np.memmap, str(marker), "u1", "w+", 0, (1,)),
        (np.save, str(marker), np.zeros(1)),
        (np.fromfile, "/etc/passwd", "u1"),
        (np.vectorize, os.system),
        (np.frompyfunc, os.system, 1, 1),
        (joblib.Memory, str(marker)),
        (joblib.load, str(marker)),
        (type, "X", (), {}),
        (bytes, 1 << 40),
        (list, range(1 << 40)),
        (copyreg.constructor, os.system),
    ):
        yield f"call-{function.__module__}.{function.__qualname__}", pickle.dumps(Call(function, *arguments))


def _hidden(touch: str, marker: Path) -> Iterator[tuple[str, bytes]]:
    bad = Call(os.system, touch)
    objects = np.array([bad, None], dtype=object)
    yield "in-dict", pickle.dumps({"a": [collections.OrderedDict(b=bad)]})
    yield "after-array", dumped([np.arange(1000.0), bad])
    yield "in-object-array", dumped({"x": objects})
    yield "in-object-array-pickle", pickle.dumps({"x": objects})
    compressed = io.BytesIO()
    joblib.dump({"x": objects}, compressed, compress=3)
    yield "in-object-array-compressed", compressed.getvalue()
    model = LogisticRegression().fit(*numbers())
    model.extra_ = bad
    yield "in-estimator", dumped(model)
    yield "in-wrapped-estimator", pickle.dumps(make_pipeline(StandardScaler(), model))
    for module, name in (
        ("sklearn.utils._joblib", "joblib"),
        ("sklearn.utils", "os.system"),
        ("os", "system"),
        ("posix", "system"),
        ("nt", "system"),
        ("builtins", "getattr"),
        ("sklearn.base", "os"),
        ("sklearn.datasets._base", "load_files"),
        ("numpy.f2py", "run_main"),
        ("numpy", "lib.npyio.load"),
        ("numpy,os", "system"),
        ("os\nsystem", "x"),
        ("sklearn.linear_model._logistic.LogisticRegression,os", "system"),
        ("numpy._core._internal", "eval"),
        ("numpy._core", "_ufunc_reconstruct"),
        ("numpy.ctypeslib", "load_library"),
        ("scipy.io", "loadmat"),
        ("pandas", "read_pickle"),
        ("pandas.io.pytables", "HDFStore"),
        ("cloudpickle.cloudpickle", "_make_function"),
        ("joblib.memory", "Memory"),
        ("xgboost.core", "DMatrix"),
        ("xgboost.callback", "TrainingCheckPoint"),
        ("xgboost.dask", "DaskXGBClassifier"),
        ("lightgbm.basic", "Dataset"),
        ("lightgbm.dask", "DaskLGBMClassifier"),
    ):
        yield f"name-{module}.{name}", dumps(Call(Named(module, name), touch))
    yield "text-global", f"cos\nsystem\n(S'{touch}'\ntR.".encode()
    yield "text-dotted", f"csklearn.utils\nos.system\n(S'{touch}'\ntR.".encode()
    yield "text-inst", f"(S'{touch}'\nios\nsystem\n.".encode()


def _opcodes(touch: str, _: Path) -> Iterator[tuple[str, bytes]]:
    system, argument = name_of("posix", "system"), text(touch) + b"\x85"
    start = b"\x80\x04"
    honest = pickle.dumps({"a": 1})
    estimator = name_of("sklearn.linear_model._logistic", "LogisticRegression")
    yield "trailing-pickle", honest + start + system + argument + b"R."
    yield "trailing-bytes", honest + b"\0"
    yield "trailing-in-frame", start + b"\x95" + struct.pack("<Q", 6) + b"}.N.}."
    yield "unknown-opcode", start + b"\xff."
    yield "future-protocol", b"\x80\x09}."
    yield "extension", b"\x80\x02\x82\x01."
    yield "persistent", start + text("x") + b"Q."
    yield "persistent-text", b"Pposix.system\n."
    yield "next-buffer", b"\x80\x05\x97."
    yield "readonly-buffer", b"\x80\x05C\x01a\x98."
    yield "obj", start + b"(" + system + text(touch) + b"o."
    yield "newobj", start + name_of("subprocess", "Popen") + text(touch) + b"\x85\x81."
    yield "newobj-ex", start + estimator + b")}\x92."
    yield "newobj-arguments", start + estimator + text("l1") + b"\x85\x81."
    yield "call-of-a-class", start + estimator + text("l1") + b"\x85R."
    yield "call-of-an-object", start + estimator + b")\x81)R."
    yield "state-of-a-class", start + estimator + b"}" + text("predict") + name_of("numpy", "mean") + b"sb."
    yield "state-of-a-function", start + name_of("numpy", "mean") + b"}" + text("__code__") + b"Nsb."
    yield "state-of-a-list", start + b"]}" + text("x") + b"Nsb."
    yield "state-twice", start + estimator + b")\x81}" + text("C") + b"K\x01sb}" + text("C") + b"K\x02sb."
    planted = (
        start + estimator + b")\x81}" + text("__setstate__") + name_of("numpy", "mean") + b"sb" + text("x") + b"b."
    )
    yield "planted-setstate", planted
    yield "planted-class", start + estimator + b")\x81}" + text("__class__") + name_of("numpy", "float64") + b"sb."
    yield "planted-method", start + estimator + b")\x81}" + text("predict") + name_of("numpy", "mean") + b"sb."
    yield "slots", start + estimator + b")\x81N}" + text("predict") + b"Ns\x86b."
    yield "append", start + estimator + b")\x81Na."
    yield "appends", start + estimator + b")\x81(NNe."
    yield "setitem", start + estimator + b")\x81" + text("x") + b"Ns."
    yield "setitem-of-a-class", start + estimator + text("x") + b"Ns."
    yield "additems", start + estimator + b")\x81(N\x90."
    yield (
        "reconstructor",
        start
        + name_of("copyreg", "_reconstructor")
        + name_of("subprocess", "Popen")
        + (name_of("builtins", "list") + b"]\x87R."),
    )
    yield (
        "reconstructor-base",
        start + name_of("copyreg", "_reconstructor") + estimator + (name_of("builtins", "dict") + b"}\x87R."),
    )
    yield "copyreg-newobj", start + name_of("copyreg", "__newobj__") + name_of("subprocess", "Popen") + b"\x85R."
    yield "part-left-in-place-of-a-call", start + name_of("numpy._core.numeric", "_frombuffer") + b")R."
    yield "memo-of-nothing", start + b"h\x05."
    yield "stack-underflow", start + b"0000R."
    yield "no-stop", start + b"}"
    yield "name-of-bytes", start + b"C\x05posixC\x06system\x93."


def _classes(touch: str, marker: Path) -> Iterator[tuple[str, bytes]]:
    import lightgbm
    import xgboost

    for kind in (CountVectorizer, TfidfVectorizer, HashingVectorizer):
        for value in ("filename", "file", ["content"]):
            model = kind().fit(TEXTS)
            model.input = value
            yield f"{kind.__name__}-{value}", pickle.dumps(make_pipeline(model))
    yield "pipeline-memory", pickle.dumps(make_pipeline(StandardScaler(), LogisticRegression(), memory=str(marker)))
    for function in (os.system, np.load, np.fromfile, multiarray._reconstruct, numeric._frombuffer, pickle.loads, eval):
        yield f"FunctionTransformer-{function.__name__}", dumped(FunctionTransformer(function))
    yield "FunctionTransformer-partial", dumped(FunctionTransformer(functools.partial(os.system, touch)))
    yield "xgboost-path", pickle.dumps(Call(xgboost.Booster, None, (), str(marker)))
    yield "xgboost-dmatrix", pickle.dumps(Call(xgboost.DMatrix, "/etc/passwd?format=csv"))
    yield "lightgbm-path", pickle.dumps(Call(lightgbm.Booster, None, None, str(marker)))
    yield "lightgbm-dataset", pickle.dumps(Call(lightgbm.Dataset, "/etc/passwd"))
    yield "xgboost-broken", dumps(New(xgboost.Booster, {"handle": bytearray(b"{L" + b"\xff" * 64)}))
    yield "xgboost-address", dumps(New(xgboost.Booster, {"handle": 0x41414141}))
    broken = {"_handle": "tree\nversion=v4\nnum_class=1\n"}
    yield "lightgbm-broken", dumps(New(lightgbm.Booster, broken))
    yield "lightgbm-address", dumps(New(lightgbm.Booster, {"_handle": 1 << 30}))
    for module in _cython():
        for name in sorted(vars(module)):
            if name.startswith("__pyx_unpickle_"):
                kind = Named(module.__name__, name.removeprefix("__pyx_unpickle_"))
                yield f"{module.__name__}.{name}", dumps(Call(Named(module.__name__, name), kind, 0, (None,)))


def _cython() -> list[Any]:
    import importlib

    import sklearn

    root = Path(sklearn.__file__).parent
    found = []
    for file in sorted(root.rglob("*.so")):
        name = ".".join(("sklearn", *file.relative_to(root).with_name(file.name.partition(".")[0]).parts))
        try:
            found.append(importlib.import_module(name))
        except ImportError:
            continue
    return found


def _bombs(_: str, __: Path) -> Iterator[tuple[str, bytes]]:
    import bz2
    import lzma
    import zlib

    start = b"\x80\x04"
    yield "long-4", start + b"\x8b\xff\xff\xff\x7f."
    yield "long-text", b"L" + b"9" * 100_000 + b"L\n."
    yield "bytes-8", start + b"\x8e" + struct.pack("<Q", 1 << 45) + b"a."
    yield "bytearray-8", b"\x80\x05\x96" + struct.pack("<Q", 1 << 45) + b"a."
    yield "text-8", start + b"\x8d" + struct.pack("<Q", 1 << 45) + b"a."
    yield "frame", start + b"\x95" + struct.pack("<Q", 1 << 45) + b"N."
    nested = b"K\x01q\x00" + b"".join(
        b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(60)
    )
    yield "key-of-tuples", start + nested + b"}h\x3cNs."
    yield "set-of-tuples", start + nested + b"\x8f(h\x3c\x90."
    zeros = start + b"\x8e" + struct.pack("<Q", 4 << 30)
    chunk = bytes(1 << 20)
    for name, machine in (("zlib", zlib.compressobj(9)), ("bz2", bz2.BZ2Compressor()), ("xz", lzma.LZMACompressor())):
        packed = machine.compress(zeros) + b"".join(machine.compress(chunk) for _ in range(8)) + machine.flush()
        yield f"bomb-{name}", packed
    yield "after-zlib", zlib.compress(pickle.dumps({"a": 1})) + b"PK\x03\x04"
    yield "cut-zlib", zlib.compress(pickle.dumps({"a": list(range(1000))}))[:-20]
