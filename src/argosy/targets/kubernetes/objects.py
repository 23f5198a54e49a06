"""The objects of Kubernetes that an endpoint and a revision of it are: pure functions.

A revision is immutable, so each has a Deployment of its own, whose template never changes. Sources: Kubernetes API
reference 1.34, pod security standard "restricted".
"""

import hashlib
import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from argosy.serving.config import ModelConfig, ReplicaConfig
from argosy.spec import secret
from argosy.spec.address import Address
from argosy.spec.endpoint import Endpoint
from argosy.spec.package import MODEL_FOLDER
from argosy.spec.revision import Revision

Object = dict[str, Any]

HTTP, GRPC = 8080, 8081
WRITABLE = "/var/lib/argosy"
"""Where the image lets a container write."""
CONFIG = "/etc/argosy"
USER = 65532
SLEEP = 5
"""Seconds that a pod goes on serving once it is to end: the time in which proxies hear of it."""
MARGIN = 5
"""Seconds between the end of draining and the kill."""
LOST = 30
"""Seconds until the pods of a node that is lost are replaced (the default is 300)."""
PROBE = 2
"""Seconds between two questions of whether a pod that starts is ready."""
LONGEST = 40
"""Characters of a label, so that a revision still fits behind it."""
ENDPOINT, REVISION = "argosy.dev/endpoint", "argosy.dev/revision"


class Pods(msgspec.Struct, frozen=True, kw_only=True):
    """What the pods of a revision run: the image, which holds the package in `MODEL_FOLDER`; whether the package may
    run code of its author; whether gRPC is served too; and how many pods, None where something else counts them."""

    image: str
    trusted: bool = False
    grpc: bool = False
    replicas: int | None = 1


def label(name: str) -> str:
    """The name of an endpoint where Kubernetes asks for a DNS label: itself where it is a short one that begins with a
    letter, else with what does not fit replaced, and a hash, so that two names stay two."""
    if re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", name) and len(name) <= LONGEST:
        return name
    plain = re.sub(r"[^a-z0-9]+", "-", name).strip("-")
    plain = plain if plain[:1].isalpha() else f"e-{plain}"
    return f"{plain[: LONGEST - 7].rstrip('-')}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def revision_name(revision: Revision) -> str:
    """The name of the objects of a revision."""
    return f"{label(revision.endpoint)}-{revision.id}"


def of_endpoint(endpoint: Endpoint, *, grpc: bool = False) -> list[Object]:
    """What is there once, whatever revision is served: an account without rights, the Service, and who may speak to
    the pods. The Service has the pods of every revision, ready ones alone, so that nothing is lost while one replaces
    another."""
    name, labels = label(endpoint.name), labels_of(endpoint.name)
    selector = {ENDPOINT: name}
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    ports += [{"name": "grpc", "port": GRPC, "targetPort": "grpc", "appProtocol": "kubernetes.io/h2c"}] if grpc else []
    inward = [{"ports": [{"port": "http"}, *([{"port": "grpc"}] if grpc else [])]}]
    policy: Object = {"podSelector": {"matchLabels": selector}, "policyTypes": ["Ingress", "Egress"], "ingress": inward}
    policy["egress"] = [{}] if endpoint.runtime.network else []
    return [
        typed("v1", "ServiceAccount", name, labels) | {"automountServiceAccountToken": False},
        typed("v1", "Service", name, labels) | {"spec": {"selector": selector, "ports": ports}},
        typed("networking.k8s.io/v1", "NetworkPolicy", name, labels) | {"spec": policy},
    ]


def of_revision(revision: Revision, pods: Pods) -> list[Object]:
    """What a revision runs as: its configuration, a Deployment and, where there are several pods, how many of them may
    be evicted at once. Raises InvalidArgument for what a pod cannot be told."""
    name, labels = revision_name(revision), labels_of(revision.endpoint, revision)
    config = configuration(revision, pods)
    data = msgspec.json.format(msgspec.json.encode(config)).decode()
    spec: Object = {
        "selector": _selector(revision),
        "revisionHistoryLimit": 0,
        "progressDeadlineSeconds": math.ceil(revision.runtime.start_timeout) + 60,
        "template": {
            "metadata": {"labels": labels, "annotations": _facts(revision)},
            "spec": _pod(revision, pods, name),
        },
    }
    spec |= {} if pods.replicas is None else {"replicas": pods.replicas}
    budget = {
        "selector": spec["selector"],
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",  # else a pod that never gets ready keeps its node from a drain
    }
    found = [
        typed("v1", "ConfigMap", name, labels) | {"data": {"replica.json": data}, "immutable": True},
        typed("apps/v1", "Deployment", name, labels, _facts(revision)) | {"spec": spec},
    ]
    several = pods.replicas is None or pods.replicas > 1
    return [*found, typed("policy/v1", "PodDisruptionBudget", name, labels) | {"spec": budget}] if several else found


def configuration(revision: Revision, pods: Pods) -> ReplicaConfig:
    """What a replica in a pod is told. It loads what has the digest of the revision, and nothing else."""
    model = ModelConfig(
        name=revision.endpoint,
        package=MODEL_FOLDER,
        trusted=pods.trusted,
        exact=True,
        version=revision.version,
        digest=revision.digest,
        revision=revision.id,
    )
    runtime = msgspec.structs.replace(revision.runtime, threads=revision.threads(0), env={})
    grpc = Address(host="0.0.0.0", port=GRPC) if pods.grpc else None
    return ReplicaConfig(
        replica=revision_name(revision),
        models=(model,),
        http=Address(host="0.0.0.0", port=HTTP),
        grpc=grpc,
        runtime=runtime,
    )


def _pod(revision: Revision, pods: Pods, name: str) -> Object:
    runtime = revision.runtime
    grace = SLEEP + math.ceil(runtime.drain_timeout) + MARGIN
    ports = [{"name": "http", "containerPort": HTTP}, *([{"name": "grpc", "containerPort": GRPC}] if pods.grpc else [])]
    container: Object = {
        "name": "replica",
        "image": pods.image,
        "args": ["serve", "--config", f"{CONFIG}/replica.json"],
        "ports": ports,
        "env": _environment(revision),
        "resources": _resources(revision),
        # Golden examples are replayed before a replica says that it is ready.
        "startupProbe": _probe("ready", PROBE, max(math.ceil(runtime.start_timeout / PROBE), 1)),
        "readinessProbe": _probe("ready", 1, 2),
        "livenessProbe": _probe("live", 10, 6),
        "lifecycle": {"preStop": {"sleep": {"seconds": SLEEP}}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [
            {"name": "config", "mountPath": CONFIG, "readOnly": True},
            {"name": "work", "mountPath": WRITABLE},
        ],
    }
    return {
        "serviceAccountName": label(revision.endpoint),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": grace,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [{key: value for key, value in container.items() if value}],
        "volumes": [{"name": "config", "configMap": {"name": name}}, {"name": "work", "emptyDir": {}}],
        "tolerations": [
            {
                "key": f"node.kubernetes.io/{what}",
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": LOST,
            }
            for what in ("not-ready", "unreachable")
        ],
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": key,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": _selector(revision),
            }
            for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
        ],
    }


def _environment(revision: Revision) -> list[Object]:
    """The variables of the declaration; one that names another is a key of the Secret `NAME-env`."""
    source = f"{label(revision.endpoint)}-env"
    return [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": source, "key": secret.reference(value)}}}
        if value.startswith("$")
        else {"name": name, "value": value.replace("$(", "$$(")}
        for name, value in sorted(revision.runtime.env.items())
    ]


def _resources(revision: Revision) -> Object:
    """Cores are asked for and not limited: a limit throttles, and spoils the slowest answers. Memory is both."""
    declared = revision.resources
    requests, limits = dict[str, Any](), dict[str, Any]()
    if declared.cpu:
        requests["cpu"] = f"{math.ceil(declared.cpu * 1000)}m"
    if declared.memory:
        requests["memory"] = limits["memory"] = str(declared.memory)
    if declared.gpu:
        limits["nvidia.com/gpu"] = declared.gpu
    return {name: table for name, table in (("requests", requests), ("limits", limits)) if table}


def _probe(what: str, period: int, failures: int) -> Object:
    return {
        "httpGet": {"path": f"/v2/health/{what}", "port": "http"},
        "periodSeconds": period,
        "timeoutSeconds": max(period, 2),
        "failureThreshold": failures,
    }


def typed(version: str, kind: str, name: str, labels: Mapping[str, str], facts: Mapping[str, str] = {}) -> Object:
    """An object of a kind, with nothing but its metadata."""
    metadata: Object = {"name": name, "labels": dict(labels)} | ({"annotations": dict(facts)} if facts else {})
    return {"apiVersion": version, "kind": kind, "metadata": metadata}


def labels_of(endpoint: str, revision: Revision | None = None) -> dict[str, str]:
    """The labels of an endpoint's objects, or of those of one of its revisions."""
    name = label(endpoint)
    found = {"app.kubernetes.io/name": name, "app.kubernetes.io/managed-by": "argosy", ENDPOINT: name}
    return found | ({"app.kubernetes.io/version": revision.version, REVISION: revision.id} if revision else {})


def _selector(revision: Revision) -> Object:
    return {"matchLabels": {ENDPOINT: label(revision.endpoint), REVISION: revision.id}}


def _facts(revision: Revision) -> dict[str, str]:
    return {"argosy.dev/model": f"{revision.model}:{revision.version}", "argosy.dev/digest": revision.digest}
