"""LitServe: its API process and one worker process for the one device. `BENCH_BATCH` sets its `max_batch_size`."""

import os

import litserve as ls
import numpy as np
import onnxruntime as ort

DTYPES = {"FP32": np.float32, "INT64": np.int64, "INT32": np.int32}
NAMES = {np.dtype(v): k for k, v in DTYPES.items()}


class Onnx(ls.LitAPI):
    def setup(self, device):
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self.session = ort.InferenceSession(os.environ["BENCH_MODEL"], options, providers=["CPUExecutionProvider"])
        self.names = [o.name for o in self.session.get_outputs()]

    def decode_request(self, request):
        tensors = request["inputs"]
        return {t["name"]: np.array(t["data"], dtype=DTYPES[t["datatype"]]).reshape(t["shape"]) for t in tensors}

    def batch(self, inputs):
        return {name: np.concatenate([feed[name] for feed in inputs]) for name in inputs[0]}

    def predict(self, feed):
        return self.session.run(None, feed)

    def unbatch(self, outputs):
        return [[o[i : i + 1] for o in outputs] for i in range(len(outputs[0]))]

    def encode_response(self, outputs):
        tensors = [
            {"name": n, "shape": list(a.shape), "datatype": NAMES[a.dtype], "data": a.ravel().tolist()}
            for n, a in zip(self.names, outputs, strict=True)
        ]
        return {"model_name": "digits", "outputs": tensors}


if __name__ == "__main__":
    batch = int(os.environ.get("BENCH_BATCH", "1"))
    api = Onnx(api_path="/v2/models/digits/infer", max_batch_size=batch, batch_timeout=0.0)
    server = ls.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(
        host="127.0.0.1", port=int(os.environ["BENCH_PORT"]), num_api_servers=1,
        log_level="warning", access_log=False, generate_client_file=False,
    )  # fmt: skip
