"""The objects of Kubernetes that an endpoint and a revision of it are: pure functions.

A revision is immutable, so each has a Deployment of its own, whose template never changes. Sources: Kubernetes API
reference 1.34, pod security standard "restricted".
"""

import base64
import hashlib
import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from argosy.language.config import LanguageConfig, of_replica
from argosy.serving.config import ModelConfig, ReplicaConfig
from argosy.spec import secret
from argosy.spec.address import Address, TlsIdentity
from argosy.spec.errors import InvalidArgument
from argosy.spec.package import MODEL_FOLDER
from argosy.spec.revision import Revision

Object = dict[str, Any]

HTTP, GRPC, HEALTH = 8080, 8081, 8082
WRITABLE = "/var/lib/argosy"
"""Where the image lets a container write."""
SHARED = "/dev/shm"
WRITTEN = (WRITABLE, SHARED)
CONFIG, CERTIFICATES = "/etc/argosy", "/etc/argosy-tls"
LOGINS = "/etc/argosy-logins"
FETCHED = f"{MODEL_FOLDER}/package"
"""Where an init container lays the package that it fetches."""
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
ENDPOINT, REVISION, PLATFORM = "argosy.dev/endpoint", "argosy.dev/revision", "argosy.dev/platform"
QUEUE = "kueue.x-k8s.io/queue-name"


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """What a platform that drives the pods adds: its id, what a replica shows that it is, the queue of Kueue that pods
    wait in, and their PriorityClass. `blobs`: where an init container fetches the package, if the image has none;
    `pull_secret`: by what credentials, and for images."""

    platform: str
    identity: TlsIdentity
    queue: str = ""
    priority: str = ""
    blobs: str = ""
    pull_secret: str = ""


class Pods(msgspec.Struct, frozen=True, kw_only=True):
    """What the pods of a revision run: the image, which holds the package in `MODEL_FOLDER`; whether the package may
    run code of its author; whether gRPC is served too; and how many pods, None where something else counts them.
    `gpu_class`: the DeviceClass with parts of GPUs, where a part is asked for. `live` is None for files, whose pods are
    reached without TLS."""

    image: str
    trusted: bool = False
    grpc: bool = False
    replicas: int | None = 1
    gpu_class: str = ""
    live: Live | None = None

    @property
    def fetches(self) -> bool:
        """Whether an init container gets the package."""
        return self.live is not None and bool(self.live.blobs)


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


def image_of(image: str, model: str, version: object) -> str:
    """A reference with {model} and {version} filled in. Raises InvalidArgument."""
    found = image.replace("{model}", model).replace("{version}", str(version))
    if "{" in found or not found.isascii() or any(letter.isspace() for letter in found):
        raise InvalidArgument(f"the image '{image[:200]}' must be a reference; it may have {{model}} and {{version}}")
    return found


def gpu_class(revision: Revision, classes: Mapping[str, str]) -> str:
    """The DeviceClass that has the part of a GPU that a revision asks for; empty where it asks for none. Raises
    InvalidArgument where no class is said to have it."""
    asked = revision.resources.gpu
    if isinstance(asked, int):
        return ""
    found = classes.get(f"{asked:g}", "")
    if not found:
        raise InvalidArgument(
            f"endpoint '{revision.endpoint}' asks for {asked:g} of a GPU, and kubernetes.gpu_classes names no "
            f"DeviceClass for it: write {{'{asked:g}': NAME}} into config.yaml"
        )
    return found


def account(endpoint: str, platform: str = "") -> Object:
    """The account without rights that pods of an endpoint have."""
    made = typed("v1", "ServiceAccount", label(endpoint), labels_of(endpoint, platform=platform))
    return made | {"automountServiceAccountToken": False}


def anchor(endpoint: str, platform: str) -> Object:
    """What owns all objects of an endpoint that a platform drives: they go with it."""
    made = typed("v1", "ConfigMap", label(endpoint), labels_of(endpoint, platform=platform))
    return made | {"data": {"endpoint": endpoint}}


def owned(made: Object, by: Object) -> Object:
    """An object that the cluster deletes once `by` is deleted."""
    owner = {"apiVersion": by["apiVersion"], "kind": by["kind"]}
    owner |= {each: by["metadata"][each] for each in ("name", "uid")}
    return made | {"metadata": made["metadata"] | {"ownerReferences": [owner]}}


def secret_of(revision: Revision, platform: str, end: str, data: Mapping[str, bytes]) -> Object:
    """A Secret of a revision: `tls`, what its replicas show and trust, or `env`, its variables."""
    made = typed("v1", "Secret", f"{revision_name(revision)}-{end}", labels_of(revision.endpoint, revision, platform))
    return made | {"data": {name: base64.b64encode(each).decode() for name, each in sorted(data.items())}}


def of_revision(revision: Revision, pods: Pods) -> list[Object]:
    """What a revision runs as: its configuration, a Deployment, who may speak to its pods and, where there are several,
    how many of them may be evicted at once. Raises InvalidArgument for what a pod cannot be told."""
    name, labels = (
        revision_name(revision),
        labels_of(revision.endpoint, revision, pods.live.platform if pods.live else ""),
    )
    config = configuration(revision, pods)
    data = {"replica.json": msgspec.json.format(msgspec.json.encode(config)).decode()}
    data |= {"revision.json": msgspec.json.encode(revision).decode()} if pods.live else {}
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
    waits = {QUEUE: pods.live.queue} if pods.live and pods.live.queue else {}
    found = [
        typed("v1", "ConfigMap", name, labels) | {"data": data} | ({} if pods.live else {"immutable": True}),
        typed("networking.k8s.io/v1", "NetworkPolicy", name, labels) | {"spec": _policy(revision, pods)},
        typed("apps/v1", "Deployment", name, labels | waits, _facts(revision)) | {"spec": spec},
    ]
    if pods.gpu_class:
        request = {"name": "gpu", "exactly": {"deviceClassName": pods.gpu_class}}
        claim = typed("resource.k8s.io/v1", "ResourceClaimTemplate", name, labels)
        found.insert(1, claim | {"spec": {"spec": {"devices": {"requests": [request]}}}})
    several = pods.replicas is None or pods.replicas > 1
    return [*found, typed("policy/v1", "PodDisruptionBudget", name, labels) | {"spec": budget}] if several else found


def _policy(revision: Revision, pods: Pods) -> Object:
    """In to the ports of replicas; out only with `runtime.network`, or where a pod has to fetch its package."""
    ports = [each["name"] for each in _ports(revision, pods)]
    policy: Object = {"podSelector": _selector(revision), "policyTypes": ["Ingress", "Egress"]}
    policy["ingress"] = [{"ports": [{"port": each} for each in ports]}]
    return policy | {"egress": [{}] if revision.runtime.network or pods.fetches else []}


def _ports(revision: Revision, pods: Pods) -> list[Object]:
    """A language model has no gRPC; without a platform its engine answers at the port of the Service."""
    language = revision.language is not None
    second = ({"engine": GRPC} if pods.live else {}) if language else {"grpc": GRPC} if pods.grpc else {}
    ports = {"http": HTTP} | second | ({"health": HEALTH} if pods.live or language else {})
    return [{"name": name, "containerPort": port} for name, port in ports.items()]


def configuration(revision: Revision, pods: Pods) -> ReplicaConfig | LanguageConfig:
    """What a replica in a pod is told. It loads what has the digest of the revision, and nothing else."""
    model = ModelConfig(
        name=revision.endpoint,
        package=FETCHED if pods.fetches else MODEL_FOLDER,
        trusted=pods.trusted,
        exact=True,
        version=revision.version,
        digest=revision.digest,
        revision=revision.id,
    )
    runtime = msgspec.structs.replace(revision.runtime, threads=revision.threads(0), env={})
    tls = msgspec.structs.replace(pods.live.identity, files=CERTIFICATES) if pods.live else None
    made = ReplicaConfig(
        replica=revision_name(revision),
        models=(model,),
        http=Address(host="0.0.0.0", port=HTTP, tls=tls),
        grpc=Address(host="0.0.0.0", port=GRPC, tls=tls) if pods.grpc else None,
        health=Address(host="0.0.0.0", port=HEALTH) if pods.live else None,
        runtime=runtime,
    )
    if revision.language is None:
        return made
    front = Address(host="0.0.0.0", port=GRPC if pods.live else HTTP, tls=tls)
    if not pods.live:
        made = msgspec.structs.replace(made, http=Address(host="0.0.0.0", port=HEALTH))
    engine = f"{WRITABLE}/engine"
    return of_replica(made, revision, f"{engine}.sock", front, f"{engine}.log", variables=tuple(revision.runtime.env))


def _replica(revision: Revision, pods: Pods, name: str) -> Object:
    """The container of a replica."""
    runtime, live = revision.runtime, pods.live
    port = "health" if live or revision.language else "http"
    return _container("replica", pods) | {
        "args": ["serve", "--config", f"{CONFIG}/replica.json"],
        "ports": _ports(revision, pods),
        "env": _environment(revision, f"{name if live else label(revision.endpoint)}-env"),
        "resources": _resources(revision),
        # Golden examples are replayed before a replica says that it is ready.
        "startupProbe": _probe("ready", port, PROBE, max(math.ceil(runtime.start_timeout / PROBE), 1)),
        "readinessProbe": _probe("ready", port, 1, 2),
        "livenessProbe": _probe("live", port, 10, 6),
        "lifecycle": {"preStop": {"sleep": {"seconds": SLEEP}}},
        "volumeMounts": [
            {"name": each["name"], "mountPath": path} | ({} if path in WRITTEN else {"readOnly": True})
            for path, each in _volumes(revision, pods, name).items()
        ],
    }


def _volumes(revision: Revision, pods: Pods, name: str) -> dict[str, Object]:
    """The volumes of a pod, by where its replica has them. Processes of an engine share more memory than a pod has."""
    found: dict[str, Object] = {CONFIG: {"name": "config", "configMap": {"name": name}}}
    found |= {CERTIFICATES: {"name": "tls", "secret": {"secretName": f"{name}-tls"}}} if pods.live else {}
    found |= {MODEL_FOLDER: {"name": "model", "emptyDir": {}}} if pods.fetches else {}
    found |= {WRITABLE: {"name": "work", "emptyDir": {}}}
    several = revision.language is not None and revision.language.tensor_parallel > 1
    return found | ({SHARED: {"name": "shared", "emptyDir": {"medium": "Memory"}}} if several else {})


def _pod(revision: Revision, pods: Pods, name: str) -> Object:
    live = pods.live
    volumes = [*_volumes(revision, pods, name).values()]
    found: Object = {
        "serviceAccountName": label(revision.endpoint),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": SLEEP + math.ceil(revision.runtime.drain_timeout) + MARGIN,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [{key: value for key, value in _replica(revision, pods, name).items() if value}],
        "volumes": volumes,
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
    if pods.gpu_class:
        found["resourceClaims"] = [{"name": "gpu", "resourceClaimTemplateName": name}]
    if live and live.priority:
        found["priorityClassName"] = live.priority
    if live and live.pull_secret:
        found["imagePullSecrets"] = [{"name": live.pull_secret}]
    if live and live.blobs:
        fetch, more = _fetch(revision, pods, live)
        found |= {"initContainers": [fetch], "volumes": [*volumes, *more]}
    return found


def _container(name: str, pods: Pods) -> Object:
    """What all containers have in common."""
    return {
        "name": name,
        "image": pods.image,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }


def _fetch(revision: Revision, pods: Pods, live: Live) -> tuple[Object, list[Object]]:
    """The container that gets the package by its digest, every byte hashed, and the volumes that only it needs."""
    env = {"ARGOSY_HOME": f"{MODEL_FOLDER}/home", "ARGOSY_STORE_BLOBS": live.blobs}
    mounts: list[Object] = [{"name": "model", "mountPath": MODEL_FOLDER}, {"name": "work", "mountPath": WRITABLE}]
    volumes: list[Object] = []
    if live.pull_secret:
        env["REGISTRY_AUTH_FILE"] = f"{LOGINS}/auth.json"
        items = [{"key": ".dockerconfigjson", "path": "auth.json"}]
        volumes = [{"name": "logins", "secret": {"secretName": live.pull_secret, "items": items}}]
        mounts.append({"name": "logins", "mountPath": LOGINS, "readOnly": True})
    made = _container("fetch", pods) | {
        "args": ["models", "fetch", revision.digest, FETCHED],
        "env": [{"name": name, "value": value} for name, value in env.items()],
        "volumeMounts": mounts,
    }
    return made, volumes


def _environment(revision: Revision, source: str) -> list[Object]:
    """The variables of the declaration; one that names another is a key of the Secret `source`."""
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
    claims = [] if isinstance(declared.gpu, int) else [{"name": "gpu"}]
    if declared.gpu and not claims:
        limits["nvidia.com/gpu"] = declared.gpu
    found = {"requests": requests, "limits": limits, "claims": claims}
    return {name: table for name, table in found.items() if table}


def _probe(what: str, port: str, period: int, failures: int) -> Object:
    return {
        "httpGet": {"path": f"/v2/health/{what}", "port": port},
        "periodSeconds": period,
        "timeoutSeconds": max(period, 2),
        "failureThreshold": failures,
    }


def typed(version: str, kind: str, name: str, labels: Mapping[str, str], facts: Mapping[str, str] = {}) -> Object:
    """An object of a kind, with nothing but its metadata."""
    metadata: Object = {"name": name, "labels": dict(labels)} | ({"annotations": dict(facts)} if facts else {})
    return {"apiVersion": version, "kind": kind, "metadata": metadata}


def labels_of(endpoint: str, revision: Revision | None = None, platform: str = "") -> dict[str, str]:
    """The labels of an endpoint's objects, or of those of one of its revisions; and whose they are."""
    name = label(endpoint)
    found = {"app.kubernetes.io/name": name, "app.kubernetes.io/managed-by": "argosy", ENDPOINT: name}
    found |= {PLATFORM: platform} if platform else {}
    return found | ({"app.kubernetes.io/version": revision.version, REVISION: revision.id} if revision else {})


def _selector(revision: Revision) -> Object:
    return {"matchLabels": {ENDPOINT: label(revision.endpoint), REVISION: revision.id}}


def _facts(revision: Revision) -> dict[str, str]:
    return {"argosy.dev/model": f"{revision.model}:{revision.version}", "argosy.dev/digest": revision.digest}
