"""What drivers and workers tell each other, however the bytes are cut."""

import socket

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from argosy.batch.spool import Tally
from argosy.batch.wire import Channel, Do, Failed, Reached, Ready, Stop

SAID = [Ready(2, 0.5), Reached(2, 3, Tally(1, 2, 3, 4)), Failed(2, "storage_full", "no space\nleft")]


def pair():
    one, other = socket.socketpair()
    return one, Channel(other)


@given(st.lists(st.integers(1, 40), max_size=10))
def test_messages_survive_any_cut(cuts):
    end, driver = pair()
    data = b"".join(msgspec.json.encode(message) + b"\n" for message in SAID)
    found = []
    for cut in (*cuts, len(data)):
        part, data = data[:cut], data[cut:]
        if part:
            end.sendall(part)
            found += driver.receive() or []
    assert found == SAID
    end.close()
    assert driver.receive() is None
    driver.close()


def test_what_a_dying_worker_cut_short_is_left_out():
    end, driver = pair()
    end.sendall(msgspec.json.encode(SAID[0]) + b'\n{"type": "rea')
    end.close()
    assert list(driver) == SAID[:1]
    driver.close()


def test_who_is_gone_is_told_nothing():
    end, driver = pair()
    end.close()
    driver.send(Stop(1))
    assert driver.send(Stop(1)) is False
    driver.close()


def test_a_worker_hears_its_orders():
    end, driver = pair()
    worker = Channel(end)
    assert driver.send(Do(1, 7))
    assert driver.send(Stop(1))
    driver.close()
    assert list(worker) == [Do(1, 7), Stop(1)]
    worker.close()
