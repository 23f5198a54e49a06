import pytest

from argosy.cli import apply
from argosy.cli.runtime import OPTIONS, runtime_of
from argosy.spec.endpoint import Endpoint, Runtime
from argosy.spec.errors import BadPackage, DeadlineExceeded, InvalidArgument, NotFound


class FakeControl:
    """Answers `endpoint` and `get` from lists."""

    def __init__(self, endpoint=None, statuses=()):
        self._endpoint = endpoint
        self._statuses = list(statuses)

    def endpoint(self, name):
        if self._endpoint is None:
            raise NotFound("none")
        return {"endpoint": self._endpoint, "generation": 7}

    def get(self, path, **query):
        return self._statuses.pop(0)


def given_options(**options):
    empty = dict.fromkeys(
        (*(f"runtime_{field}" for field in OPTIONS), "target", "replicas", "timeout", "retries", "public", "follow")
    )
    return empty | options


def test_new_endpoint_has_defaults():
    found, generation = apply._declared(FakeControl(), "m:1", "m", given_options(replicas=2))
    assert generation == 0
    assert found == Endpoint(name="m", model="m:1", replicas=2)


def test_what_is_left_out_stays():
    old = {"name": "m", "model": "m:1", "replicas": 3, "timeout": 5.0, "runtime": {"threads": 2}}
    found, generation = apply._declared(
        FakeControl(old), "m:2", "m", given_options(timeout=7.0, runtime_max_batch_size=8)
    )
    assert (found.model, found.replicas, found.timeout) == ("m:2", 3, 7.0)
    assert found.runtime == Runtime(threads=2, max_batch_size=8)
    assert generation == 7


def test_follow_goes_with_an_alias_only():
    old = {"name": "m", "model": "m@champion", "follow": True}
    assert apply._declared(FakeControl(old), "m@next", "m", given_options())[0].follow
    assert not apply._declared(FakeControl(old), "m:2", "m", given_options())[0].follow


def test_every_runtime_field_has_an_option():
    assert set(OPTIONS) == set(Runtime.__struct_fields__)
    assert runtime_of(given_options()) == Runtime()


@pytest.mark.parametrize(("ref", "name"), [("m:1", "m"), ("m@champion", "m"), ("m", "m")])
def test_name(ref, name):
    assert apply._name(ref) == name


def test_digest_needs_a_name():
    with pytest.raises(InvalidArgument, match="--name"):
        apply._name("sha256:" + "0" * 64)


def status(state, ready=0, reason=""):
    return {"state": state, "ready": ready, "replicas": 2, "reason": reason}


def test_wait_tells_each_step_once():
    told = []
    steps = [status("starting"), status("starting"), status("starting", 1), status("ready", 2)]
    assert apply.settle(FakeControl(statuses=steps), "m", 60, told.append)["ready"] == 2
    assert told == ["starting: 0 of 2 replicas ready", "starting: 1 of 2 replicas ready"]


def test_wait_fails_with_the_reason():
    with pytest.raises(BadPackage, match="golden"):
        apply.settle(FakeControl(statuses=[status("failed", reason="golden examples differ")]), "m", 60, print)


def test_wait_ends():
    with pytest.raises(DeadlineExceeded, match="still starting after 0 s: slow"):
        apply.settle(FakeControl(statuses=[status("starting", reason="slow")]), "m", 0, lambda step: None)


@pytest.mark.parametrize("command", [("deploy", "m:1"), ("ps",), ("undeploy", "m"), ("keys", "list")])
def test_without_a_platform(run, place, command):
    result = run(*command)
    assert result.exit_code == 6
    assert f"no platform is running under {place.root}: start it with  argosy up -d" in result.stderr


def test_what_excludes_each_other(run):
    assert "exclude" in run("deploy", "m:1", "--no-wait", "--wait-timeout", 5).stderr
    assert "--json needs -d" in run("up", "--json").stderr
