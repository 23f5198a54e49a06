"""A small Open Inference Protocol server, correct unless told to be wrong: `reference("swallow-id")`.

Each fault is a mistake that real servers make. Requests are read and answers written by code of its own; the kit lends
it only `Tensor`, `pack` and the gRPC message classes.
"""

import math
import threading
import time
from typing import Any

from argosy_conformance.tensors import DATATYPES, Tensor

EXTENSIONS = ["binary_tensor_data", "model_repository", "model_configuration", "statistics"]


class Problem(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def demand(condition: Any, text: str, status: int = 400) -> None:
    if not condition:
        raise Problem(status, text)


def ports(*triples: tuple[str, str, list[int]]) -> list[dict[str, Any]]:
    return [{"name": name, "datatype": datatype, "shape": shape} for name, datatype, shape in triples]


def catalogue() -> dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
    free = [-1, -1]
    found = {
        "plain": (ports(("x", "FP32", free), ("k", "INT64", free)), ports(("a", "FP32", free), ("b", "INT64", free)))
    }
    for datatype in DATATYPES:
        found[f"identity_{datatype.lower()}"] = (ports(("x", datatype, free)), ports(("y", datatype, free)))
    for rank in (0, 1, 3):
        found[f"identity_fp32_{rank}d"] = (ports(("x", "FP32", [-1] * rank)), ports(("y", "FP32", [-1] * rank)))
    found["slow"] = (ports(("x", "FP32", free)), ports(("y", "FP32", free)))
    return found


class Service:
    """Everything under the transports."""

    def __init__(self, faults: frozenset[str]) -> None:
        self.faults = faults
        self.models = catalogue()
        self.unloaded: set[str] = set()
        self.draining = False
        self.counts = dict.fromkeys(self.models, 0)
        self.last: dict[str, Tensor] = {}
        self.queue: list[object] = []
        self.lock = threading.Lock()

    def model(self, name: str, version: str = "") -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        demand(name in self.models and name not in self.unloaded, f"unknown model '{name}'", 404)
        demand(version in ("", "1"), f"model '{name}' has no version '{version}'", 404)
        return self.models[name]

    def drain(self) -> None:
        """Once the request that is to be in flight has come."""
        end = time.monotonic() + 10
        while not self.queue and time.monotonic() < end:
            time.sleep(0.005)
        self.draining = "no-drain" not in self.faults

    def infer(
        self, name: str, tensors: list[Tensor], names: list[str], timeout: float | None = None, gone: Any = None
    ) -> list[Tensor]:
        inputs, outputs = self.model(name)
        demand(not self.draining, "draining", 503)
        given = {tensor.name: tensor for tensor in tensors}
        if not self.faults & {"trusting", "shapeless"}:
            check(inputs, tensors, given)
        if name == "slow":
            self.wait(timeout, gone)
        with self.lock:
            self.counts[name] += 1
        found = self.compute(inputs, outputs, given)
        if not names or "ignore-outputs" in self.faults:
            return list(found.values())
        demand(set(names) <= set(found), f"unknown output among {names}")
        return [found[each] for each in dict.fromkeys(names)]

    def compute(self, inputs: Any, outputs: Any, given: dict[str, Tensor]) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for taken, out in zip(inputs, outputs, strict=True):
            tensor = given.get(taken["name"]) or Tensor(taken["name"], taken["datatype"], (0, 0), b"")
            if "swap" in self.faults:
                time.sleep(0.002)
                tensor, self.last[taken["name"]] = self.last.get(taken["name"], tensor), tensor
            found[out["name"]] = tensor.renamed(out["name"])
        return found

    def wait(self, timeout: float | None, gone: Any) -> None:
        """One engine, 0.2 s a call, first come first served; whoever left or ran out of time is passed over."""
        end = time.monotonic() + timeout if timeout is not None else math.inf
        ticket = object()
        self.queue.append(ticket)
        try:
            while self.queue[0] is not ticket and time.monotonic() < end:
                time.sleep(0.005)
            demand(gone is None or not gone() or "deaf" in self.faults, "the caller left")
            left = end - time.monotonic()
            time.sleep(max(0.0, min(0.2, left)))
            demand(left > 0.2, "out of time", 500 if "late" in self.faults else 504)
        finally:
            self.queue.remove(ticket)


def check(inputs: list[dict[str, Any]], tensors: list[Tensor], given: dict[str, Tensor]) -> None:
    demand(len(given) == len(tensors), "an input is given twice")
    for port in inputs:
        tensor = given.get(port["name"])
        demand(tensor is not None, f"input '{port['name']}' is missing")
        assert tensor is not None
        demand(tensor.datatype == port["datatype"], f"input '{port['name']}' is no {tensor.datatype}")
        demand(len(tensor.shape) == len(port["shape"]), f"input '{port['name']}' has another rank")
    demand(set(given) == {port["name"] for port in inputs}, "an input the model does not have")
