"""Sessions, tickets and form tokens."""

from argosy.console.session import DAYS, MOST_TICKETS, TICKET_SECONDS, Sessions


class Clock:
    def __init__(self) -> None:
        self.now = 1e9

    def __call__(self) -> float:
        return self.now


def test_a_session_is_good_until_it_expires_and_only_under_its_token():
    clock = Clock()
    sessions = Sessions("secret", clock)
    cookie = sessions.begin()
    assert sessions.valid(cookie)
    assert Sessions("secret", clock).valid(cookie)
    assert not Sessions("other", clock).valid(cookie)
    clock.now += DAYS * 86400 + 1
    assert not sessions.valid(cookie)


def test_a_session_that_was_altered_is_none():
    sessions = Sessions("secret", Clock())
    name, until, mac = sessions.begin().rsplit(".", 2)
    forged = f"{name}.{int(until) + 86400}.{mac}"
    for cookie in ("", ".", "x", "ü.1.2", forged, f"{name}.{until}.", f"{name}.{until}.{mac[:-1]}"):
        assert not sessions.valid(cookie)


def test_a_form_token_fits_its_own_session_alone():
    sessions = Sessions("secret", Clock())
    mine, other = sessions.begin(), sessions.begin()
    assert sessions.check_form(mine, sessions.form_token(mine))
    assert not sessions.check_form(mine, sessions.form_token(other))
    assert not sessions.check_form(mine, "")


def test_a_ticket_works_once_and_for_a_minute():
    clock = Clock()
    sessions = Sessions("secret", clock)
    first, second = sessions.ticket(), sessions.ticket()
    assert sessions.redeem(first)
    assert not sessions.redeem(first)
    clock.now += TICKET_SECONDS + 1
    assert not sessions.redeem(second)
    assert not sessions.redeem("")


def test_tickets_that_nobody_takes_are_forgotten():
    sessions = Sessions("secret", Clock())
    first = sessions.ticket()
    for _ in range(MOST_TICKETS):
        sessions.ticket()
    assert not sessions.redeem(first)


def test_homes_have_cookies_of_their_own():
    assert Sessions("one").cookie != Sessions("other").cookie
