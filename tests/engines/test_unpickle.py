"""Attacks on the loading of pickles: at the scan, at the load, and as a model."""

import contextlib
import os
import pickle
import subprocess
import sys
import zlib
from pathlib import Path

import joblib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from argosy.engines import load, unpickle
from argosy.spec.errors import BadPackage, InvalidArgument, Untrusted
from tests.engines import hostile, hostile_numbers
from tests.engines.hostile import Call, Named, dumps, name_of

REFUSALS = (Untrusted, BadPackage)


@pytest.fixture(scope="module")
def marker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile") / "marker"


@pytest.fixture(scope="module")
def attacks(marker: Path) -> dict[str, bytes]:
    return hostile.files(marker) | hostile_numbers.files(marker)


def test_every_hostile_file_is_refused_where_it_is_scanned_and_where_it_is_loaded(
    attacks: dict[str, bytes], marker: Path, tmp_path: Path
) -> None:
    path, let_through = tmp_path / "m", []
    assert len(attacks) > 200
    for name, data in attacks.items():
        path.write_bytes(data)
        try:
            if not unpickle.contents(path).objections:
                let_through.append(f"{name}: clean")
        except BadPackage:
            pass
        for settings_ in ({}, {"trusted_pickle": True, "trusted_types": "os.system,posix.system"}):
            try:
                load("sklearn", path, settings=settings_)
                let_through.append(f"{name}: loaded")
            except REFUSALS:
                pass
        assert not marker.exists(), name
    assert not let_through


def test_the_same_within_compressed_files(attacks: dict[str, bytes], marker: Path, tmp_path: Path) -> None:
    for name in ("system-2", "in-object-array", "trailing-pickle", "frombuffer-objects", "planted-setstate"):
        (tmp_path / "m").write_bytes(zlib.compress(attacks[name]))
        with pytest.raises(REFUSALS):
            unpickle.load(tmp_path / "m")
        assert not marker.exists()


def test_trust_is_the_callers_to_give(attacks: dict[str, bytes], marker: Path, tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(attacks["system-4"])
    assert unpickle.load(tmp_path / "m", trusted=True) == 0
    assert marker.exists()
    marker.unlink()


def test_all_names_are_told_before_trust_is_asked_for(tmp_path: Path) -> None:
    value = [Call(os.system, "x"), {"a": Call(eval, "1")}, np.array([Call(exec, "")], dtype=object)]
    for save in (joblib.dump, lambda one, path: path.write_bytes(pickle.dumps(one))):
        save(value, tmp_path / "m")
        assert set(unpickle.contents(tmp_path / "m").objections) == {"posix.system", "builtins.eval", "builtins.exec"}


def test_names_of_the_file_are_known(tmp_path: Path) -> None:
    joblib.dump({"a": np.arange(3.0)}, tmp_path / "m")
    assert ("numpy", "ndarray") in unpickle.contents(tmp_path / "m").names


def test_parts_that_stay_behind_cannot_be_called(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"\x80\x04]" + name_of("numpy._core.numeric", "_frombuffer") + b"a.")
    (left,) = unpickle.load(tmp_path / "m")
    assert not callable(left)
    with pytest.raises(TypeError):
        iter(left)


def test_refusals_name_the_file_and_what_it_would_use(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(dumps(Call(Named("sklearn.nothing", "Here"), 1)))
    with pytest.raises(Untrusted, match=r"model\.pkl would use sklearn\.nothing\.Here, which does not exist here"):
        unpickle.load(path)
    path.write_bytes(b"\x80\x04\xff.")
    with pytest.raises(BadPackage, match=r"model\.pkl: it has the unknown opcode 0xff"):
        unpickle.load(path)
    path.write_bytes(b"")
    with pytest.raises(BadPackage, match="empty"):
        unpickle.load(path)
    with pytest.raises(InvalidArgument, match="must be bool"):
        load("sklearn", path, settings={"trusted_pickle": "yes"})


def test_plain_values_of_every_protocol(tmp_path: Path) -> None:
    import collections
    import datetime

    value = {
        "numbers": [1, -1, 1 << 80, 1.5, 1j, True, None],
        "texts": ("ä", b"\xff", bytearray(b"x"), ""),
        "sets": {1, 2, (3, "a")},
        "frozen": frozenset({"a"}),
        "ordered": collections.OrderedDict(a=1),
        "times": [
            datetime.date(2026, 1, 1),
            datetime.datetime(2026, 1, 1, 5),  # noqa: DTZ001
            datetime.timedelta(1, 2, 3),
        ],
        "slices": slice(1, 2, None),
        "random": np.random.RandomState(3),
        "types": [int, np.float32, np.dtype("M8[ns]"), np.dtype([("a", "<f4"), ("b", ">i2", (2,))], align=True)],
        "arrays": [np.arange(6.0).reshape(2, 3).T, np.array(["ab", "c"]), np.array([1, "x", None], dtype=object)],
        "masked": np.ma.masked_array([1, 2, 3], [0, 1, 0]),
        "scalars": [np.float64(1.5), np.int8(-1), np.datetime64("2026-01-01")],
    }
    for protocol in range(2, 6):
        (tmp_path / "m").write_bytes(pickle.dumps(value, protocol))
        found = unpickle.load(tmp_path / "m")
        assert found.keys() == value.keys()
        for key in ("numbers", "texts", "sets", "frozen", "ordered", "times", "slices", "types", "scalars"):
            assert found[key] == value[key], (protocol, key)
        for one, other in zip(found["arrays"], value["arrays"], strict=True):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(found["masked"].filled(9), [1, 9, 3])
        assert found["random"].randint(1000) == np.random.RandomState(3).randint(1000)


CODES = sorted(value[0] for name, value in vars(pickle).items() if name.isupper() and isinstance(value, bytes))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_sequence_of_opcodes_ends_in_anything_but_a_value_or_a_refusal(tmp_path: Path, data: st.DataObject) -> None:
    pieces = st.one_of(
        st.sampled_from([bytes([code]) for code in CODES]),
        st.sampled_from(
            [
                name_of("posix", "system"),
                name_of("numpy._core.multiarray", "_reconstruct"),
                name_of("numpy", "dtype"),
                name_of("numpy", "ndarray"),
                name_of("sklearn.tree._tree", "Tree"),
                name_of("sklearn.linear_model._base", "LinearRegression"),
                name_of("builtins", "bytearray"),
            ]
        ),
        st.integers(0, 255).map(lambda n: b"K" + bytes([n])),
        st.binary(max_size=8).map(lambda b: b"C" + bytes([len(b)]) + b),
        st.just(b"\x8c\x02f8"),
        st.just(b"\x8c\x02f8\x89\x88\x87R"),
    )
    (tmp_path / "m").write_bytes(b"\x80\x04" + b"".join(data.draw(st.lists(pieces, max_size=25))) + b".")
    with contextlib.suppress(REFUSALS):
        unpickle.load(tmp_path / "m")


FUZZ = """
import sys, random, warnings, os
warnings.simplefilter("ignore")
folder, seeds = sys.argv[1], [int(seed) for seed in sys.argv[2:]]
from pathlib import Path
from argosy.engines import load
from argosy.spec.errors import ArgosyError
import numpy as np
samples = [file.read_bytes() for file in sorted(Path(folder).glob("*.sample"))]
for sample in samples:  # imports happen now
    Path(folder, "now").write_bytes(sample)
    load("sklearn", Path(folder, "now"))
events = []
def hook(event, args):
    bad = event.split(".")[0] in ("subprocess", "socket", "os", "shutil", "compile")
    if event == "exec":  # of anything but a module of an installed library
        bad = not args[0].co_filename.startswith((sys.prefix, sys.base_prefix, "<frozen"))
    bad = bad or event in ("ctypes.dlopen", "ctypes.call_function")
    writes = event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+")
    if armed and (bad or writes) and event not in ("os.listdir", "os.scandir"):
        events.append((event, repr(args)[:200]))
armed = False
sys.addaudithook(hook)
for seed in seeds:
    dice = random.Random(seed)
    data = bytearray(dice.choice(samples))
    for _ in range(dice.randint(1, 8)):
        at = dice.randrange(len(data))
        how = dice.randrange(4)
        if how == 0: data[at] = dice.randrange(256)
        elif how == 1: del data[at : at + dice.randint(1, 16)]
        elif how == 2: data[at:at] = bytes(dice.randrange(256) for _ in range(dice.randint(1, 8)))
        else:
            other = dice.choice(samples)
            start = dice.randrange(len(other))
            data[at:at] = other[start : start + dice.randint(1, 200)]
    Path(folder, "now").write_bytes(data)
    armed = True
    try:
        engine = load("sklearn", Path(folder, "now"))
        engine.predict({"x": np.ones((2, 4))})
    except ArgosyError:
        pass
    finally:
        armed = False
assert not events, events
print("done", len(seeds))
"""


def _mutate(folder: Path, seeds: range) -> None:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from xgboost import XGBClassifier

    from tests.engines.honest import numbers

    x, y = numbers()
    models = [
        make_pipeline(StandardScaler(), RandomForestClassifier(2, max_depth=3, random_state=0)),
        KNeighborsClassifier(algorithm="kd_tree"),
        XGBClassifier(n_estimators=2, max_depth=2),
    ]
    for number, model in enumerate(models):
        model.fit(x, y)
        joblib.dump(model, folder / f"{number}.sample")
        (folder / f"{number}-2.sample").write_bytes(pickle.dumps(model, 2))
    done = subprocess.run(
        [sys.executable, "-B", "-P", "-c", FUZZ, str(folder), *map(str, seeds)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_mutations_of_honest_files_touch_nothing_and_crash_nothing(tmp_path: Path) -> None:
    """Loaded and asked, in a child whose audit hook records what reaches beyond the process."""
    _mutate(tmp_path, range(80))


@pytest.mark.slow
def test_many_mutations_of_honest_files(tmp_path: Path) -> None:
    _mutate(tmp_path, range(1000, 5000))
