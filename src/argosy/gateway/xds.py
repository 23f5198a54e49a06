"""Shorthand for Envoy's JSON: typed configurations, durations, file subscriptions, header lists."""

from typing import Any

Resource = dict[str, Any]
"""One Envoy message as plain JSON data."""
Files = dict[str, list[Resource]]
"""File name → the resources in it."""

TYPE = "type.googleapis.com/"
EXTENSIONS = "envoy.extensions."
CONTENT_JSON = "application/json"

POLL_SECONDS = 0.25
"""How often Envoy looks at a file it does not watch."""


def typed(message: str, **fields: Any) -> Resource:
    """A `google.protobuf.Any` of `message` (full protobuf name, without `type.googleapis.com/`)."""
    return {"@type": TYPE + message, **fields}


def extension(name: str, message: str, **fields: Any) -> Resource:
    """A named extension; `message` is relative to `envoy.extensions.`."""
    return {"name": name, "typed_config": typed(EXTENSIONS + message, **fields)}


def seconds(value: float) -> str:
    """Protobuf's JSON duration."""
    return f"{value:.9f}".rstrip("0").rstrip(".") + "s"


def file_source(path: str, *, polled: bool = False) -> Resource:
    """A subscription to one file. A rename into place is noticed at once, or within `POLL_SECONDS` if `polled`: a
    watched file takes one of a user's 128 inotify instances, and an Envoy that gets none aborts."""
    source = {"path": path} | ({"poll_interval": seconds(POLL_SECONDS)} if polled else {})
    return {"path_config_source": source, "resource_api_version": "V3", "initial_fetch_timeout": "5s"}


def set_header(name: str, value: str) -> Resource:
    """A header that replaces what was there."""
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
