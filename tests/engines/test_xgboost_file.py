"""XGBoost's own files: what XGBoost writes is taken in all its kinds; what leads it out of its memory is not."""

import copy
import json
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argosy.engines import load, xgboost_file
from argosy.spec.errors import BadPackage

xgb = pytest.importorskip("xgboost")
X = np.random.default_rng(0).normal(size=(200, 4)).astype("f4")
Y = (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(int) + (X[:, 3] > 1)


def trained(rounds: int = 3, **more: Any) -> Any:
    y = Y if more.get("num_class") else Y > 0
    return xgb.train({"nthread": 1, **more}, xgb.DMatrix(X, y), rounds)


def categorical() -> Any:
    import pandas

    rows = pandas.DataFrame({"a": pandas.Categorical(Y.astype(str)), "b": X[:, 0]})
    matrix = xgb.DMatrix(rows, Y > 0, enable_categorical=True)
    return xgb.train({"tree_method": "hist", "max_cat_to_onehot": 1, "nthread": 1}, matrix, 3)


def many_targets(strategy: str) -> Any:
    matrix = xgb.DMatrix(X, np.stack([Y, X[:, 0]], axis=1))
    return xgb.train({"tree_method": "hist", "multi_strategy": strategy, "nthread": 1}, matrix, 3)


HONEST = {
    "binary": lambda: trained(objective="binary:logistic"),
    "classes": lambda: trained(objective="multi:softprob", num_class=3),
    "exact, pruned": lambda: trained(20, tree_method="exact", gamma=2.0, max_depth=8),
    "lossguide": lambda: trained(20, tree_method="hist", grow_policy="lossguide", max_leaves=7, max_depth=0),
    "forest": lambda: trained(num_parallel_tree=4, subsample=0.5),
    "dart": lambda: trained(10, booster="dart", rate_drop=0.5),
    "linear": lambda: trained(booster="gblinear", objective="multi:softprob", num_class=3),
    "linear, none": lambda: trained(0, booster="gblinear"),
    "no trees": lambda: trained(0),
    "slice": lambda: trained(9)[2:5],
    "categorical": categorical,
    "targets": lambda: many_targets("one_output_per_tree"),
    "vectors": lambda: many_targets("multi_output_tree"),
    "aft": lambda: trained(objective="reg:squarederror", base_score=0.5),
    "unicode": lambda: xgb.train({}, xgb.DMatrix(X, Y, feature_names=["å", "ß", "NaN", "d d"]), 2),
}


@pytest.mark.parametrize("name", HONEST)
def test_what_xgboost_writes_is_taken(tmp_path: Path, name: str):
    booster = HONEST[name]()
    for kind in ("ubj", "json"):
        booster.save_model(tmp_path / f"m.{kind}")
        assert xgboost_file.inspect(tmp_path / f"m.{kind}") == kind
    xgboost_file.inspect_bytes(bytes(booster.save_raw("ubj")), "it")
    xgboost_file.inspect_bytes(bytes(booster.__getstate__()["handle"]), "it")


def test_what_scikit_learn_estimators_pickle_is_taken():
    for model in (xgb.XGBClassifier(n_estimators=3), xgb.XGBRFRegressor(n_estimators=3), xgb.XGBRanker(n_estimators=2)):
        model.fit(X, Y, **({"group": [200]} if isinstance(model, xgb.XGBRanker) else {}))
        again = pickle.loads(pickle.dumps(model))
        xgboost_file.inspect_bytes(bytes(again.get_booster().__getstate__()["handle"]), "it")


def ubj(value: Any) -> bytes:
    """As XGBoost writes it, lists of whole numbers as typed arrays of 32 bits."""
    if isinstance(value, dict):
        return b"{" + b"".join(text(name) + ubj(each) for name, each in value.items()) + b"}"
    if isinstance(value, list) and value and all(type(each) is int for each in value):
        return b"[$l#L" + struct.pack(f">q{len(value)}i", len(value), *value)
    if isinstance(value, list):
        return b"[#L" + struct.pack(">q", len(value)) + b"".join(map(ubj, value))
    if isinstance(value, str):
        return b"S" + text(value)
    return b"L" + struct.pack(">q", value) if isinstance(value, int) else b"d" + struct.pack(">f", value)


def text(value: str) -> bytes:
    return b"L" + struct.pack(">q", len(value.encode())) + value.encode()


@pytest.fixture(scope="module")
def model() -> Any:
    return json.loads(trained(objective="multi:softprob", num_class=3).save_raw("json"))


def tree(model: Any) -> Any:
    return trees(model)["trees"][1]


def trees(model: Any) -> Any:
    return model["learner"]["gradient_booster"]["model"]


def test_the_answers_of_vector_leaves_lie_within_the_tree():
    model = json.loads(many_targets("multi_output_tree").save_raw("json"))
    xgboost_file.inspect_bytes(ubj(model), "it")
    first = trees(model)["trees"][0]
    leaf = first["left_children"].index(-1)
    for lie in (
        lambda: first["right_children"].__setitem__(leaf, 10**6),
        lambda: first["right_children"].__setitem__(leaf, -2),
        lambda: first["leaf_weights"].__delitem__(slice(4, None)),
        lambda: first["tree_param"].update(size_leaf_vector="200"),
        lambda: model["learner"]["learner_model_param"].update(num_target="1"),
    ):
        kept = copy.deepcopy(first), copy.deepcopy(model["learner"]["learner_model_param"])
        lie()
        with pytest.raises(BadPackage, match="cannot be right"):
            xgboost_file.inspect_bytes(ubj(model), "it")
        first.update(kept[0])
        model["learner"]["learner_model_param"].update(kept[1])


@pytest.mark.parametrize(
    "lie",
    [
        lambda cats: cats["enc"].pop(),
        lambda cats: cats["enc"][0].update(offsets=[0, 1, 2, 99]),
        lambda cats: cats["enc"][0].update(offsets=[0, 2, 1, 3]),
        lambda cats: cats["enc"][0]["values"].__setitem__(0, 300),
        lambda cats: cats["enc"].__setitem__(1, {"type": 15, "values": ["a"]}),
        lambda cats: cats.update(feature_segments=[0, 3, 300]),
        lambda cats: cats.update(feature_segments=[0, -3, 3]),
        lambda cats: cats.update(sorted_idx=[0, 1, 9]),
        lambda cats: cats.update(sorted_idx=[0, 1]),
        lambda cats: cats.update(enc=[]),
    ],
)
def test_categories_hold_together(lie: Any) -> None:
    model = json.loads(categorical().save_raw("json"))
    held = xgboost_file.inspect_bytes(ubj(model), "it")
    assert xgboost_file.categories(held) == {"a": ["0", "1", "2"]}
    lie(trees(model)["cats"])
    with pytest.raises(BadPackage, match="cannot be right"):
        xgboost_file.inspect_bytes(ubj(model), "it")


LIES: dict[str, Any] = {
    "a child past the last": lambda m: tree(m)["left_children"].__setitem__(0, 10**6),
    "a child before the first": lambda m: tree(m)["right_children"].__setitem__(0, -7),
    "a node that is its own child": lambda m: tree(m)["left_children"].__setitem__(1, 1),
    "a way back to the root": lambda m: tree(m)["left_children"].__setitem__(1, 0),
    "a way back further down": lambda m: tree(m)["left_children"].__setitem__(3, 1),
    "a node with one child": lambda m: tree(m)["left_children"].__setitem__(0, -1),
    "fewer right children": lambda m: tree(m)["right_children"].pop(),
    "fewer features of splits": lambda m: tree(m)["split_indices"].pop(),
    "fewer conditions": lambda m: tree(m)["split_conditions"].pop(),
    "no nodes": lambda m: tree(m).update(left_children=[], right_children=[]),
    "another number of nodes": lambda m: tree(m)["tree_param"].update(num_nodes="3"),
    "a feature past the last": lambda m: tree(m)["split_indices"].__setitem__(0, 4),
    "a negative feature": lambda m: tree(m)["split_indices"].__setitem__(0, -1),
    "fewer features than splits use": lambda m: m["learner"]["learner_model_param"].update(num_feature="1"),
    "a class past the last": lambda m: trees(m)["tree_info"].__setitem__(0, 10**8),
    "a negative class": lambda m: trees(m)["tree_info"].__setitem__(0, -(10**6)),
    "fewer classes than trees use": lambda m: m["learner"]["learner_model_param"].update(num_class="2"),
    "fewer classes of trees": lambda m: trees(m)["tree_info"].pop(),
    "rounds past the last tree": lambda m: trees(m)["iteration_indptr"].__setitem__(-1, 10**6),
    "rounds that go back": lambda m: trees(m)["iteration_indptr"].__setitem__(1, -3),
    "a tree out of place": lambda m: tree(m).update(id=10**6),
    "a tree twice": lambda m: tree(m).update(id=0),
    "more trees than there are": lambda m: trees(m)["gbtree_model_param"].update(num_trees="1000000"),
    "categories past the last": lambda m: tree(m).update(
        categories=[1], categories_nodes=[0], categories_segments=[0], categories_sizes=[10**6]
    ),
    "categories before the first": lambda m: tree(m).update(
        categories=[1], categories_nodes=[0], categories_segments=[-5], categories_sizes=[1]
    ),
    "a category that is negative": lambda m: tree(m).update(
        categories=[-1], categories_nodes=[0], categories_segments=[0], categories_sizes=[1]
    ),
    "categories of a node that is not there": lambda m: tree(m).update(
        categories=[1], categories_nodes=[10**6], categories_segments=[0], categories_sizes=[1]
    ),
    "children that are no integers": lambda m: tree(m).update(left_children=[0.5] * len(tree(m)["left_children"])),
    "children that are a table": lambda m: tree(m).update(left_children={}),
    "no learner": lambda m: m.pop("learner"),
    "another booster": lambda m: m["learner"]["gradient_booster"].update(name="other"),
    "a number of features that is none": lambda m: m["learner"]["learner_model_param"].update(num_feature="many"),
}


@pytest.mark.parametrize("lie", LIES)
def test_what_leads_out_of_the_model_is_refused(tmp_path: Path, model: Any, lie: str):
    xgboost_file.inspect_bytes(ubj(model), "it")
    changed = copy.deepcopy(model)
    LIES[lie](changed)
    with pytest.raises(BadPackage, match="XGBoost model"):
        xgboost_file.inspect_bytes(ubj(changed), "it")
    with pytest.raises(BadPackage, match="XGBoost model"):
        xgboost_file.inspect_bytes(ubj({"Config": {}, "Model": changed}), "it")


@pytest.mark.parametrize("lie", ["a child past the last", "a feature past the last", "a class past the last"])
def test_a_model_in_json_is_held_to_the_same_before_it_answers(tmp_path: Path, model: Any, lie: str):
    changed = copy.deepcopy(model)
    LIES[lie](changed)
    path = tmp_path / "m.json"
    path.write_text(json.dumps(changed))
    with pytest.raises(BadPackage):
        load("xgboost", path)
    path.write_text(json.dumps(model))
    assert load("xgboost", path).predict({"x": X})[0].shape == (200, 3)


@pytest.mark.parametrize(
    "data",
    [
        b"{L" + struct.pack(">q", 2**62) + b"x" * 20,
        b"{L" + struct.pack(">q", -1) + b"x" * 20,
        b"{i\x01x[]}" + bytes(20),
        b"{" + text("a") + b"[#L" + struct.pack(">q", 2**40) + bytes(20),
        b"{" + text("a") + b"[#L" + struct.pack(">q", 1000) + b"Z" * 20 + b"}",
        b"{" + text("a") + b"[$Z#L" + struct.pack(">q", 2**60) + b"}",
        b"{" + text("a") + b"[$d#L" + struct.pack(">q", 2**61) + b"}",
        b"{" + text("a") + b"[$d#i\x05" + bytes(20) + b"}",
        b"{" + text("a") + b"[$[#L" + struct.pack(">q", 3) + b"}" * 20,
        b"{" + text("a") + b"[$d" + bytes(20) + b"}",
        b"{" + text("a") + b"N" + text("b") + b"Z}",
        b"{" + text("a") + b"u\0\1" + text("b") + b"Z}",
        b"{" + text("a") + b"HL" + struct.pack(">q", 1) + b"1" + b"}",
        b"{#L" + struct.pack(">q", 1) + text("a") + b"Z",
        b"{$l#L" + struct.pack(">q", 1) + text("a") + bytes(4),
        b"{" + text("a") + b"[" * 100_000,
        b"{" + (text("a") + b"{") * 100_000,
        b"{" + text("a") + b"Z" + text("a") + b"Z}",
        b"{" + text("a") + b"S" + b"L" + struct.pack(">q", 2) + b"\xff\xfe}" + bytes(9),
        b"{" + text("a" * 20) + b"Z}" + b"}",
        b"{" + text("a" * 20) + b"Z}" + bytes(1000),
        b"{" + text("a" * 20) + b"Z",
    ],
)
def test_what_is_no_ubjson_of_xgboost_s_is_refused(data: bytes):
    with pytest.raises(BadPackage, match="it is not a whole XGBoost model"):
        xgboost_file.inspect_bytes(data, "it")


@settings(max_examples=300, deadline=None)
@given(cut=st.integers(1, 10_000), at=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_a_changed_file_is_refused_or_holds_together(cut: int, at: int, byte: int):
    """No other exception, and every cut is refused."""
    whole = SMALL[0] if SMALL else SMALL.append(bytes(trained(1).save_raw("ubj"))) or SMALL[0]
    with pytest.raises(BadPackage):
        xgboost_file.inspect_bytes(whole[: len(whole) - 1 - cut % (len(whole) - 16)], "it")
    changed = bytearray(whole)
    changed[at % len(whole)] = byte
    try:
        xgboost_file.inspect_bytes(bytes(changed), "it")
    except BadPackage:
        assert bytes(changed) != whole


SMALL: list[bytes] = []
