import pytest

from argosy.control.alerts.deliver import Deliverer
from argosy.spec.alerts import Alertmanager, Slack, Webhook
from tests.control.alerts.kit import notice, web


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def site():
    with web() as told:
        yield told


@pytest.fixture
def clock():
    return Clock()


async def test_a_sink_that_fails_gets_it_later_and_holds_up_nobody(site, tmp_path, clock):
    with web() as other:
        site.statuses = [500, 503]
        sinks = {"a": Webhook(url=site.url), "b": Slack(url=other.url)}
        made = Deliverer(sinks, tmp_path / "outbox.json", {}, clock)
        made.put([notice()])
        for wait in (0, 1, 1, 2, 2, 100):
            clock.now += wait
            await made.turn()
        assert (len(site.seen), len(other.seen)) == (3, 1)
        assert len({body["id"] for body in site.bodies}) == 1
        assert made.outbox.letters == {}


async def test_a_crash_loses_nothing(site, tmp_path, clock):
    sinks = {"a": Webhook(url=site.url), "gone": Slack(url=site.url)}
    Deliverer(sinks, tmp_path / "outbox.json", {}, clock).put([notice()])
    again = Deliverer({"a": sinks["a"]}, tmp_path / "outbox.json", {}, clock)
    await again.turn()
    await again.turn()
    assert len(site.seen) == 1
    assert Deliverer(sinks, tmp_path / "outbox.json", {}, clock).outbox.letters == {}


async def test_an_outbox_that_cannot_be_read_begins_anew(site, tmp_path, clock, caplog):
    (tmp_path / "outbox.json").write_text("{")
    made = Deliverer({"a": Webhook(url=site.url)}, tmp_path / "outbox.json", {}, clock)
    assert "begins anew" in caplog.text
    made.put([notice()])
    await made.turn()
    assert len(site.seen) == 1


async def test_a_wrong_address_is_given_up_and_alertmanager_is_reminded(site, tmp_path, clock):
    sinks = {"wrong": Slack(url="$NOT_SET"), "am": Alertmanager(url=site.url)}
    made = Deliverer(sinks, tmp_path / "outbox.json", {}, clock)
    made.put([notice()])
    await made.turn()
    clock.now += 600
    await made.turn()
    assert [path for path, _, _ in site.seen] == ["/api/v2/alerts"] * 2
    assert [letter.sink for letter in made.outbox.lost] == ["wrong"]
