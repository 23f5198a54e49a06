"""What pods and Deployments mean for a revision, in a user's words: pure functions of what the cluster says.

Sources: Kubernetes API reference 1.34 (PodStatus, DeploymentCondition, pod conditions `DisruptionTarget` and
`PodScheduled`); kubelet's reasons for containers that wait.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from argosy.spec.address import Address, TlsIdentity
from argosy.spec.revision import Replica, ReplicaPhase, Revision
from argosy.targets.backoff import REFUSED, Ended, describe
from argosy.targets.kubernetes.objects import GRPC, HTTP, REVISION, Object
from argosy.targets.supervise import FAILURES

DRAINING, COST = "argosy.dev/draining", "controller.kubernetes.io/pod-deletion-cost"
LONGEST = 400
"""Characters of what the cluster says that are passed on."""
KILLED, BY_SIGNAL = 137, 128

WAITS = {
    "ContainerCreating": "its image is being pulled, or its volumes are being mounted",
    "PodInitializing": "its package is being fetched",
}
"""Reasons for which a container waits that heal by themselves."""
BROKEN = {
    "ImagePullBackOff": "the image {image} cannot be pulled: {message}",
    "ErrImagePull": "the image {image} cannot be pulled: {message}",
    "ImageInspectError": "the image {image} cannot be used: {message}",
    "ErrImageNeverPull": "the image {image} is not on its node, and must not be pulled",
    "RegistryUnavailable": "the registry of the image {image} does not answer",
    "InvalidImageName": "'{image}' is no name of an image: set kubernetes.image",
    "CreateContainerConfigError": "a pod lacks something that it is configured with: {message}",
    "CreateContainerError": "the container cannot be made: {message}",
    "RunContainerError": "the container cannot be started: {message}",
    "StartError": "the container cannot be started: {message}",
}
"""Reasons for which a container waits that somebody has to look at."""
DISRUPTIONS = {
    "PreemptionByScheduler": "a pod of a higher priority took the place of {pod}",
    "DeletionByTaintManager": "{pod} had to leave {node}, which is tainted or lost",
    "EvictionByEvictionAPI": "{pod} was evicted from {node}",
    "DeletionByPodGC": "{pod} is gone with {node}",
    "TerminationByKubelet": "{node} ended {pod}: {message}",
}
"""Why a pod was made to end, as its condition says."""


class Pod(msgspec.Struct, frozen=True, kw_only=True):
    """What one pod is. `leaving`: it is being deleted; `over`: it ended and is not started again; `ready`: as the
    cluster has it, on `node` with the address `host`; `marked`: annotated to go next. `waits` says what it waits for,
    `broken` what is wrong with it, and `why` how it came to leave or end, or ended last. `started`: what its container
    does since then: it runs, or is over, or waits; what it did before began at `before`, if there was such. Both are
    the cluster's own times."""

    uid: str
    name: str
    revision: str
    address: str = ""
    node: str = ""
    host: str = ""
    born: float = 0.0
    started: float = 0.0
    before: float = 0.0
    restarts: int = 0
    ready: bool = False
    leaving: bool = False
    over: bool = False
    marked: bool = False
    waits: str = ""
    broken: str = ""
    why: str = ""

    @property
    def here(self) -> bool:
        """Whether its Deployment counts it."""
        return not self.leaving and not self.over


def look(found: Object) -> Pod:
    """What a pod is, from its object."""
    metadata, status = found["metadata"], found.get("status", {})
    conditions = {each["type"]: each for each in status.get("conditions", [])}
    container = _named("replica", status.get("containerStatuses", []))
    first = _named("fetch", status.get("initContainerStatuses", []))
    state = container.get("state", {})
    last = _last(container)
    begun = state.get("running", {}).get("startedAt") or last.get("finishedAt") or status.get("startTime")
    leaving, over = "deletionTimestamp" in metadata, status.get("phase") in ("Failed", "Succeeded")
    waits, broken = _waits(conditions), ""
    if not (waits or leaving or over):
        broken = _failure(first) or _failure(container)
        waits = "" if broken or "running" in state else _idle(first) or _idle(container)
    return Pod(
        uid=metadata["uid"],
        name=metadata["name"],
        revision=metadata.get("labels", {}).get(REVISION, ""),
        address=status.get("podIP", ""),
        node=found.get("spec", {}).get("nodeName", ""),
        host=status.get("hostIP", ""),
        born=_seconds(metadata.get("creationTimestamp")),
        started=_seconds(begun or metadata.get("creationTimestamp")),
        before=_seconds(last.get("startedAt")),
        restarts=container.get("restartCount", 0),
        ready=conditions.get("Ready", {}).get("status") == "True",
        leaving=leaving,
        over=over,
        marked=DRAINING in metadata.get("annotations", {}),
        waits=waits,
        broken=broken,
        why=_why(found, conditions, container),
    )


def replica(pod: Pod, revision: Revision, identity: TlsIdentity, *, draining: bool, reached: bool) -> Replica | None:
    """How the target reports a pod; None for one without an address, which nobody can call. `reached`: it has answered
    us once."""
    if not pod.address or pod.over:
        return None
    phase: ReplicaPhase = "ready" if pod.ready and reached else "starting"
    phase = "draining" if draining or pod.leaving else phase
    http, second = (Address(host=pod.address, port=port, tls=identity) for port in (HTTP, GRPC))
    return Replica(
        id=pod.name,
        endpoint=revision.endpoint,
        revision=revision.id,
        phase=phase,
        host=pod.node,
        http=http,
        grpc=None if revision.language else second,
        recorder=http,
        engine=second if revision.language else None,
        started=pod.started,
        restarts=pod.restarts,
        doing=(pod.broken or pod.waits or "it loads its model and checks it") if phase == "starting" else "",
    )


def failure(pods: Iterable[Pod]) -> str:
    """Why the replicas of a revision do not become ready; empty while one is."""
    here = [pod for pod in pods if pod.here]
    return "" if any(pod.ready for pod in here) else next((pod.broken for pod in here if pod.broken), "")


def pending(pods: Collection[Pod], want: int, deployment: Object | None) -> str:
    """What replicas that are wanted wait for; empty where as many are there as shall be."""
    here = [pod for pod in pods if pod.here]
    waiting = [pod.waits or pod.broken for pod in here if pod.waits or pod.broken]
    missing = want - len(here)
    why = refused(deployment) if missing > 0 else ""
    if not waiting and not why:
        return "the cluster makes its pods" if missing > 0 and not here else ""
    text, count = why or waiting[0], missing if why else len(waiting)
    return text if count >= want else f"{count} of {want} pods: {text}"


def refused(deployment: Object | None) -> str:
    """Why the cluster makes no pod of a Deployment."""
    for each in (deployment or {}).get("status", {}).get("conditions", []):
        if each["type"] == "ReplicaFailure" and each["status"] == "True":
            message = _clip(each.get("message", ""))
            quota = "a quota of the namespace leaves no room for more pods"
            return f"{quota if 'exceeded quota' in message else 'the cluster makes none'}: {message}"
    return ""


def ends(before: Mapping[str, Pod], now: Mapping[str, Pod], asked: Collection[str]) -> Sequence[str]:
    """How replicas ended between two looks at the pods of a revision, by uid, that nobody had `asked` (by name) to."""
    found: list[str] = []
    for uid, pod in now.items():
        was = before.get(uid)
        if pod.name in asked or (was is not None and not was.here):
            continue
        if not pod.here:
            found.append(pod.why or f"pod {pod.name} was deleted by somebody else")
        elif was is not None and pod.restarts > was.restarts:
            found.append(f"pod {pod.name}: {pod.why or 'its container was started again'}")
    lost = [pod for uid, pod in before.items() if uid not in now and pod.here and pod.name not in asked]
    return [*found, *(f"pod {pod.name} is gone: somebody else deleted it, or its node is lost" for pod in lost)]


def over(was: Pod | None, now: Pod | None, clock: float) -> tuple[Pod, float] | None:
    """What of a pod ended between two looks at it, and when: what its container did, where it does something else by
    now, or the pod itself, at `clock` where the cluster does not say."""
    if was is None and now is not None and now.before:
        was = msgspec.structs.replace(now, started=now.before, over=False)
    if was is None or was.over:
        return None
    if now is not None and now.started > was.started:
        return was, now.started
    return (was, clock) if now is None or now.over else None


def used(metrics: Object) -> tuple[float, int]:
    """The cores and bytes of memory of a pod's containers, from its PodMetrics."""
    usages = [each.get("usage", {}) for each in metrics.get("containers", [])]
    cores, memory = (sum(quantity(each.get(name, "0")) for each in usages) for name in ("cpu", "memory"))
    return cores, int(memory)


def quantity(text: str) -> float:
    """A number as Kubernetes writes it: 250m, 1500Mi, 12345n; 0 for what is none."""
    found = re.fullmatch(r"([0-9.]+)([numkMGT]?|[KMGT]i)", text)
    if found is None:
        return 0.0
    scale = {"": 1.0, "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
    scale |= {f"{letter}i": 1024.0 ** (number + 1) for number, letter in enumerate("KMGT")}
    return float(found[1]) * scale[found[2]]


def _named(name: str, statuses: Sequence[Object]) -> Object:
    return next((each for each in statuses if each.get("name") == name), Object())


def _waits(conditions: Mapping[str, Object]) -> str:
    """Why it is on no node yet."""
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") != "False":
        return ""
    if scheduled.get("reason") == "SchedulingGated":
        return "it waits for quota in its queue"
    said = _clip(re.sub(r"\.? *(no new claims to deallocate|preemption:).*", "", scheduled.get("message", "")))
    return f"no node of the cluster has room for it: {said}" if said else "it waits for a node"


def _idle(container: Object) -> str:
    waiting = container.get("state", {}).get("waiting", {})
    reason, message = waiting.get("reason", ""), _clip(waiting.get("message", ""))
    if reason == "CrashLoopBackOff":
        return f"it is started again: {_ended(_last(container))}"
    text = str(WAITS.get(reason, reason))
    return f"{text}: {message}" if text and message else text


def _failure(container: Object) -> str:
    """What is wrong with a container that has not become ready; a refusal at once, an end after several in a row."""
    if not container or container.get("ready"):
        return ""
    waiting = container.get("state", {}).get("waiting", {})
    reason = waiting.get("reason", "")
    if reason in BROKEN:
        message = _clip(waiting.get("message", "")) or "the cluster gives no reason"
        return BROKEN[reason].format(image=container.get("image", ""), message=message)
    ended, restarts = _last(container), container.get("restartCount", 0)
    again = restarts + ("terminated" in container.get("state", {}) or reason == "CrashLoopBackOff") >= FAILURES
    return _ended(ended) if ended.get("exitCode") and (again or ended["exitCode"] == REFUSED) else ""


def _last(container: Object) -> Object:
    state, last = container.get("state", {}), container.get("lastState", {})
    return state.get("terminated") or last.get("terminated") or {}


def _ended(ended: Object) -> str:
    """How a container ended: its own last words, where it left some."""
    code, lines = ended.get("exitCode", 0), [line.strip() for line in ended.get("message", "").splitlines()]
    said = _clip(next((line for line in reversed(lines) if line), ""))
    if ended.get("reason") == "OOMKilled":
        return "it used more memory than resources.memory says, and was killed"
    if code == KILLED and not said:
        return "it was killed (status 137), as happens where a node has no memory left"
    status = BY_SIGNAL - code if code > BY_SIGNAL else code
    return describe(Ended(now=0.0, status=status, healthy=0.0, reason=said.removeprefix("error: ")))


def _why(found: Object, conditions: Mapping[str, Object], container: Object) -> str:
    pod, node = f"pod {found['metadata']['name']}", found.get("spec", {}).get("nodeName")
    status, disrupted = found.get("status", {}), conditions.get("DisruptionTarget", {})
    words: dict[str, Any] = {"pod": pod, "node": f"node {node}" if node else "its node"}
    if status.get("reason") == "Evicted":
        return DISRUPTIONS["TerminationByKubelet"].format(message=_clip(status.get("message", "")), **words)
    if disrupted.get("status") == "True" and disrupted.get("reason") in DISRUPTIONS:
        return DISRUPTIONS[disrupted["reason"]].format(message=_clip(disrupted.get("message", "")), **words)
    ended = _last(container)
    return _ended(ended) if ended and "deletionTimestamp" not in found["metadata"] else ""


def _clip(text: str) -> str:
    return " ".join(text.split())[:LONGEST].rstrip(" .")


def _seconds(moment: str | None) -> float:
    return datetime.fromisoformat(moment).timestamp() if moment else 0.0
