"""The key of an endpoint, kept for its owner under the home when the endpoint is deployed."""

import os
import tempfile
from pathlib import Path

import msgspec

from argosy.spec.settings import Home


class SavedKey(msgspec.Struct, frozen=True):
    """`keys/ENDPOINT.json` in the home: the id of the key, the key itself, and the URL it was given for."""

    id: str
    key: str
    url: str = ""


def save(place: Home, endpoint: str, saved: SavedKey) -> Path:
    """Write the key, readable by its owner alone from its first byte on."""
    path = _path(place, endpoint)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    number, fresh = tempfile.mkstemp(".new", f"{endpoint}.", path.parent)
    with os.fdopen(number, "wb") as file:
        file.write(msgspec.json.encode(saved))
    os.replace(fresh, path)
    return path


def find(place: Home, endpoint: str) -> SavedKey | None:
    """The saved key of an endpoint, if there is one."""
    try:
        return msgspec.json.decode(_path(place, endpoint).read_bytes(), type=SavedKey)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


def forget(place: Home, key_id: str) -> None:
    """Delete whatever was saved of a key."""
    for path in (place.root / "keys").glob("*.json"):
        saved = find(place, path.stem)
        if saved is not None and saved.id == key_id:
            path.unlink(missing_ok=True)


def _path(place: Home, endpoint: str) -> Path:
    return place.root / "keys" / f"{endpoint}.json"
