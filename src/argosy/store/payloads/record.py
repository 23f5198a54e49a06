"""What a replica hands over of one request."""

from collections.abc import Mapping

import msgspec

from argosy.spec.tensor import Array


class Record(msgspec.Struct, frozen=True, gc=False):
    """One request. `time` is ns since 1970 (UTC), `latency` ns, `code` the HTTP status it was answered with.

    `weight` is 1 / the chance that it was recorded. `inputs` and `outputs` hold arrays by tensor, axis 0 counting
    `rows`; empty where there are none: a request that could not be read has no inputs, one that failed no outputs.
    """

    request_id: str
    time: int
    code: int
    latency: int
    rows: int
    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    weight: float = 1.0
