"""The part of `hostile` that is about numbers: arrays of forged objects, lengths and indices that lie."""

import collections
import os
import pickle
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy._core.multiarray as multiarray
import numpy._core.numeric as numeric
from joblib.numpy_pickle import NumpyArrayWrapper
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KDTree, KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from tests.engines.honest import numbers
from tests.engines.hostile import Call, New, dumped, dumps


def files(marker: Path) -> dict[str, bytes]:
    """Name of the attack → the file."""
    return {**dict(_arrays(f"touch {marker}")), **dict(_indices()), **dict(_machines())}


def _arrays(touch: str) -> Iterator[tuple[str, bytes]]:
    address = struct.pack("<Q", 0x41414141)
    objects = np.dtype(object)
    yield "frombuffer-objects", pickle.dumps(Call(numeric._frombuffer, bytearray(address), objects, (1,), "C"))
    yield "scalar-object", pickle.dumps(Call(multiarray.scalar, objects, address))
    yield "ndarray-over-buffer", pickle.dumps(Call(np.ndarray, (1,), objects, address))
    field = np.dtype([("a", "O")])
    yield "frombuffer-object-field", pickle.dumps(Call(numeric._frombuffer, bytearray(address), field, (1,), "C"))
    forged = (3, "|", None, ("a",), {"a": (objects, 0)}, 8, 1, 0)
    hidden = Call(np.dtype, "V8", False, True, state=forged)
    yield "dtype-hides-objects", pickle.dumps(Call(numeric._frombuffer, bytearray(address), hidden, (1,), "C"))
    flagless = Call(np.dtype, "O8", False, True, state=(3, "|", None, None, None, -1, -1, 0))
    yield "dtype-without-flags", pickle.dumps(Call(numeric._frombuffer, bytearray(address), flagless, (1,), "C"))
    beyond = (3, "|", None, ("a",), {"a": (np.dtype("f8"), 1 << 20)}, 8, 1, 16)
    yield "dtype-field-beyond", pickle.dumps(Call(np.dtype, "V8", False, True, state=beyond))
    yield "dtype-of-a-string", pickle.dumps(Call(np.dtype, "O,O", False, True))
    empty = (np.ndarray, (0,), b"b")
    few = (1, (1 << 20,), objects, False, [None])
    yield "fewer-objects-than-said", pickle.dumps(Call(multiarray._reconstruct, *empty, state=few))
    short = (1, (1 << 20,), np.dtype("f8"), False, b"12345678")
    yield "fewer-bytes-than-said", pickle.dumps(Call(multiarray._reconstruct, *empty, state=short))
    yield "reconstruct-shape", pickle.dumps(Call(multiarray._reconstruct, np.ndarray, (1 << 40,), b"b"))
    yield "reconstruct-class", pickle.dumps(Call(multiarray._reconstruct, np.memmap, (0,), b"b"))
    yield "frombuffer-length", pickle.dumps(Call(numeric._frombuffer, bytearray(8), np.dtype("f8"), (2,), "C"))
    yield from _wrappers(touch)


def _wrappers(touch: str) -> Iterator[tuple[str, bytes]]:
    """joblib's arrays: the length in the file against the length that is read, and wrappers made in other ways."""
    honest = dumped([np.arange(4.0), "end"])
    payload = pickle.dumps(Call(os.system, touch), 2)[2:-1]
    assert b"K\x04\x85" in honest
    for shape in (b"K\x00\x85", b"K\x03\x85", b"J\xff\xff\xff\xff\x85", b"M\xff\xff\x85", b"K\x02K\x02\x86"):
        at = honest.index(b"K\x04\x85")
        unframed = honest[:2] + honest[11:at] + shape + honest[at + 3 :]
        yield f"array-shape-{shape.hex()}", unframed.replace(np.arange(4.0).tobytes(), payload.ljust(32, b"N"))
    for dtype in (b"\x8c\x02V1", b"\x8c\x02i1"):
        lying = (honest[:2] + honest[11:]).replace(b"\x8c\x02f8", dtype, 1)
        yield f"array-dtype-{dtype[2:].decode()}", lying.replace(np.arange(4.0).tobytes(), payload.ljust(32, b"N"))
    full = Call(NumpyArrayWrapper, np.ndarray, (4,), "C", np.dtype("f8"))
    yield "wrapper-by-call", pickle.dumps(full)
    for key, value in (("shape", [4]), ("shape", (-1,)), ("subclass", object), ("order", "K"), ("read", len)):
        state = {"subclass": np.ndarray, "shape": (4,), "order": "C", "dtype": np.dtype("f8"), key: value}
        body = dumps(New(NumpyArrayWrapper, state))
        yield f"wrapper-{key}-{value}", body[:-1] + bytes(64) + b"."
    shared: Any = {"shape": (1,)}
    yield "wrapper-hidden-in-call", pickle.dumps(Call(collections.OrderedDict, [("a", full), ("b", shared)]))


def _indices() -> Iterator[tuple[str, bytes]]:
    """Fitted models whose indices lead out of their arrays."""
    x, y = numbers()
    for field, value in (("left_child", 1 << 40), ("right_child", -5), ("left_child", 0), ("feature", 1 << 40)):
        yield f"tree-{field}-{value}", _bent(DecisionTreeClassifier(max_depth=2).fit(x, y), field, value)
        yield f"forest-{field}-{value}", _bent(RandomForestClassifier(2, max_depth=2).fit(x, y), field, value)
    bare = make_pipeline(StandardScaler(), DecisionTreeClassifier(max_depth=2)).fit(x, y)
    bare.steps[1] = ("tree", bare.steps[1][1].tree_)
    yield "tree-without-estimator", pickle.dumps(bare)
    other = LogisticRegression().fit(x, y)
    other.tree_ = DecisionTreeClassifier(max_depth=2).fit(x, y).tree_
    yield "tree-of-another-estimator", pickle.dumps(other)
    wide = DecisionTreeClassifier(max_depth=2).fit(x[:, ::-1], y)
    wide.n_features_in_ = 1
    yield "tree-features", pickle.dumps(wide)
    boosted = GradientBoostingRegressor(n_estimators=2).fit(x, y)
    boosted.n_trees_per_iteration_ = 0
    yield "boosting-stages", pickle.dumps(boosted)
    for field, value in (("left", 1 << 31), ("right", 0), ("feature_idx", 1 << 40)):
        model = HistGradientBoostingClassifier(max_iter=1, min_samples_leaf=2).fit(x, y)
        model._predictors[0][0].nodes[field][0] = value
        yield f"histogram-{field}", pickle.dumps(model)
    yield "kd-tree", _neighbours(lambda state: (*state[:1], state[1] + (1 << 40), *state[2:]))
    yield "kd-tree-nodes", _neighbours(lambda state: (*state[:6], 1 << 40, *state[7:]))
    neighbours = KNeighborsClassifier().fit(x, y)
    yield "kd-tree-alone", dumps(New(type(neighbours), {"_tree": Call(os.getpid)}))
    from scipy.sparse import csr_matrix

    sparse = csr_matrix(np.eye(4))
    sparse.indices[0] = 1 << 30
    yield "sparse-indices", pickle.dumps(sparse)
    sparse = csr_matrix(np.eye(4))
    sparse.indptr[1] = 1 << 30
    yield "sparse-indptr", pickle.dumps([sparse])
    random = np.random.RandomState(0)
    function, arguments, state = random._bit_generator.__reduce__()
    state = ({**state[0], "state": {**state[0]["state"], "pos": 1 << 20}}, None)
    yield "random-position", pickle.dumps(Call(function, *arguments, state=state))


def _neighbours(change: Callable[[Any], Any]) -> bytes:
    tree = KDTree(numbers()[0])
    function, arguments, state = tree.__reduce__()
    return pickle.dumps(Call(function, *arguments, state=change(state)))


def _bent(model: Any, field: str, value: int) -> bytes:
    """The model with one number of its first tree changed."""

    class Bent:
        def __init__(self, tree: Any) -> None:
            self.tree = tree

        def __reduce__(self) -> Any:
            function, arguments, state = self.tree.__reduce__()
            nodes = state["nodes"].copy()
            nodes[field][0] = value
            return function, arguments, {**state, "nodes": nodes}

    first = model.estimators_[0] if hasattr(model, "estimators_") else model
    first.tree_ = Bent(first.tree_)
    return pickle.dumps(model)


def _machines() -> Iterator[tuple[str, bytes]]:
    """SVMs whose arrays are shorter than libsvm takes them to be."""
    from sklearn.svm import SVC, SVR

    x, y = numbers()
    for name, value in (
        ("_dual_coef_", np.ones((1, 1))),
        ("_n_support", np.array([1 << 20, 1 << 20], dtype=np.int32)),
        ("_n_support", np.array([-5, 45], dtype=np.int32)),
        ("_intercept_", np.zeros(0)),
        ("_probA", np.zeros(3)),
    ):
        for kind in (SVC, SVR):
            model = kind().fit(x, y)
            setattr(model, name, value)
            if kind is SVC or name in ("_dual_coef_", "_intercept_"):
                yield f"{kind.__name__}-{name}-{value.shape}", pickle.dumps(model)
