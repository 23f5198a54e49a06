"""What the virtual host says about keys: who they are, what they may reach, how often. It travels with the routes."""

import math
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from importlib.resources import files
from typing import Any

from argosy.gateway import clusters
from argosy.gateway.model import ApiKey, GatewayConfig, Upstream
from argosy.process.envoy import EXTENSIONS, Resource, seconds, set_header, typed
from argosy.serving.internal_headers import KEY
from argosy.spec.limits import Limits

NOBODY: Mapping[str, str] = {}
NOTHING = "-"
"""A scope that is no endpoint's name."""
EVERYBODY = {"max_tokens": 2**32 - 1, "tokens_per_fill": 2**32 - 1, "fill_interval": "1s"}
"""Envoy insists on a bucket for requests that meet no other: one that is never empty."""
QUOTA_LIMITS = Limits(connections=8)
QUOTA_HEADERS = [
    set_header(name, f"%DYNAMIC_METADATA(argosy.quota:{field})%")
    for name, field in (
        ("x-ratelimit-limit-tokens", "limit-tokens"),
        ("x-ratelimit-remaining-tokens", "remaining-tokens"),
        ("x-ratelimit-reset-tokens", "reset-tokens"),
        ("x-argosy-quota", "state"),
    )
]
"""Of answers to keys whose tokens are limited: what is left, and that it could not be asked."""
FREE_RATE, FREE_RATE_OF_ALL = 50, 200
"""Answers a second without a key, of one route."""
FREE_ADDRESSES = 1000
"""Whose buckets are kept."""
DEVICE_RATE, DEVICE_RATE_OF_ALL = 500, 2000
"""Requests of devices a second."""


def key_check(keys: tuple[ApiKey, ...], peers: Mapping[str, str] = NOBODY) -> Resource:
    """The main Lua filter's script. `peers` has the secrets of other regions' gateways, with the regions."""
    return _script(keys, lua("admit"), peers)


def named_check(keys: tuple[ApiKey, ...], peers: Mapping[str, str] = NOBODY) -> Resource:
    """The main Lua filter's script for gRPC calls whose endpoint is in their first message."""
    return _script(keys, lua("admit") + lua("name"), peers)


def first_check(keys: tuple[ApiKey, ...], peers: Mapping[str, str] = NOBODY, *, anybody: bool) -> Resource:
    """The script of the Lua filter that lets a gRPC call's first message be read: for known keys, or for `anybody`."""
    return _script(keys, f"local OPEN = {str(anybody).lower()}\n" + lua("first"), peers)


def _script(keys: tuple[ApiKey, ...], source: str, peers: Mapping[str, str] = NOBODY) -> Resource:
    """The keys in front of a script. Not its `filter_context`: Envoy copies that for every request."""
    rows = (
        f"{hash} {key.id} {','.join(sorted(set(key.scopes))) or NOTHING} {_rate(key)} {key.limits or NOTHING}\n"
        for key in sorted(keys, key=lambda each: each.id)
        for hash in (key.sha256, key.also)
        if hash
    )
    regions = "".join(f'["{token}"]="{region}",' for token, region in sorted(peers.items()))
    known = f"local KEYS = [==[\n{''.join(rows)}]==]\nlocal PEERS = {{{regions}}}\n"
    script = f"{known}{lua('refuse')}{lua('keys')}{source}"
    return typed(EXTENSIONS + "filters.http.lua.v3.LuaPerRoute", source_code={"inline_string": script})


def language(config: GatewayConfig) -> Resource:
    """The script of the Lua filter for requests to language models."""
    return {"inline_string": lua("refuse") + quota(config) + lua("language")}


@cache
def lua(name: str) -> str:
    """A Lua source of this room."""
    return (files("argosy.gateway") / "lua" / f"{name}.lua").read_text("utf-8")


def quota(config: GatewayConfig) -> str:
    """The Lua function `reserve`, for a script that has `refuse.lua` before it."""
    name = quota_pool(config)[0] if config.quota else ""
    return f"local QUOTA = '{name}'\n{lua('quota')}"


def quota_pool(config: GatewayConfig) -> tuple[str, Resource, tuple[Upstream, ...]]:
    """Name, cluster and the one host of the process that gives leases of tokens."""
    return clusters.beside("quota", config.quota, QUOTA_LIMITS)


def _rate(key: ApiKey) -> str:
    """What `serving/grpc.py` reads: a bucket of its own for the messages of the key's streams."""
    if key.requests_per_second is None:
        return NOTHING
    burst = key.burst if key.burst is not None else max(1, math.ceil(key.requests_per_second))
    return f"{key.requests_per_second!r};{burst}"


def rate_limits(keys: tuple[ApiKey, ...]) -> Resource | None:
    """A token bucket for each limited key; a request of any other key meets no bucket. None where no key is limited."""
    limited = sorted((key for key in keys if key.requests_per_second is not None), key=lambda each: each.id)
    if not limited:
        return None
    action = {"request_headers": {"header_name": KEY, "descriptor_key": "key", "skip_if_absent": True}}
    return _local_rate_limit(
        descriptors=[
            {"entries": [{"key": "key", "value": key.id}], "token_bucket": token_bucket(key)} for key in limited
        ],
        rate_limits=[{"actions": [action], "x_ratelimit_option": "DRAFT_VERSION_03"}],
        enable_retry_after_header=True,
    )


def free_limits() -> Resource:
    """Of answers over HTTP/2 that need no key: a bucket for each address (of IPv6 each /64), and one for all."""
    http2 = {"key": "protocol", "value": "HTTP/2"}
    expression = typed(EXTENSIONS + "rate_limit_descriptors.expr.v3.Descriptor", descriptor_key="protocol")
    protocol = {"extension": {"name": "protocol", "typed_config": {**expression, "text": "request.protocol"}}}
    network = {"masked_remote_address": {"v6_prefix_mask_len": 64}}
    return _local_rate_limit(
        descriptors=[
            {"entries": [http2, {"key": "masked_remote_address"}], "token_bucket": _each_second(FREE_RATE)},
            {"entries": [http2], "token_bucket": _each_second(FREE_RATE_OF_ALL)},
        ],
        rate_limits=[{"actions": [protocol, network]}, {"actions": [protocol]}],
        max_dynamic_descriptors=FREE_ADDRESSES,
    )


def device_limits() -> Resource:
    """Of devices: a bucket for each address (of IPv6 each /64), behind which a whole site may be, and one for all."""
    network = {"masked_remote_address": {"v6_prefix_mask_len": 64}}
    device = {"generic_key": {"descriptor_key": "path", "descriptor_value": "devices"}}
    entry = {"key": "path", "value": "devices"}
    return _local_rate_limit(
        descriptors=[
            {"entries": [entry, {"key": "masked_remote_address"}], "token_bucket": _each_second(DEVICE_RATE)},
            {"entries": [entry], "token_bucket": _each_second(DEVICE_RATE_OF_ALL)},
        ],
        rate_limits=[{"actions": [device, network]}, {"actions": [device]}],
        max_dynamic_descriptors=FREE_ADDRESSES,
        enable_retry_after_header=True,
    )


def _local_rate_limit(**more: Any) -> Resource:
    """A filter that limits only what its descriptors name."""
    return typed(
        EXTENSIONS + "filters.http.local_ratelimit.v3.LocalRateLimit",
        stat_prefix="argosy",
        token_bucket=EVERYBODY,
        always_consume_default_token_bucket=False,
        filter_enabled=_always("argosy.rate_limit_enabled"),
        filter_enforced=_always("argosy.rate_limit_enforced"),
        rate_limited_as_resource_exhausted=True,
        **more,
    )


def _each_second(rate: int) -> Resource:
    return {"max_tokens": 2 * rate, "tokens_per_fill": rate, "fill_interval": "1s"}


def token_bucket(key: ApiKey) -> Resource:
    """`requests_per_second` as whole tokens in a whole number of milliseconds, at least 50 of them."""
    rate = Fraction(key.requests_per_second or 0).limit_denominator(1000)
    tokens, interval = rate.numerator, float(rate.denominator)
    burst = key.burst if key.burst is not None else max(1, -(-rate.numerator // rate.denominator))
    return {"max_tokens": burst, "tokens_per_fill": tokens, "fill_interval": seconds(interval)}


def _always(runtime_key: str) -> Resource:
    return {"default_value": {"numerator": 100, "denominator": "HUNDRED"}, "runtime_key": runtime_key}
