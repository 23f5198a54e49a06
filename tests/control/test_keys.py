"""The keys of a declaration: made with it, changed with it, ended with it, and nobody else's touched."""

import hashlib
import threading
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.control.keys import KeyReconciler, KeyStep, steps
from argosy.control.state import State
from argosy.spec.endpoint import DeclaredKey, Endpoint
from argosy.spec.errors import Conflict, InvalidArgument, NotFound
from argosy.spec.language import TokenLimits
from argosy.spec.revision import Revision
from argosy.spec.rollout import Rollout
from argosy.store import ledger
from argosy.store.database import Database
from argosy.store.keys import KeyRecord, Keys

REVISION = Revision(id="a", endpoint="digits", model="digits", version="1", digest="sha256:0")


@pytest.fixture
def state(url: str) -> Iterator[State]:
    database = Database(url)
    yield State(database)
    database.close()


def endpoint(*keys: DeclaredKey, **more) -> Endpoint:
    return Endpoint(name="digits", model="digits:1", keys=keys, **more)


def declare(state: State, declared: Endpoint) -> KeyReconciler:
    desk = KeyReconciler(state.database, declared)
    planned = desk.plan()
    state.declare(declared, REVISION, keys=desk)
    done = tuple(msgspec.structs.replace(each, id="") if each.action == "make" else each for each in desk.did)
    assert done == planned
    return desk


def good(state: State) -> dict[str, KeyRecord]:
    return {each.name: each for each in Keys(state.database).list() if each.revoked is None}


def test_a_declared_key_is_made_once_changed_and_revoked(state: State):
    fast = DeclaredKey(name="app", requests_per_second=100, burst=20)
    first = declare(state, endpoint(fast))
    (shown,) = first.shown
    made = good(state)["app"]
    assert (made.hash, made.scopes) == (hashlib.sha256(shown.key.encode()).hexdigest(), ("digits",))
    assert (good(state)["app"].rate, good(state)["app"].burst) == (100, 20)
    again = declare(state, endpoint(fast))
    assert (again.did, again.shown) == ((), ())

    slow = DeclaredKey(name="app", requests_per_second=1, test=True)
    changed = declare(state, endpoint(slow, rollout=Rollout(testers=True)))
    assert [(each.action, each.id) for each in changed.did] == [("change", shown.id)]
    assert (good(state)["app"].rate, good(state)["app"].scopes) == (1, ("digits:test",))
    assert changed.shown == ()

    gone = declare(state, endpoint(public=True))
    assert [(each.action, each.name) for each in gone.did] == [("revoke", "app")]
    assert good(state) == {}
    back = declare(state, endpoint(fast))
    assert [each.action for each in back.did] == ["make"]
    assert back.shown[0].id != shown.id


def test_one_that_was_revoked_by_hand_is_made_anew_and_only_that_is_told(state: State):
    app = endpoint(DeclaredKey(name="app"))
    (shown,) = declare(state, app).shown
    Keys(state.database).revoke(shown.id)
    before = state.endpoint("digits")
    assert [each.action for each in declare(state, app).did] == ["make"]
    assert state.endpoint("digits") == before
    with state.database.read() as connection:
        told = ledger.entries(connection, "digits")
    assert [each.event for each in told] == ["declare", "keys"]
    assert told[0].body["keys"][0]["id"] == shown.id
    assert shown.key not in str(told)


def test_limits_of_tokens_come_and_go_with_the_declaration(state: State):
    limits = TokenLimits(tokens_per_minute=100, unreachable="open")
    declare(state, endpoint(DeclaredKey(name="app", limits=limits)))
    assert good(state)["app"].limits == limits
    assert declare(state, endpoint(DeclaredKey(name="app", limits=limits))).did == ()
    assert [each.action for each in declare(state, endpoint(DeclaredKey(name="app"))).did] == ["change"]
    assert good(state)["app"].limits is None
    assert declare(state, endpoint(DeclaredKey(name="app", limits=TokenLimits()))).did == ()
    other, _ = Keys(state.database).create("hers", ("digits",), limits=limits)
    assert declare(state, endpoint(DeclaredKey(name="app"), DeclaredKey(name="hers", limits=limits))).did == ()
    with pytest.raises(Conflict, match="other limits"):
        declare(state, endpoint(DeclaredKey(name="hers", limits=TokenLimits(tokens_per_day=5))))
    with pytest.raises(InvalidArgument, match="given when it was made"):
        DeclaredKey(id=other.id, limits=limits)


def test_keys_of_others_are_used_as_they_are_and_never_touched(state: State):
    keys = Keys(state.database)
    other, _ = keys.create("app", ("digits", "mnist"), rate=5)
    for declared in (
        DeclaredKey(name="app"),
        DeclaredKey(id=other.id),
        DeclaredKey(name="app", requests_per_second=5),
    ):
        assert declare(state, endpoint(declared)).did == ()
    with pytest.raises(Conflict, match=f"other limits.*revoke {other.id}"):
        declare(state, endpoint(DeclaredKey(name="app", requests_per_second=6)))
    with pytest.raises(Conflict, match="has not the scope 'digits:test'; it has digits, mnist"):
        declare(state, endpoint(DeclaredKey(name="app", test=True), rollout=Rollout(testers=True)))
    with pytest.raises(NotFound, match="no good key 000"):
        declare(state, endpoint(DeclaredKey(id="000")))
    second, _ = keys.create("app", ("*",))
    with pytest.raises(Conflict, match=f"{other.id}, {second.id}|{second.id}, {other.id}"):
        declare(state, endpoint(DeclaredKey(name="app")))
    assert declare(state, endpoint()).did == ()
    state.delete("digits")
    assert {each.id for each in keys.list() if each.revoked is None} == {other.id, second.id}


def test_a_deleted_endpoint_takes_the_keys_it_declared_with_it(state: State):
    Keys(state.database).create("hers", ("digits",))
    declare(state, endpoint(DeclaredKey(name="app")))
    state.delete("digits")
    assert good(state).keys() == {"hers"}
    with state.database.read() as connection:
        assert [each["name"] for each in ledger.entries(connection, "digits")[-1].body["keys"]] == ["app"]
    declare(state, endpoint(DeclaredKey(name="app")))
    assert good(state).keys() == {"hers", "app"}


def test_where_no_key_covers_an_endpoint_one_is_made_also_by_many_at_once(state: State):
    shown: list[str] = []

    def write() -> None:
        desk = KeyReconciler(state.database, endpoint())
        state.declare(desk.endpoint, REVISION, keys=desk)
        shown.extend(each.key for each in desk.shown)

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(shown) == len(good(state)) == 1
    assert declare(state, endpoint()).did == ()


def test_a_writer_who_comes_too_late_makes_no_key(state: State):
    declare(state, endpoint(public=True))
    desk = KeyReconciler(state.database, endpoint(DeclaredKey(name="app")))
    with pytest.raises(Conflict):
        state.declare(desk.endpoint, REVISION, expected=0, keys=desk)
    assert good(state) == {}


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (DeclaredKey, "a name or"),
        (lambda: DeclaredKey(name="a", id="b"), "not both"),
        (lambda: DeclaredKey(name="A b"), "key name 'A b'"),
        (lambda: DeclaredKey(name="a", burst=3), "burst needs requests a second"),
        (lambda: DeclaredKey(name="a", requests_per_second=1e9), "0.001 to 1000000"),
        (lambda: DeclaredKey(name="a", requests_per_second=float("nan")), "must be finite"),
        (lambda: DeclaredKey(id="4f1c22a07b9e", requests_per_second=3), "given when it was made"),
        (lambda: endpoint(DeclaredKey(name="a"), DeclaredKey(name="a")), "'a' is declared twice"),
        (lambda: endpoint(DeclaredKey(name="a", test=True)), r"rollout\.testers is off"),
        (lambda: endpoint(DeclaredKey(name="a"), public=True), "would mean nothing"),
    ],
)
def test_what_makes_no_sense_is_refused(declared, message):
    with pytest.raises(InvalidArgument, match=message):
        declared()


NAMES = st.sampled_from(["a", "b", "c"])
DECLARED = st.builds(DeclaredKey, name=NAMES, requests_per_second=st.sampled_from([None, 1.0, 2.0]))
RECORDS = st.builds(
    KeyRecord,
    id=st.uuids().map(lambda each: each.hex[:12]),
    name=NAMES,
    hash=st.just(""),
    scopes=st.sampled_from([("digits",), ("mnist",)]),
    rate=st.sampled_from([None, 1.0]),
    created=st.just(""),
)


@given(
    wanted=st.lists(DECLARED, max_size=3, unique_by=lambda each: each.name),
    own=st.lists(RECORDS.filter(lambda each: each.scopes == ("digits",)), max_size=3, unique_by=lambda each: each.name),
    others=st.lists(RECORDS, max_size=3, unique_by=lambda each: each.name),
)
def test_once_done_nothing_is_left_to_do(wanted, own, others):
    mine, all_good = {each.name: each for each in own}, [*own, *others]
    declared = endpoint(*wanted)
    try:
        found = steps(declared, mine, all_good)
    except Conflict:
        return
    touched = {each.id for each in found if each.action != "make"}
    assert touched <= {each.id for each in own}
    after, left = carried_out(found, mine, all_good)
    assert steps(declared, after, left) == ()
    assert any(each.covers("digits") for each in left)


def carried_out(
    found: tuple[KeyStep, ...], own: dict[str, KeyRecord], every: list[KeyRecord]
) -> tuple[dict[str, KeyRecord], list[KeyRecord]]:
    own = dict(own)
    others = [each for each in every if each.id not in {mine.id for mine in own.values()}]
    for step in found:
        record = KeyRecord(
            id=step.id or f"new-{step.name}", name=step.name, hash="", scopes=(step.scope,), created="",
            rate=step.requests_per_second, burst=step.burst,
        )  # fmt: skip
        if step.action == "revoke":
            del own[step.name]
        elif step.declared:
            own[step.name] = record
        else:
            others.append(record)
    return own, [*own.values(), *others]
