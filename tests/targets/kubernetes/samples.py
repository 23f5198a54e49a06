"""Pods and Deployments as a cluster shows them."""

from typing import Any

from argosy.spec.address import TlsIdentity
from argosy.spec.revision import Revision
from argosy.targets.kubernetes.observe import COST, DRAINING, Pod

REVISION = Revision(id="abc123def0", endpoint="digits", model="digits", version="1", digest="sha256:0")
IDENTITY = TlsIdentity(name="spiffe://p/endpoint/digits/revision/abc123def0/replica/pods", files="/tls")


def shown(name: str = "a", **more: Any) -> dict[str, Any]:
    """A pod that is ready; `more`: state, last, restarts, ready, leaving, marked, phase, conditions, ..."""
    ready = more.get("ready", True)
    container = {
        "name": "replica",
        "image": "registry.example/digits:1",
        "ready": ready,
        "restartCount": more.get("restarts", 0),
        "state": more.get("state", {"running": {"startedAt": "2026-11-27T08:00:05Z"}}),
        "lastState": more.get("last", {}),
    }
    metadata: dict[str, Any] = {
        "name": name,
        "uid": f"uid-{name}",
        "labels": {"argosy.dev/revision": REVISION.id},
        "creationTimestamp": "2026-11-27T08:00:00Z",
    }
    if more.get("leaving"):
        metadata["deletionTimestamp"] = "2026-11-27T08:01:00Z"
    if more.get("marked"):
        metadata["annotations"] = {DRAINING: "true", COST: "-1"}
    conditions = [{"type": "Ready", "status": str(ready)}, *more.get("conditions", [])]
    status = {"phase": more.get("phase", "Running"), "conditions": conditions, "podIP": more.get("ip", "10.0.0.7")}
    status |= {"containerStatuses": [container], "startTime": "2026-11-27T08:00:01Z", **more.get("status", {})}
    return {"metadata": metadata, "spec": {"nodeName": more.get("node", "node-1")}, "status": status}


def waiting(reason: str, message: str = "", **more: Any) -> dict[str, Any]:
    """A pod whose container waits."""
    return shown(ready=False, state={"waiting": {"reason": reason, "message": message}}, phase="Pending", **more)


def terminated(code: int, message: str = "", reason: str = "Error", **more: Any) -> dict[str, Any]:
    """How a container ended; `more`: `startedAt`, `finishedAt`."""
    return {"terminated": {"exitCode": code, "reason": reason, "message": message, **more}}


def refusal(message: str) -> dict[str, Any]:
    """A Deployment whose pods are not made."""
    condition = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
    return {"status": {"conditions": [condition]}}


def pod(name: str, **more: Any) -> Pod:
    """What is known of one that is ready."""
    return Pod(**({"uid": f"uid-{name}", "name": name, "revision": REVISION.id, "ready": True} | more))
