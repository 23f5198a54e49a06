"""Endpoints and revisions as objects of Kubernetes: what its own schemas take, and what they say."""

import re
from typing import Any

import kubernetes_validate
import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from argosy.control.revision import revision_of
from argosy.language.config import LanguageConfig
from argosy.serving.config import ReplicaConfig
from argosy.spec.address import TlsIdentity
from argosy.spec.endpoint import NAME, Endpoint, Resources, Runtime
from argosy.spec.errors import InvalidArgument
from argosy.spec.language import Language
from argosy.spec.revision import Revision
from argosy.spec.scaling import Scaling
from argosy.spec.strict import decode
from argosy.store.version import Version
from argosy.targets.kubernetes import export, objects
from argosy.targets.kubernetes.objects import Live, Object, Pods, anchor, owned, secret_of
from tests.store.samples import digest_of, model_lineage, model_manifest
from tests.targets.kubernetes.samples import IDENTITY

VERSIONS = ("1.33", "1.37")
LABEL = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
IMAGE = "registry.example/digits:3"
LIVE = Live(platform="p", identity=IDENTITY, queue="gpus", blobs="registry.example/models", pull_secret="logins")


def revision(endpoint: Endpoint) -> Revision:
    version = Version(
        name="digits",
        number=3,
        digest=digest_of(1),
        size=1,
        created="",
        manifest=model_manifest(),
        lineage=model_lineage(),
    )
    return revision_of(endpoint, version)


def everything(endpoint: Endpoint, **pods: Any) -> list[objects.Object]:
    found, scaling = revision(endpoint), endpoint.replicas
    scaled = isinstance(scaling, Scaling)
    wanted = Pods(image=IMAGE, replicas=None if scaled else scaling, **pods)
    made = [*export.of_endpoint(endpoint, grpc=wanted.grpc), *objects.of_revision(found, wanted)]
    return [*made, export.autoscaler(endpoint, found, scaling)] if scaled else made


def of(kind: str, made: list[objects.Object]) -> Any:
    (found,) = [each for each in made if each["kind"] == kind]
    return found


names = st.from_regex(NAME, fullmatch=True)
endpoints = st.builds(
    Endpoint,
    name=names,
    model=st.just("digits:3"),
    replicas=st.one_of(st.integers(0, 1000), st.builds(Scaling, min=st.integers(0, 3), max=st.integers(3, 9))),
    resources=st.builds(Resources, cpu=st.floats(0.001, 512), memory=st.integers(0, 2**44), gpu=st.integers(0, 16)),
    runtime=st.builds(
        Runtime,
        start_timeout=st.floats(0.001, 1e5),
        drain_timeout=st.floats(0.001, 1e5),
        network=st.booleans(),
        env=st.dictionaries(st.from_regex(r"X[A-Z]{1,8}", fullmatch=True), st.sampled_from(["1", "$FROM", "a $(A) b"])),
    ),
    timeout=st.floats(0.001, 1e6),
)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("replicas", [2, Scaling(min=0)])
def test_the_schemas_of_kubernetes_take_them(version: str, replicas: int | Scaling):
    resources = Resources(cpu=1, memory=2**30, gpu=1)
    runtime = Runtime(env={"A": "1", "B": "$B"})
    endpoint = Endpoint(name="digits", model="digits:3", replicas=replicas, resources=resources, runtime=runtime)
    for each in everything(endpoint, grpc=True):
        kubernetes_validate.validate(each, version, strict=True)


@settings(max_examples=25)
@given(endpoint=endpoints, grpc=st.booleans())
def test_names_and_texts_of_every_declaration(endpoint: Endpoint, grpc: bool):
    made = everything(endpoint, grpc=grpc)
    for each in made:
        assert LABEL.fullmatch(each["metadata"]["name"])
        assert all(len(value) <= 63 for value in each["metadata"]["labels"].values())
    assert list(yaml.safe_load_all(export.render(made))) == made
    assert export.render(made) == export.render(everything(endpoint, grpc=grpc))


@given(first=names, second=names)
def test_two_names_stay_two(first: str, second: str):
    assert (objects.label(first) == objects.label(second)) == (first == second)


def test_names():
    assert objects.label("digits") == "digits"
    assert re.fullmatch(r"my-model-v2-[0-9a-f]{6}", objects.label("my_model.v2"))
    assert re.fullmatch(r"e-7b-[0-9a-f]{6}", objects.label("7b"))
    assert len(objects.label("a" * 63)) == 40


def test_a_pod_is_told_what_a_replica_is_told_here():
    endpoint = Endpoint(
        name="digits", model="digits:3", resources=Resources(cpu=1.5), runtime=Runtime(max_batch_size=7, strict=True)
    )
    made = everything(endpoint, grpc=True, trusted=True)
    config = decode(of("ConfigMap", made)["data"]["replica.json"].encode(), ReplicaConfig, "replica.json")
    (model,) = config.models
    assert (model.package, model.digest, model.version, model.trusted) == ("/models", digest_of(1), "3", True)
    assert (config.runtime.max_batch_size, config.runtime.strict, config.runtime.threads) == (7, True, 2)
    assert (str(config.http), str(config.grpc)) == ("0.0.0.0:8080", "0.0.0.0:8081")
    pod = of("Deployment", made)["spec"]["template"]["spec"]
    ports = {each["name"]: each["containerPort"] for each in pod["containers"][0]["ports"]}
    assert ports == {"http": 8080, "grpc": 8081}


@pytest.mark.parametrize("live", [None, LIVE], ids=["files", "live"])
def test_the_pod_of_a_language_model(live: Live | None):
    """Callers reach its engine at 8081 by TLS or, without a platform, at the port of the Service; it has no gRPC."""
    runtime = Runtime(env={"HF_HOME": "/x"})
    endpoint = Endpoint(name="m", model="m:3", resources=Resources(gpu=2), runtime=runtime)
    found = msgspec.structs.replace(revision(endpoint), language=Language(context=512, tensor_parallel=2))
    made = objects.of_revision(found, Pods(image=IMAGE, grpc=True, live=live))
    for each in made:
        kubernetes_validate.validate(each, VERSIONS[-1], strict=True)
    config = decode(of("ConfigMap", made)["data"]["replica.json"].encode(), LanguageConfig, "replica.json")
    assert config.front is not None
    where = {name: str(address) for name, address in (("http", config.http), ("front", config.front))}
    pod = of("Deployment", made)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    if live:
        assert where == {"http": "0.0.0.0:8080", "front": "0.0.0.0:8081"}
        assert ports == {"http": 8080, "engine": 8081, "health": 8082}
        assert config.http.tls == config.front.tls
        assert config.front.tls == msgspec.structs.replace(IDENTITY, files="/etc/argosy-tls")
    else:
        assert where == {"http": "0.0.0.0:8082", "front": "0.0.0.0:8080"}
        assert ports == {"http": 8080, "health": 8082}
    assert container["startupProbe"]["httpGet"]["port"] == "health"
    assert (config.engine.path, config.variables) == ("/var/lib/argosy/engine.sock", ("HF_HOME",))
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 2
    assert {"name": "shared", "mountPath": "/dev/shm"} in container["volumeMounts"]
    assert {"name": "shared", "emptyDir": {"medium": "Memory"}} in pod["volumes"]
    policy = of("NetworkPolicy", made)["spec"]["ingress"]
    assert [each["port"] for each in policy[0]["ports"]] == [*ports]


def test_a_pod_is_restricted():
    pod = of("Deployment", everything(Endpoint(name="digits", model="digits:3")))["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert pod["automountServiceAccountToken"] is False


def test_it_drains_before_it_is_killed():
    endpoint = Endpoint(name="digits", model="digits:3", runtime=Runtime(drain_timeout=90.5, start_timeout=7.0))
    spec = of("Deployment", everything(endpoint))["spec"]
    pod = spec["template"]["spec"]
    sleep = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] >= sleep + 90.5
    probe = pod["containers"][0]["startupProbe"]
    assert probe["failureThreshold"] * probe["periodSeconds"] >= 7


def test_secrets_are_named_and_not_held():
    runtime = Runtime(env={"TOKEN": "$MY_TOKEN", "MODE": "no $(variable) of Kubernetes"})
    text = export.render(everything(Endpoint(name="digits", model="digits:3", runtime=runtime)))
    (container,) = of("Deployment", list(yaml.safe_load_all(text)))["spec"]["template"]["spec"]["containers"]
    found = {each["name"]: each.get("value") or each["valueFrom"]["secretKeyRef"] for each in container["env"]}
    assert found["TOKEN"] == {"name": "digits-env", "key": "MY_TOKEN"}
    assert found["MODE"] == "no $$(variable) of Kubernetes"
    assert '"env": {}' in text


def test_another_revision_has_objects_of_its_own_and_the_same_service():
    one = Endpoint(name="digits", model="digits:3")
    two = Endpoint(name="digits", model="digits:3", runtime=Runtime(max_batch_size=2))
    first, second = everything(one), everything(two)
    for kind in ("Deployment", "ConfigMap", "NetworkPolicy"):
        assert of(kind, first)["metadata"]["name"] != of(kind, second)["metadata"]["name"]
    assert of("Service", first) == of("Service", second)
    selector = of("Service", first)["spec"]["selector"]
    for made in (first, second):
        assert selector.items() <= of("Deployment", made)["spec"]["template"]["metadata"]["labels"].items()


def driven(live: Live = LIVE, **runtime: Any) -> list[Object]:
    """What a platform applies for a revision."""
    found = revision(Endpoint(name="digits", model="digits:3", runtime=Runtime(**runtime)))
    pods = Pods(image="registry.example/argosy", grpc=True, replicas=None, live=live)
    owner = anchor("digits", "p") | {"metadata": anchor("digits", "p")["metadata"] | {"uid": "1"}}
    secret = secret_of(found, "p", "tls", {"replica.pem": b"key"})
    return [
        owner,
        *(owned(each, owner) for each in (objects.account("digits", "p"), secret)),
        *(owned(each, owner) for each in objects.of_revision(found, pods)),
    ]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("live", [LIVE, Live(platform="p", identity=IDENTITY)], ids=["fetches", "plain"])
def test_the_schemas_of_kubernetes_take_what_a_platform_drives(version: str, live: Live):
    made = driven(live)
    for each in made:
        kubernetes_validate.validate(each, version, strict=True)
        assert each["metadata"]["labels"]["argosy.dev/platform"] == "p"
        assert LABEL.fullmatch(each["metadata"]["name"])
    assert all(each["metadata"]["ownerReferences"][0]["uid"] == "1" for each in made[1:])


def test_a_driven_pod_shows_a_certificate_and_is_probed_without_one():
    made = driven()
    (config,) = [each for each in made if "replica.json" in each.get("data", {})]
    told = decode(config["data"]["replica.json"].encode(), ReplicaConfig, "replica.json")
    assert told.http.tls is not None
    assert told.grpc is not None
    assert told.http.tls == told.grpc.tls == TlsIdentity(name=IDENTITY.name, files="/etc/argosy-tls")
    assert (str(told.health), told.models[0].package) == ("0.0.0.0:8082", "/models/package")
    assert decode(config["data"]["revision.json"].encode(), Revision, "revision.json") == revision(
        Endpoint(name="digits", model="digits:3")
    )
    deployment = of("Deployment", made)
    pod = deployment["spec"]["template"]["spec"]
    (container,), (first,) = pod["containers"], pod["initContainers"]
    assert {container[f"{each}Probe"]["httpGet"]["port"] for each in ("startup", "readiness", "liveness")} == {"health"}
    assert first["args"] == ["models", "fetch", digest_of(1), "/models/package"]
    assert {"name": "model", "mountPath": "/models", "readOnly": True} in container["volumeMounts"]
    assert "replicas" not in deployment["spec"]
    assert deployment["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpus"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_part_of_a_gpu_is_claimed_from_its_class(version: str):
    endpoint = Endpoint(name="digits", model="digits:3", resources=Resources(gpu=0.5))
    found = revision(endpoint)
    assert objects.gpu_class(found, {"0.25": "quarter", "0.5": "half"}) == "half"
    with pytest.raises(
        InvalidArgument, match=r"asks for 0\.5 of a GPU, and kubernetes\.gpu_classes names no DeviceClass"
    ):
        objects.gpu_class(found, {"0.25": "quarter"})
    live = Live(platform="p", identity=IDENTITY, priority="online")
    made = objects.of_revision(found, Pods(image="i", gpu_class="half", live=live))
    claim, pod = of("ResourceClaimTemplate", made), of("Deployment", made)["spec"]["template"]["spec"]
    assert claim["spec"]["spec"]["devices"]["requests"] == [{"name": "gpu", "exactly": {"deviceClassName": "half"}}]
    assert pod["resourceClaims"] == [{"name": "gpu", "resourceClaimTemplateName": claim["metadata"]["name"]}]
    assert pod["containers"][0]["resources"] == {"claims": [{"name": "gpu"}]}
    assert pod["priorityClassName"] == "online"
    for each in made if version != VERSIONS[0] else []:  # DRA is stable since 1.34
        kubernetes_validate.validate(each, version, strict=True)


def test_whole_gpus_are_an_extended_resource():
    assert Resources(gpu=2.0).gpu == 2
    with pytest.raises(InvalidArgument, match=r"a whole number, or a part of one GPU, not 1\.5"):
        Resources(gpu=1.5)
    found = revision(Endpoint(name="digits", model="digits:3", resources=Resources(gpu=2)))
    assert objects.gpu_class(found, {}) == ""
    pod = of("Deployment", objects.of_revision(found, Pods(image="i")))["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"] == {"limits": {"nvidia.com/gpu": 2}}


def test_a_pod_that_fetches_nothing_reaches_nothing():
    closed = Live(platform="p", identity=IDENTITY)
    assert of("NetworkPolicy", driven(closed))["spec"]["egress"] == []
    assert of("NetworkPolicy", driven(closed, network=True))["spec"]["egress"] == [{}]
    assert of("NetworkPolicy", driven())["spec"]["egress"] == [{}], "it has to reach the registry"
