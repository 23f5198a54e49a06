"""What a part of the demo brings: a model file, the data it has not seen, and how its answers are judged."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from argosy.packaging.options import PushOptions
from argosy.spec.tensor import Array, Tensor


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """How good the answers are: `value` by `measure`, which has to reach `floor`, and what to compare it with.

    `agrees`: whether another implementation of the same model, where there is one, gives the same answers.
    """

    measure: str
    value: float
    floor: float
    note: str
    agrees: bool = True

    @property
    def good(self) -> bool:
        """Whether the floor is reached, and nothing else says otherwise."""
        return self.agrees and self.value >= self.floor


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One model of the demo, ready to be packaged.

    `inputs` are the held-out rows; `judge` gets the model's outputs for all of them, in their order. Requests carry
    `rows_each` rows as `form`, over `connections` connections at once.
    """

    name: str
    about: str
    source: Path
    options: PushOptions
    inputs: tuple[Tensor, ...]
    judge: Callable[[Mapping[str, Array]], Score]
    form: Literal["JSON", "binary"]
    rows_each: int = 1
    connections: int = 8
    replicas: int = 2

    @property
    def rows(self) -> int:
        """How many held-out rows there are."""
        return len(self.inputs[0].array)

    def requests(self) -> list[tuple[Tensor, ...]]:
        """The held-out rows, cut into requests."""
        return [
            tuple(Tensor(one.name, one.datatype, one.array[at : at + self.rows_each]) for one in self.inputs)
            for at in range(0, self.rows, self.rows_each)
        ]


def split(count: int, share: float, seed: int) -> tuple[Array, Array]:
    """Row numbers to train on and row numbers held out: shuffled, disjoint, all of them; `share` are held out."""
    import numpy as np

    order = np.random.default_rng(seed).permutation(count)
    held = round(count * share)
    return order[held:], order[:held]
