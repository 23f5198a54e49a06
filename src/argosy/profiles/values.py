"""A category's values in constant memory: which are frequent, and how many distinct ones there are.

Frequent values by counters (Misra, Gries 1982; merged as in Agarwal et al., "Mergeable summaries", 2013): a value's
count is too low by at most `lost`, which is at most 1/129 of all counted. Distinct values by HyperLogLog (Flajolet et
al. 2007) with 1,024 registers, 3.3 % standard error; it merges exactly.
"""

import hashlib
import math
from collections.abc import Mapping

import msgspec

MAX_LISTED = 128
_BITS = 10
REGISTERS = 1 << _BITS


class Values(msgspec.Struct, frozen=True, array_like=True):
    """`frequent`: text → count, at most 128; `lost`: the most that a count may lack; `registers`: 1,024, none where no
    value came."""

    frequent: dict[str, int] = {}
    lost: int = 0
    registers: bytes = b""

    def distinct(self) -> int:
        """About how many distinct values there are."""
        if not self.registers:
            return 0
        total = 0.7213 / (1 + 1.079 / REGISTERS) * REGISTERS**2 / sum(2.0**-register for register in self.registers)
        empty = self.registers.count(0)
        if total <= 2.5 * REGISTERS and empty:
            total = REGISTERS * math.log(REGISTERS / empty)
        return round(total)


class ValueCounts:
    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._lost = 0
        self._registers = bytearray()

    def update(self, values: Mapping[str, int]) -> None:
        """Add values with how often they came."""
        counts = self._counts
        if values and not self._registers:
            self._registers = bytearray(REGISTERS)
        for value, often in values.items():
            if value not in counts:
                self._register(value)
            counts[value] = counts.get(value, 0) + often
        if len(counts) > 8 * MAX_LISTED:
            self._prune()

    def add(self, other: Values) -> None:
        """Merge what was counted elsewhere."""
        for value, often in other.frequent.items():
            self._counts[value] = self._counts.get(value, 0) + often
        self._lost += other.lost
        if other.registers:
            mine = self._registers or bytes(REGISTERS)
            self._registers = bytearray(map(max, mine, other.registers))
        if len(self._counts) > 8 * MAX_LISTED:
            self._prune()

    def freeze(self) -> Values:
        """What was counted, the most frequent first."""
        self._prune()
        ranked = sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))
        return Values(dict(ranked), self._lost, bytes(self._registers))

    def _prune(self) -> None:
        if len(self._counts) > MAX_LISTED:
            cut = sorted(self._counts.values(), reverse=True)[MAX_LISTED]
            self._counts = {value: often - cut for value, often in self._counts.items() if often > cut}
            self._lost += cut

    def _register(self, value: str) -> None:
        number = int.from_bytes(hashlib.blake2b(value.encode(errors="replace"), digest_size=8).digest())
        place, rest = number & (REGISTERS - 1), number >> _BITS
        zeros = 64 - _BITS - rest.bit_length() + 1
        if zeros > self._registers[place]:
            self._registers[place] = zeros
