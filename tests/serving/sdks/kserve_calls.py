"""Run by KServe's own interpreter: every call of its clients, what it gave as JSON. Arguments: URL, gRPC address."""

import asyncio
import json
import sys

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

URL, GRPC = sys.argv[1:]
FLOWERS = np.array([[6.8, 2.8, 4.8, 1.4], [6.0, 3.4, 4.5, 1.6]])
FOUND: dict[str, object] = {}


def plain(value):
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value.decode() if isinstance(value, bytes) else value


def told(response):
    """The outputs and parameters; and that a KServe transformer could pass it on over gRPC and REST."""
    response.to_grpc()
    response.to_rest()
    return {output.name: plain(output.as_numpy()) for output in response.outputs}


async def note(name, call):
    try:
        found = await call
        FOUND[name] = told(found) if hasattr(found, "outputs") else found
    except Exception as error:
        FOUND[name] = f"{type(error).__name__}: {error}"


def flowers(binary, datatype="FP64", name="input-0"):
    item = InferInput(name=name, shape=[2, 4], datatype=datatype)
    item.set_data_from_numpy(FLOWERS, binary_data=binary)
    return item


async def v1():
    client = InferenceRESTClient(RESTConfig(protocol="v1", retries=0))
    names = ("sepal_length", "sepal_width", "petal_length", "petal_width")
    records = [dict(zip(names, row, strict=True)) for row in FLOWERS.tolist()]
    await note("v1 ready", client.is_model_ready(URL, "flowers"))
    for name, rows in (("lists", FLOWERS.tolist()), ("objects", records)):
        await note(f"v1 {name}", client.infer(URL, {"instances": rows}, model_name="flowers"))
    await note("v1 explain", client.explain(URL, "flowers", {"instances": records}))
    await note("v1 unknown", client.infer(URL, {"instances": records}, model_name="nobody"))
    await client.close()


async def v2():
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    await note("v2 live", client.is_server_live(URL))
    await note("v2 ready", client.is_server_ready(URL))
    await note("v2 model ready", client.is_model_ready(URL, "flowers"))
    for binary in (False, True):
        for outputs in (None, [RequestedOutput("label", parameters={"binary_data": not binary})]):
            request = InferRequest(
                model_name="flowers", infer_inputs=[flowers(binary)], request_outputs=outputs, request_id="7"
            )
            await note(f"v2 {binary} {outputs is None}", client.infer(URL, request, model_name="flowers"))
    body = {"inputs": [{"name": "predict", "shape": [2, 4], "datatype": "FP32", "data": FLOWERS.tolist()}]}
    await note("v2 dict", client.infer(URL, body, model_name="flowers"))
    columns = [InferInput(name="age", shape=[2, 1], datatype="FP64", data=[1.0, 2.0])]
    columns.append(InferInput(name="city", shape=[2, 1], datatype="BYTES"))
    columns[1].set_data_from_numpy(np.array([["Bern"], ["Zürich"]], object), binary_data=True)
    await note(
        "v2 columns", client.infer(URL, InferRequest(model_name="mixed", infer_inputs=columns), model_name="mixed")
    )
    await client.close()


async def rpc():
    client = InferenceGRPCClient(url=GRPC, retries=0)
    await note("grpc live", client.is_server_live())
    await note("grpc ready", client.is_server_ready())
    await note("grpc model ready", client.is_model_ready("flowers"))
    for raw in (False, True):
        request = InferRequest(model_name="flowers", infer_inputs=[flowers(raw)], request_id="8")
        await note(f"grpc {raw}", client.infer(request))
    await client.close()


async def main():
    await v1()
    await v2()
    await rpc()
    print(json.dumps(FOUND))


asyncio.run(main())
