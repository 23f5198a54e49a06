"""SkyPilot as a provider, against a stand-in of its Python API. No cloud is asked."""

import types

import msgspec
import pytest

from argosy.spec.errors import InvalidArgument, MissingExtra, RateLimited, Unavailable
from argosy.spec.offer import Launch, Offer
from argosy.spec.settings import Settings
from argosy.spec.supply import SupplySettings
from argosy.supply import providers
from argosy.supply.provider import Provider
from argosy.supply.sky import SkyProvider

OFFER = Offer(provider="aws", region="us-east-1", zone="us-east-1a", instance="g6.xlarge", market="spot", price=0.3)
LAUNCH = Launch(id="argosy-1f-aa", offer=OFFER, asked=50.0)


class ResourcesUnavailableError(Exception):
    pass


class ClusterDoesNotExist(Exception):
    pass


class Resources:
    def __init__(self, infra, instance_type, use_spot):
        if instance_type == "nonsense":
            raise ValueError("Invalid instance type")
        (_, self.region, self.zone), self.instance_type, self.use_spot = infra.split("/"), instance_type, use_spot

    def get_cost(self, seconds):
        return 0.35 * seconds / 3600


class Task:
    def __init__(self, name):
        self.name = name

    def set_resources(self, resources):
        self.resources = resources


class Api:
    """What `sky` has of functions: each gives a request, which `get` waits for."""

    Task, Resources = Task, Resources
    StatusRefreshMode = types.SimpleNamespace(AUTO="auto")

    def __init__(self):
        self.clusters, self.requests, self.launched, self.reaches = {}, {}, [], True

    def _request(self, do):
        if not self.reaches:
            raise ConnectionError("the API server does not answer")
        name = f"r{len(self.requests)}"
        try:
            self.requests[name] = ("SUCCEEDED", do())
        except Exception as error:
            self.requests[name] = ("FAILED", error)
        return name

    def launch(self, task, cluster_name, retry_until_up):
        assert not retry_until_up
        self.launched.append(cluster_name)

        def do():
            if task.resources.instance_type == "scarce":
                raise ResourcesUnavailableError("no capacity in us-east-1a")
            handle = types.SimpleNamespace(launched_resources=task.resources, head_ip=None)
            status = types.SimpleNamespace(name="INIT")
            self.clusters[cluster_name] = {
                "name": cluster_name, "cloud": "AWS", "status": status, "launched_at": 60, "handle": handle
            }  # fmt: skip

        return self._request(do)

    def status(self, refresh):
        assert refresh == "auto"
        return self._request(lambda: list(self.clusters.values()))

    def down(self, name):
        def do():
            if name not in self.clusters:
                raise ClusterDoesNotExist(name)
            del self.clusters[name]

        return self._request(do)

    def api_status(self, request_ids, all_status):
        assert all_status
        return [
            types.SimpleNamespace(status=types.SimpleNamespace(name=self.requests[each][0])) for each in request_ids
        ]

    def get(self, request):
        status, said = self.requests[request]
        if status == "FAILED":
            raise said
        return said

    def serves(self, name):
        self.clusters[name]["status"] = types.SimpleNamespace(name="UP")
        self.clusters[name]["handle"].head_ip = "203.0.113.7"


@pytest.fixture
def api():
    return Api()


@pytest.fixture
def provider(api):
    found: Provider = SkyProvider("aws", "argosy-1f-", api)
    return found


def test_a_launch_is_a_cluster_of_its_name_at_the_price_that_is_billed(api, provider):
    asked = provider.launch(LAUNCH)
    assert (asked.state, asked.machine) == ("starting", LAUNCH.id)
    provider.launch(LAUNCH)
    assert api.launched == [LAUNCH.id]
    (found,) = provider.list()
    assert (found.id, found.state, found.started, found.address) == (LAUNCH.id, "starting", 60.0, "")
    api.serves(LAUNCH.id)
    (found,) = provider.list()
    assert (found.state, found.address, found.offer) == ("ready", "203.0.113.7", OFFER)
    assert found.price == pytest.approx(0.35)
    provider.end(LAUNCH)
    provider.end(LAUNCH)
    assert (provider.list(), provider.events()) == ([], [])


def test_after_a_restart_the_cluster_is_found_by_its_name(api, provider):
    provider.launch(LAUNCH)
    (found,) = SkyProvider("aws", "argosy-1f-", api).list()
    assert (found.id, found.offer.region, found.offer.market) == (LAUNCH.id, "us-east-1", "spot")
    assert (found.offer.instance, round(found.offer.price, 2)) == ("g6.xlarge", 0.35)
    assert SkyProvider("gcp", "argosy-1f-", api).list() == []
    assert SkyProvider("aws", "argosy-other-", api).list() == []


def test_a_launch_without_capacity_has_failed(provider):
    scarce = msgspec.structs.replace(LAUNCH, offer=msgspec.structs.replace(OFFER, instance="scarce"))
    provider.launch(scarce)
    (found,) = provider.list()
    assert (found.state, found.id) == ("failed", LAUNCH.id)
    assert "ResourcesUnavailableError: no capacity" in found.reason


def test_a_cluster_that_is_gone_was_taken_back(api, provider):
    provider.launch(LAUNCH)
    api.serves(LAUNCH.id)
    provider.list()
    assert provider.events() == []
    del api.clusters[LAUNCH.id]
    provider.list()
    (event,) = provider.events()
    assert (event.launch, event.kind) == (LAUNCH.id, "preempted")
    assert provider.events() == []


def test_what_is_no_machine_is_refused_and_a_server_that_is_away_leaves_it_open(api, provider):
    wrong = msgspec.structs.replace(LAUNCH, offer=msgspec.structs.replace(OFFER, instance="nonsense"))
    with pytest.raises(InvalidArgument, match="SkyPilot does not take nonsense in aws/us-east-1/us-east-1a"):
        provider.launch(wrong)
    api.reaches = False
    for call in (lambda: provider.launch(LAUNCH), provider.list, lambda: provider.end(LAUNCH)):
        with pytest.raises(Unavailable, match="ConnectionError: the API server does not answer"):
            call()


def test_a_quota_that_is_spent_at_once(api, provider, monkeypatch):
    def none(*_, **__):
        raise ResourcesUnavailableError("quota")

    monkeypatch.setattr(api, "launch", none)
    with pytest.raises(RateLimited, match="ResourcesUnavailableError: quota"):
        provider.launch(LAUNCH)


def test_without_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sky", None)
    with pytest.raises(MissingExtra, match="needs the extra 'sky'"):
        SkyProvider("aws").list()


def test_the_settings_name_its_clouds():
    found = providers.of(Settings(supply=SupplySettings(sky=("aws", "gcp"))))
    assert [(name, each.name, type(each)) for name, each in found.items()] == [
        ("aws", "aws", SkyProvider),
        ("gcp", "gcp", SkyProvider),
    ]
