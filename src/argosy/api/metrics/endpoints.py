"""How endpoints, revisions, replicas, rollouts and the controller itself stand, as metrics. Pure."""

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
    family = counter("argosy_controller_task_restarts", "Tasks of the controller that were begun again", ("task",))
    for name, count in counts.items():
        family.add_metric((name,), count)
    return family


def endpoints(view: View) -> Iterator[Metric]:
    """State, wanted and ready replicas of every endpoint."""
    state = gauge("argosy_endpoint_state", "1 for the state an endpoint is in", (*ONE, "state"))
    wanted = gauge("argosy_endpoint_replicas_desired", "Replicas that shall serve", ONE)
    ready = gauge("argosy_endpoint_replicas_ready", "Replicas of the serving revision that take requests", ONE)
    serving = gauge("argosy_endpoint_serving", "1 for the revision that serves", REVISION)
    generation = gauge("argosy_endpoint_generation", "How often the endpoint has been declared", ONE)
    for name, each in view.endpoints.items():
        for phase in get_args(EndpointPhase):
            state.add_metric((name, phase), each.state == phase)
        wanted.add_metric((name,), each.replicas)
        ready.add_metric((name,), each.ready)
        generation.add_metric((name,), each.generation)
        if each.serving_revision:
            serving.add_metric((name, each.serving_revision, each.serving), 1)
    yield from (state, wanted, ready, serving, generation)


def replicas(view: View, versions: Mapping[str, str], usage: Mapping[str, Usage]) -> Iterator[Metric]:
    """Replicas of each revision by phase, replacements, and what each takes of the machine."""
    phases = gauge("argosy_revision_replicas", "Replicas by what they do", (*REVISION, "phase"))
    replaced = counter("argosy_revision_replaced", "Replicas that ended unasked and were replaced", REVISION)
    cpu = gauge("argosy_replica_cpu_cores", "Processor time in cores, over the last seconds", (*REVISION, "replica"))
    memory = gauge("argosy_replica_memory_bytes", "Resident memory", (*REVISION, "replica"))
    found = Counter((each.endpoint, each.revision, each.version, each.phase) for each in view.replicas)
    for revision in sorted({key[:3] for key in found}):
        for phase in get_args(ReplicaPhase):
            phases.add_metric((*revision, phase), found[*revision, phase])
    for (endpoint, revision), count in view.replaced.items():
        replaced.add_metric((endpoint, revision, versions.get(revision, "")), count)
    for each in view.replicas:
        if used := usage.get(each.id):
            labels = (each.endpoint, each.revision, each.version, each.id)
            cpu.add_metric(labels, used.cpu)
            memory.add_metric(labels, used.memory)
    yield from (phases, replaced, cpu, memory)


def rollouts(progress: Mapping[str, Progress], versions: Mapping[str, str]) -> Iterator[Metric]:
    """The last rollout of every endpoint: its phase, and the candidate's part of the traffic, 0 to 1."""
    phases = gauge("argosy_rollout_phase", "1 for the phase the last rollout is in", (*ONE, "phase"))
    weight = gauge("argosy_rollout_weight", "The candidate's part of the traffic", (*ONE, "candidate", "stable"))
    number = counter("argosy_rollouts", "Rollouts that have begun", ONE)
    for name, each in sorted(progress.items()):
        for phase in get_args(RolloutPhase):
            phases.add_metric((name, phase), each.phase == phase)
        part = 1.0 if each.phase == "done" else each.weight / WHOLE
        pair = (versions.get(each.candidate, each.candidate), versions.get(each.stable, each.stable))
        weight.add_metric((name, *pair), part)
        number.add_metric((name,), each.number)
    yield from (phases, weight, number)


def failures(failed: Sequence[str]) -> Iterator[Metric]:
    """What could not be asked for this page."""
    family = gauge("argosy_scrape_failed", "1 for a part of this page that could not be had", ("part",))
    for part in ("gateway", "alerts", "findings"):
        family.add_metric((part,), part in failed)
    yield family


def controller(passes: Passes, view: View, version: str, started: float) -> Iterator[Metric]:
    """The controller's passes, whether the last one could do its work, and what is installed."""
    info = gauge("argosy_build_info", "1, with what is installed", ("version",))
    info.add_metric((version,), 1)
    healthy = gauge("argosy_controller_healthy", "1 if the last pass could do all of its work")
    healthy.add_metric((), not view.error)
    begun = gauge("argosy_controller_start_time_seconds", "When the controller began, since 1970")
    begun.add_metric((), started)
    failed = counter("argosy_controller_passes_failed", "Passes that a bug or the database ended")
    failed.add_metric((), passes.failed)
    family = HistogramMetricFamily("argosy_controller_pass_seconds", "How long passes take")
    buckets = [(f"{bound:g}", passes.within(bound)) for bound in BOUNDS]
    family.add_metric((), [*buckets, ("+Inf", passes.count)], passes.seconds)
    yield from (info, healthy, begun, failed, family)
