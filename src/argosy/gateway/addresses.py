"""How many connections one address may have: filter chains, each with a count of its own, among which an address's hash
selects. Envoy counts connections of a chain, and of no address. Of an IPv6 address the network (/64) counts.

HTTP/1 and HTTP/2 are counted apart: a connection of HTTP/1 has one request at once, one of HTTP/2 as many as the
listener allows, which cost Envoy 10 to 16 KB each until its event loop has come round.
"""

import socket
import sys

from argosy.gateway.model import GatewayConfig
from argosy.process.envoy import Resource, extension, seconds, typed

SHARES = 16
"""Into which the addresses of callers are divided: two whose hashes meet have one share together."""
HTTP2_CONNECTIONS = 80
"""Of one share, where it has a bound at all."""
KERNEL_SECONDS = 30
"""How long the kernel keeps a connection without bytes from Envoy."""
FIRST_SECONDS = 2.0
"""How long Envoy waits for the first bytes of a connection that the kernel gave it without."""
INPUTS = "matching.common_inputs.network.v3"
NETWORK = "argosy.network"
"""The filter state with the caller's network: of IPv4 the address."""


def by_address(config: GatewayConfig, plain: Resource, multiplexed: Resource) -> Resource:
    """A listener's fields: the chains of HTTP/1 and of HTTP/2, each once for each share of the addresses."""
    kind = "tls_inspector.v3.TlsInspector" if config.tls else "http_inspector.v3.HttpInspector"
    name = f"envoy.filters.listener.{kind.partition('.')[0]}"
    one, two = _shares(config, "http1", plain), _shares(config, "http2", multiplexed)
    over_http2: Resource = {
        # What TLS offers or a preface says: 'h2' or 'h2c'.
        "input": extension("protocol", f"{INPUTS}.ApplicationProtocolInput"),
        "value_match": {"contains": "'h2"},
    }
    first = {"predicate": {"single_predicate": over_http2}, "on_match": _among(two)}
    network = {"text_format_source": {"inline_string": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(64)%"}}
    state = extension(
        "envoy.filters.listener.set_filter_state",
        "filters.listener.set_filter_state.v3.Config",
        on_accept=[{"object_key": NETWORK, "factory_key": "envoy.string", "format_string": network}],
    )
    return {
        "socket_options": _socket_options(),
        "listener_filters": [state, extension(name, f"filters.listener.{kind}")],
        "listener_filters_timeout": seconds(FIRST_SECONDS),
        "filter_chains": [*one, *two],
        "filter_chain_matcher": {"matcher_list": {"matchers": [first]}, "on_no_match": _among(one)},
    }


def _socket_options() -> list[Resource]:
    """Connections without bytes stay in the kernel, which holds 4,096 (`somaxconn`) before it gives Envoy any."""
    if sys.platform != "linux":
        return []
    option = {"level": str(socket.IPPROTO_TCP), "name": str(socket.TCP_DEFER_ACCEPT), "state": "STATE_LISTENING"}
    return [{"description": "TCP_DEFER_ACCEPT", **option, "int_value": str(KERNEL_SECONDS)}]


def _shares(config: GatewayConfig, name: str, chain: Resource) -> list[Resource]:
    most = config.max_connections_per_address
    if most >= config.max_connections:
        return [{**chain, "name": name}]
    limit = extension(
        "envoy.filters.network.connection_limit",
        "filters.network.connection_limit.v3.ConnectionLimit",
        stat_prefix=name,
        max_connections=str(min(most, HTTP2_CONNECTIONS) if name == "http2" else most),
    )
    return [{**chain, "name": f"{name}-{n}", "filters": [limit, *chain["filters"]]} for n in range(SHARES)]


def _among(chains: list[Resource]) -> Resource:
    """A matcher is asked for the hash's remainder of at least so much, so that the first that fits is the share."""
    if len(chains) == 1:
        return _chain(chains[0])
    address = extension("network", f"{INPUTS}.FilterStateInput", key=NETWORK)
    hashing = "matching.input_matchers.consistent_hashing.v3.ConsistentHashing"
    matchers: list[Resource] = []
    for least in range(SHARES - 1, 0, -1):
        remainder = extension("share", hashing, threshold=least, modulo=SHARES)
        predicate = {"single_predicate": {"input": address, "custom_match": remainder}}
        matchers.append({"predicate": predicate, "on_match": _chain(chains[least])})
    return {"matcher": {"matcher_list": {"matchers": matchers}, "on_no_match": _chain(chains[0])}}


def _chain(chain: Resource) -> Resource:
    return {"action": {"name": "chain", "typed_config": typed("google.protobuf.StringValue", value=chain["name"])}}
