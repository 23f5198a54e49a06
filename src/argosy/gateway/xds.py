"""Shorthand for Envoy's JSON: typed configurations, durations, file subscriptions, header lists."""

from typing import Any

Resource = dict[str, Any]
"""One Envoy message as plain JSON data."""

TYPE = "type.googleapis.com/"
EXTENSIONS = "envoy.extensions."
CONTENT_JSON = "application/json"


def typed(message: str, **fields: Any) -> Resource:
    """A `google.protobuf.Any` of `message` (full protobuf name, without `type.googleapis.com/`)."""
    return {"@type": TYPE + message, **fields}


def extension(name: str, message: str, **fields: Any) -> Resource:
    """A named extension; `message` is relative to `envoy.extensions.`."""
    return {"name": name, "typed_config": typed(EXTENSIONS + message, **fields)}


def seconds(value: float) -> str:
    """Protobuf's JSON duration."""
    return f"{value:.9f}".rstrip("0").rstrip(".") + "s"


def file_source(path: str) -> Resource:
    """A subscription to one file; only a rename into place is noticed."""
    return {"path_config_source": {"path": path}, "resource_api_version": "V3", "initial_fetch_timeout": "5s"}


def set_header(name: str, value: str) -> Resource:
    """A header that replaces what was there."""
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def body(text: str) -> Resource:
    """Inline text as a DataSource."""
    return {"inline_string": text}
