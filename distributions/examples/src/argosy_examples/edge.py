"""`argosy demo --edge`: three devices, one of them offline, a good update that all commit, a bad one that none does."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import zstandard

from argosy.client.control import ControlClient
from argosy.packaging.push import push
from argosy.spec.errors import Unavailable
from argosy.spec.fleet import Deployment, DeviceTrial, Wave
from argosy.spec.settings import Home, load
from argosy.spec.tensor import Array
from argosy.store import open_store
from argosy_examples import filetypes
from argosy_examples import home as homes
from argosy_examples.devices import Callers, Device, namespace
from argosy_examples.loop import Link
from argosy_examples.needs import require

FLEET, MODEL, COUNT = "demo", "filetypes", 3
PATIENCE, LOOK = 100.0, 0.5
"""Seconds that a deployment may take; seconds between two looks."""
OFFLINE = 15.0
"""Seconds that one device is offline at least."""
PAUSE = 0.04
TRIAL = DeviceTrial(rows=60, seconds=3.0, longest=90.0, then="rollback")
NOISE = 0.002
"""How much of their size the weights of the last layer differ in the good update."""

Report = Callable[[str], None]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it: each step; bytes that were sent for each deployment, and of the whole model, compressed."""

    links: tuple[Link, ...]
    sent: dict[str, int]
    full: int
    namespaces: bool
    seconds: float

    @property
    def good(self) -> bool:
        """Whether every step held."""
        return all(each.held for each in self.links)


def changed(source: Path, target: Path, change: Callable[[Array], Array]) -> None:
    """The network with another last layer: the weights and biases that give a number for each label."""
    onnx: Any = require("onnx")
    model = onnx.load(str(source))
    labels = model.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    last = [one for one in model.graph.initializer if one.dims and one.dims[-1] == labels]
    if not last:
        raise Unavailable(f"{source} has no last layer of {labels} labels")
    for one in last:
        array = onnx.numpy_helper.to_array(one)
        one.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(change(array), array.dtype), one.name))
    onnx.save(model, str(target))


def trained(array: Array) -> Array:
    """As after some more training: each weight a little different."""
    noise = np.random.default_rng(0).standard_normal(int(array.size))
    return array * (1 + NOISE * noise.reshape(array.shape))


def permuted(array: Array) -> Array:
    """As with labels in another order: loads, answers, and is wrong."""
    return np.take(array, np.random.default_rng(1).permutation(array.shape[-1]), axis=-1)


class EdgePlayer:
    """Plays it on the platform of a home. `report` takes a line for each step. The devices run until it is left."""

    def __init__(self, place: Home, gateway: str, report: Report) -> None:
        self._home, self._gateway, self._report = place, gateway, report
        self._control = ControlClient(place, timeout=60)
        self._links: list[Link] = []
        self._devices: list[Device] = []
        self._ends = contextlib.ExitStack()

    def __enter__(self) -> "EdgePlayer":
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def play(self) -> Outcome:
        """All of it. Raises what the platform raises where it cannot even begin."""
        began = time.monotonic()
        self._report("preparing three versions of the model")
        case = filetypes.prepare(homes.work(self._home), self._report)
        full = self._push(case)
        devices = self._fleet()
        first = self._deploy("first", 1, (Wave(share=1.0),))
        done = self._until(first, "done", devices)
        have = self._have()
        told = f"{len(have)} devices run {MODEL}:1, {_bytes(self._sent(first))} sent"
        self._hold("first", told, done and len(have) == COUNT)
        if not self._links[-1].held:
            raise Unavailable("the first model is not on all devices: see above what they say")
        requests = [list(each) for each in case.requests()]
        with httpx.Client(trust_env=False) as client:
            self._wait(lambda: not any(each.ask(client, MODEL, requests[0]) for each in devices))
        with Callers(devices, MODEL, requests, PAUSE) as callers:
            good = self._good(devices, callers)
            bad = self._bad(devices)
        self._answers(callers)
        sent = {name: self._sent(number) for name, number in (("first", first), ("good", good), ("bad", bad))}
        told = f"{_bytes(sent['good'])} for the good update on {COUNT} devices, {_bytes(COUNT * full)} in full"
        self._hold("bytes", told, 0 < sent["good"] < COUNT * full)
        return Outcome(
            links=tuple(self._links),
            sent=sent,
            full=full,
            namespaces=all(each.place for each in devices),
            seconds=time.monotonic() - began,
        )

    def _push(self, case: Any) -> int:
        """Versions 1, 2 and 3. Bytes of a whole one, compressed."""
        work = homes.work(self._home)
        fresh, wrong = work / "trained.onnx", work / "permuted.onnx"
        changed(case.source, fresh, trained)
        changed(case.source, wrong, permuted)
        store = open_store(self._home, load(self._home))
        try:
            for source in (case.source, fresh, wrong):
                push(source, name=MODEL, store=store, options=case.options, report=self._report)
        finally:
            store.close()
        return len(zstandard.compress(fresh.read_bytes(), 19))

    def _fleet(self) -> list[Device]:
        """Three devices of a fleet, their agents running."""
        self._control.post("/v1/fleets", {"name": FLEET, "actor": "argosy demo"})
        token = self._control.post(f"/v1/fleets/{FLEET}/tokens", {"uses": COUNT, "seconds": 3600})["token"]
        work = homes.work(self._home)
        for number in range(1, COUNT + 1):
            name = f"device-{number}"
            one = Device(name, work / name, self._gateway, namespace(number))
            self._devices.append(one)
            self._ends.callback(one.end)
            one.enrol(FLEET, token)
            one.start()
        where = "network namespaces" if all(each.place for each in self._devices) else "plain processes"
        self._hold("enrolled", f"{COUNT} devices, each with a key of its own, as {where}", True)
        return self._devices

    def _good(self, devices: list[Device], callers: Callers) -> int:
        """The good update, while the last device is offline: it serves on, and takes the update when it is back."""
        away = devices[-1]
        before = callers.answered[away.name]
        away.relay.cut()
        cut = time.monotonic()
        self._report(f"    {away.name} is offline")
        number = self._deploy("good", 2, (Wave(share=1.0),))
        others = self._wait(lambda: len(self._have(2)) >= COUNT - 1)
        while time.monotonic() - cut < OFFLINE:
            time.sleep(LOOK)
        served = callers.answered[away.name] - before
        told = f"{away.name} answered {served} requests with {away.status()['committed']['ref']}; "
        told += f"the others have {MODEL}:2" if others else f"the others have {self._have()}"
        self._hold("offline", told, others and served > 0 and away.name not in self._have(2))
        away.relay.mend()
        self._report(f"    {away.name} is online again")
        done = self._until(number, "done", devices)
        self._hold(
            "good",
            f"{MODEL}:2 is committed on {', '.join(self._have(2)) or 'none'}",
            done and len(self._have(2)) == COUNT,
        )
        return number

    def _bad(self, devices: list[Device]) -> int:
        """The bad update: it loads and passes its self-test; the first wave finds out, and there is no second one."""
        number = self._deploy("bad", 3, (Wave(devices=1), Wave(share=1.0)))
        self._wait(lambda: self._status(number)["state"] not in ("running", "paused") or bool(self._have(3)))
        status = self._status(number)
        tried = [f"{each.name}: {denied['why']}" for each in devices for denied in each.status()["denied"]]
        states = ", ".join(f"{count} {name}" for wave in status["states"] for name, count in wave.items())
        told = f"deployment {status['state']}: {status['reason']}; {states}"
        held = status["state"] not in ("running", "done") and not self._have(3)
        self._hold("bad", told, held)
        for line in tried:
            self._report(f"    {line}")
        self._hold("rolled back", tried[0] if tried else "no device has rolled it back", len(tried) == 1)
        return number

    def _answers(self, callers: Callers) -> None:
        """No user of a device has noticed any of it."""
        answered, failed = sum(callers.answered.values()), callers.failed
        told = f"{answered} requests answered, {len(failed)} not{f' ({failed[0]})' if failed else ''}; "
        told += f"the longest gap of a device was {callers.longest:.2f} s"
        self._hold("serves", told, answered > 0 and not failed)

    def _deploy(self, what: str, version: int, waves: tuple[Wave, ...]) -> int:
        declared = Deployment(fleet=FLEET, model=f"{MODEL}:{version}", waves=waves, seconds=1.0, reports=1, trial=TRIAL)
        body = msgspec.to_builtins(declared) | {"actor": "argosy demo", "reason": f"the {what} one"}
        number = self._control.post(f"/v1/fleets/{FLEET}/deployments", body)["number"]
        self._report(f"    deployment {number} of {MODEL}:{version} has begun")
        return number

    def _status(self, number: int) -> dict[str, Any]:
        return self._control.get(f"/v1/fleets/{FLEET}/deployments/{number}")

    def _sent(self, number: int) -> int:
        return self._status(number)["sent"]

    def _have(self, version: int = 1) -> list[str]:
        """The devices that have committed a version, by what they reported."""
        deployments = self._control.get(f"/v1/fleets/{FLEET}/deployments")
        digests = {each["package"] for each in deployments if each["ref"] == f"{MODEL}:{version}"}
        devices = self._control.get(f"/v1/fleets/{FLEET}/devices")
        return [each["id"] for each in devices if each["committed"] in digests]

    def _until(self, number: int, state: str, devices: list[Device]) -> bool:
        """Wait for the state of a deployment; where it does not come, tell what the agents say."""
        if self._wait(lambda: self._status(number)["state"] == state):
            return True
        status = self._status(number)
        self._report(f"    deployment {number} is {status['state']}: {status['reason']}")
        for each in devices:
            self._report(f"    {each.name}:\n{each.said()}")
        return False

    def _wait(self, there: Callable[[], bool]) -> bool:
        until = time.monotonic() + PATIENCE
        while not (found := there()) and time.monotonic() < until:
            time.sleep(LOOK)
        return found

    def _hold(self, name: str, told: str, held: bool) -> None:
        self._links.append(Link(name=name, told=told, held=held))
        self._report(f"{'ok' if held else 'fail'}  {name}: {told}")


def _bytes(count: int) -> str:
    return f"{count / 1e6:.2f} MB"
