"""Run by MLServer's own interpreter: what its codecs and types send and read, as JSON. Arguments: URL, gRPC address."""

import json
import sys
import urllib.error
import urllib.request

import grpc
import numpy as np
import pandas as pd
from mlserver.codecs import Base64Codec, NumpyCodec, NumpyRequestCodec, PandasCodec, StringCodec
from mlserver.grpc import dataplane_pb2_grpc
from mlserver.grpc.converters import ModelInferRequestConverter, ModelInferResponseConverter
from mlserver.types import (
    InferenceRequest,
    InferenceResponse,
    MetadataModelResponse,
    MetadataServerResponse,
    Parameters,
    RepositoryIndexResponse,
    RequestOutput,
)

URL, GRPC = sys.argv[1:]
NAMES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
FLOWERS = np.array([[6.8, 2.8, 4.8, 1.4], [6.0, 3.4, 4.5, 1.6]])
AGES = NumpyCodec.encode_input("age", np.array([1.0, 2.0]))
TABLE = pd.DataFrame({"city": pd.Series(["Bern", "Zürich"], dtype=object), "age": [1.0, 2.0]})
CALLS = {
    "numpy": ("flowers", NumpyRequestCodec.encode_request(FLOWERS)),
    "numpy input": ("flowers", InferenceRequest(inputs=[NumpyCodec.encode_input("predict", FLOWERS.astype("f4"))])),
    "outputs": (
        "flowers",
        InferenceRequest(
            inputs=[NumpyCodec.encode_input("x", FLOWERS)],
            outputs=[RequestOutput(name="label", parameters=Parameters(content_type="str"))],
        ),
    ),
    "pandas": ("flowers", PandasCodec.encode_request(pd.DataFrame(FLOWERS, columns=NAMES)[NAMES[::-1]])),
    "pandas mixed": ("mixed", PandasCodec.encode_request(TABLE)),
    "pandas texts": ("mixed", PandasCodec.encode_request(TABLE, use_bytes=False)),
    "base64": (
        "mixed",
        InferenceRequest(inputs=[AGES, Base64Codec.encode_input("city", [b"Bern", "Zürich".encode()])]),
    ),
    "texts": ("mixed", InferenceRequest(inputs=[AGES, StringCodec.encode_input("city", ["Bern", "Zürich"])])),
}


def asked(path, body=None):
    request = urllib.request.Request(URL + path, data=body, headers={"content-type": "application/json"})
    return urllib.request.urlopen(request, timeout=30).read()


def told(response):
    texts = {"BYTES": StringCodec.decode_output}
    numbers = lambda output: NumpyCodec.decode_output(output).tolist()  # noqa: E731
    return {output.name: texts.get(output.datatype, numbers)(output) for output in response.outputs}


found = {}
for name, (model, request) in CALLS.items():
    try:
        body = asked(f"/v2/models/{model}/infer", request.model_dump_json().encode())
        found[name] = told(InferenceResponse.model_validate_json(body))
    except urllib.error.HTTPError as error:
        found[name] = error.read().decode()
found["metadata"] = MetadataModelResponse.model_validate_json(asked("/v2/models/flowers")).name
found["server"] = MetadataServerResponse.model_validate_json(asked("/v2")).name
found["index"] = [
    item.name for item in RepositoryIndexResponse.model_validate_json(asked("/v2/repository/index", b"{}")).root
]
stub = dataplane_pb2_grpc.GRPCInferenceServiceStub(grpc.insecure_channel(GRPC))
for raw in (False, True):
    message = ModelInferRequestConverter.from_types(CALLS["numpy"][1], model_name="flowers", use_raw=raw)
    found[f"grpc {raw}"] = told(ModelInferResponseConverter.to_types(stub.ModelInfer(message, timeout=30)))
print(json.dumps(found))
