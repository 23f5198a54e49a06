import msgspec

from argosy.alerting import outbox as boxes
from argosy.alerting.outbox import GIVE_UP, REPEAT, Outbox
from tests.alerting.kit import notice

SINKS = ("mail", "hook")


def test_every_sink_gets_it_once():
    box = boxes.put(Outbox(), [notice()], SINKS, 0.0)
    assert boxes.put(box, [notice()], SINKS, 5.0) == box
    assert [letter.sink for letter in boxes.due(box, 0.0)] == ["mail", "hook"]
    for letter in boxes.due(box, 0.0):
        box = boxes.arrived(box, letter, 0.0, repeat=False)
    assert box == Outbox()


def test_failures_wait_longer_each_time_and_are_given_up_after_a_day():
    box, now, waits = boxes.put(Outbox(), [notice()], ("mail",), 0.0), 0.0, []
    while box.letters:
        (letter,) = box.letters.values()
        waits.append(letter.due - now)
        now = letter.due
        box = boxes.failed(box, letter, now, "down", final=False)
    assert waits[:10] == [0, 2, 4, 8, 16, 32, 64, 128, 256, 300]
    assert max(waits) == 300
    assert GIVE_UP <= now <= GIVE_UP + 300
    assert (box.lost[0].error, box.lost[0].tries) == ("down", len(waits))


def test_what_can_never_work_is_given_up_at_once():
    box = boxes.put(Outbox(), [notice()], ("mail",), 0.0)
    box = boxes.failed(box, boxes.due(box, 0.0)[0], 0.0, "no such address", final=True)
    assert not box.letters
    assert len(box.lost) == 1


def test_newer_news_replace_older_ones_that_have_not_arrived():
    box = boxes.put(Outbox(), [notice(severity="ticket")], ("mail",), 0.0)
    box = boxes.put(box, [notice("resolved", ended=2e9)], ("mail",), 10.0)
    assert [letter.notice.kind for letter in boxes.due(box, 10.0)] == ["resolved"]


def test_a_letter_that_was_replaced_while_it_was_sent_changes_nothing():
    old = boxes.put(Outbox(), [notice()], ("mail",), 0.0)
    (letter,) = boxes.due(old, 0.0)
    box = boxes.put(old, [notice("resolved", ended=2e9)], ("mail",), 10.0)
    assert boxes.failed(box, letter, 11.0, "down", final=False) == box
    assert boxes.arrived(box, letter, 11.0, repeat=True) == box


def test_who_forgets_is_reminded_until_it_is_over():
    box = boxes.put(Outbox(), [notice()], ("am",), 0.0)
    box = boxes.arrived(box, boxes.due(box, 0.0)[0], 0.0, repeat=True)
    assert boxes.due(box, REPEAT - 1) == []
    assert len(boxes.due(box, REPEAT)) == 1
    box = boxes.put(box, [notice("resolved", ended=2e9)], ("am",), 700.0)
    box = boxes.arrived(box, boxes.due(box, 700.0)[0], 700.0, repeat=True)
    assert box == Outbox()


def test_it_is_plain_data():
    box = boxes.put(Outbox(), [notice()], SINKS, 0.0)
    assert msgspec.json.decode(msgspec.json.encode(box), type=Outbox) == box
    assert boxes.known(box, {"mail": 1}).letters.keys() == {f"mail|{notice().id}"}
