import itertools
import sys

import numpy as np
import pytest

from argosy.process.launch import Child
from argosy.spec.errors import DeadlineExceeded, Unavailable
from argosy.spec.offer import Offer
from argosy.supply import benchmark, challenges
from argosy.supply.benchmark import Effort, Machine, program, show
from argosy.supply.hosts import Figures, claimed

LITTLE = Effort(products=0.05, size=64, memory=2 * 8 * 1024, disk=8 * 1024, network=1024)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Blocks of a few numbers, here and in the program; and no bound of time."""
    monkeypatch.setattr(challenges, "SPAN", 1024)
    monkeypatch.setattr(benchmark, "SPAN", 1024)
    monkeypatch.setattr(benchmark, "BLOCK", 8 * 1024)
    monkeypatch.setattr(benchmark, "QUICK", 60.0)


def cheat(tmp_path, old: str, new: str) -> Child:
    """The program, changed by whoever has the machine."""
    text = benchmark.PROGRAM.read_text().replace("SPAN = 1 << 22", "SPAN = 1024")
    assert old in text
    (tmp_path / "program.py").write_text(text.replace(old, new))
    return Child([sys.executable, "-P", str(tmp_path / "program.py")], {"TMPDIR": str(tmp_path)})


def test_a_machine_shows_what_it_has(tmp_path):
    found = show(cheat(tmp_path, "", ""), Figures(memory=2 * 8 * 1024), LITTLE)
    assert found.refused == ()
    assert found.measured.memory == 2 * 8 * 1024
    assert min(found.measured.compute, found.measured.disk, found.measured.network, found.measured.rtt) > 0


def test_it_is_refused_for_what_it_lacks(tmp_path):
    found = show(cheat(tmp_path, "", ""), Figures(compute=1e18, network=1e18), LITTLE)
    assert [reason.split()[0] for reason in found.refused] == ["compute", "network"]


def test_a_gpu_that_is_not_there_ends_it(tmp_path):
    with pytest.raises(Unavailable, match="when asked for 'gpu_product'"):
        show(cheat(tmp_path, 'DEVICE = "cuda"', 'DEVICE = "none"'), Figures(gpu_memory=80e9), LITTLE)


@pytest.mark.torch
def test_a_device_of_torch_gives_the_same_products_and_numbers(tmp_path):
    found = show(cheat(tmp_path, 'DEVICE = "cuda"', 'DEVICE = "cpu"'), Figures(gpu_memory=2 * 8 * 1024), LITTLE)
    assert found.refused == ()
    assert found.measured.gpu_compute > 0


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("for shift in shifts(seed, rounds, size):\n        found", "for shift in [0]:\n        found", "product"),
        ("int(held[each // SPAN][each % SPAN])", "int(held[0][each % SPAN])", "fill"),
        ("file.write(block.data)", "pass", "disk"),
        ("hashlib.blake2b(data)", "hashlib.blake2b(data[1:])", "network"),
    ],
    ids=["product", "memory", "disk", "network"],
)
def test_an_answer_that_is_not_right_refuses_it(tmp_path, old, new, told):
    found = show(cheat(tmp_path, old, new), Figures(memory=2 * 8 * 1024), LITTLE)
    assert f"the answer to '{told}' is wrong" in found.refused


def test_one_that_never_answers_is_given_up():
    machine = Machine(Child([sys.executable, "-c", "import time; time.sleep(600)"], {}), 0.2)
    with pytest.raises(DeadlineExceeded, match="'ping' and did not answer within"):
        machine.ask("ping")
    machine.close()


@pytest.mark.parametrize("code", ["", "print('{}', flush=True); input()", "print('[1]', flush=True); input()"])
def test_what_is_no_answer_is_told(code):
    machine = Machine(Child([sys.executable, "-c", code], {}), 60)
    with pytest.raises(Unavailable, match="ended, or said what is no answer"):
        machine.ask("ping")
    machine.close()


def test_a_command_that_is_not_there_is_told(tmp_path):
    with pytest.raises(Unavailable, match="'no-such-command' does not start"):
        Machine(program(tmp_path, "no-such-command here"), 1)


def test_a_product_is_known_by_what_who_made_it_cannot_know():
    answer = challenges.product("seed", 32, 3)
    assert challenges.is_product(answer, "seed", 32, 3, "secret")
    wrong = bytes([(answer[0] + 1) % challenges.MODULUS]) + answer[1:]
    assert not challenges.is_product(wrong, "seed", 32, 3, "secret")
    assert not challenges.is_product(answer, "seed", 32, 4, "secret")
    assert not challenges.is_product(answer[:-1], "seed", 32, 3, "secret")
    lifted = bytes([answer[0] + challenges.MODULUS]) + answer[1:]
    assert not challenges.is_product(lifted, "seed", 32, 3, "secret")


def test_blocks_differ_and_come_again():
    first, second = itertools.islice(challenges.blocks(7), 2)
    assert not np.array_equal(first, second)
    assert np.array_equal(next(challenges.blocks(7)), first)


def test_an_offer_claims_its_memory_and_a_pace_for_each_core():
    offer = Offer(provider="p", region="r", instance="i", price=1.0, cpus=8, memory=64, gpu_memory=80, count=2)
    assert claimed(offer) == Figures(compute=32e9, memory=64, gpu_memory=160)
