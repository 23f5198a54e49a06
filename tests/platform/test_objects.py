"""Endpoints that are declared as objects of Kubernetes: the real API server and platform, stand-ins as replicas."""

import json

import httpx
import pytest

from argosy.platform.objects import Refusal, told
from argosy.spec.endpoint import Endpoint
from argosy.spec.settings import Home, Settings
from argosy.spec.status import EndpointStatus
from argosy.store import open_store
from argosy.store.endpoints import Progress
from argosy.targets.kubernetes.definition import API
from tests.kubernetes.plane import until
from tests.platform.up import STAND_IN_UP, started
from tests.store.samples import FILES, model_lineage, model_manifest, write_folder
from tests.targets.kubernetes.test_definition import endpoint, install

MERGE = {"content-type": "application/merge-patch+json"}


def view(**fields):
    declared = Endpoint(name="digits", model="digits:1")
    plain = {"name": "digits", "state": "ready", "model": "digits:1", "version": "digits:1", "digest": "d"}
    plain |= {"revision": "r1", "serving": "digits:1", "serving_revision": "r1", "replicas": 1, "ready": 1}
    return EndpointStatus(**plain | fields, endpoint=declared, generation=1, created="", updated="")


def conditions(status):
    return {each["type"]: (each["status"], each["reason"]) for each in status["conditions"]}


def test_status_tells_the_traffic_of_a_rollout_and_that_it_went_back():
    going = Progress(number=1, candidate="r2", stable="r1", held=1, phase="shifting", weight=5)
    versions = {"r1": "digits:1", "r2": "digits:2"}
    status = told(3, {}, view(state="updating", revision="r2"), going, versions, None)
    assert status["traffic"] == "digits:1 95 %, digits:2 5 %"
    assert conditions(status) == {
        "Ready": ("False", "Updating"),
        "Progressing": ("True", "Updating"),
        "RolledBack": ("False", "NotRolledBack"),
    }
    back = Progress(number=1, candidate="r2", stable="r1", held=1, phase="rolled-back", reason="it is slower")
    status = told(3, status, view(state="failed", revision="r2", reason="slower"), back, versions, None)
    assert status["traffic"] == "digits:1 100 %"
    assert conditions(status)["RolledBack"] == ("True", "RolledBack")
    assert {each["observedGeneration"] for each in status["conditions"]} == {status["observedGeneration"]} == {3}


def test_condition_that_stays_keeps_its_time():
    first = told(1, {}, view(), None, {}, None)
    for each in first["conditions"]:
        each["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    second = told(2, first, view(state="starting"), None, {}, None)
    times = {each["type"]: each["lastTransitionTime"] for each in second["conditions"]}
    assert times.keys() == {"Ready", "Progressing"}
    assert "2026-01-01T00:00:00Z" not in times.values()
    assert told(2, first, view(), None, {}, None)["conditions"][0]["lastTransitionTime"] == "2026-01-01T00:00:00Z"


def test_refused_declaration_says_what_still_serves():
    status = told(2, {}, view(), None, {}, Refusal(2, "Refused", "no model is named 'other'", 0.0))
    assert conditions(status)["Ready"] == ("False", "Refused")
    assert status["traffic"] == "digits:1 100 %"
    status = told(2, {}, view(), None, {}, Refusal(2, "DeclaredElsewhere", "twice", 0.0))
    assert conditions(status) == {"Ready": ("False", "DeclaredElsewhere")}
    assert "url" not in status


@pytest.fixture
def objects(kubernetes):
    install(kubernetes)
    return f"/apis/{API}/namespaces/{kubernetes.namespace()}/endpoints"


@pytest.fixture
def place(kubernetes, objects, tmp_path_factory):
    """A home whose platform follows the objects of a namespace."""
    home = Home(tmp_path_factory.mktemp("h")).create()
    cluster = {"kubeconfig": str(kubernetes.kubeconfig()), "namespace": objects.split("/")[-2], "image": "none"}
    home.config.write_text(json.dumps({"control": {"port": 0}, "gateway": {"port": 0}, "kubernetes": cluster}))
    store = open_store(home, Settings())
    folder = write_folder(home.root / "p", FILES | {"behaviour": b"ok"})
    store.add(folder, name="digits", manifest=model_manifest(), lineage=model_lineage())
    store.close()
    return home


@pytest.mark.slow
def test_objects_are_declared_and_what_became_of_them_is_told(kubernetes, objects, place):
    client = kubernetes.client()

    def ready(name, status="True", reason=None):
        """The status of an object, once its condition Ready is this one, for the generation that it has."""

        def found():
            seen = client.get(f"{objects}/{name}").raise_for_status().json()
            known = seen.get("status", {})
            now = {each["type"]: each for each in known.get("conditions", [])}.get("Ready", {})
            fits = now.get("status") == status and reason in (None, now["reason"])
            return known if fits and known["observedGeneration"] == seen["metadata"]["generation"] else None

        return until(found, f"Ready {status} of {name}")

    def change(name, **spec):
        client.patch(f"{objects}/{name}", content=json.dumps({"spec": spec}), headers=MERGE).raise_for_status()

    with started(place) as start:
        up = start(STAND_IN_UP).ready()
        up.call("PUT", "/v1/endpoints/own", {"model": "digits:1", "replicas": 1}, wait=60)
        for name, spec in (("digits", {}), ("other", {"model": "none:1"}), ("own", {})):
            client.post(objects, json=endpoint(name, **spec)).raise_for_status()
        status = ready("digits")
        assert (status["traffic"], status["replicas"], status["ready"]) == ("digits:1 100 %", 1, 1)
        assert status["url"] == up.call("GET", "/v1/endpoints/digits")["url"]
        refused = ready("other", "False", "Refused")
        assert "none" in next(each["message"] for each in refused["conditions"])
        assert "declared already" in ready("own", "False", "DeclaredElsewhere")["conditions"][0]["message"]
        for method in ("PUT", "DELETE"):
            answer = up.ask(
                method, "/v1/endpoints/digits", **({"json": {"model": "digits:1"}} if method == "PUT" else {})
            )
            assert answer.status_code == 409
            assert "is declared by an object of Kubernetes" in answer.text

        change("digits", replicas=2)
        assert ready("digits")["replicas"] == 2
        change("other", model="digits:1")
        ready("other")

        up.kill()
        client.delete(f"{objects}/other").raise_for_status()
        client.delete(f"{objects}/own").raise_for_status()
        before = client.get(f"{objects}/digits").json()["status"]
        up = start(STAND_IN_UP).ready()
        until(lambda: up.ask("GET", "/v1/endpoints/other").status_code == 404, "the end of what was deleted")
        assert up.call("GET", "/v1/endpoints/own")["state"] == "ready"
        assert up.call("GET", "/v1/endpoints/digits")["generation"] == 2, "a restart declares nothing anew"
        assert ready("digits")["conditions"] == before["conditions"]
        client.delete(f"{objects}/digits").raise_for_status()
        until(lambda: up.ask("GET", "/v1/endpoints/digits").status_code == 404, "the end of the endpoint")
        with pytest.raises(httpx.HTTPStatusError):
            client.get(f"{objects}/digits").raise_for_status()
        up.stop()


@pytest.mark.slow
def test_status_that_others_overwrite_is_written_again(kubernetes, objects, place):
    client = kubernetes.client()
    client.post(objects, json=endpoint("digits", replicas=0)).raise_for_status()

    def stopped():
        known = client.get(f"{objects}/digits").json().get("status", {}).get("conditions", [])
        return [each["reason"] for each in known if each["type"] == "Ready"] == ["Stopped"]

    with started(place) as start:
        up = start(STAND_IN_UP).ready()
        until(stopped, "its status")
        content = json.dumps({"status": {"conditions": []}})
        client.patch(f"{objects}/digits/status", content=content, headers=MERGE).raise_for_status()
        until(stopped, "its status again")
        up.stop()
