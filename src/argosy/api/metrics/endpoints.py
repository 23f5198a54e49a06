"""The state of endpoints, revisions, replicas, rollouts and the controller itself, as metrics. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import get_args

from prometheus_client.core import HistogramMetricFamily, Metric

from argosy.api.metrics.families import counter, gauge
from argosy.control.passes import BOUNDS, Passes
from argosy.control.rollout.strategy import WHOLE
from argosy.spec.revision import ReplicaPhase
from argosy.spec.status import EndpointPhase, View
from argosy.store.endpoints import Progress, RolloutPhase
from argosy.telemetry.rates import Usage

REVISION = ("endpoint", "revision", "version")
ONE = ("endpoint",)


def restarts(counts: Mapping[str, int]) -> Metric:
    """How often each of the controller's own tasks has ended and was begun again: 0 unless there is a bug."""
    samples = (((name,), count) for name, count in counts.items())
    return counter(
        "argosy_controller_task_restarts", "Tasks of the controller that were begun again", ("task",), samples
    )


def endpoints(view: View) -> Iterator[Metric]:
    """State, wanted and ready replicas of every endpoint."""
    found = view.endpoints.items()
    states = (((name, phase), each.state == phase) for name, each in found for phase in get_args(EndpointPhase))
    yield gauge("argosy_endpoint_state", "1 for the state an endpoint is in", (*ONE, "state"), states)
    for metric, text, field in (
        ("argosy_endpoint_replicas_desired", "Replicas that shall serve", "replicas"),
        ("argosy_endpoint_replicas_ready", "Replicas of the serving revision that take requests", "ready"),
        ("argosy_endpoint_generation", "How often the endpoint has been declared", "generation"),
    ):
        yield gauge(metric, text, ONE, (((name,), getattr(each, field)) for name, each in found))
    serving = (((name, each.serving_revision, each.serving), 1) for name, each in found if each.serving_revision)
    yield gauge("argosy_endpoint_serving", "1 for the revision that serves", REVISION, serving)


def replicas(view: View, versions: Mapping[str, str], usage: Mapping[str, Usage]) -> Iterator[Metric]:
    """Replicas of each revision by phase, replacements, and what each takes of the machine."""
    found = Counter((each.endpoint, each.revision, each.version, each.phase) for each in view.replicas)
    revisions = sorted({key[:3] for key in found})
    phases = (
        ((*revision, phase), found[*revision, phase]) for revision in revisions for phase in get_args(ReplicaPhase)
    )
    yield gauge("argosy_revision_replicas", "Replicas by what they do", (*REVISION, "phase"), phases)
    replaced = (((*key, versions.get(key[1], "")), count) for key, count in view.replaced.items())
    yield counter("argosy_revision_replaced", "Replicas that ended unasked and were replaced", REVISION, replaced)
    used = [
        ((each.endpoint, each.revision, each.version, each.id), usage[each.id])
        for each in view.replicas
        if each.id in usage
    ]
    cpu, memory = ([(labels, getattr(each, field)) for labels, each in used] for field in ("cpu", "memory"))
    labels = (*REVISION, "replica")
    yield gauge("argosy_replica_cpu_cores", "Processor time in cores, over the last seconds", labels, cpu)
    yield gauge("argosy_replica_memory_bytes", "Resident memory", labels, memory)


def rollouts(progress: Mapping[str, Progress], versions: Mapping[str, str]) -> Iterator[Metric]:
    """The last rollout of every endpoint: its phase, and the candidate's part of the traffic, 0 to 1."""
    found = sorted(progress.items())
    phases = (((name, phase), each.phase == phase) for name, each in found for phase in get_args(RolloutPhase))
    yield gauge("argosy_rollout_phase", "1 for the phase the last rollout is in", (*ONE, "phase"), phases)
    weights = [
        (
            (name, versions.get(each.candidate, each.candidate), versions.get(each.stable, each.stable)),
            1.0 if each.phase == "done" else each.weight / WHOLE,
        )
        for name, each in found
    ]
    labels = (*ONE, "candidate", "stable")
    yield gauge("argosy_rollout_weight", "The candidate's part of the traffic", labels, weights)
    numbers = (((name,), each.number) for name, each in found)
    yield counter("argosy_rollouts", "Rollouts that have begun", ONE, numbers)


def failures(failed: Sequence[str]) -> Metric:
    """What could not be asked for this page."""
    samples = (((part,), part in failed) for part in ("gateway", "alerts", "findings"))
    return gauge("argosy_scrape_failed", "1 for a part of this page that could not be had", ("part",), samples)


def controller(passes: Passes, view: View, version: str, started: float) -> Iterator[Metric]:
    """The controller's passes, whether the last one could do its work, and what is installed."""
    yield gauge("argosy_build_info", "1, with what is installed", ("version",), [((version,), 1)])
    healthy = [((), not view.error)]
    yield gauge("argosy_controller_healthy", "1 if the last pass could do all of its work", (), healthy)
    text = "When the controller began, since 1970"
    yield gauge("argosy_controller_start_time_seconds", text, (), [((), started)])
    text = "Passes that a bug or the database ended"
    yield counter("argosy_controller_passes_failed", text, (), [((), passes.failed)])
    family = HistogramMetricFamily("argosy_controller_pass_seconds", "How long passes take")
    buckets = [(f"{bound:g}", passes.within(bound)) for bound in BOUNDS]
    family.add_metric((), [*buckets, ("+Inf", passes.count)], passes.seconds)
    yield family
