"""The plan and the ledger: what names a fragment, what may change on the way, and files that are broken."""

import msgspec
import pytest

from argosy.batch.fragment import File, Fragment, Part
from argosy.batch.ledger import Entry, Ledger
from argosy.batch.place import place
from argosy.batch.plan import Model, Plan, freeze, resumed
from argosy.spec.batch import BatchJob
from argosy.spec.errors import Conflict, InvalidArgument, Unsupported

JOB = BatchJob(model="digits:1", inputs=("/data",), output="/out")
MODEL = Model(digest="sha256:" + "1" * 64, name="digits", version="1")
FILES = [File(f"/data/{name}.parquet", "parquet", 10, "m") for name in "ab"]
FRAGMENTS = [
    Fragment(file=file, index=index, position=(index, index + 1), first=index * 5, rows=5, content="c")
    for file in FILES
    for index in range(2)
]


def replace(value, **changes):
    return msgspec.structs.replace(value, **changes)


def entry(number, **counts):
    parts = (Part(name=f"part-{number}", rows=3, size=7, digest="d"),)
    known = {"rows": 5, "out": 3, "skipped": 1, "quarantined": 1, "seconds": 0.5} | counts
    return Entry(fragment=f"f{number}", number=number, parts=parts, **known)


def test_a_plan_comes_back_as_it_was_written():
    plan = freeze(JOB, MODEL, FRAGMENTS, 1.0)
    again = msgspec.json.decode(msgspec.json.encode(plan), type=type(plan))
    assert again == plan
    assert again.fragments() == FRAGMENTS
    assert len(again.files) == 2


def test_a_plan_of_an_earlier_release_names_no_unused_columns():
    written = msgspec.json.decode(msgspec.json.encode(freeze(JOB, MODEL, FRAGMENTS, 1.0, ("a", "b"))))
    assert written.pop("unused") == ["a", "b"]
    plan = msgspec.json.decode(msgspec.json.encode(written), type=Plan)
    assert plan == freeze(JOB, MODEL, FRAGMENTS, 1.0)
    assert plan.recipe == freeze(JOB, MODEL, FRAGMENTS, 1.0, ("a", "b")).recipe


def test_a_fragment_has_another_name_where_anything_about_it_is_another():
    one = FRAGMENTS[1]
    others = [
        replace(one, file=replace(one.file, mark="n")),
        replace(one, file=replace(one.file, size=11)),
        replace(one, file=replace(one.file, url="/data/c.parquet")),
        replace(one, index=2),
        replace(one, position=(1, 3)),
        replace(one, content="d"),
    ]
    assert len({each.id("r") for each in (one, *others)} | {one.id("s")}) == len(others) + 2


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"workers": 4, "threads": 2, "batch_size": 9, "price": 1.0, "checkpoint": 9.0, "patience": 60.0}, True),
        ({"keep": ("id",)}, False),
        ({"format": "csv"}, False),
        ({"map": {"x": "y"}}, False),
        ({"partition": ("day",)}, False),
        ({"on_error": "skip"}, False),
        ({"nulls": ("NA",)}, False),
    ],
)
def test_what_changes_the_output_makes_another_recipe_and_is_refused_on_the_way(changes, same):
    plan = freeze(JOB, MODEL, FRAGMENTS, 1.0)
    job = replace(JOB, **changes)
    assert (freeze(job, MODEL, FRAGMENTS, 1.0).recipe == plan.recipe) is same
    if same:
        assert resumed(plan, job).job == job
    else:
        with pytest.raises(Conflict, match=f"was begun with {next(iter(changes))} = "):
            resumed(plan, job)


def test_another_package_makes_another_recipe():
    other = replace(MODEL, digest="sha256:" + "2" * 64)
    assert freeze(JOB, other, FRAGMENTS, 1.0).recipe != freeze(JOB, MODEL, FRAGMENTS, 1.0).recipe


def test_files_without_rows_are_refused():
    with pytest.raises(InvalidArgument, match="no rows in /data"):
        freeze(JOB, MODEL, [], 1.0)


def test_the_first_entry_of_a_fragment_counts(tmp_path):
    ledger = Ledger(place(str(tmp_path)))
    first, second = entry(0), entry(0, seconds=9.0)
    assert ledger.commit(first) == first
    assert ledger.commit(second) == first
    assert ledger.entries() == {"f0": first}
    assert ledger.entry("f0") == first
    assert ledger.entry("f1") is None


def test_a_seal_sums_up_and_does_not_depend_on_how_the_work_went(tmp_path):
    plan, ledger = freeze(JOB, MODEL, FRAGMENTS, 1.0), Ledger(place(str(tmp_path)))
    seal = ledger.seal(plan, [entry(1), entry(0)])
    assert (seal.rows, seal.out, seal.skipped, seal.quarantined, seal.parts, seal.size) == (10, 6, 2, 2, 2, 14)
    assert ledger.sealed() == seal
    slower = ledger.seal(plan, [entry(0, seconds=7.0, attempts=3), entry(1)])
    assert slower.digest == seal.digest
    assert ledger.seal(plan, [entry(0), entry(2)]).digest != seal.digest


def test_broken_files_are_named(tmp_path):
    ledger = Ledger(place(str(tmp_path)))
    (tmp_path / "_argosy/ledger").mkdir(parents=True)
    (tmp_path / "_argosy/job.json").write_text("{}")
    with pytest.raises(InvalidArgument, match=r"job\.json is broken"):
        ledger.plan()
    (tmp_path / "_argosy/ledger/f0.json").write_text('{"fragment": ')
    with pytest.raises(InvalidArgument, match=r"f0\.json is broken"):
        ledger.entries()
    (tmp_path / "_argosy/job.json").write_bytes(msgspec.json.encode(freeze(JOB, MODEL, FRAGMENTS, 1.0)))
    assert ledger.plan() is not None
    (tmp_path / "_argosy/job.json").write_bytes(
        msgspec.json.encode(replace(freeze(JOB, MODEL, FRAGMENTS, 1.0), format="2"))
    )
    with pytest.raises(Unsupported, match="layout 2"):
        ledger.plan()
