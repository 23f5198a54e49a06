import msgspec
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from argosy.packaging.load import load
from argosy.packaging.optimize import optimize as module
from argosy.packaging.optimize import recipes
from argosy.packaging.optimize.gate import Gate
from argosy.packaging.optimize.optimize import OptimizeOptions, optimize
from argosy.packaging.optimize.recipes import FROZEN, RECIPES
from argosy.packaging.options import PushOptions
from argosy.packaging.package import stored
from argosy.packaging.push import push, verify
from argosy.spec.errors import BadPackage, InvalidArgument, MissingExtra, Unsupported
from tests.packaging.optimize.networks import network, rows

ANY = Gate(min_agreement=0.9, min_speedup=0.0, worst_class=0.0)


@pytest.fixture
def pushed(store, tmp_path):
    """`pushed(name, **network)`: the reference of such a network, with a sample."""

    def call(name="net", **options):
        source = network(tmp_path / f"{name}.onnx", **options)
        return push(source, name=name, store=store, options=PushOptions(), report=lambda _: None).ref

    return call


@pytest.fixture
def few(monkeypatch):
    """`few("int8")`: no other recipe is tried."""

    def call(*names):
        monkeypatch.setattr(module, "RECIPES", dict.fromkeys((*names, FROZEN)))

    return call


def run(store, ref, place, **options):
    return optimize(store, ref, OptimizeOptions(rows=place, **options), lambda _: None)


def test_the_winner_is_the_next_version_and_its_lineage_names_parent_and_tries(store, pushed, few, tmp_path):
    few("int8", "int8-clipped", "int8-mixed")
    parent = store.registry.resolve(pushed())
    found, version = run(store, parent.ref, rows(tmp_path / "x.npz"), gate=ANY)
    assert version.ref == "net:2"
    assert [each.recipe for each in found.tries] == ["int8", "int8-clipped", "int8-mixed"]
    assert all(0.9 < each.agreement <= 1 and each.ms > 0 and not each.rejected for each in found.tries)
    made = store.registry.resolve("net:2").lineage.optimization
    assert made == found
    assert (made.parent, made.parent_ref, made.calibration_rows, made.test_rows) == (parent.digest, "net:1", 100, 300)
    assert made.recipe in {each.recipe for each in made.tries}
    assert store.lineage(version.digest)[0].optimization == found
    assert version.manifest.signature == parent.manifest.signature
    kinds = {node.op_type for node in onnx.load(str(stored(store, version.digest).weights)).graph.node}
    assert "DequantizeLinear" in kinds
    assert verify(store, "net:2").golden_rows == parent.manifest.golden_rows
    inputs = stored(store, parent.digest).golden_inputs()[0].array
    answers = [load(stored(store, each.digest), threads=1).predict(inputs)["p"] for each in (parent, version)]
    assert 0 < np.abs(answers[0] - answers[1]).max() < 0.2


def test_recipes_are_chosen_by_name(store, pushed, tmp_path):
    found, _ = run(store, pushed(), rows(tmp_path / "x.npz"), gate=ANY, recipes=("int8-dynamic", "graph"), dry=True)
    assert [each.recipe for each in found.tries] == ["int8-dynamic", "graph"]
    for given in ({"recipes": ("int9",)}, {"recipes": (FROZEN,)}):
        with pytest.raises(
            InvalidArgument, match=f"no recipe {given['recipes'][0]} here: there are graph, int8-default"
        ):
            run(store, "net:1", tmp_path / "x.npz", **given)
    with pytest.raises(InvalidArgument, match="no recipe int8 here: none is chosen where scales are taken"):
        run(store, "net:1", tmp_path / "x.npz", recipes=("int8",), scales="net:1")


@pytest.mark.slow
def test_every_recipe_has_figures_or_a_reason(store, pushed, tmp_path):
    found, version = run(store, pushed(), rows(tmp_path / "x.npz"), gate=ANY, dry=True)
    assert version is None
    assert [each.recipe for each in found.tries] == [each for each in RECIPES if each != FROZEN]
    assert all(each.agreement is not None for each in found.tries if not each.rejected.startswith("failed"))
    assert len(store.registry.versions("net")) == 1


@pytest.mark.slow
def test_nothing_is_registered_where_nothing_gains_enough(store, pushed, few, tmp_path):
    few("int8")
    found, version = run(store, pushed(), rows(tmp_path / "x.npz"), gate=Gate(min_speedup=1e6))
    assert (found.recipe, version) == ("", None)
    assert "below 1e+06 x" in found.tries[0].rejected
    assert len(store.registry.versions("net")) == 1


@pytest.mark.slow
def test_a_recipe_that_fails_or_comes_too_late_is_a_line_of_the_table(store, pushed, few, tmp_path):
    few("int8")
    ref = pushed(layers=("MatMul", "MatMul"))
    found, _ = run(store, ref, rows(tmp_path / "x.npz"), minutes=0)
    assert found.tries[0].rejected == "not tried: 0 minutes were over"


def test_a_model_without_heavy_operators_says_so(tmp_path, forest_job):
    with pytest.raises(InvalidArgument, match="no Conv, MatMul, Gemm with weights"):
        recipes.attempt(forest_job)


@pytest.fixture
def forest_job(digits_onnx, digits, tmp_path):
    from argosy.protocol import tensorfile
    from argosy.spec.tensor import tensor

    tensorfile.write(tmp_path / "rows.oip", [tensor("X", digits[0][:40].astype("f4"))])
    return recipes.Attempt(recipe="int8", weights=str(digits_onnx), rows=str(tmp_path / "rows.oip"), into=str(tmp_path))


@pytest.mark.slow
def test_scales_are_taken_from_an_optimized_version_so_that_few_bytes_change(store, pushed, few, tmp_path):
    few("int8")
    place = rows(tmp_path / "x.npz")
    _, first = run(store, pushed(), place, gate=ANY)
    source = network(tmp_path / "again.onnx", shift=1e-3)
    again = push(source, name="net", store=store, options=PushOptions(), report=lambda _: None)
    found, version = run(store, again.ref, place, gate=ANY, scales=first.ref)
    assert (found.recipe, found.frozen, version.ref) == (FROZEN, first.digest, "net:4")
    graphs = [onnx.load(str(stored(store, one.digest).weights)).graph for one in (first, version)]
    old, new = ({each.name: numpy_helper.to_array(each) for each in graph.initializer} for graph in graphs)
    changed = [name for name in old if (old[name] != new[name]).any()]
    assert changed
    assert all(name.endswith("_quantized") for name in changed)
    assert max((old[name] != new[name]).mean() for name in changed) < 0.5


@pytest.mark.slow
def test_scales_of_another_graph_are_refused(store, pushed, few, tmp_path):
    few("int8")
    place = rows(tmp_path / "x.npz")
    _, first = run(store, pushed(), place, gate=ANY)
    other = pushed("other", classes=5)
    found, version = run(store, other, place, gate=ANY, scales=first.ref)
    assert version is None
    assert "the shape of" in found.tries[0].rejected
    found, _ = run(store, first.ref.replace("2", "1"), place, gate=ANY, scales="net:1")
    assert "has none: it was not made by an int8 recipe" in found.tries[0].rejected


@pytest.mark.slow
def test_a_model_that_answers_nan_is_no_measure(store, pushed, tmp_path):
    with pytest.raises(BadPackage, match="net:1 itself: 'p' is NaN or infinite on 300 of 300 rows"):
        run(store, pushed(nan=True), rows(tmp_path / "x.npz"))


def test_free_axes_are_refused_by_name(store, tmp_path):
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", "m"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", "m"])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "f.onnx")
    ref = push(tmp_path / "f.onnx", name="free", store=store, options=PushOptions(), report=lambda _: None).ref
    with pytest.raises(Unsupported, match="input 'x' of free leaves axis 1 free"):
        run(store, ref, rows(tmp_path / "x.npz"))


def test_another_engine_is_refused_by_name(store, tmp_path, digits_joblib, digits_sample):
    options = PushOptions(sample=digits_sample, convert=False)
    ref = push(digits_joblib, name="digits", store=store, options=options, report=lambda _: None).ref
    with pytest.raises(Unsupported, match="runs on the engine sklearn; only ONNX models are optimized"):
        run(store, ref, digits_sample)


def test_the_extra_is_named(monkeypatch, forest_job):
    monkeypatch.setattr(recipes, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"needs the extra 'onnx'"):
        recipes.attempt(forest_job)


def test_lineage_without_an_optimization_is_as_it_was(store, pushed):
    version = store.registry.resolve(pushed())
    assert version.lineage.optimization is None
    assert msgspec.json.decode(msgspec.json.encode(version.lineage), type=type(version.lineage)) == version.lineage
