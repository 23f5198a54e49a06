"""The filter, run as the kernel runs it, for both machines."""

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.process import seccomp

ALLOW, EPERM, ENOSYS, KILL = 0x7FFF0000, 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS, 0x80000000
ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
THREAD = 0x3D0F00
"""What glibc gives clone for a thread."""


def run(program: bytes, machine: str, number: int, *arguments: int) -> int:
    """What the kernel answers to a call."""
    data = struct.pack("<iIQ6Q", number, ARCH[machine], 0, *arguments, *[0] * (6 - len(arguments)))
    code = [struct.unpack_from("HBBI", program, at) for at in range(0, len(program), 8)]
    at, value = 0, 0
    while True:
        kind, yes, no, k = code[at]
        at += 1
        if kind == 0x20:
            value = struct.unpack_from("<I", data, k)[0]
        elif kind == 0x54:
            value &= k
        elif kind == 0x06:
            return k
        else:
            hit = {0x15: value == k, 0x35: value >= k, 0x45: bool(value & k)}[kind]
            at += yes if hit else no


def made(machine: str, unix=False, inet=False, streams=False, subprocesses=False, attributes=False) -> bytes:
    told = {"unix": unix, "inet": inet, "streams": streams, "subprocesses": subprocesses, "attributes": attributes}
    return seccomp.program(machine, **told)


@pytest.fixture(params=sorted(ARCH))
def machine(request: pytest.FixtureRequest) -> str:
    return request.param


def of(machine: str, numbers: tuple[int, ...]) -> int:
    return numbers[("x86_64", "aarch64").index(machine)]


@given(st.sampled_from(sorted(ARCH)), st.booleans(), st.lists(st.integers(0, 2**64 - 1), min_size=6, max_size=6))
def test_what_no_model_needs_is_refused_whatever_it_is_given(machine: str, everything: bool, arguments: list[int]):
    program = made(machine, *[everything] * 5)
    for numbers in seccomp._CALLS["never"].values():
        if (number := of(machine, numbers)) >= 0:
            assert run(program, machine, number, *arguments) == EPERM


def test_the_common_calls_are_allowed(machine: str):
    common = {"x86_64": (0, 1, 9, 10, 202, 232, 281, 47, 46, 318, 288), "aarch64": (63, 64, 222, 226, 98, 22, 211, 212)}
    for number in common[machine]:
        assert run(made(machine), machine, number) == ALLOW


def test_another_machine_s_calls_end_the_process(machine: str):
    other = next(each for each in ARCH if each != machine)
    assert run(made(machine), other, 0) == KILL


def test_the_calls_of_x32_are_refused():
    program = made("x86_64", True, True, False, True)
    for number in (0x40000000, 0x40000000 | 41, 0x40000000 | 512, 0xFFFFFFFF):
        assert run(program, "x86_64", number - 2**32 if number >= 2**31 else number) == EPERM


@given(
    st.sampled_from(sorted(ARCH)),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.integers(0, 60),
    st.integers(0, 2**32),
    st.sampled_from((0, 6, 12)),
)
def test_sockets_are_of_the_kinds_that_were_said(machine, unix, inet, streams, family, kind, protocol):
    found = run(made(machine, unix, inet, streams), machine, of(machine, seccomp._SOCKET), family, kind, protocol)
    stream, datagram = kind & 0xF == 1, kind & 0xF == 2
    good = (unix and family == 1 and stream) or (inet and family in (2, 10) and (stream or (datagram and not streams)))
    good = good or (inet and not streams and family == 16 and protocol == 0)
    assert found == (ALLOW if good else EPERM)


def test_a_pair_of_sockets_leads_nowhere_else(machine: str):
    pair = of(machine, seccomp._SOCKETPAIR)
    for kind, answer in ((1, ALLOW), (1 | 0o2004000, ALLOW), (5, ALLOW), (2, EPERM), (3, EPERM)):
        assert run(made(machine), machine, pair, 1, kind, 0) == answer


def test_threads_are_no_processes(machine: str):
    clone, clone3 = of(machine, seccomp._CLONE), of(machine, seccomp._CLONE3)
    assert run(made(machine), machine, clone, THREAD) == ALLOW
    assert run(made(machine), machine, clone, 17) == EPERM
    assert run(made(machine, subprocesses=True), machine, clone, 17) == ALLOW
    for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        for program in (made(machine), made(machine, subprocesses=True)):
            assert run(program, machine, clone, THREAD | flag) == EPERM
    assert run(made(machine, subprocesses=True), machine, clone3, 0, 88) == ENOSYS


def test_who_may_use_a_file_is_changed_where_that_is_allowed(machine: str):
    for numbers in seccomp._CALLS["attributes"].values():
        if (number := of(machine, numbers)) >= 0:
            assert run(made(machine), machine, number) == EPERM
            assert run(made(machine, attributes=True), machine, number) == ALLOW


def test_terminals_take_no_input_and_files_no_flags_from_a_model(machine: str):
    ioctl = of(machine, seccomp._IOCTL)
    for request, answer in (
        *((0x5412, EPERM), (0x541C, EPERM), (0x5413, ALLOW), (0x100005412, EPERM)),
        *((0x40086602, EPERM), (0x401C5820, EPERM), (0x40806685, EPERM), (0x80086601, ALLOW)),
    ):
        assert run(made(machine), machine, ioctl, 0, request) == answer


def test_another_process_s_bounds_are_left_alone(machine: str):
    for *numbers, argument in seccomp._CALLS["own"].values():
        for pid, answer in ((0, ALLOW), (1, EPERM), (4711, EPERM)):
            arguments = [0, 0]
            arguments[argument] = pid
            assert run(made(machine), machine, of(machine, tuple(numbers)), *arguments) == answer


def test_who_may_start_processes_may_schedule_them(machine: str):
    for *numbers, _ in seccomp._CALLS["threads"].values():
        number = of(machine, tuple(numbers))
        assert [run(made(machine), machine, number, pid) for pid in (0, 4711)] == [ALLOW, EPERM]
        assert run(made(machine, subprocesses=True), machine, number, 4711) == ALLOW


def test_the_addresses_of_the_machine_are_asked_for_where_the_network_is_open(machine: str):
    number = of(machine, seccomp._SOCKET)
    assert run(made(machine, inet=True), machine, number, 16, 3, 0) == ALLOW
    assert run(made(machine, inet=True, streams=True), machine, number, 16, 3, 0) == EPERM
    assert run(made(machine, inet=True), machine, number, 16, 3, 12) == EPERM
