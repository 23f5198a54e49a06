"""BentoML: one service, one worker, its typed API; the request body is the same, since its keys are the arguments."""

import os

import bentoml
import numpy as np
import onnxruntime as ort
from pydantic import BaseModel

DTYPES = {"FP32": np.float32, "INT64": np.int64, "INT32": np.int32}
NAMES = {np.dtype(v): k for k, v in DTYPES.items()}


class Tensor(BaseModel):
    name: str
    shape: list[int]
    datatype: str
    data: list[float] | list[int]


class InferResponse(BaseModel):
    model_name: str
    outputs: list[Tensor]


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Digits:
    def __init__(self) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self.session = ort.InferenceSession(os.environ["BENCH_MODEL"], options, providers=["CPUExecutionProvider"])
        self.names = [o.name for o in self.session.get_outputs()]

    @bentoml.api(route="/v2/models/digits/infer")
    def infer(self, inputs: list[Tensor]) -> InferResponse:
        feed = {t.name: np.array(t.data, dtype=DTYPES[t.datatype]).reshape(t.shape) for t in inputs}
        outputs = self.session.run(None, feed)
        tensors = [
            Tensor(name=n, shape=list(a.shape), datatype=NAMES[a.dtype], data=a.ravel().tolist())
            for n, a in zip(self.names, outputs, strict=True)
        ]
        return InferResponse(model_name="digits", outputs=tensors)
