"""The invariants of `argosy_edge.update`, with a crash between any two effects, and what becomes of each bad update."""

import random
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy_edge.state import Asked, Died, Ended, Failed, Looked, Started, State, Stopping, Woke
from argosy_edge.update import decide
from argosy_edge.wire import Arm, Facts, Quality, Trial, Update, UpdateFile

LOADS = 3
FACTS = Facts(machine="x86_64", agent="0.1.0", python="3.11.7", onnxruntime="1.24.1")
GOOD = Quality(
    stable=Arm(requests=50, latency=(0, 0, 50)), candidate=Arm(requests=50, latency=(0, 0, 50)), compared=50, agreed=50
)
BAD = msgspec.structs.replace(GOOD, agreed=0)


def package(number: int) -> str:
    return f"sha256:{number:064x}"


def update(index: int, number: int | None = None, **more: Any) -> Update:
    number = index if number is None else number
    trial = Trial(rows=100, seconds=2.0, loads=LOADS)
    file = UpdateFile(path="model.onnx", size=1000, sha256=f"{number:064x}")
    given = {"fleet": "pumps", "files": (file,), "manifest": {}, "trial": trial} | more
    return Update(index=index, ref=f"digits:{number}", package=package(number), **given)


def asked(index: int, number: int | None = None, held: bool = False, drop: bool = False, **more: Any) -> Asked:
    one = update(index, number, **more)
    return Asked(update=one, envelope=f"{index:064x}", facts=FACTS, space=10_000, held=held, drop=drop)


class Device:
    """A disk and what is in memory, as `argosy_edge.agent` has them. Checks every invariant at every effect."""

    def __init__(self) -> None:
        self.disk = State()
        self.slots: dict[str, tuple[str, str]] = {}
        self.serving: str | None = None
        self.candidate = False
        self.loads = self.given_back = 0
        self.begin()

    def begin(self) -> None:
        """After a crash, nothing is left but the disk."""
        self.state, self.running, self.candidate, self.serving = self.disk, None, False, None
        self.meet(Started())

    def write(self, state: State) -> None:
        if state.committed:
            content = state.slots[state.committed]
            assert self.slots[state.committed] == ("whole", content.package), "1: committed, and not whole"
        if state.fallback:
            assert self.slots[state.fallback] == ("whole", state.slots[state.fallback].package)
        for place, content in state.slots.items():
            assert self.slots[place] == ("whole", content.package)
        assert state.floor >= self.disk.floor
        if state.phase == "trial" and self.disk.phase != "trial":
            self.loads = self.given_back = 0
        self.disk = self.state = state

    def meet(self, seen: Any) -> None:
        decision, state = decide(seen, self.state)
        self.write(state)
        if decision.step == "wait":
            return
        self.running = None
        if decision.step == "pause":
            return
        self.running = decision
        if decision.step in ("assemble", "clear"):
            assert decision.place, "2: the factory model was written"
            assert decision.place != self.disk.committed, "2: written while committed"
        if decision.step == "assemble":
            assert decision.place != self.disk.fallback
            self.slots[decision.place] = ("partial", decision.content.package)
        if decision.step == "clear":
            self.candidate = False
        if decision.step == "load":
            self.loads += 1
            assert self.loads <= LOADS + self.given_back, "4: loaded too often"

    def end(self, how: str) -> None:
        """The step that runs ends so."""
        if (running := self.running) is None:
            return
        self.running = None
        step, place = running.step, running.place
        if how != "well":
            if step != "clear":
                self.meet(Failed(step=step, how=how, why="it did not work"))
            else:
                self.meet(Failed(step=step, how="later", why="it did not work"))
            return
        if step == "assemble":
            self.slots[place] = ("whole", running.content.package)
        elif step == "clear":
            for each in [each for each in self.slots if each not in self.disk.slots and each != self.disk.committed]:
                del self.slots[each]
        elif step == "switch":
            self.serving, self.candidate = place, False
            if place:
                assert self.slots[place] == ("whole", running.content.package)
        elif step == "load":
            self.candidate = True
        self.meet(Ended(step))

    def act(self, action: str, number: int) -> None:
        busy = self.running is not None and self.running.step == "switch"
        if action in ("well", "later", "refused", "bad"):
            self.end(action)
        elif action == "crash":
            self.begin()
        elif busy:
            return
        elif action == "stop":
            self.given_back += self.candidate
            self.meet(Stopping(self.candidate))
            self.begin()
        elif action in ("ask", "hold", "drop"):
            self.meet(asked(number, number % 7, held=action == "hold", drop=action == "drop"))
        elif action == "woke":
            if self.running is None:
                self.meet(Woke())
        elif self.candidate and action in ("good", "harm"):
            self.meet(Looked(quality=GOOD if action == "good" else BAD, seconds=1.0, alone=not self.disk.committed))
        elif self.candidate and action == "died":
            self.candidate = False
            self.meet(Died("signal 11"))

    def settle(self) -> None:
        """Until nothing happens any more by itself, with each step going well."""
        for _ in range(30):
            if self.running is not None:
                self.end("well")
            elif self.candidate and self.disk.phase == "trial":
                self.meet(Looked(quality=GOOD, seconds=1.0, alone=not self.disk.committed))
            elif self.disk.phase != "idle" and not self.disk.held:
                self.meet(Woke())


ACTIONS = ["well", "ask", "crash", "later", "woke", "good", "stop", "died", "refused", "bad", "hold", "drop", "harm"]
WEIGHTS = (12, 4, 4, 2, 3, 3, 2, 3, 1, 1, 1, 1, 1)
SEEDS = st.integers(0, 2**32)


def runs(seed: int, actions: int = 400) -> Iterator[Device]:
    """A device through as many random actions, after each of them."""
    device, chance = Device(), random.Random(seed)
    for action in chance.choices(ACTIONS, WEIGHTS, k=actions):
        device.act(action, chance.randint(1, 3) + device.disk.floor)
        yield device


@given(SEEDS)
def test_whatever_fails_and_whenever_it_crashes_the_invariants_hold(seed):
    *_, device = runs(seed)
    device.begin()
    device.settle()
    assert device.disk.phase == "idle" or device.disk.held
    if device.disk.phase == "idle":
        assert device.serving == device.disk.committed
        assert device.disk.target is None


@given(SEEDS)
def test_a_crash_in_a_rollback_ends_in_the_same_rollback(seed):
    for device in runs(seed):
        if device.disk.phase == "rollback":
            before = device.disk
            device.begin()
            assert (
                msgspec.structs.replace(device.disk, boot=before.boot, refused="", attempts=before.attempts) == before
            )
            device.end("well")
            assert device.disk.phase == "rollback"
            assert device.running is not None
            assert device.running.step == "clear"


@given(SEEDS)
def test_a_start_without_a_candidate_costs_nothing(seed):
    for device in runs(seed, 100):
        before = device.disk
        if before.target is None and before.phase == "idle" and device.running is None:
            device.meet(Stopping(False))
            device.begin()
            device.end("well")
            known = {"boot": before.boot, "refused": before.refused, "attempts": before.attempts}
            assert msgspec.structs.replace(device.disk, **known) == before


def committed(*numbers: int) -> Device:
    """A device that took these updates, one after the other."""
    device = Device()
    device.settle()
    for number in numbers:
        device.meet(asked(number))
        device.settle()
        assert device.disk.content.index == number
    return device


def trying(*numbers: int) -> Device:
    """The same, with the last one on trial."""
    device = committed(*numbers[:-1])
    device.meet(asked(numbers[-1]))
    while not device.candidate:
        device.end("well")
    return device


def said(seen: Any, state: State) -> str:
    return " ".join(event.detail for event in decide(seen, state)[0].events)


def test_two_updates_are_taken_each_into_the_slot_that_is_free():
    device = committed(1, 2, 3)
    assert (device.disk.committed, device.disk.fallback, device.disk.floor) == ("a", "b", 3)
    assert device.serving == "a"


def test_a_candidate_that_harms_is_rolled_back_and_never_taken_again():
    device = trying(1, 2)
    device.meet(Looked(quality=BAD, seconds=1.0))
    device.settle()
    assert (device.disk.content.index, device.disk.phase) == (1, "idle")
    assert [each.package for each in device.disk.denied] == [package(2)]
    assert "rolled back here before, as update 2" in said(asked(5, 2), device.disk)
    assert decide(asked(5, 2), device.disk)[0].step == "wait"


def test_what_was_refused_is_said_once():
    state = committed(3).disk
    decision, state = decide(asked(2), state)
    assert len(decision.events) == 1
    assert decide(asked(2), state)[0].events == ()


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (asked(2), "update 3 was committed before, an older one is not taken"),
        (asked(3, 7), "update 3 was committed before"),
        (asked(4, machines=("aarch64",)), "it is for aarch64, this device is x86_64"),
        (asked(4, onnxruntime=("1.25", "")), "it needs onnxruntime from 1.25, this device has 1.24.1"),
        (asked(4, onnxruntime=("", "1.24")), "it needs onnxruntime below 1.24, this device has 1.24.1"),
        (asked(4, onnxruntime=("1.20", "1.24.1")), "from 1.20 and below 1.24.1"),
        (
            asked(4, files=(UpdateFile(path="x", size=10_001, sha256="0" * 64),)),
            "it needs 10,001 bytes of disk, 10,000",
        ),
    ],
    ids=["older", "same-index", "machine", "runtime-old", "runtime-new", "runtime-between", "disk"],
)
def test_what_is_not_for_this_device_is_refused_with_its_reason(wanted, words):
    state = committed(3).disk
    decision, after = decide(wanted, state)
    assert words in decision.events[0].detail
    assert decision.events[0].kind == ("trouble" if "disk" in words else "refused")
    assert (decision.step, after.phase, after.denied) == ("wait", "idle", ())


def test_a_candidate_is_given_up_after_its_loads():
    device = trying(1, 2)
    for _ in range(LOADS - 1):
        device.begin()
        device.end("well")
        device.end("well")
    assert device.disk.phase == "trial"
    assert device.disk.loads == 0
    device.begin()
    device.settle()
    assert device.disk.content.index == 1
    assert "started 3 times and not committed" in device.disk.denied[0].why


def test_an_end_in_good_order_gives_the_load_back():
    device = trying(1, 2)
    for _ in range(10):
        device.act("stop", 0)
        device.end("well")
        device.end("well")
    assert device.disk.phase == "trial"
    device.settle()
    assert device.disk.content.index == 2


def test_a_hold_stops_an_update_where_it_is_and_later_it_goes_on():
    device = committed(1)
    device.meet(asked(2))
    assert device.running.step == "fetch"
    device.meet(asked(2, held=True))
    assert device.running is None
    device.begin()
    device.end("well")
    assert device.running is None
    device.meet(asked(2))
    assert device.running.step == "fetch"


def test_a_trial_that_is_held_may_be_rolled_back_and_not_committed():
    device = trying(1, 2)
    device.meet(asked(2, held=True))
    for _ in range(10):
        device.meet(Looked(quality=GOOD, seconds=10.0))
    assert device.disk.phase == "trial"
    device.meet(Looked(quality=msgspec.structs.replace(BAD, compared=10_000), seconds=1.0))
    assert device.disk.phase == "rollback"


def test_what_the_platform_withdraws_or_replaces_may_come_again():
    device = trying(1, 2)
    assert [event.kind for event in decide(asked(2, drop=True), device.state)[0].events] == ["phase"]
    device.meet(asked(2, drop=True))
    device.settle()
    assert (device.disk.content.index, device.disk.denied) == (1, ())
    device.meet(asked(2))
    device.end("well")
    device.meet(asked(3))
    assert device.disk.phase == "rollback"
    device.settle()
    device.meet(asked(3))
    device.settle()
    assert device.disk.content.index == 3


def test_what_the_other_slot_has_is_taken_without_a_byte():
    device = committed(1, 2)
    device.meet(asked(3, 1))
    assert device.running.step == "verify"
    device.settle()
    assert (device.disk.content.index, device.disk.content.package) == (3, package(1))


def test_the_package_that_is_committed_only_gets_the_new_index():
    device = committed(1)
    device.meet(asked(4, 1))
    assert device.running is None
    assert (device.disk.floor, device.disk.content.index) == (4, 4)


def test_a_committed_slot_that_breaks_gives_way_to_the_one_before_then_to_the_factory():
    device = committed(1, 2)
    device.begin()
    device.end("bad")
    device.settle()
    assert device.disk.content.index == 1
    assert device.disk.denied == ()
    device.begin()
    device.end("bad")
    device.settle()
    assert (device.disk.committed, device.serving) == ("", "")
    device.meet(asked(2))
    device.settle()
    assert device.disk.content.index == 2


def test_a_package_that_cannot_be_served_after_its_trial_is_denied():
    device = trying(1, 2)
    device.meet(Looked(quality=GOOD, seconds=1.0))
    device.meet(Looked(quality=GOOD, seconds=1.0))
    assert device.running.step == "switch"
    device.end("bad")
    device.settle()
    assert device.disk.content.index == 1
    assert [each.package for each in device.disk.denied] == [package(2)]


@pytest.mark.parametrize("step", ["fetch", "assemble", "verify", "selftest"])
def test_what_may_pass_is_tried_again_after_a_time_that_doubles(step):
    device = committed(1)
    device.meet(asked(2))
    while device.running.step != step:
        device.end("well")
    waits = []
    for _ in range(3):
        decision, state = decide(Failed(step=step, how="later", why="No space left on device"), device.state)
        assert "No space left on device" in decision.events[0].detail
        waits.append(decision.seconds)
        device.write(state)
        device.state = msgspec.structs.replace(device.state, phase=step)
    assert waits == [1.0, 2.0, 4.0]
    device.running = None
    device.meet(Woke())
    device.settle()
    assert device.disk.content.index == 2
