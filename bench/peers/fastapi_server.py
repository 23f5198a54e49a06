"""FastAPI + onnxruntime + uvicorn (uvloop, httptools), typed with pydantic both ways.

`BENCH_STYLE=pool` (the default) declares the handler with `def`, FastAPI's own advice for work that blocks;
`inline` declares it `async def`, which saves the thread hop for tiny models and blocks the loop for large ones.
"""

import os

import numpy as np
import onnxruntime as ort
import uvicorn
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

NAMES = {"tensor(float)": "FP32", "tensor(int64)": "INT64", "tensor(int32)": "INT32"}
DTYPES = {"FP32": np.float32, "INT64": np.int64, "INT32": np.int32}


class Tensor(BaseModel):
    name: str
    shape: list[int]
    datatype: str
    data: list[float] | list[int]


class InferRequest(BaseModel):
    id: str | None = None
    inputs: list[Tensor]


class InferResponse(BaseModel):
    model_name: str
    id: str | None = None
    outputs: list[Tensor]


def open_session() -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return ort.InferenceSession(os.environ["BENCH_MODEL"], options, providers=["CPUExecutionProvider"])


session = open_session()
inputs = {i.name: NAMES[i.type] for i in session.get_inputs()}
outputs = [(o.name, NAMES[o.type]) for o in session.get_outputs()]
app = FastAPI()


def predict(request: InferRequest) -> InferResponse:
    try:
        if any(inputs[t.name] != t.datatype for t in request.inputs):
            raise HTTPException(400, "wrong datatype")
        feed = {t.name: np.array(t.data, dtype=DTYPES[t.datatype]).reshape(t.shape) for t in request.inputs}
    except (KeyError, ValueError) as e:
        raise HTTPException(400, str(e)) from e
    answer = zip(outputs, session.run(None, feed), strict=True)
    tensors = [
        Tensor.model_construct(name=name, shape=list(a.shape), datatype=datatype, data=a.ravel().tolist())
        for (name, datatype), a in answer
    ]
    return InferResponse.model_construct(model_name="digits", id=request.id, outputs=tensors)


if os.environ.get("BENCH_STYLE", "pool") == "inline":

    @app.post("/v2/models/digits/infer")
    async def infer(request: InferRequest) -> InferResponse:
        return predict(request)

else:

    @app.post("/v2/models/digits/infer")
    def infer(request: InferRequest) -> InferResponse:
        return predict(request)


if __name__ == "__main__":
    workers = int(os.environ.get("BENCH_WORKERS", "1"))
    target = app if workers == 1 else "fastapi_server:app"
    uvicorn.run(
        target, host="127.0.0.1", port=int(os.environ["BENCH_PORT"]), workers=workers,
        loop="uvloop", http="httptools", access_log=False, log_level="warning",
    )  # fmt: skip
