"""Attacks on skops files: each an honest file whose schema was rewritten."""

import contextlib
import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from argosy.engines import compressed, load, unpickle
from argosy.spec.errors import BadPackage, Untrusted
from tests.engines.honest import TEXTS, numbers

REFUSALS = (Untrusted, BadPackage)
X, Y = numbers()


def rewritten(model: Any, change: Callable[[dict[str, Any]], None], path: Path, **more: bytes) -> Path:
    """The model's file, with its schema changed and these entries more, or in the place of others."""
    data = skops.io.dumps(model)
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        schema = json.loads(source.read("schema.json"))
        change(schema)
        target.writestr("schema.json", json.dumps(schema))
        for name in source.namelist():
            if name != "schema.json":
                target.writestr(name, more.get(Path(name).suffix[1:], source.read(name)))
    return path


def refused(path: Path, said: str = ".") -> None:
    """It is neither clean nor loaded, whatever the package's settings say."""
    with contextlib.suppress(BadPackage):
        assert unpickle.contents(path).objections
    for settings in ({}, {"trusted_types": "builtins.eval,posix.system,os.system", "trusted_pickle": True}):
        with pytest.raises(REFUSALS, match=said):
            load("sklearn", path, settings=settings)


def nodes(schema: Any, loader: str) -> list[dict[str, Any]]:
    """All nodes of a kind."""
    found: list[dict[str, Any]] = []
    pending = [schema]
    while pending:
        item = pending.pop()
        if isinstance(item, list):
            pending += item
        elif isinstance(item, dict):
            pending += item.values()
            found += [item] if item.get("__loader__") == loader else []
    return found


def extra(schema: dict[str, Any], node: dict[str, Any]) -> None:
    schema["content"]["content"]["extra_"] = node
    schema["content"]["key_types"]["content"].append(schema["content"]["key_types"]["content"][0])


def node(loader: str, module: str, name: str, **more: Any) -> dict[str, Any]:
    return {"__class__": name, "__module__": module, "__loader__": loader, "__id__": 99_000_001, **more}


EMPTY = node("TupleNode", "builtins", "tuple", content=[])
TOUCH = [node("JsonNode", "builtins", "str", content=json.dumps("touch /tmp/never"), is_json=True)]


@pytest.mark.parametrize(
    "bad",
    [
        node("FunctionNode", "os", "system"),
        node("FunctionNode", "numpy", "load"),
        node("FunctionNode", "numpy._core.numeric", "_frombuffer"),
        node("FunctionNode", "sklearn.linear_model._logistic", "LogisticRegression"),
        node("TypeNode", "subprocess", "Popen"),
        node("TypeNode", "sklearn.tree._tree", "Tree"),
        node("ObjectNode", "subprocess", "Popen"),
        node("ObjectNode", "numpy", "ndarray"),
        node("ObjectNode", "sklearn.tree._tree", "Tree"),
        node("ObjectNode", "sklearn.linear_model._logistic,os", "system"),
        node("ConstructorFromReduceNode", "subprocess", "Popen", content={**EMPTY, "content": TOUCH}),
        node("ConstructorFromReduceNode", "builtins", "eval", content={**EMPTY, "content": TOUCH}),
        node("ConstructorFromReduceNode", "xgboost.core", "DMatrix", content={**EMPTY, "content": TOUCH}),
        node("ConstructorFromReduceNode", "xgboost.core", "Booster", content={**EMPTY, "content": TOUCH}),
        node("ListNode", "subprocess", "Popen", content=TOUCH),
        node("SetNode", "collections", "deque", content=TOUCH),
        node("TupleNode", "subprocess", "Popen", content=TOUCH),
        node("DictNode", "os", "_Environ", content={}, key_types={**EMPTY, "__class__": "list"}),
        node("NdArrayNode", "os", "system", type="json", content=[], shape=EMPTY),
        node("MaskedArrayNode", "os", "system", content={"data": EMPTY, "mask": EMPTY}),
        node("LossNode", "subprocess", "Popen", content=EMPTY, __reduce__={"args": EMPTY}),
        node("TreeNode", "os", "system", content=EMPTY, __reduce__={"args": EMPTY}),
        node("OperatorFuncNode", "operator", "methodcaller", attrs={**EMPTY, "content": TOUCH}),
        node("MethodNode", "builtins", "tuple", content={"func": "__len__", "obj": EMPTY}),
        node("NoSuchNode", "builtins", "str"),
        node("RandomStateNode", "os", "system", content=EMPTY),
        node("CachedNode", "builtins", "str"),
    ],
    ids=lambda bad: f"{bad['__loader__']}-{bad['__module__']}.{bad['__class__']}",
)
def test_nodes_nobody_vouches_for(bad: dict[str, Any], tmp_path: Path) -> None:
    refused(rewritten(LogisticRegression().fit(X, Y), lambda schema: extra(schema, bad), tmp_path / "m"))


def test_old_protocols_and_nonsense(tmp_path: Path) -> None:
    model = FunctionTransformer(np.log1p)
    refused(rewritten(model, lambda schema: schema.update(protocol=0), tmp_path / "m"))
    refused(rewritten(model, lambda schema: schema.pop("protocol"), tmp_path / "m"))
    refused(rewritten(model, lambda schema: schema.pop("__class__"), tmp_path / "m"))


def test_object_arrays_in_numpy_files_are_no_pickles(tmp_path: Path) -> None:
    class Call:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'marker'}",)

    file = io.BytesIO()
    np.save(file, np.array([Call()], dtype=object), allow_pickle=True)
    refused(rewritten(StandardScaler().fit(X), lambda _: None, tmp_path / "m", npy=file.getvalue()), "allow_pickle")
    file = io.BytesIO()
    np.savez(file, format=np.array("csr"), shape=np.array([Call()], dtype=object), allow_pickle=True)
    refused(rewritten(_sparse(), lambda _: None, tmp_path / "m", npz=file.getvalue()))
    assert not (tmp_path / "marker").exists()


def _sparse() -> Any:
    from scipy.sparse import csr_matrix

    return KNeighborsClassifier(algorithm="brute").fit(csr_matrix(X), Y)


def test_states_are_checked_as_those_of_pickles(tmp_path: Path) -> None:
    vectorizer = CountVectorizer().fit(TEXTS)
    vectorizer.input = "filename"
    skops.io.dump(vectorizer, tmp_path / "m")
    refused(tmp_path / "m", "files that a request names")
    skops.io.dump(make_pipeline(StandardScaler(), LogisticRegression(), memory=str(tmp_path)), tmp_path / "m")
    refused(tmp_path / "m", "cached pickles")
    matrix = _sparse()
    matrix._fit_X.indices[0] = 1 << 30
    skops.io.dump(matrix, tmp_path / "m")
    refused(tmp_path / "m", "sparse matrix")
    planted = rewritten(
        LogisticRegression().fit(X, Y),
        lambda schema: schema["content"]["content"].update(
            predict=schema["content"]["content"].pop("n_features_in_"),
        ),
        tmp_path / "m",
    )
    refused(planted, "in the place of the method")


def test_indices_of_trees(tmp_path: Path) -> None:
    def bend(schema: dict[str, Any]) -> None:
        (tree,) = nodes(schema, "TreeNode")
        tree["content"]["content"]["node_count"]["content"] = "1000000"

    refused(rewritten(DecisionTreeClassifier(max_depth=2).fit(X, Y), bend, tmp_path / "m"), "tree without its nodes")


def test_boosters_are_read_by_our_walkers_first(tmp_path: Path) -> None:
    import xgboost

    model = xgboost.XGBClassifier(n_estimators=2).fit(X, Y)
    refused(rewritten(model, lambda _: None, tmp_path / "m", bin=b"{L" + b"\xff" * 64), "broken XGBoost model")


def test_archives_that_unpack_to_more_than_they_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressed, "_FLOOR", 1 << 20)
    skops.io.dump(StandardScaler().fit(X), tmp_path / "m", compression=zipfile.ZIP_DEFLATED)
    archive = zipfile.ZipFile(tmp_path / "m", "a", zipfile.ZIP_DEFLATED)
    with archive, archive.open("more.npy", "w", force_zip64=True) as file:
        for _ in range(32):
            file.write(bytes(1 << 20))
    refused(tmp_path / "m", "unpacks to")


def test_trust_is_the_callers_to_give(tmp_path: Path) -> None:
    skops.io.dump(FunctionTransformer(np.sort), tmp_path / "m")
    refused(tmp_path / "m", r"numpy\.sort")
    assert unpickle.load(tmp_path / "m", trusted=True).func is np.sort
    assert ("numpy", "sort") in unpickle.contents(tmp_path / "m").names
