import numpy as np
import pytest

from argosy.packaging.profile import profile
from argosy.profiles import quantiles
from argosy.profiles.layout import layout
from argosy.profiles.profile import encode, merge
from argosy.profiles.recorder import Recorder
from argosy.spec.errors import InvalidArgument
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import Tensor, as_bytes
from tests.profiles.models import rows, small

WIDE = Signature(
    inputs=(TensorSpec(name="x", datatype="FP32", shape=(-1, 20)),),
    outputs=(TensorSpec(name="y", datatype="FP32", shape=(-1,)),),
)


def wide():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((5000, 20)).astype(np.float32), rng.random(5000).astype(np.float32)
    return layout(profile([Tensor("x", "FP32", x)], [Tensor("y", "FP32", y)], WIDE.inputs, WIDE.outputs), WIDE)


def test_rows_go_to_the_minute_they_carry():
    recorder = Recorder(small(), "m:1", batch=4)
    for at in (59.9, 60.0, 61.0, 119.9, 120.0, 61.5):
        recorder.add(at, *rows(1))
    assert [(one.start, one.rows) for one in recorder.take(119.0)] == [(0, 1)]
    assert [(one.start, one.end, one.rows) for one in recorder.take(121.0)] == [(1, 2, 4)]
    assert recorder.take(121.0) == []
    recorder.add(61.0, *rows(1))
    assert [(one.start, one.rows) for one in recorder.take(240.0)] == [(1, 1), (2, 1)]


def test_gathered_rows_count_as_those_of_one_batch():
    small_parts, at_once = Recorder(small(), "m:1", batch=64), Recorder(small(), "m:1", batch=1)
    inputs, outputs = rows(150)
    at_once.add(0, inputs, outputs)
    for row in range(150):
        small_parts.add(
            0, {n: a[row : row + 1] for n, a in inputs.items()}, {n: a[row : row + 1] for n, a in outputs.items()}
        )
    ours, theirs = small_parts.take(60)[0], at_once.take(60)[0]
    assert ours.counts == theirs.counts
    assert ours.values == theirs.values


def test_segments_part_the_rows_by_any_column():
    where = small()
    recorder = Recorder(where, "m:1", segments=("country", "age"), batch=50)
    inputs, outputs = rows(100)
    inputs["country"][:10] = b"XX"
    inputs["country"][10:15] = b""
    recorder.add(0, inputs, outputs)
    found = {one.segment: one for one in recorder.take(60)}
    countries = {name: one.rows for name, one in found.items() if name.startswith("country=")}
    assert countries["country=other"] == 10
    assert countries["country=missing"] == 5
    assert sum(countries.values()) == found[""].rows == 100
    assert sum(one.rows for name, one in found.items() if name.startswith("age=")) == 100
    assert found["country=other"].cells(where, "country").tolist() == [0, 0, 0, 10, 0]


def test_a_million_distinct_categories_cost_constant_memory():
    where = small()
    recorder = Recorder(where, "m:1", batch=10_000)
    inputs, outputs = rows(10_000)
    sizes = []
    for part in range(20):
        names = np.array([b"u%d" % (part * 10_000 + i) for i in range(10_000)], object).reshape(-1, 1)
        names[::10] = b"often"
        recorder.add(60.0 * (part // 10), inputs | {"country": names}, outputs)
    for one in recorder.take(600):
        sizes.append(len(encode(one)))
        values = one.values[0]
        assert len(values.frequent) <= 128
        assert values.frequent["often"] + values.lost >= 10_000 >= values.frequent["often"]
        assert values.distinct() == pytest.approx(90_001, rel=0.15)
        assert one.cells(where, "country")[-2] == 100_000
    assert abs(sizes[0] - sizes[1]) < 3000
    assert max(sizes) < 40_000


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3.0, 1e308, -1e308])
def test_columns_of_one_value_are_counted(value):
    recorder = Recorder(small(), "m:1", batch=50)
    inputs, outputs = rows(50)
    recorder.add(0, inputs, outputs | {"p": np.full(50, value)})
    one = recorder.take(60)[0]
    cells = one.cells(small(), "p")
    special = {"nan": -1, "inf": -2, "-inf": -2, "-1e+308": -4}.get(str(value), -3)
    assert cells[special] == 50
    assert one.moments[5].count == (50 if np.isfinite(value) else 0)


def test_a_single_row_and_a_million_rows():
    where = wide()
    recorder = Recorder(where, "m:1", batch=1)
    recorder.add(0, {"x": np.zeros((1, 20), np.float32)}, {"y": np.zeros(1, np.float32)})
    assert recorder.take(60)[0].rows == 1
    x = np.random.default_rng(0).standard_normal((1_000_000, 20), np.float32)
    recorder.add(0, {"x": x}, {"y": x[:, 0]})
    one = recorder.take(60)[0]
    assert one.rows == sum(one.cells(where, "x[0]")) == 1_000_000
    assert len(encode(one)) <= 150_000


def test_a_missing_tensor_is_missing_in_every_row():
    recorder = Recorder(small(), "m:1", batch=8)
    inputs, outputs = rows(8)
    recorder.add(0, {"x": inputs["x"]}, outputs)
    recorder.add(0, inputs, outputs)
    assert recorder.take(60)[0].cells(small(), "country")[-1] == 8


def test_images_give_one_value_a_row():
    spec = TensorSpec(name="image", datatype="FP32", shape=(-1, 4, 4))
    images = np.random.default_rng(0).random((100, 4, 4), np.float32)
    signature = Signature(inputs=(spec,), outputs=())
    where = layout(profile([Tensor("image", "FP32", images)], [], signature.inputs, ()), signature)
    recorder = Recorder(where, "m:1", batch=100)
    recorder.add(0, {"image": images}, {})
    assert sum(recorder.take(60)[0].counts) == 100


def test_rows_that_do_not_belong_together_are_refused():
    recorder = Recorder(small(), "m:1", batch=1)
    inputs, outputs = rows(4)
    with pytest.raises(InvalidArgument, match=r"equally many rows; these have \[3, 4\]"):
        recorder.add(0, inputs, outputs | {"p": np.zeros(3)})
    with pytest.raises(InvalidArgument, match=r"'x' has shape \[4, 2\], but the profile has 'days'"):
        recorder.add(0, inputs | {"x": np.zeros((4, 2))}, outputs)
    with pytest.raises(InvalidArgument, match="at least 1, not 0"):
        Recorder(small(), "m:1", batch=0)


def test_half_precision_of_brains_and_texts_of_any_kind():
    spec = TensorSpec(name="x", datatype="BF16", shape=(-1, 2))
    raw = (np.array([[1.0, 2.0], [3.0, 4.0]], "<f4").view("<u4") >> 16).astype("<u2")
    signature = Signature(inputs=(spec,), outputs=())
    where = layout(profile([Tensor("x", "BF16", raw)], [], signature.inputs, ()), signature)
    recorder = Recorder(where, "m:1", batch=2)
    recorder.add(0, {"x": raw}, {})
    one = recorder.take(60)[0]
    assert [moments.mean for moments in one.moments] == [2.0, 3.0]
    recorder = Recorder(small(), "m:1", batch=2)
    inputs, outputs = rows(2)
    recorder.add(
        0,
        inputs | {"country": as_bytes(np.array([["\ud800"], ["<b>" * 99]], object).astype(object)[1:2].repeat(2, 0))},
        outputs,
    )
    assert max(map(len, recorder.take(60)[0].values[0].frequent)) == 100


def test_without_the_library_bins_alone_work(monkeypatch):
    monkeypatch.setattr(quantiles, "installed", lambda: False)
    recorder = Recorder(small(), "m:1", batch=8)
    recorder.add(0, *rows(8))
    one = recorder.take(60)[0]
    assert one.sketches == ()
    assert merge(small(), [one, one]).rows == 16
