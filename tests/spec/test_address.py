"""An address is a Unix socket, or a host and port with or without TLS; nothing between."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.spec.address import Address, TlsIdentity, server_of
from argosy.spec.errors import InvalidArgument
from argosy.spec.strict import decode

IDENTITY = TlsIdentity(name="spiffe://p/replica", files="/tls")
NAMES = st.from_regex(r"[a-z0-9.:]{1,20}", fullmatch=True)
ADDRESSES = st.builds(Address, path=st.from_regex(r"/[a-z/.]{1,90}", fullmatch=True)) | st.builds(
    Address, host=NAMES, port=st.integers(1, 65535), tls=st.sampled_from([None, IDENTITY])
)


@given(ADDRESSES)
def test_json_says_it_whole_and_reads_back(address: Address):
    text = msgspec.json.encode(address)
    assert decode(text, Address, "it") == address
    said = msgspec.json.decode(text)
    assert set(said) - {"tls"} == ({"path"} if address.path else {"host", "port"})


@given(ADDRESSES, ADDRESSES)
def test_two_places_are_never_written_alike(one: Address, other: Address):
    same = msgspec.structs.replace(one, tls=None) == msgspec.structs.replace(other, tls=None)
    assert (str(one) == str(other)) == same


@pytest.mark.parametrize("url", ["http://h:1", "http://h:1/v1", "http://h:1/v2/models/digits/infer"])
def test_the_server_of_an_endpoint_is_what_stands_before_its_paths(url):
    assert server_of(url) == "http://h:1"


def test_a_host_is_this_machine_unless_another_is_given():
    assert Address(port=8000) == Address(host="127.0.0.1", port=8000)
    assert str(Address(host="::1", port=1)) == "[::1]:1"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"path": "/s", "port": 1}, "no port"),
        ({"path": "/s", "tls": {"name": "spiffe://p/r", "files": "/tls"}}, "no TLS"),
        ({"port": 65536}, "0 to 65535"),
        ({"host": "h", "port": 1, "tls": {"name": "r", "files": "/tls"}}, "must be spiffe"),
        ({"host": "h", "port": 1, "tls": {"name": "spiffe://p/r", "files": "tls"}}, "absolute"),
        ({"host": "h", "port": 1, "pid": 7}, "pid"),
    ],
)
def test_what_is_neither_is_refused(fields: dict[str, Any], why: str):
    with pytest.raises(InvalidArgument, match=why):
        decode(msgspec.json.encode(fields), Address, "it")
