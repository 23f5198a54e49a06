"""The ledger against somebody who may write to the database and has no key."""

import msgspec
import pytest
import sqlalchemy as sa

from argosy.spec.errors import InvalidArgument
from argosy.spec.settings import Home, Settings
from argosy.store import audit, ledger, open_store
from argosy.store.database import Database
from argosy.store.ledger import S, T, ledger_table, signatures_table
from argosy.store.signer import ENTRY, Head, Signer


def add(database: Database, *events: str) -> None:
    for event in events:
        with database.begin() as connection:
            ledger.append(connection, "digits", event, {"event": event})


def sql(database: Database, *statements: sa.Executable) -> None:
    with database.begin() as connection:
        for each in statements:
            connection.execute(each)


def rewrite(database: Database, first: int, signer: Signer | None = None, **changes: str) -> None:
    """Change an entry and make every hash from there on anew; signed with a key of one's own, or as it was."""
    with database.begin() as connection:
        rows = [dict(row) for row in connection.execute(sa.select(ledger_table).order_by(T.seq)).mappings()]
        previous = rows[first - 2]["hash"] if first > 1 else ledger.ROOT
        for row in rows[first - 1 :]:
            row |= {"previous": previous} | (changes if row["seq"] == first else {})
            previous = row["hash"] = ledger.digest({name: value for name, value in row.items() if name != "hash"})
            connection.execute(sa.update(ledger_table).where(T.seq == row["seq"]).values(row))
            if signer is not None:
                signer.begin(0, ledger.ROOT)
                seal = {"key": signer.public, "signature": signer.sign(ENTRY, previous)}
                connection.execute(sa.update(signatures_table).where(S.seq == row["seq"]).values(seal))


@pytest.fixture
def opened(tmp_path):
    """A home with three entries, and how to open it again."""
    home = Home(tmp_path / "h").create()
    stores = []

    def again() -> Database:
        stores.append(open_store(home, Settings()))
        return stores[-1].database

    add(again(), "one", "two", "three")
    yield again
    for store in stores:
        store.close()


def test_every_entry_is_signed_by_the_key_of_the_home(opened, tmp_path):
    database = opened()
    found = audit.verify(database)
    assert (found.broken, found.entries) == (None, 3)
    (signed,) = found.signed
    assert (signed.first, signed.last, signed.own, len(signed.key)) == (1, 3, True, 64)
    key = tmp_path / "h" / "ledger.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert signed.key.encode() not in key.read_bytes()


@pytest.mark.parametrize("own", [False, True], ids=["signatures as they were", "signed with another key"])
@pytest.mark.parametrize("first", [1, 2, 3])
def test_history_that_is_written_anew_is_noticed(opened, tmp_path, first, own):
    database = opened()
    rewrite(database, first, Signer(tmp_path / "evil.key", "") if own else None, actor="eve")
    assert audit.verify(database).broken == first
    add(opened(), "four")
    assert audit.verify(opened()).broken == first


def test_signatures_that_are_taken_away_are_missed(opened):
    database = opened()
    sql(database, sa.delete(signatures_table))
    found = audit.verify(database)
    assert (found.broken, "not signed" in found.reason) == (1, True)


def test_a_signature_of_another_entry_does_not_fit(opened):
    database = opened()
    with database.read() as connection:
        first = connection.execute(sa.select(S.signature).where(S.seq == 1)).scalar_one()
    sql(database, sa.update(signatures_table).where(S.seq == 2).values(signature=first))
    assert audit.verify(database).broken == 2


def test_a_tail_that_is_cut_off_is_noticed_by_who_kept_the_head(opened):
    database = opened()
    head = audit.head(database)
    assert audit.verify(database, [head]).broken is None
    sql(database, sa.delete(ledger_table).where(T.seq == 3), sa.delete(signatures_table).where(S.seq == 3))
    assert audit.verify(database).broken is None, "the chain itself cannot tell"
    found = audit.verify(database, [head])
    assert (found.broken, "ends at entry 2" in found.reason) == (3, True)
    add(database, "another three", "four")
    found = audit.verify(database, [head])
    assert (found.broken, "written anew" in found.reason) == (3, True)


def test_a_head_holds_while_the_ledger_grows_and_cannot_be_made_up(opened, tmp_path):
    database = opened()
    head = audit.head(database)
    add(database, "four", "five")
    assert audit.verify(database, [head]).broken is None
    for change in ({"seq": 2}, {"hash": "0" * 64}, {"time": "2020"}, {"signature": "00"}, {"key": "zz"}):
        with pytest.raises(InvalidArgument, match="not what was exported"):
            audit.verify(database, [msgspec.structs.replace(head, **change)])
    assert msgspec.json.decode(msgspec.json.encode(head), type=Head) == head


def test_entries_of_a_version_that_did_not_sign_stay_valid_and_are_covered(tmp_path):
    home = Home(tmp_path / "h").create()
    old = Database(home.database).create()
    add(old, "one", "two")
    store = open_store(home, Settings())
    assert audit.verify(store.database).broken is None
    add(store.database, "three")
    found = audit.verify(store.database)
    assert (found.broken, found.signed[0].first) == (None, 3)
    rewrite(old, 1, actor="eve")
    assert audit.verify(store.database).broken == 2, "the key has kept what it began with"
    store.close()
    old.close()


def test_an_unsigned_old_ledger_cannot_be_swapped_for_a_shorter_one(tmp_path):
    home = Home(tmp_path / "h").create()
    old = Database(home.database).create()
    add(old, "one", "two")
    store = open_store(home, Settings())
    audit.head(store.database)
    sql(old, sa.delete(ledger_table).where(T.seq == 2))
    assert audit.verify(store.database).broken == 2
    store.close()
    old.close()


def test_another_home_on_the_same_database_is_allowed_and_told(tmp_path):
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    settings = msgspec.convert({"store": {"database": url}}, Settings)
    one, two = (open_store(Home(tmp_path / name).create(), settings) for name in ("a", "b"))
    add(one.database, "one")
    add(two.database, "two", "three")
    add(one.database, "four")
    found = audit.verify(one.database)
    assert found.broken is None
    assert [(each.first, each.last, each.own) for each in found.signed] == [(1, 1, True), (2, 4, False), (5, 6, True)]
    with one.database.read() as connection:
        notes = ledger.entries(connection, "ledger")
    assert [each.body["before"] for each in notes] == [found.signed[0].key, found.signed[1].key]
    one.close()
    two.close()


def test_a_lost_key_is_made_anew_and_covers_what_was(opened, tmp_path):
    key = tmp_path / "h" / "ledger.key"
    key.unlink()
    add(opened(), "four")
    found = audit.verify(opened())
    assert (found.broken, [each.own for each in found.signed]) == (None, [False, True])
    key.chmod(0o644)
    add(opened(), "five")
    assert [each.own for each in audit.verify(opened()).signed] == [False, False, True], "others could have read it"
