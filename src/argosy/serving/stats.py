"""Counters of one model: plain integers that the hot path adds to, read when somebody asks.

Durations are nanoseconds. Names follow Triton's statistics extension, so both can be answered from one place.
"""

import time
from bisect import bisect_left
from typing import NamedTuple

from argosy.serving.batch import REASONS, Reason
from argosy.serving.counts import BUCKETS as FINE
from argosy.serving.counts import edge

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds, in seconds, of the request duration histogram."""
_BOUNDS = tuple(int(bound * 1e9) for bound in BUCKETS)
_FINE = tuple(int(edge(index) * 1e9) for index in range(FINE - 1))


class BatchTimes(NamedTuple):
    """How long a batch took: merging inputs, the engine, splitting outputs (ns)."""

    merge: int
    infer: int
    split: int


class Stats:
    """Everything counted for one model version since it was loaded."""

    def __init__(self) -> None:
        self.success = self.success_ns = 0
        self.failures: dict[str, int] = {}
        self.fail_ns = 0
        self.queue_ns = self.merge_ns = self.infer_ns = self.split_ns = 0
        self.rows = self.batches = 0
        self.last_inference_ms = 0
        self.released: dict[Reason, int] = dict.fromkeys(REASONS, 0)
        self.batch_sizes: dict[int, list[int]] = {}
        self.buckets = [0] * (len(BUCKETS) + 1)
        self.latency = [0] * FINE

    def closed(self, code: str, ns: int) -> None:
        """Count a request that ended: `ok`, the code of its error, or `cancelled`."""
        if code == "ok":
            self.success += 1
            self.success_ns += ns
            self.latency[bisect_left(_FINE, ns)] += 1
        else:
            self.failures[code] = self.failures.get(code, 0) + 1
            self.fail_ns += ns
        self.buckets[bisect_left(_BOUNDS, ns)] += 1

    def batch(self, rows: int, queued_ns: int, times: BatchTimes, reason: Reason) -> None:
        """Count an engine call: its rows, the waiting of its jobs together, and why it was released."""
        self.rows += rows
        self.batches += 1
        self.last_inference_ms = int(time.time() * 1000)
        self.queue_ns += queued_ns
        self.merge_ns += times.merge
        self.infer_ns += times.infer
        self.split_ns += times.split
        self.released[reason] += 1
        size = self.batch_sizes.get(rows)
        if size is None:
            size = self.batch_sizes[rows] = [0, 0, 0, 0]
        size[0] += 1
        size[1] += times.merge
        size[2] += times.infer
        size[3] += times.split
