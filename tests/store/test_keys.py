import hashlib

import pytest

from argosy.spec.errors import InvalidArgument, NotFound
from argosy.store.database import Database
from argosy.store.keys import Keys, keys_table


@pytest.fixture
def keys(database: Database) -> Keys:
    return Keys(database)


def test_a_key_is_shown_once_and_kept_as_a_hash(keys: Keys, database: Database):
    record, text = keys.create("ada", ("digits", "*"), rate=2.5, burst=10)
    prefix, identity, secret = text.split("_")
    assert (prefix, identity, len(bytes.fromhex(secret))) == ("ak", record.id, 32)
    assert record.hash == hashlib.sha256(text.encode()).hexdigest()
    assert (record.scopes, record.rate, record.burst, record.revoked) == (("*", "digits"), 2.5, 10, None)
    with database.read() as connection:
        stored = repr(connection.execute(keys_table.select()).all())
    assert secret not in stored
    assert keys.list() == [record]


def test_a_revoked_key_is_no_key(keys: Keys):
    record, _ = keys.create("ada", ("*",))
    revoked = keys.revoke(record.id)
    assert revoked.revoked is not None
    assert keys.revoke(record.id) == revoked
    assert keys.list() == [revoked]
    with pytest.raises(NotFound):
        keys.revoke("000000000000")


@pytest.mark.parametrize(
    ("scopes", "rate", "burst"),
    [
        ((), None, None),
        (("A",), None, None),
        (("*",), 0.0, None),
        (("*",), float("nan"), None),
        (("*",), float("inf"), None),
        (("*",), 1.0, 0),
        (("*",), None, 5),
    ],
)
def test_what_makes_no_sense_is_refused(keys: Keys, scopes: tuple[str, ...], rate: float | None, burst: int | None):
    with pytest.raises(InvalidArgument):
        keys.create("ada", scopes, rate, burst)
    assert keys.list() == []
