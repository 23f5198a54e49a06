"""What has to be told to whom, until it has arrived: (what is new, what happened) → what to send. Pure, and plain data.

Kept on disk it survives a crash; what was sent just before one is sent again with the same id.
"""

from collections.abc import Collection, Iterable, Mapping

import msgspec

from argosy.alerting.incident import Notice

FIRST, LONGEST, GIVE_UP = 2.0, 300.0, 86400.0
REPEAT = 600.0
"""Seconds: the first wait after a failure, which doubles; the longest; after how long it is given up; and how often a
sink that forgets is reminded of what goes on."""


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A notice on its way to one sink. `due` and `since` are seconds since 1970; `error` is why the last try failed;
    `taken`: it has arrived, and is sent again to a sink that forgets."""

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
    """Letters by id, and those that were given up, the last hundred."""

    letters: dict[str, Letter] = {}
    lost: tuple[Letter, ...] = ()


def put(outbox: Outbox, notices: Iterable[Notice], sinks: Collection[str], now: float) -> Outbox:
    """Add notices for every sink. One that is there already is not added again; news of an incident replace older news
    of it that have not arrived."""
    letters = dict(outbox.letters)
    for notice in notices:
        for sink in sinks:
            letter = Letter(sink=sink, notice=notice, since=now, due=now)
            if letter.id in letters:
                continue
            stale = [i for i, old in letters.items() if old.sink == sink and _incident(old) == notice.incident.id]
            for each in stale:
                del letters[each]
            letters[letter.id] = letter
    return msgspec.structs.replace(outbox, letters=letters)


def _incident(letter: Letter) -> str:
    return letter.notice.incident.id


def due(outbox: Outbox, now: float) -> list[Letter]:
    """What to send now, the oldest first."""
    return sorted((each for each in outbox.letters.values() if each.due <= now), key=lambda each: each.since)


def arrived(outbox: Outbox, letter: Letter, now: float, *, repeat: bool) -> Outbox:
    """It was taken. A sink that forgets gets it again while the incident goes on."""
    if letter.id not in outbox.letters:
        return outbox
    letters = {name: each for name, each in outbox.letters.items() if name != letter.id}
    if repeat and letter.notice.incident.ended is None:
        letters[letter.id] = msgspec.structs.replace(letter, due=now + REPEAT, since=now, tries=0, error="", taken=True)
    return msgspec.structs.replace(outbox, letters=letters)


def failed(outbox: Outbox, letter: Letter, now: float, error: str, *, final: bool) -> Outbox:
    """It was not taken: try again later, at most five minutes; after a day, or at once if `final`, give it up."""
    if letter.id not in outbox.letters:
        return outbox
    letters = {name: each for name, each in outbox.letters.items() if name != letter.id}
    tried = msgspec.structs.replace(letter, tries=letter.tries + 1, error=error[:500])
    if final or now - letter.since >= GIVE_UP:
        return Outbox(letters=letters, lost=(*outbox.lost, tried)[-100:])
    wait = min(LONGEST, FIRST * 2 ** min(letter.tries, 20))
    letters[letter.id] = msgspec.structs.replace(tried, due=now + wait)
    return msgspec.structs.replace(outbox, letters=letters)


def known(outbox: Outbox, sinks: Mapping[str, object]) -> Outbox:
    """Without letters to sinks that are declared no more."""
    letters = {name: each for name, each in outbox.letters.items() if each.sink in sinks}
    return msgspec.structs.replace(outbox, letters=letters)
