"""How many connections one address may have: filter chains, each with a count of its own, among which an address's hash
chooses. Envoy counts connections of a chain, and of no address.

HTTP/1 and HTTP/2 are counted apart: a connection of HTTP/1 has one request at once, one of HTTP/2 as many as the
listener allows, which cost Envoy about 10 KB each until its event loop has come round. The whole of an IPv6 address is
hashed: who has a network of them has more than one share.
"""

from argosy.gateway.model import GatewayConfig
from argosy.gateway.xds import Resource, extension, seconds, typed

SHARES = 16
"""Into which the addresses of callers are divided: two whose hashes meet have one share together."""
HTTP2_CONNECTIONS = 80
"""Of one share, where it has a bound at all."""
FIRST_SECONDS = 5.0
"""From a connection to its first bytes, and from there to the end of its TLS handshake."""

INPUTS = "matching.common_inputs.network.v3"


def by_address(config: GatewayConfig, plain: Resource, multiplexed: Resource) -> Resource:
    """A listener's fields: the chain of HTTP/1 and that of HTTP/2, each once for each share of the addresses.

    Who connects and says nothing takes up no share, and ends soon.
    """
    kind = "tls_inspector.v3.TlsInspector" if config.tls else "http_inspector.v3.HttpInspector"
    name = f"envoy.filters.listener.{kind.partition('.')[0]}"
    one, two = _shares(config, "http1", plain), _shares(config, "http2", multiplexed)
    over_http2: Resource = {
        # What TLS offers or a preface says: 'h2' or 'h2c'.
        "input": extension("protocol", f"{INPUTS}.ApplicationProtocolInput"),
        "value_match": {"contains": "'h2"},
    }
    first = {"predicate": {"single_predicate": over_http2}, "on_match": _among(two)}
    return {
        "listener_filters": [extension(name, f"filters.listener.{kind}")],
        "listener_filters_timeout": seconds(FIRST_SECONDS),
        "filter_chains": [*one, *two],
        "filter_chain_matcher": {"matcher_list": {"matchers": [first]}, "on_no_match": _among(one)},
    }


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
    matchers = [{"predicate": _remainder(n), "on_match": _chain(chains[n])} for n in range(SHARES - 1, 0, -1)]
    return {"matcher": {"matcher_list": {"matchers": matchers}, "on_no_match": _chain(chains[0])}}


def _remainder(least: int) -> Resource:
    hashing = "matching.input_matchers.consistent_hashing.v3.ConsistentHashing"
    return {
        "single_predicate": {
            "input": extension("address", f"{INPUTS}.SourceIPInput"),
            "custom_match": extension("share", hashing, threshold=least, modulo=SHARES),
        }
    }


def _chain(chain: Resource) -> Resource:
    return {"action": {"name": "chain", "typed_config": typed("google.protobuf.StringValue", value=chain["name"])}}
