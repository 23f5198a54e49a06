"""SeaweedFS: a real server of the S3 protocol, for tests."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import msgspec
import pytest
from pyarrow import fs

from tests.ports import free

KEYS = {"AWS_ACCESS_KEY_ID": "reader", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}


@contextmanager
def running(place: Path, bucket: str) -> Iterator[str]:
    """The URL of a server with one bucket and one key, `KEYS`. Skips the test where it is not installed."""
    weed = shutil.which("weed", path=str(Path(sys.executable).parent))
    if weed is None:
        pytest.skip("SeaweedFS is not installed: make setup")
    keys = [{"accessKey": "reader", "secretKey": "secret"}]
    identity = {"name": "t", "credentials": keys, "actions": ["Admin", "Read", "Write", "List"]}
    (place / "s3.json").write_bytes(msgspec.json.encode({"identities": [identity]}))
    ports = {f"-{name}": free() for name in ("master.port", "volume.port", "filer.port", "s3.port")}
    grpc = {f"{name}.grpc": free() for name in ports}
    options = [f"{name}={port}" for name, port in (ports | grpc).items()]
    command = [weed, "server", "-ip=127.0.0.1", f"-dir={place}", "-s3", f"-s3.config={place / 's3.json'}", *options]
    with (place / "log").open("wb") as output:
        server = subprocess.Popen(
            [*command, "-s3.port.iceberg=0", "-s3.port.lance=0", "-volume.max=4", "-master.volumeSizeLimitMB=64"],
            stdout=output,
            stderr=output,
            cwd=place,
        )
    try:
        url = f"http://127.0.0.1:{ports['-s3.port']}"
        _wait(url, bucket, server, place / "log")
        yield url
    finally:
        server.kill()
        server.wait()


def files(url: str) -> fs.S3FileSystem:
    """The server's objects, and leave to make buckets."""
    return fs.S3FileSystem(
        access_key="reader", secret_key="secret", region="us-east-1", scheme="http",
        endpoint_override=url.removeprefix("http://"), allow_bucket_creation=True,
    )  # fmt: skip


def _wait(url: str, bucket: str, server: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end and server.poll() is None:
        try:
            httpx.get(url)
            files(url).create_dir(bucket)
            with files(url).open_output_stream(f"{bucket}/first") as stream:
                stream.write(b"x")
            return
        except (httpx.TransportError, OSError):
            time.sleep(0.2)
    raise AssertionError(log.read_text()[-2000:])
