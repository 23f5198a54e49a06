"""Prometheus metrics of a replica, rendered when they are asked for; also under Triton's names where these exist."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from argosy.serving.dataplane import DataPlane
from argosy.serving.model import ServedModel
from argosy.serving.stats import BUCKETS

if TYPE_CHECKING:
    from prometheus_client.core import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

LABELS = ("model", "version")
Value = Callable[[ServedModel], float]

COUNTERS: tuple[tuple[str, str, Value], ...] = (
    ("argosy_rows", "Rows that went through the engine", lambda m: m.stats.rows),
    ("argosy_batches", "Engine calls", lambda m: m.stats.batches),
    ("argosy_queue_seconds", "Time jobs waited for the engine, together", lambda m: m.stats.queue_ns / 1e9),
    ("argosy_engine_seconds", "Time the engine ran", lambda m: m.stats.infer_ns / 1e9),
    ("argosy_payload_records", "Requests sent to the payload log", lambda m: m.recording.sent if m.recording else 0),
    (
        "argosy_payload_dropped",
        "Requests that the payload log should have and could not take",
        lambda m: m.recording.dropped if m.recording else 0,
    ),
    (
        "argosy_watch_dropped_rows",
        "Rows that were neither counted as predictions nor recorded: too many waited",
        lambda m: m.batcher.observer.dropped if m.batcher.observer else 0,
    ),
    ("nv_inference_request_success", "Requests answered (Triton's name)", lambda m: m.stats.success),
    ("nv_inference_request_failure", "Requests failed (Triton's name)", lambda m: sum(m.stats.failures.values())),
    ("nv_inference_count", "Rows inferred (Triton's name)", lambda m: m.stats.rows),
    ("nv_inference_exec_count", "Engine calls (Triton's name)", lambda m: m.stats.batches),
    ("nv_inference_request_duration_us", "Request time (Triton's name)", lambda m: m.stats.success_ns // 1000),
    ("nv_inference_queue_duration_us", "Queue time (Triton's name)", lambda m: m.stats.queue_ns // 1000),
    ("nv_inference_compute_input_duration_us", "Merge time (Triton's name)", lambda m: m.stats.merge_ns // 1000),
    ("nv_inference_compute_infer_duration_us", "Engine time (Triton's name)", lambda m: m.stats.infer_ns // 1000),
    ("nv_inference_compute_output_duration_us", "Split time (Triton's name)", lambda m: m.stats.split_ns // 1000),
)
GAUGES: tuple[tuple[str, str, Value], ...] = (
    ("argosy_inflight_requests", "Requests taken and not yet answered", lambda m: m.inflight),
    ("argosy_queued_requests", "Requests that wait for the engine", lambda m: m.batcher.queued),
    ("argosy_engine_stuck_seconds", "Age of the engine call that runs now", lambda m: m.batcher.stuck_for()),
)


OTHER = {
    "argosy_requests": ("counter", "Requests by outcome"),
    "argosy_batches_released": ("counter", "Batches by the reason of their release"),
    "argosy_batch_rows": ("histogram", "Rows of engine calls"),
    "argosy_request_duration_seconds": ("histogram", "From decoded to answered"),
    "argosy_loop_seconds": ("counter", "Processor time of the event loop's thread"),
    "argosy_ready": ("gauge", "1 when requests are taken"),
    "argosy_traces_sent": ("counter", "Traced requests sent to the collector"),
    "argosy_traces_dropped": ("counter", "Traced requests that the collector did not take in time"),
}
OWN: dict[str, tuple[str, str]] = {
    f"{name}_total" if kind == "counter" else name: (kind, text)
    for name, (kind, text) in (
        *((name, ("counter", text)) for name, text, _ in COUNTERS if name.startswith("argosy_")),
        *((name, ("gauge", text)) for name, text, _ in GAUGES),
        *OTHER.items(),
    )
}
"""Family, as it stands in the text → its type and help; without those under Triton's names and of the process."""

ROWS = tuple(2**power for power in range(12))
"""Upper bounds of the histogram of rows."""


class _Families:
    """What `generate_latest` reads: every family, with one sample or histogram a model."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane

    def collect(self) -> Iterator["Metric"]:
        from prometheus_client import ProcessCollector
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        models, tracer = self._plane.models(), self._plane.tracer
        for kind, table in ((CounterMetricFamily, COUNTERS), (GaugeMetricFamily, GAUGES)):
            for name, text, value in table:
                family: Any = kind(name, text, labels=LABELS)
                for model in models:
                    family.add_metric((model.name, model.version), value(model))
                yield family
        if tracer is not None:
            yield CounterMetricFamily("argosy_traces_sent", OTHER["argosy_traces_sent"][1], tracer.sent)
            yield CounterMetricFamily("argosy_traces_dropped", OTHER["argosy_traces_dropped"][1], tracer.dropped)
        yield CounterMetricFamily("argosy_loop_seconds", OTHER["argosy_loop_seconds"][1], time.thread_time())
        yield GaugeMetricFamily("argosy_ready", OTHER["argosy_ready"][1], float(self._plane.ready()))
        yield from _labelled(models)
        yield from _histograms(models)
        yield from ProcessCollector(registry=None).collect()


def _labelled(models: Iterable[ServedModel]) -> Iterator["Metric"]:
    from prometheus_client.core import CounterMetricFamily

    names = ("argosy_requests", "code"), ("argosy_batches_released", "reason")
    requests, released = (CounterMetricFamily(name, OTHER[name][1], labels=(*LABELS, label)) for name, label in names)
    for model in models:
        key = (model.name, model.version)
        requests.add_metric((*key, "ok"), model.stats.success)
        for code, count in model.stats.failures.items():
            requests.add_metric((*key, code), count)
        for reason, count in model.stats.released.items():
            released.add_metric((*key, reason), count)
    yield from (requests, released)


def _histograms(models: Iterable[ServedModel]) -> Iterator["Metric"]:
    from prometheus_client.core import HistogramMetricFamily

    names = ("argosy_request_duration_seconds", "argosy_batch_rows")
    durations, rows = (HistogramMetricFamily(name, OTHER[name][1], labels=LABELS) for name in names)
    for model in models:
        stats = model.stats
        bounds = (*map(str, BUCKETS), "+Inf")
        totals = list(zip(bounds, map(float, accumulate(stats.buckets)), strict=True))
        durations.add_metric((model.name, model.version), totals, (stats.success_ns + stats.fail_ns) / 1e9)
        sizes = [(size, counts[0]) for size, counts in list(stats.batch_sizes.items())]
        calls = [
            ("+Inf" if bound == math.inf else str(bound), float(sum(n for size, n in sizes if size <= bound)))
            for bound in (*ROWS, math.inf)
        ]
        rows.add_metric((model.name, model.version), calls, stats.rows)
    yield from (durations, rows)


def render(plane: DataPlane) -> bytes:
    """The metrics of every model of this plane, and of the process, in Prometheus' text format. Runs in the thread of
    the event loop, whose processor time is one of them."""
    from prometheus_client import generate_latest

    families: Any = _Families(plane)
    return generate_latest(families)
