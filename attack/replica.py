"""`python -m attack.replica FOLDER`: a replica with models that answer what they are given, for attacks on all but the
engine. Prints its addresses, then serves until its input ends. `FOLDER`: listen on Unix sockets there; `-`: on TCP."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

from argosy.engines.base import Engine
from argosy.serving.config import ModelConfig, ReplicaConfig
from argosy.serving.model import ServedModel
from argosy.serving.server import Replica
from argosy.spec.address import Address
from argosy.spec.endpoint import Runtime
from argosy.spec.signature import Signature, TensorSpec

MODELS = {
    "rows": ("FP32", (-1, 4)),
    "floats": ("FP32", (-1, -1)),
    "doubles": ("FP64", (-1, -1)),
    "longs": ("INT64", (-1, -1)),
    "bytes": ("UINT8", (-1, -1)),
    "flags": ("BOOL", (-1, -1)),
    "texts": ("BYTES", (-1, -1)),
}
"""Name → datatype and shape of its input `x` and its output `y`, which is `x`."""


class Same(Engine):
    """Answers its input."""

    releases_gil = True

    def __init__(self, datatype: str, shape: tuple[int, ...]) -> None:
        self.signature = Signature(
            inputs=(TensorSpec(name="x", datatype=datatype, shape=shape),),
            outputs=(TensorSpec(name="y", datatype=datatype, shape=shape),),
        )

    def predict(self, inputs: Any) -> list[np.ndarray[Any, Any]]:
        """The input."""
        return [inputs["x"]]

    def close(self) -> None:
        """Nothing is held."""


async def _load(config: ModelConfig, runtime: Runtime) -> ServedModel:
    return ServedModel(config.name, config.version, Same(*MODELS[config.name]), runtime, platform="test", inline=True)


async def main(folder: str) -> None:
    """Serve."""
    http, grpc = (Address() if folder == "-" else Address(path=str(Path(folder) / name)) for name in ("http", "grpc"))
    models = tuple(ModelConfig(name=name, package="-") for name in MODELS)
    replica = Replica(ReplicaConfig(models=models, http=http, grpc=grpc, runtime=Runtime(body_timeout=5.0)), _load)
    addresses = await replica.start()
    print(json.dumps([str(address) for address in addresses]), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await replica.drain()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
