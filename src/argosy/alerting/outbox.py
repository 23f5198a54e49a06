"""Notifications on their way to sinks, until they have arrived. Pure, and plain data.

Stored they survive a crash; what was sent just before one is sent again with the same id.
"""

from collections.abc import Collection, Iterable, Mapping

import msgspec

from argosy.alerting.incident import Notice

FIRST, LONGEST, GIVE_UP = 2.0, 300.0, 86400.0
REPEAT = 600.0
"""Seconds: the first wait after a failure, which doubles; the longest; after how long it is given up; and how often a
sink that forgets is reminded of what goes on."""


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """A notice to one sink. `due` and `since` are seconds since 1970; `error` is why the last try failed; `taken`: it
    has arrived, and is sent again to a sink that forgets."""

    sink: str
    notice: Notice
    since: float
    due: float
    tries: int = 0
    error: str = ""
    taken: bool = False

    @property
    def id(self) -> str:
        """The same notice to the same sink."""
        return f"{self.sink}|{self.notice.id}"


class Outbox(msgspec.Struct, frozen=True, kw_only=True):
    """Notifications by id, and those that were given up, the last hundred."""

    letters: dict[str, Notification] = {}
    lost: tuple[Notification, ...] = ()


def put(outbox: Outbox, notices: Iterable[Notice], sinks: Collection[str], now: float) -> Outbox:
    """Add notices for every sink. One that is there already is not added again; news of an incident replace older news
    of it that have not arrived."""
    letters = dict(outbox.letters)
    for notice in notices:
        for sink in sinks:
            fresh = Notification(sink=sink, notice=notice, since=now, due=now)
            if fresh.id not in letters:
                incident = notice.incident.id
                letters = {
                    name: old for name, old in letters.items() if old.sink != sink or old.notice.incident.id != incident
                }
                letters[fresh.id] = fresh
    return msgspec.structs.replace(outbox, letters=letters)


def due(outbox: Outbox, now: float) -> list[Notification]:
    """What to send now, the oldest first."""
    return sorted((each for each in outbox.letters.values() if each.due <= now), key=lambda each: each.since)


def arrived(outbox: Outbox, one: Notification, now: float, *, repeat: bool) -> Outbox:
    """It was taken. A sink that forgets gets it again while the incident goes on."""
    if one.id not in outbox.letters:
        return outbox
    letters = {name: each for name, each in outbox.letters.items() if name != one.id}
    if repeat and one.notice.incident.ended is None:
        letters[one.id] = msgspec.structs.replace(one, due=now + REPEAT, since=now, tries=0, error="", taken=True)
    return msgspec.structs.replace(outbox, letters=letters)


def failed(outbox: Outbox, one: Notification, now: float, error: str, *, final: bool) -> Outbox:
    """It was not taken: try again later; after a day, or at once if `final`, give it up."""
    if one.id not in outbox.letters:
        return outbox
    letters = {name: each for name, each in outbox.letters.items() if name != one.id}
    tried = msgspec.structs.replace(one, tries=one.tries + 1, error=error[:500])
    if final or now - one.since >= GIVE_UP:
        return Outbox(letters=letters, lost=(*outbox.lost, tried)[-100:])
    letters[one.id] = msgspec.structs.replace(tried, due=now + wait(one.tries))
    return msgspec.structs.replace(outbox, letters=letters)


def wait(tries: int) -> float:
    """Seconds until the next try, after so many that failed."""
    return min(LONGEST, FIRST * 2 ** min(tries, 20))


def known(outbox: Outbox, sinks: Mapping[str, object]) -> Outbox:
    """Without notifications to sinks that are declared no more."""
    letters = {name: each for name, each in outbox.letters.items() if each.sink in sinks}
    return msgspec.structs.replace(outbox, letters=letters)
