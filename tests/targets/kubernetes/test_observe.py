"""What pods mean for a revision, in a user's words."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.spec.address import Address
from argosy.spec.language import Language
from argosy.targets.kubernetes.observe import (
    BROKEN,
    DISRUPTIONS,
    WAITS,
    ends,
    failure,
    look,
    over,
    pending,
    replica,
    used,
)
from tests.targets.kubernetes.samples import IDENTITY, REVISION, pod, refusal, shown, terminated, waiting

UNSCHEDULABLE = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are available.",
}
GATED = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}


def test_a_ready_pod_is_reached_by_its_own_address():
    found = replica(look(shown()), REVISION, IDENTITY, draining=False, reached=True)
    assert found is not None
    assert (found.id, found.phase, str(found.http), str(found.grpc)) == ("a", "ready", "10.0.0.7:8080", "10.0.0.7:8081")
    assert found.http.tls == IDENTITY
    assert found.started == 1795766405.0


def test_the_engine_of_a_language_model_has_the_port_of_grpc():
    language = msgspec.structs.replace(REVISION, language=Language())
    found = replica(look(shown()), language, IDENTITY, draining=False, reached=True)
    assert found is not None
    assert (found.grpc, found.engine) == (None, Address(host="10.0.0.7", port=8081, tls=IDENTITY))


@pytest.mark.parametrize(
    ("more", "draining", "reached", "phase"),
    [
        ({}, False, False, "starting"),
        ({"ready": False}, False, True, "starting"),
        ({}, True, True, "draining"),
        ({"leaving": True}, False, True, "draining"),
    ],
)
def test_phases(more: dict, draining: bool, reached: bool, phase: str):
    found = replica(look(shown(**more)), REVISION, IDENTITY, draining=draining, reached=reached)
    assert found is not None
    assert found.phase == phase


def test_who_has_no_address_is_reached_by_nobody():
    for each in (shown(ip=""), shown(phase="Failed")):
        assert replica(look(each), REVISION, IDENTITY, draining=False, reached=True) is None


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (shown(ready=False, conditions=[UNSCHEDULABLE]), "no node of the cluster has room for it: 0/3 nodes are"),
        (shown(ready=False, conditions=[GATED]), "it waits for quota in its queue"),
        (waiting("ContainerCreating"), WAITS["ContainerCreating"]),
        (waiting("PodInitializing"), WAITS["PodInitializing"]),
        (waiting("SomethingNew", "says the cluster"), "SomethingNew: says the cluster"),
        (waiting("CrashLoopBackOff", "back-off 10s", last=terminated(3, "x\nno luck\n")), "with status 3: no luck"),
    ],
)
def test_what_heals_by_itself_is_pending(found: dict, text: str):
    (seen,) = pods = [look(found)]
    assert (text in pending(pods, 1, None), "preemption" in seen.waits) == (True, False)
    assert failure(pods) == ""


@pytest.mark.parametrize("reason", BROKEN)
def test_what_somebody_has_to_look_at_is_a_failure(reason: str):
    pods = [look(waiting(reason, "said the kubelet"))]
    assert failure(pods) == BROKEN[reason].format(image="registry.example/digits:1", message="said the kubelet")
    assert failure([*pods, pod("b")]) == ""
    assert pending([*pods, pod("b")], 2, None).startswith("1 of 2 pods: ")


@pytest.mark.parametrize(
    ("last", "restarts", "text"),
    [
        (terminated(7, "INFO x\nerror: golden example 3 differs"), 0, "golden example 3 differs"),
        (terminated(3, "RuntimeError: no"), 2, "ended with status 3: RuntimeError: no"),
        (terminated(3, "RuntimeError: no"), 1, ""),
        (terminated(137, reason="OOMKilled"), 2, "it used more memory than resources.memory says, and was killed"),
        (terminated(137), 2, "it was killed (status 137), as happens where a node has no memory left"),
        (terminated(139), 2, "killed by signal 11"),
    ],
)
def test_ends_before_it_was_ready(last: dict, restarts: int, text: str):
    loop = waiting("CrashLoopBackOff", last=last, restarts=restarts)
    assert failure([look(loop)]) == text
    if restarts != 1:
        assert failure([look(shown(ready=False, last=last, restarts=restarts + 1))]) == text, "while it runs again"


def test_a_package_that_cannot_be_fetched_is_a_failure():
    first = {"name": "fetch", "restartCount": 3, "image": "x", "ready": False}
    first |= {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": terminated(4, "error: no package")}
    found = waiting("PodInitializing", status={"initContainerStatuses": [first]})
    assert failure([look(found)]) == "ended with status 4: no package"


def test_a_quota_is_told_and_nothing_more_once_all_pods_are_there():
    deployment = refusal(
        'pods "x" is forbidden: exceeded quota: small, requested: pods=1, used: pods=1, limited: pods=1'
    )
    assert pending([pod("a")], 2, deployment).startswith("1 of 2 pods: a quota of the namespace leaves no room")
    assert pending([pod("a")], 1, deployment) == ""
    assert pending([], 1, refusal("no account")) == "the cluster makes none: no account"
    assert pending([], 1, None) == "the cluster makes its pods"


@pytest.mark.parametrize("reason", DISRUPTIONS)
def test_disruptions_are_told(reason: str):
    condition = {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": "low on memory"}
    seen = look(shown(leaving=True, conditions=[condition]))
    (text,) = ends({"uid-a": pod("a")}, {"uid-a": seen}, ())
    assert text == DISRUPTIONS[reason].format(pod="pod a", node="node node-1", message="low on memory")


def test_ends_are_counted_once_and_those_that_were_asked_for_are_not():
    before, leaving = {"uid-a": pod("a")}, {"uid-a": pod("a", leaving=True)}
    assert ends(before, leaving, ()) == ["pod a was deleted by somebody else"]
    assert ends(leaving, {}, ()) == ends(leaving, leaving, ()) == []
    assert ends(before, leaving, ["a"]) == ends(before, {}, ["a"]) == []
    assert len(ends(before, {}, ())) == 1
    again = {"uid-a": look(shown(restarts=1, last=terminated(1, "no")))}
    assert ends(before, again, ()) == ["pod a: ended with status 1: no"]


def test_runs_of_a_container_end_when_the_cluster_says():
    first, died = 1795766405.0, 1795766465.0
    how = terminated(1, startedAt="2026-11-27T08:00:05Z", finishedAt="2026-11-27T08:01:05Z")
    runs, waits = look(shown()), look(waiting("CrashLoopBackOff", last=how))
    again = look(shown(last=how, state={"running": {"startedAt": "2026-11-27T08:02:05Z"}}))
    assert over(look(shown(state={})), runs, 0.0) == (look(shown(state={})), first), "it has begun"
    assert over(None, runs, 0.0) is over(runs, runs, 0.0) is over(again, again, 0.0) is None
    assert over(runs, waits, 0.0) == (runs, died)
    assert over(waits, again, 0.0) == (waits, died + 60.0)
    gone, at = over(None, again, 0.0) or (again, 0.0)
    assert (gone.name, gone.started, at) == ("a", first, died + 60.0), "what ended while nobody looked"
    failed = look(shown(state=how, phase="Failed"))
    assert over(runs, failed, 9.0) == (runs, died)
    assert over(failed, None, 9.0) is None
    assert over(runs, look(shown(phase="Failed")), 9.0) == (runs, 9.0) == over(runs, None, 9.0)


def test_what_a_pod_uses():
    usages = [{"cpu": "250m", "memory": "1536Ki"}, {"cpu": "500000000n", "memory": "1M"}, {"cpu": "?"}]
    cores, memory = used({"containers": [{"usage": each} for each in usages]})
    assert (round(cores, 6), memory) == (0.75, 1536 * 1024 + 1_000_000)
    assert used({}) == (0, 0)


statuses = st.fixed_dictionaries(
    {
        "ready": st.booleans(),
        "state": st.one_of(
            st.just({}),
            st.just({"running": {"startedAt": "2026-11-27T08:00:05Z"}}),
            st.builds(terminated, st.integers(0, 255), st.text()),
            st.builds(
                lambda reason, message: {"waiting": {"reason": reason, "message": message}},
                st.sampled_from([*BROKEN, *WAITS, "CrashLoopBackOff", "New"]),
                st.text(),
            ),
        ),
        "last": st.one_of(st.just({}), st.builds(terminated, st.integers(0, 255), st.text())),
        "restarts": st.integers(0, 5),
        "leaving": st.booleans(),
        "phase": st.sampled_from(["Pending", "Running", "Failed", "Succeeded", "Unknown"]),
        "ip": st.sampled_from(["", "10.0.0.7", "fd00::1"]),
        "conditions": st.lists(st.sampled_from([UNSCHEDULABLE, GATED]), max_size=1),
    }
)


@given(found=st.lists(statuses, max_size=3), want=st.integers(0, 3))
def test_every_pod_can_be_told(found: list[dict], want: int):
    pods = [look(shown(str(number), **each)) for number, each in enumerate(found)]
    for each in pods:
        made = replica(each, REVISION, IDENTITY, draining=False, reached=True)
        assert made is None or (made.phase == "ready") == (each.ready and each.here)
    failed = failure(pods)
    assert not (failed and any(each.ready and each.here for each in pods))
    assert "\n" not in failed + pending(pods, want, None)
