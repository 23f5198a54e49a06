"""Engines for tests: they answer what they are given, or misbehave on demand."""

import threading
import time

import numpy as np

from argosy.engines.base import Engine
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import DATATYPES


class Identity(Engine):
    """`y` is `x`. Records the rows of each call; waits `seconds`, fails on a first element of -1, hangs on `gate`."""

    releases_gil = True

    def __init__(self, datatype="FP32", shape=(-1, -1), seconds=0.0, batched=True):
        self.signature = Signature(
            inputs=(TensorSpec(name="x", datatype=datatype, shape=shape),),
            outputs=(TensorSpec(name="y", datatype=datatype, shape=shape),),
            batched=batched,
        )
        self.seconds = seconds
        self.calls: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.closed = False

    def predict(self, inputs):
        x = inputs["x"]
        self.calls.append(x.shape[0] if x.ndim else 1)
        self.gate.wait(30)
        if self.seconds:
            time.sleep(self.seconds)
        if x.dtype.kind == "f" and x.size and (x.reshape(-1) == -1).any():
            raise ValueError("-1 is not for me")
        return [np.array(x, copy=True)]

    def close(self):
        self.closed = True


def identities():
    """An identity engine a datatype, by the names the conformance kit looks for."""
    return {f"identity_{datatype.lower()}": Identity(datatype) for datatype in DATATYPES}
