"""What files for a cluster have beside the objects of a target: an autoscaler of Kubernetes, routes of a foreign
gateway, and words for what none of them does. Pure functions. Sources: Kubernetes API reference 1.34, Gateway API 1.2.
"""

import math
from collections.abc import Sequence
from typing import Any

from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import InvalidArgument
from argosy.spec.revision import Revision
from argosy.spec.scaling import Scaling
from argosy.targets.kubernetes.objects import ENDPOINT, GRPC, Object, account, label, labels_of, revision_name, typed


def of_endpoint(endpoint: Endpoint, *, grpc: bool = False) -> list[Object]:
    """What is there once, whatever revision is served: an account without rights, and the Service. It has the pods of
    every revision, ready ones alone, so that nothing is lost while one replaces another."""
    name, labels = label(endpoint.name), labels_of(endpoint.name)
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    ports += [{"name": "grpc", "port": GRPC, "targetPort": "grpc", "appProtocol": "kubernetes.io/h2c"}] if grpc else []
    return [
        account(endpoint.name),
        typed("v1", "Service", name, labels) | {"spec": {"selector": {ENDPOINT: name}, "ports": ports}},
    ]


def autoscaler(endpoint: Endpoint, revision: Revision, scaling: Scaling) -> Object:
    """A HorizontalPodAutoscaler that stands in for our own: it knows of processors alone. Raises InvalidArgument
    without declared cores."""
    if not revision.resources.cpu:
        raise InvalidArgument(
            f"endpoint '{endpoint.name}': replicas has bounds, and Kubernetes scales by the share of the processors "
            "that are asked for: declare resources.cpu, or a number of replicas"
        )
    name = revision_name(revision)
    busy = {"type": "Utilization", "averageUtilization": round(scaling.target * 100)}
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
        "minReplicas": max(scaling.min, 1),
        "maxReplicas": scaling.max,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": busy}}],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": min(math.ceil(scaling.patience), 3600)}},
    }
    labels = labels_of(endpoint.name, revision)
    return typed("autoscaling/v2", "HorizontalPodAutoscaler", name, labels) | {"spec": spec}


def route(endpoint: Endpoint, gateway: str) -> Object:
    """An HTTPRoute of the Gateway API with the paths of the endpoint, to its Service. `gateway` is NAME or
    NAMESPACE/NAME."""
    name = label(endpoint.name)
    namespace, _, parent = gateway.rpartition("/")
    to: Object = {
        "backendRefs": [{"name": name, "port": 80}],
        "timeouts": {"request": _duration(endpoint.timeout)},
    }
    rewrite = {
        "type": "URLRewrite",
        "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}},
    }
    rules = [
        {"matches": [_below(f"/{version}/models/{endpoint.name}") for version in ("v1", "v2")], **to},
        {"matches": [_below(f"/endpoints/{endpoint.name}")], "filters": [rewrite], **to},
    ]
    parents = [{"name": parent} | ({"namespace": namespace} if namespace else {})]
    labels = labels_of(endpoint.name)
    spec = {"parentRefs": parents, "rules": rules}
    return typed("gateway.networking.k8s.io/v1", "HTTPRoute", name, labels) | {"spec": spec}


def _duration(seconds: float) -> str:
    """As the Gateway API has it (GEP-2257): numbers of at most five digits with units."""
    whole = min(math.ceil(seconds), 99_999)
    return f"{whole}s" if seconds >= 10 or whole == seconds else f"{math.ceil(seconds * 1000)}ms"


def _below(path: str) -> Object:
    return {"path": {"type": "PathPrefix", "value": path}}


def unsaid(endpoint: Endpoint, *, routed: bool, language: bool = False) -> list[str]:
    """What the objects of an endpoint do not do that its declaration says, or that our gateway does, a line each.
    `language`: of a language model."""
    plain = Endpoint(name=endpoint.name, model=endpoint.model)
    said = {
        "rollout": "a new revision takes its share as soon as its pods are ready; there are no steps, and no way back",
        "guard": "no guard judges a new revision",
        "payload": "requests and answers are not recorded",
        "monitor": "drift and performance are not watched",
        "triggers": "no trigger runs",
        "slos": "objectives are not watched",
        "keys": "no keys are asked for",
        "limits": "requests that wait or run at once are not bounded, but by each replica",
        "retries": "a request that fails is not tried at another replica",
        "timeout": "" if routed else "the time of a request is bounded by runtime.timeout alone",
        "waiting": "no request waits for a first replica",
        "follow": "an alias that moves is followed by another export alone",
    }
    always = ("retries", "keys") if not endpoint.public else ("retries",)
    lines = [
        f"{name}: {text}"
        for name, text in said.items()
        if text and (name in always or getattr(endpoint, name) != getattr(plain, name))
    ]
    if language:
        lines.append("tokens: nobody counts or limits them, and a turn of a conversation may go to any replica")
    if isinstance(endpoint.replicas, Scaling):
        lines.append("replicas: pods are counted by the processors that they use, not by requests that would wait")
        if endpoint.replicas.min == 0:
            lines.append("replicas.min: one pod stays; there is no activator that would hold requests")
    if endpoint.runtime.sandbox == "required":
        lines.append("runtime.sandbox: a replica is confined by its pod and the NetworkPolicy, not by Argosy's sandbox")
    if not endpoint.runtime.subprocesses:
        lines.append("runtime.subprocesses: a model may start processes within its pod")
    if routed:
        lines.append("gRPC: an HTTPRoute routes by path, and calls name their model in a message: use the Service")
    return lines


def render(objects: Sequence[Object]) -> str:
    """Objects as YAML, keys sorted: the same objects give the same text."""
    import yaml

    class Plain(yaml.SafeDumper):
        """Lines of a text stay lines, and what is the same is written twice."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

        def represent_str(self, data: str) -> yaml.ScalarNode:
            return yaml.ScalarNode("tag:yaml.org,2002:str", data, style="|" if "\n" in data else None)

    Plain.add_representer(str, Plain.represent_str)
    return "---\n".join(
        yaml.dump(each, Dumper=Plain, sort_keys=True, width=120, allow_unicode=True) for each in objects
    )
