"""What files for a cluster have beside the objects of a target, and what they do not do."""

import re

import pytest

from argosy.spec.endpoint import Endpoint, Resources, Runtime
from argosy.spec.errors import InvalidArgument
from argosy.spec.limits import Limits
from argosy.spec.payload import PayloadLog
from argosy.spec.scaling import Scaling
from argosy.targets.kubernetes import export
from tests.targets.kubernetes.test_objects import everything, of


def test_an_autoscaler_counts_the_pods_alone():
    endpoint = Endpoint(name="digits", model="digits:3", replicas=Scaling(min=0, max=4), resources=Resources(cpu=0.5))
    made = everything(endpoint)
    assert "replicas" not in of("Deployment", made)["spec"]
    spec = of("HorizontalPodAutoscaler", made)["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (1, 4)
    assert spec["scaleTargetRef"]["name"] == of("Deployment", made)["metadata"]["name"]
    with pytest.raises(InvalidArgument, match=r"declare resources\.cpu, or a number of replicas"):
        everything(Endpoint(name="digits", model="digits:3", replicas=Scaling()))


@pytest.mark.parametrize(("seconds", "said"), [(60.0, "60s"), (0.25, "250ms"), (1e6, "99999s"), (10.5, "11s")])
def test_a_route(seconds: float, said: str):
    found = export.route(Endpoint(name="my_digits", model="digits:3", timeout=seconds), "infra/public")
    assert found["spec"]["parentRefs"] == [{"name": "public", "namespace": "infra"}]
    models, rows = found["spec"]["rules"]
    paths = [each["path"]["value"] for each in (*models["matches"], *rows["matches"])]
    assert paths == ["/v1/models/my_digits", "/v2/models/my_digits", "/endpoints/my_digits"]
    assert models["timeouts"]["request"] == said
    assert re.fullmatch(r"([0-9]{1,5}(h|m|s|ms)){1,4}", said)


def test_what_is_not_done_is_said():
    plain = Endpoint(name="digits", model="digits:3", public=True)
    assert [line.partition(":")[0] for line in export.unsaid(plain, routed=False)] == [
        "retries",
        "runtime.subprocesses",
    ]
    much = Endpoint(
        name="digits",
        model="digits@champion",
        follow=True,
        payload=PayloadLog(),
        replicas=Scaling(min=0),
        limits=Limits(requests=3),
        timeout=3.0,
        runtime=Runtime(sandbox="required"),
    )
    said = [line.partition(":")[0] for line in export.unsaid(much, routed=True)]
    assert {"follow", "payload", "keys", "limits", "replicas", "replicas.min", "runtime.sandbox", "gRPC"} <= set(said)
    assert "timeout" not in said
    assert "timeout" in [line.partition(":")[0] for line in export.unsaid(much, routed=False)]
