"""What somebody who holds the control token of a platform on another machine tries, to run code there or to reach its
files, hosts and secrets. Each function gives requests of the control API, or parts of them, that must be refused."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

METADATA = "http://169.254.169.254/latest/meta-data/iam/security-credentials/"
ELSEWHERE = (
    "http://127.0.0.1/",
    "http://127.1/",
    "http://localhost/",
    "http://LOCALHOST./",
    "http://[::1]/",
    "http://0/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0177.0.0.1/",
    "http://017700000001/",
    "http://[::]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://0.0.0.0/",
    "http://[fe80::1%25eth0]/",
    "http://169.254.169.254.nip.io/",
    "http://2852039166/",
    "http://[fd00:ec2::254]/",
    "http://ⓔvil.example/",
    "http://evil。example/",
    "http://10.0.0.1/",
    "http://192.168.0.1/",
    "https://evil.example",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_x",
    "ftp://evil.example/",
    "unix:///run/x",
    "//evil.example/",
    "http://",
    "http:///x",
    "http:evil.example",
    "HTTP://evil.example/",
    "http://evil.example:99999/",
    "$",
    "$HOME$X",
)
"""Hosts of the machine, of its networks and of others, however an address can be written, and other schemes."""


def models(evil: Path) -> Iterator[str]:
    """Models that are no references of the registry: `evil` is a model file of the attacker's on the machine."""
    yield str(evil)
    yield str(evil.parent)
    yield f"/{evil}"
    yield f"file://{evil}"
    yield f"FILE:{evil}"
    yield f"../../../../../../..{evil}"
    yield from (
        "./evil.pkl",
        ".",
        "..",
        "~/evil.pkl",
        "~",
        "$HOME/evil.pkl",
        "${HOME}",
        "evil.pkl\x00",
        "%2fetc%2fpasswd",
    )
    yield from (
        "digits:1/../../evil",
        "digits@../evil",
        "digits:latest",
        "sha256:" + "z" * 64,
        "sha256:/etc/passwd",
        "",
    )
    yield from ("s3://bucket/model", "http://evil.example/model", "Digits:1", "digits:0", "digits:1\n", "digits:-1")


def places(root: Path, outside: Path) -> Iterator[str]:
    """Paths that do not lie below `root`, though some look so; `root/link` leads to the folder `outside`."""
    yield str(outside)
    yield str(outside / "rows.csv")
    yield f"{root}/../{outside.name}"
    yield f"{root}/./../{outside.name}/rows.csv"
    yield f"{root}evil/rows.csv"
    yield f"{root}/link"
    yield f"{root}/link/rows.csv"
    yield f"{root}/{{date}}/../../{outside.name}"
    yield f"/{root}"
    yield f"//{outside}"
    yield f"file://{root}"
    yield f"file://{outside}/rows.csv"
    yield f"FILE://{outside}/rows.csv"
    yield str(root).upper()
    yield str(outside).replace("/", "%2f")
    yield f"{root}/%2e%2e/{outside.name}/../../{outside.name}"
    yield f"{root}\x00/../{outside.name}"
    yield f"{root}/a\n/../../{outside.name}"
    yield from (
        "~/x",
        "~root/x",
        "$HOME/x",
        "${HOME}/x",
        "x",
        "./x",
        "../x",
        "/",
        "",
        "/proc/self/environ",
        "/dev/stdin",
    )
    yield from (
        "s3://bucket",
        "s3://bucket/",
        "s3://bucket/inside-evil/x",
        "s3://bucket/insid",
        "s3://bucket/inside/../x",
    )
    yield from (
        "s3://bucket-evil/inside/x",
        "s3://evil/inside",
        "s3://key:secret@bucket/inside",
        "S3://bucket/inside/x",
    )
    yield from (
        "s3://bucket?endpoint_override=evil/inside",
        "s3://BUCKET/inside",
        "s3:///bucket/inside",
        "s3://./bucket",
    )
    yield from ("http://127.0.0.1/x", "gs://bucket/inside", "hdfs://x/inside", "s3a://bucket/inside", "s3://bucket/./x")


def globs(root: Path, outside: Path) -> Iterator[str]:
    """Inputs with wildcards that lead out of `root`, where they may match."""
    yield f"{outside}/*"
    yield f"{root}/../*/rows.csv"
    yield f"{root.parent}/*/rows.csv"
    yield f"{root}*/rows.csv"
    yield from (
        "/**/*.csv",
        "/*",
        "s3://*/inside/x",
        "s3://bucket/*",
        "s3://bucket/inside*/x",
        "s3://buck[e]t/inside/x",
    )
    yield f"{root}/*/../../{outside.name}/*"


def urls(allowed: str) -> Iterator[str]:
    """Addresses of webhooks beside the `allowed` host."""
    yield METADATA
    yield f"http://{allowed}@evil.example/"
    yield f"http://{allowed}:80@evil.example/"
    yield f"http://evil.example#@{allowed}/"
    yield f"http://evil.example?@{allowed}/"
    yield f"http://evil.example\\@{allowed}/"
    yield f"http://evil.example/@{allowed}"
    yield f"http://{allowed}.evil.example/"
    yield f"http://evil{allowed}/"
    yield f"http://{allowed}%00.evil.example/"
    yield f"http://{allowed}%2eevil.example/"
    yield f"http://{allowed}:22/"
    yield f"http://{allowed}:6379/"
    yield f"http://{allowed}\r\n.evil.example/"
    yield f"http://{allowed} .evil.example/"
    yield f"http://{allowed}\t@evil.example/"
    yield from ELSEWHERE


def headers() -> Iterator[dict[str, str]]:
    """Headers that hold a secret, smuggle a request or say whom it is for."""
    for name in (
        "Authorization",
        "authorization",
        "Cookie",
        "X-Api-Key",
        "X-Anything",
        "Private-Token",
        "X-Forwarded-For",
    ):
        yield {name: "Bearer s3cr3t-literal"}
    yield {"Authorization": "$ALLOWED$OTHER"}
    yield {"Authorization": "Bearer  $ALLOWED"}
    yield {"Authorization": "prefix$ALLOWED"}
    yield {"Authorization": "${ALLOWED}"}
    yield {"X-Tail": "$ALLOWED literal"}
    for name in ("Host", "host", "Content-Length", "Transfer-Encoding", "Connection", "Proxy-Authorization", "Upgrade"):
        yield {name: "$ALLOWED"}
    yield {"X-A\r\nX-B": "$ALLOWED"}
    yield {"X-A": "x\r\nHost: evil"}
    yield {"X A": "$ALLOWED"}
    yield {"": "$ALLOWED"}


def variables() -> Iterator[str]:
    """References to variables that were not allowed."""
    yield from ("$SMTP_PASSWORD", "$AWS_SECRET_ACCESS_KEY", "$ARGOSY_STORE_DATABASE", "$HOME", "$PATH", "$ALLOWED_NOT")
    yield from ("$allowed", "$ALLOWE", "$_")


def job(name: str, **batch: Any) -> dict[str, Any]:
    """The body of `POST /v1/jobs`."""
    return {"name": name, "batch": {"model": "digits:1", "inputs": ["/in"], "output": "/out"} | batch}


def webhook(**run: Any) -> dict[str, Any]:
    """A declaration with one trigger that calls a webhook: the body of `PUT /v1/endpoints/{name}`."""
    hook = {"kind": "webhook", "url": "https://ci.example.org/hook"} | run
    rule = {"name": "t", "when": "realised_drop", "metric": "auroc", "against": 0.9, "run": hook}
    return {"model": "digits:1", "payload": {}, "monitor": {}, "triggers": [rule]}


def command(**run: Any) -> dict[str, Any]:
    """The same with a program."""
    declared = webhook()
    declared["triggers"][0]["run"] = {"kind": "command", "argv": ["/bin/sh", "-c", "id"]} | run
    return declared
