"""Objects in buckets, by address: `s3://bucket/key` (S3, and what speaks its protocol), `gs://bucket/key` (Google Cloud
Storage) and `az://container/key` (Azure Blob Storage).

Credentials, region and endpoint come from the environment as the tools of each provider have them; for S3:
`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION`, `AWS_ENDPOINT_URL`. Without keys there,
those of the profile in `~/.aws/credentials` are used, else the role of the machine, which is asked for at the first
request.

Every function raises NotFound, PermissionDenied or Unavailable with the address in its message.
"""

import configparser
import io
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

from argosy.spec.errors import NotFound, PermissionDenied, Unavailable, require

RETRIES = 5
"""Attempts after the first one, for requests that may be repeated."""
_KEYS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
PART = 8 * 1024 * 1024
_PARTS = 4
"""Bytes of a part of an upload, and how many of them are in memory at once."""


def obstore() -> Any:
    """The library. Raises MissingExtra."""
    for part in ("exceptions", "store"):
        require(f"obstore.{part}", "parquet", "Access to a bucket")
    return require("obstore", "parquet", "Access to a bucket")


@cache
def store(bucket: str, retries: int = RETRIES) -> Any:
    """The client of a bucket, such as `s3://data`, for this process."""
    settings: dict[str, Any] = {}
    if bucket.startswith("s3:"):
        settings["config"] = _profile() if "AWS_ACCESS_KEY_ID" not in os.environ else {}
        if endpoint := os.environ.get("AWS_ENDPOINT_URL_S3"):
            settings["config"]["aws_endpoint"] = endpoint
    options = {"allow_http": True, "connect_timeout": "5s", "timeout": "60s"}
    return obstore().store.from_url(bucket, client_options=options, retry_config={"max_retries": retries}, **settings)


def _profile() -> dict[str, str]:
    """The keys of the profile that AWS_PROFILE names; empty without."""
    profiles = configparser.ConfigParser(interpolation=None)
    profiles.read(os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or Path.home() / ".aws" / "credentials")
    name = os.environ.get("AWS_PROFILE", "default")
    return {key: profiles[name][key] for key in _KEYS if profiles.has_option(name, key)}


@contextmanager
def _at(url: str, retries: int = RETRIES) -> Generator[tuple[Any, str]]:
    """The client and the key of an object; what the store refuses is raised as an error of ours."""
    library = obstore()
    errors = library.exceptions
    bucket = _bucket(url)
    try:
        yield store(bucket, retries), url[len(bucket) + 1 :]
    except FileNotFoundError:
        raise NotFound(f"there is nothing at {url}") from None
    except errors.BaseError as error:
        text = " ".join(str(error).partition("Debug source")[0].split())[:300]
        if "NoSuchBucket" in text:
            raise NotFound(f"there is nothing at {url}: {text}") from None
        if "403 Forbidden" in text or isinstance(error, errors.PermissionDeniedError | errors.UnauthenticatedError):
            raise PermissionDenied(f"{url} may not be read or written: {text}") from None
        raise Unavailable(f"{url}: {text}") from None
    except OSError as error:
        raise Unavailable(f"{url}: {error}") from error


def _bucket(url: str) -> str:
    return "/".join(url.split("/")[:3])


def read(url: str) -> bytes:
    with _at(url) as (client, key):
        return bytes(obstore().get(client, key).bytes())


def stat(url: str) -> tuple[int, str]:
    """The size and the ETag of an object."""
    with _at(url) as (client, key):
        found = obstore().head(client, key)
    return found["size"], found["e_tag"] or ""


def stream(url: str, start: int = 0) -> Iterator[bytes]:
    """An object from the byte `start` to its end, by one request."""
    with _at(url) as (client, key):
        options = {"range": {"offset": start}} if start else None
        yield from map(bytes, obstore().get(client, key, options=options).stream())


def put(url: str, data: bytes | Path | Iterator[bytes]) -> None:
    """Store bytes, or a local file's, whole or not at all. Raises FileNotFoundError without such a file."""
    with data.open("rb") if isinstance(data, Path) else nullcontext(data) as source, _at(url) as (client, key):
        obstore().put(client, key, source, chunk_size=PART, max_concurrency=_PARTS)


def create(url: str, data: bytes) -> bool:
    """Store bytes unless an object is there; of several writers one gets True. The store decides. The request is made
    once: an answer that is lost must not turn into False."""
    library = obstore()
    with _at(url, retries=0) as (client, key):
        try:
            library.put(client, key, data, mode="create", use_multipart=False)
        except library.exceptions.AlreadyExistsError:
            return False
    return True


def delete(url: str) -> None:
    """Delete an object; nothing happens where there is none."""
    with _at(url) as (client, key):
        obstore().delete(client, key)


def walk(url: str) -> Iterator[str]:
    """The addresses of the objects below an address, in no order."""
    with _at(url) as (client, key):
        found = [one["path"] for page in obstore().list(client, key) for one in page]
    yield from (f"{_bucket(url)}/{path}" for path in found)


class ObjectFile(io.RawIOBase):
    """An object as a binary file; each `read` is one request for a range of bytes."""

    def __init__(self, url: str) -> None:
        self._url, self._position = url, 0
        self._size = stat(url)[0]

    def read(self, size: int = -1) -> Any:
        """The next bytes, as an object with the buffer protocol."""
        left = self._size - self._position
        size = left if size < 0 else min(size, left)
        if size <= 0:
            return b""
        with _at(self._url) as (client, key):
            data = obstore().get_range(client, key, start=self._position, length=size)
        self._position += size
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position of the next `read`."""
        self._position = offset + (0, self._position, self._size)[whence]
        return self._position

    def tell(self) -> int:
        """The position of the next `read`."""
        return self._position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
