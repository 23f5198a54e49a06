"""What a device believes of what a fleet has signed: updates, and the keys that follow those it has."""

from collections.abc import Iterable

import msgspec

from .statement import KEYS, UPDATE, BadStatement, check_bundle, opened, pem, public_key
from .wire import Envelope, KeySet, Update


def check(envelope: Envelope, fleet: str, keys: Iterable[str], signers: Iterable[str] = ()) -> Update:
    """The update in an envelope, if one of the fleet's `keys` has signed it for this `fleet` and, where there are
    `signers`, one of them the files of its package. Raises BadStatement."""
    payload = opened(UPDATE, envelope, keys)
    try:
        update = msgspec.json.decode(payload, type=Update)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadStatement(f"the update that is signed cannot be read: {error}") from None
    if update.fleet != fleet:
        raise BadStatement(f"the update is one of the fleet '{update.fleet}', not of '{fleet}'")
    if wanted := tuple(signers):
        check_bundle(envelope.bundle, {each.path: each.sha256 for each in update.files}, wanted)
    return update


def renewed(believed: KeySet, sets: Iterable[Envelope]) -> KeySet:
    """The set of keys to believe after those that came, each signed by a key of the one before. Raises BadStatement."""
    for envelope in sets:
        payload = opened(KEYS, envelope, believed.keys)
        try:
            found = msgspec.json.decode(payload, type=KeySet)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadStatement(f"the set of keys cannot be read: {error}") from None
        if found.number != believed.number + 1 or not found.keys:
            raise BadStatement(f"the set of keys {believed.number} is followed by {found.number}, or is empty")
        believed = KeySet(number=found.number, keys=tuple(pem(public_key(each)) for each in found.keys))
    return believed
