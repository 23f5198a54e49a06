from hypothesis import given
from hypothesis import strategies as st

from argosy.monitoring.alert import CALM, Alerts, Finding, advance, mute


def found(severity="page", key="digits/slo/availability"):
    return {key: Finding(key=key, subject="digits", severity=severity, title="t", reason="r")}


def run(*looks, state=None, start=0.0):
    """Looks of (seconds after the last, what is found); the news of each."""
    state, now, news = state or Alerts(), start, []
    for after, findings in looks:
        now += after
        notices, state = advance(findings, now, state)
        news.append([notice.kind for notice in notices])
    return news, state


def test_told_once_when_it_begins_and_once_when_it_ends():
    news, state = run((0, found()), (10, found()), (10, {}), (CALM - 11, {}), (11, {}), (10, {}))
    assert news == [["firing"], [], [], [], ["resolved"], []]
    assert state.incidents == {}


def test_what_flaps_is_one_incident():
    news, _ = run((0, found()), *[(100, {}), (100, found())] * 10)
    assert [kind for kinds in news for kind in kinds] == ["firing"]


def test_it_worsens_once_and_does_not_get_better():
    news, state = run((0, found("ticket")), (10, found("page")), (10, found("ticket")))
    assert news == [["firing"], ["worse"], []]
    assert state.incidents["digits/slo/availability"].finding.severity == "page"


def test_muted():
    key = "digits/slo/availability"
    news, _ = run((0, found()), (50, found()), (51, found()), state=mute(Alerts(), key, 100.0))
    assert news == [[], [], ["firing"]]
    news, _ = run((0, found()), (10, {}), (CALM, {}), state=mute(Alerts(), key, 1e9))
    assert news == [[], [], []]
    assert mute(mute(Alerts(), key, 5.0), key, 0.0) == Alerts()


looks = st.lists(st.tuples(st.floats(1, 400), st.sampled_from([{}, found("page"), found("ticket")])), max_size=40)


@given(looks)
def test_news_alternate(history):
    news = [kind for kinds in run(*history)[0] for kind in kinds if kind != "worse"]
    assert news[::2] == ["firing"] * len(news[::2])
    assert news[1::2] == ["resolved"] * len(news[1::2])
