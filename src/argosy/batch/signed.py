"""A PUT to S3 that creates an object and never replaces one. Arrow's file systems cannot ask for that."""

import hashlib
import hmac
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

from argosy.spec.errors import Unavailable

TAKEN = (409, 412)
"""Answers that say the object is there, or that another one is being created this moment."""


def can_create(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the environment holds keys to sign with; those of a machine's own role are known to Arrow alone."""
    return bool(environ.get("AWS_ACCESS_KEY_ID") and environ.get("AWS_SECRET_ACCESS_KEY"))


def create(bucket: str, key: str, data: bytes, environ: Mapping[str, str] = os.environ) -> bool:
    """Store `data` under `key` unless an object is there. False: one is. Raises Unavailable.

    `If-None-Match: *` makes the store decide, so that of several writers exactly one is told True.
    """
    import httpx

    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    endpoint = environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL")
    base = (endpoint or f"https://s3.{region}.amazonaws.com").rstrip("/")
    path = "/" + quote(f"{bucket}/{key}", safe="/-_.~")
    headers = {
        "host": urlsplit(base).netloc,
        "if-none-match": "*",
        "x-amz-content-sha256": hashlib.sha256(data).hexdigest(),
        "x-amz-date": datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"),
    }
    if token := environ.get("AWS_SESSION_TOKEN"):
        headers["x-amz-security-token"] = token
    headers["authorization"] = _authorization("PUT", path, headers, region, environ)
    try:
        answer = httpx.put(base + path, content=data, headers=headers, timeout=30.0)
    except httpx.HTTPError as error:
        raise Unavailable(f"s3://{bucket}/{key} was not taken: {error or type(error).__name__}") from None
    if answer.status_code in TAKEN:
        return False
    if answer.status_code >= 300:
        raise Unavailable(f"s3://{bucket}/{key} was not taken: {answer.status_code} {answer.text[:300]}")
    return True


def _authorization(method: str, path: str, headers: Mapping[str, str], region: str, environ: Mapping[str, str]) -> str:
    """The header of AWS Signature Version 4 for a request without a query."""
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    request = "\n".join((method, path, "", lines, names, headers["x-amz-content-sha256"]))
    moment = headers["x-amz-date"]
    scope = f"{moment[:8]}/{region}/s3/aws4_request"
    to_sign = "\n".join(("AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(request.encode()).hexdigest()))
    key = b"AWS4" + environ["AWS_SECRET_ACCESS_KEY"].encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    credential = f"{environ['AWS_ACCESS_KEY_ID']}/{scope}"
    return f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"
