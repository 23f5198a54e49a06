"""Machines of a cloud through SkyPilot's Python API (extra `sky`), a cluster of one node for each launch.

A cluster is named by the launch, so that a launch which is repeated finds its own. SkyPilot's catalogue is read as any
other is; the price of a machine is what SkyPilot says of the cluster that it made. Tested against a stand-in of the
API, and against no cloud.
"""

import threading
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from argosy.spec.errors import ArgosyError, InvalidArgument, RateLimited, Unavailable, require
from argosy.spec.offer import Launch, Offer
from argosy.supply.provider import Event

STATES = {"INIT": "starting", "PENDING": "starting", "UP": "ready", "AUTOSTOPPING": "ending", "STOPPED": "ended"}


class SkyProvider:
    """One cloud of those that SkyPilot launches on; `prefix` begins the names of our launches. Calls are made one at a
    time: the API server of SkyPilot keeps one order."""

    def __init__(self, cloud: str, prefix: str = "argosy-", api: Any = None) -> None:
        self.name, self._prefix, self._sky = cloud, prefix, api
        self._lock = threading.Lock()
        self._asked: dict[str, tuple[Launch, str]] = {}
        self._serving: dict[str, bool] = {}
        self._taken: list[Event] = []

    @property
    def _api(self) -> Any:
        if self._sky is None:
            self._sky = require("sky", "sky", f"the provider '{self.name}'")
        return self._sky

    def offers(self) -> Sequence[Offer]:
        """None beside those of the cloud's catalogue."""
        return ()

    def quota(self, offer: Offer) -> int | None:
        """SkyPilot does not say: a launch that finds none is refused."""
        return None

    def launch(self, launch: Launch) -> Launch:
        """Ask for a cluster. What becomes of it, `list` says: SkyPilot answers before it has found a machine."""
        offer = launch.offer
        place = "/".join(part for part in (self.name, offer.region, offer.zone) if part)
        api = self._api
        try:
            task = api.Task(name=launch.id)
            task.set_resources(
                api.Resources(infra=place, instance_type=offer.instance, use_spot=offer.market == "spot")
            )
        except Exception as error:
            raise InvalidArgument(f"SkyPilot does not take {offer.instance} in {place}: {_words(error)}") from None
        with self._lock:
            if launch.id not in self._asked:
                asked = self._call("launch", task, cluster_name=launch.id, retry_until_up=False)
                self._asked[launch.id] = (launch, asked)
        return msgspec.structs.replace(launch, state="starting", machine=launch.id)

    def list(self) -> Sequence[Launch]:
        """Clusters of ours, with those that were asked for here and have failed."""
        with self._lock:
            mode = self._api.StatusRefreshMode.AUTO
            clusters = {each["name"]: each for each in self._get(self._call("status", refresh=mode))}
            found = [self._machine(name, each) for name, each in clusters.items() if self._ours(name, each)]
            for name in [name for name in self._asked if name not in clusters]:
                launch, request = self._asked[name]
                if (reason := self._failed(request)) is not None:
                    found.append(msgspec.structs.replace(launch, state="failed", machine=name, reason=reason))
            self._notice({each.id: each.state == "ready" for each in found})
            return found

    def end(self, launch: Launch) -> None:
        """Take the cluster down, and wait until SkyPilot has."""
        name = launch.id or launch.machine
        with self._lock:
            self._asked.pop(name, None)
            self._serving.pop(name, None)
            try:
                self._get(self._call("down", name))
            except ArgosyError as error:
                if "DoesNotExist" not in error.message:
                    raise

    def events(self) -> Sequence[Event]:
        """Clusters that served at the last list but one and were gone at the last. SkyPilot gives no notice."""
        with self._lock:
            found, self._taken = self._taken, []
            return found

    def _ours(self, name: str, cluster: Any) -> bool:
        return name.startswith(self._prefix) and str(cluster.get("cloud") or self.name).lower() == self.name

    def _machine(self, name: str, cluster: Any) -> Launch:
        """A cluster, as it stands. Its resources and address are of its handle, which SkyPilot keeps to itself: what is
        not there is left out."""
        handle = cluster.get("handle")
        resources = getattr(handle, "launched_resources", None)
        known, _ = self._asked.get(name, (None, ""))
        offer = known.offer if known else self._offer(resources, cluster)
        state: Any = STATES.get(getattr(cluster["status"], "name", str(cluster["status"])), "starting")
        at = float(cluster["launched_at"])
        return Launch(
            id=name,
            offer=offer,
            asked=known.asked if known else at,
            state=state,
            machine=name,
            address=str(getattr(handle, "head_ip", None) or ""),
            price=float(resources.get_cost(3600)) if resources is not None else offer.price,
            started=at,
        )

    def _offer(self, resources: Any, cluster: Any) -> Offer:
        """Of a cluster that this process did not ask for."""
        region = str(getattr(resources, "region", None) or cluster.get("region") or "")
        spot = bool(getattr(resources, "use_spot", False))
        price = float(resources.get_cost(3600)) if resources is not None else 0.0
        instance = str(getattr(resources, "instance_type", None) or "")
        zone = str(getattr(resources, "zone", None) or "")
        market: Any = "spot" if spot else "on_demand"
        return Offer(provider=self.name, region=region, zone=zone, instance=instance, market=market, price=price)

    def _failed(self, request: str) -> str | None:
        """Why a request for a cluster that is not there has ended; None while it is under way."""
        (said,) = self._call("api_status", request_ids=[request], all_status=True) or (None,)
        status = getattr(getattr(said, "status", None), "name", str(getattr(said, "status", "")))
        if status in ("PENDING", "RUNNING"):
            return None
        try:
            self._get(request)
        except ArgosyError as error:
            return error.message
        return "SkyPilot does not have it any more"

    def _notice(self, now: dict[str, bool]) -> None:
        gone = [name for name, served in self._serving.items() if served and not now.get(name, False)]
        self._taken += [Event(launch=name, kind="preempted", at=time.time()) for name in gone]
        self._serving = now

    def _get(self, request: Any) -> Any:
        return self._call("get", request)

    def _call(self, name: str, *arguments: Any, **more: Any) -> Any:
        """A call of the API. Raises RateLimited where there is no capacity or quota, Unavailable for all else: whether
        it was done, the next list says."""
        try:
            return getattr(self._api, name)(*arguments, **more)
        except ArgosyError:
            raise
        except Exception as error:
            kind = RateLimited if "ResourcesUnavailable" in type(error).__name__ else Unavailable
            raise kind(f"SkyPilot's {name} for '{self.name}': {_words(error)}") from None


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]
