"""What a replica hands over of its requests."""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from argosy.spec.tensor import Array

REQUEST = np.dtype([("time", "<i8"), ("latency", "<i8"), ("weight", "<f8"), ("rows", "<i4"), ("code", "<i4")])
"""A request without its id and tensors: when it came (ns since 1970, UTC), its latency (ns), 1 / the chance that it was
recorded (0: not for the log), how many rows it has, the HTTP status of its answer."""


class Rows(msgspec.Struct, frozen=True, kw_only=True):
    """Many requests at once: of dtype REQUEST, with their ids. The arrays hold the rows of all, one request after the
    other; a tensor that is not there is there for none of them. `failures` has code and message of the error of each,
    or nothing where all were answered."""

    requests: Array
    ids: Sequence[str]
    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    failures: Sequence[tuple[str, str]] = ()


def joined(parts: Sequence[Rows]) -> list[Rows]:
    """The same requests in as few parts as their tensors and shapes allow."""
    groups: dict[object, list[Rows]] = {}
    for part in parts:
        shapes = tuple(tuple((n, a.shape[1:]) for n, a in side.items()) for side in (part.inputs, part.outputs))
        groups.setdefault((shapes, bool(part.failures)), []).append(part)
    return [group[0] if len(group) == 1 else _concatenated(group) for group in groups.values()]


def _concatenated(parts: Sequence[Rows]) -> Rows:
    return Rows(
        requests=np.concatenate([part.requests for part in parts]),
        ids=[id for part in parts for id in part.ids],
        inputs={name: np.concatenate([part.inputs[name] for part in parts]) for name in parts[0].inputs},
        outputs={name: np.concatenate([part.outputs[name] for part in parts]) for name in parts[0].outputs},
        failures=[failure for part in parts for failure in part.failures],
    )
