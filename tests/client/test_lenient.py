import msgspec
import numpy as np
import pytest

from argosy.client.session import decode_response
from argosy.protocol import rest
from argosy.spec.errors import InvalidArgument
from argosy.spec.tensor import tensor


def test_nulls_unknown_keys_and_nested_parameters():
    body = {
        "id": None,
        "model_name": "m",
        "model_version": None,
        "parameters": None,
        "raw_outputs": None,
        "outputs": [
            {
                "name": "y",
                "shape": [2],
                "datatype": "FP64",
                "data": [1.0, 2.0],
                "parameters": {"content_type": "np", "headers": {"a": "b"}},
                "extra": 1,
            }
        ],
    }
    found = decode_response(msgspec.json.encode(body))
    assert (found.model_name, found.model_version, found.id) == ("m", None, None)
    assert found.tensors[0].array.tolist() == [1, 2]


def test_binary_parts_survive_the_tidying():
    y = tensor("y", np.arange(3, dtype="f4"))
    body, length = rest.encode_response(rest.Response("m", "1", [y]), [True])
    head = msgspec.json.decode(body[:length]) | {"parameters": None}
    text = msgspec.json.encode(head)
    found = decode_response(text + body[length:], len(text))
    assert found.tensors[0].array.tobytes() == y.array.tobytes()


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"outputs": 3}', b"\xff", b'{"outputs": [{"name": 1}]}'])
def test_what_is_no_response(body):
    with pytest.raises(InvalidArgument):
        decode_response(body)
