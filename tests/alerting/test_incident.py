from hypothesis import given
from hypothesis import strategies as st

from argosy.alerting.incident import CALM, Finding, advance, gathered

KEY = "digits/slo/availability"


def one(severity="page", subject="availability", title="t"):
    return Finding(endpoint="digits", kind="slo", subject=subject, severity=severity, title=title, reason="r")


def found(severity="page"):
    return gathered([one(severity)])


def run(*looks, going=None, muted=lambda now: (), start=0.0):
    """Looks of (seconds after the last, what is found); the news of each, and what goes on."""
    going, now, news = going or {}, start, []
    for after, findings in looks:
        now += after
        turn = advance(findings, now, going, muted(now))
        news.append([notice.kind for notice in turn.notices])
        going = turn.going
    return news, going


def test_told_once_when_it_begins_and_once_when_it_ends():
    news, going = run((0, found()), (10, found()), (10, {}), (CALM - 11, {}), (11, {}), (10, {}))
    assert news == [["firing"], [], [], [], ["resolved"], []]
    assert going == {}


def test_what_flaps_is_one_incident():
    news, _ = run((0, found()), *[(100, {}), (100, found())] * 10)
    assert [kind for kinds in news for kind in kinds] == ["firing"]


def test_it_worsens_once_and_does_not_get_better():
    news, going = run((0, found("ticket")), (10, found("page")), (10, found("ticket")))
    assert news == [["firing"], ["worse"], []]
    assert going[KEY].finding.severity == "page"


def test_what_is_muted_is_told_if_the_mute_ends_first():
    news, _ = run((0, found()), (50, found()), (51, found()), muted=lambda now: (KEY,) if now < 100 else ())
    assert news == [[], [], ["firing"]]
    news, _ = run((0, found()), (10, {}), (CALM, {}), muted=lambda now: (KEY,))
    assert news == [[], [], []]


def test_what_was_told_is_told_to_be_over_though_it_is_muted():
    news, _ = run((0, found()), (10, found()), (CALM, {}), muted=lambda now: (KEY,) if now else ())
    assert news == [["firing"], [], ["resolved"]]


def test_incidents_of_an_endpoint_that_is_gone_are_over_at_once():
    going = advance(found(), 0.0, {}).going
    turn = advance({}, 5.0, going, endpoints={"fraud"})
    assert ([each.kind for each in turn.notices], turn.going) == (["resolved"], {})
    assert [each.ended for each in turn.ended] == [0.0]


def test_the_worse_of_two_counts_and_the_title_stays():
    both = gathered([one("ticket", title="a"), one("page", title="b"), one("ticket", title="c")])
    assert [each.title for each in both.values()] == ["b"]
    _, going = run((0, both), (1, gathered([one("page", title="c")])))
    assert going[KEY].finding.title == "b"


def test_a_key_is_readable_where_it_can_be():
    assert one().key == KEY
    hostile = one(subject="</a>\n/slo@x" * 90).key
    assert len(hostile) == len("digits/slo/") + 16
    assert hostile.removeprefix("digits/slo/").isalnum()


looks = st.lists(st.tuples(st.floats(1, 400), st.sampled_from([{}, found("page"), found("ticket")])), max_size=40)


@given(looks)
def test_news_alternate(history):
    news = [kind for kinds in run(*history)[0] for kind in kinds if kind != "worse"]
    assert news[::2] == ["firing"] * len(news[::2])
    assert news[1::2] == ["resolved"] * len(news[1::2])
