"""The order of writing."""

from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from argosy.gateway.gateway import stages


def hosts(ready, draining=()):
    """An EDS file of these sockets."""
    states = [(path, "HEALTHY") for path in ready] + [(path, "DRAINING") for path in draining]
    members = [{"endpoint": {"address": {"pipe": {"path": path}}}, "health_status": state} for path, state in states]
    return [{"cluster_name": "x", "endpoints": [{"lb_endpoints": members}] if members else []}]


def order(before, changed):
    """The stages as names."""
    return [sorted(stage) for stage in stages(before, changed) if stage]


def test_what_grows_comes_first_and_what_shrinks_last():
    before = {"eds-up.json": hosts("a"), "eds-down.json": hosts("ab"), "eds-drain.json": hosts("ab"), "rds.json": []}
    changed = {
        "lds.json": [],
        "rds.json": [],
        "cds.json": [],
        "eds-down.json": hosts("a"),
        "eds-drain.json": hosts("a", "b"),
        "eds-up.json": hosts("ab"),
        "eds-new.json": hosts("z"),
    }
    assert order(before, changed) == [
        ["eds-up.json"],
        ["cds.json"],
        ["rds.json"],
        ["lds.json"],
        ["eds-down.json", "eds-drain.json"],
    ]


def test_certificates_are_awaited_only_where_somebody_reads_them():
    assert order({"sds.json": []}, {"sds.json": [1], "lds.json": []}) == [["sds.json"], ["lds.json"]]
    assert order({}, {"sds.json": [1], "lds.json": []}) == [["lds.json"]]


NAMES = st.sampled_from(["lds.json", "cds.json", "rds.json", "eds-a.json", "eds-b.json", "eds-c.json"])
CONTENT = st.sets(st.sampled_from("pqr")).map(lambda ready: hosts(sorted(ready)))


@given(before=st.dictionaries(NAMES, CONTENT), changed=st.dictionaries(NAMES, CONTENT))
def test_every_file_that_is_read_is_written_once(before, changed):
    written = list(chain.from_iterable(stages(before, changed)))
    assert len(written) == len(set(written))
    assert set(written) == {name for name in changed if name in before or not name.startswith("eds")}
