"""Cheap inputs to all that is no replica: each of at most 1 MB on the wire, made to cost as much as it can.

Gateway and activator are reached through Envoy, all else at the control port. Some need a key or the token: what
their holder may do is not theirs to overdo.
"""

import gzip
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from attack import http2, wire
from attack.inputs import MB, Rest

if TYPE_CHECKING:
    from attack.platform import Door, Platform

FIT, SMALL = 990_000, 262_000
"""Bytes of a body, beside its head; of one that declares something."""


def filled(head: bytes, item: bytes, tail: bytes, size: int = FIT) -> bytes:
    """JSON of so many items as fit, with commas between."""
    count = (size - len(head) - len(tail)) // (len(item) + 1)
    return head + b",".join([item] * count) + tail


def numbered(head: bytes, item: str, tail: bytes, size: int = FIT) -> bytes:
    """The same where each item has a number of its own."""
    parts, left, number = [], size - len(head) - len(tail), 0
    while (left := left - len(part := (item % number).encode()) - 1) > 0:
        parts.append(part)
        number += 1
    return head + b",".join(parts) + tail


small_filled, small_numbered = partial(filled, size=SMALL), partial(numbered, size=SMALL)


def heads(size: int = 15_000) -> bytes:
    """The begin of a head of this size."""
    return b"GET /v2 HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * size


def gateway(to: "Platform") -> Iterator[Rest]:
    """At Envoy, without a key and with one."""
    digits, unread = "/v2/models/digits/infer", b"GET /v2 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    yield Rest("no key: half heads, 66 of 15 KB", heads, read=False, times=66, worst=True)
    yield Rest("no key: heads of 15 KB, one after the other", lambda: (heads() + b"\r\n\r\n") * 60)
    yield Rest("no key: a body of 1 MB", lambda: to.request("POST", digits, b"x" * FIT, key="no"))
    yield Rest("no key: requests sent ahead, unread", lambda: unread * (MB // len(unread)), read=False)
    yield Rest("no key: long keys", lambda: to.request("POST", digits, key="k" * 500) * (MB // 700), read=False)
    yield Rest("no key: chunks of one byte", lambda: chunked(to, digits, "no"))
    for number, flood in enumerate(wire.floods(), 1):
        yield Rest(f"no key: HTTP/2 flood {number}", lambda flood=flood: flood[:MB], read=False, worst=number < 3)
    yield Rest("no key: first messages of gRPC, 60 of 16 KB", lambda: first_messages(""), read=False)
    yield Rest("key: first messages of gRPC, 60 of 16 KB", lambda: first_messages(to.key), read=False, worst=True)
    yield Rest("key: a body of 1 MB", lambda: to.request("POST", digits, b"x" * FIT, key=to.key), worst=True)
    yield Rest("key: chunks of one byte", lambda: chunked(to, digits, to.key))
    yield Rest(
        "key: half a body, on 60 connections",
        lambda: to.request("POST", digits, b"x" * 20_000, key=to.key)[:16_000],
        read=False,
        times=60,
    )
    yield Rest(
        "key: requests sent ahead, unread", lambda: to.request("POST", digits, b"{}", key=to.key) * 5000, read=False
    )
    yield Rest(
        "key: a query of 15 KB, again and again",
        lambda: to.request("POST", f"{digits}?{'a=b&' * 3500}", key=to.key) * 60,
    )
    yield Rest(
        "key: names of endpoints that are not there",
        lambda: b"".join(to.request("POST", f"/v2/models/e{n}/infer", key=to.key) for n in range(6000))[:MB],
        read=False,
    )


def chunked(to: "Platform", path: str, key: str) -> bytes:
    """A body in pieces of one byte."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    return head.encode() + b"1\r\nx\r\n" * (FIT // 6) + b"0\r\n\r\n"


def first_messages(key: str, method: str = "/inference.GRPCInferenceService/ModelInfer") -> bytes:
    """Calls whose first message says that it is of 64 MiB, and begins."""
    more = [("authorization", f"Bearer {key}")] if key else []
    start = b"\0" + (1 << 26).to_bytes(4, "big") + b"\x0a\x06digits\x2a\xff\xff\xff\x1f" + b"x" * 15_000
    calls = [http2.head(n, http2.call(method, more)) + http2.frame(http2.DATA, 0, n, start) for n in range(1, 121, 2)]
    return http2.PREFACE + http2.frame(http2.SETTINGS, 0, 0) + b"".join(calls)


def labels(to: "Platform") -> Iterator[Rest]:
    """Labels through Envoy, with the key of the endpoint."""

    def sent(body: bytes, more: str = "") -> bytes:
        return to.request("POST", "/v2/models/digits/feedback", body, key=to.key, more=more)

    def some(item: str) -> Callable[[], bytes]:
        return lambda: sent(numbered(b'{"labels":[', item, b"]}"))

    yield Rest(
        "10,000 labels",
        lambda: sent(numbered(b'{"labels":[', '{"request_id":"%d","label":1}', b"]}", 300_000)),
        worst=True,
    )
    yield Rest("as many as fit, too many", some('{"request_id":"%d","label":1}'), worst=True)
    yield Rest("labels of long texts", some('{"request_id":"%d","label":"' + "x" * 1000 + '"}'))
    yield Rest("labels of empty tables", lambda: sent(filled(b'{"labels":[', b"{}", b"]}")))
    yield Rest("labels that cannot be right", some('{"request_id":"%d","label":1,"row":-1}'))
    yield Rest("labels of the future", some('{"request_id":"%d","label":1,"time":1e18}'))
    yield Rest("a text of 1 MB", lambda: sent(b'{"labels":[{"request_id":"a","label":"' + b"x" * (FIT - 50) + b'"}]}'))
    yield Rest("a number of 1 MB", lambda: sent(b'{"labels":[{"request_id":"a","label":' + b"9" * (FIT - 50) + b"}]}"))
    yield Rest("an unknown key of 1 MB", lambda: sent(b'{"labelz' + b"s" * (FIT - 20) + b'":1}'), worst=True)
    yield Rest("brackets", lambda: sent(b'{"labels":' + b"[" * (FIT - 20)))
    yield Rest("gzip", lambda: sent(gzip.compress(bytes(60_000_000)), "Content-Encoding: gzip\r\n"))
    yield Rest("half bodies, 40 of 20 KB", lambda: sent(b"x" * 40_000)[:20_000], read=False, times=40)
    yield Rest(
        "3,000 small ones sent ahead, unread",
        lambda: sent(b'{"labels":[{"request_id":"a","label":1}]}') * 3000,
        read=False,
    )


DECLARED = b'{"model":"digits:1",'


def declarations(to: "Platform") -> Iterator[Rest]:
    """What an endpoint declares, at the control API."""

    def declare(body: bytes, path: str = "/v1/endpoints/x/plan") -> bytes:
        return to.request("POST", path, body)

    def listed(field: str, item: str, number: int = 0) -> Callable[[], bytes]:
        return lambda: declare(small_numbered(DECLARED + field.encode() + b":[", item, b"]}"))

    yield Rest("chunks of one byte", lambda: chunked(to, "/v1/jobs", to.token))
    yield Rest("an unknown key of 256 KB", lambda: declare(DECLARED + b'"' + b"k" * (SMALL - 50) + b'":1}'), worst=True)
    yield Rest(
        "an unknown key of 256 KB, deep",
        lambda: declare(DECLARED + b'"runtime":{"' + b"k" * (SMALL - 50) + b'":1}}'),
        worst=True,
    )
    yield Rest("unknown keys without end", lambda: declare(small_numbered(DECLARED, '"k%d":1', b"}")))
    yield Rest("empty lists", lambda: declare(small_filled(DECLARED + b'"triggers":[', b"[]", b"]}")), worst=True)
    yield Rest("empty tables", lambda: declare(small_filled(DECLARED + b'"triggers":[', b"{}", b"]}")), worst=True)
    yield Rest("brackets", lambda: declare(b"[" * SMALL))
    yield Rest("a model of 256 KB", lambda: declare(b'{"model":"' + b"m" * (SMALL - 20) + b'"}'))
    yield Rest("a name of 256 KB", lambda: declare(b'{"model":"digits:1","name":"' + b"m" * (SMALL - 40) + b'"}'))
    yield Rest("a number of 256 KB", lambda: declare(b'{"model":"digits:1","replicas":' + b"9" * (SMALL - 40) + b"}"))
    yield Rest("keys without end", listed('"keys"', '{"name":"k%d"}'), worst=True)
    yield Rest("objectives without end", listed('"slos"', '{"name":"s%d","objective":0.9,"when":"availability"}'))
    trigger = (
        '{"name":"t%d","when":"realised_drop","metric":"auroc","against":0.9,"run":{"kind":"webhook","url":"http://a"}}'
    )
    yield Rest("triggers without end", listed('"payload":{},"monitor":{},"triggers"', trigger), worst=True)
    yield Rest(
        "the same trigger again and again",
        listed('"payload":{},"monitor":{},"triggers"', trigger.replace("%d", "%.0s")),
    )
    yield Rest(
        "variables without end",
        lambda: declare(small_numbered(DECLARED + b'"runtime":{"env":{', '"V%d":"1"', b"}}}")),
        worst=True,
    )
    yield Rest(
        "segments without end",
        lambda: declare(small_numbered(DECLARED + b'"payload":{},"monitor":{"segments":[', '"s%d"', b"]}}")),
    )
    yield Rest(
        "columns to redact without end",
        lambda: declare(small_numbered(DECLARED + b'"payload":{"redact":[', '"c%d"', b"]}}")),
        worst=True,
    )
    yield Rest(
        "classes without end",
        lambda: declare(small_numbered(DECLARED + b'"payload":{},"monitor":{"classes":[', '"c%d"', b"]}}")),
    )


def control(to: "Platform") -> Iterator[Rest]:
    """The control API, without its token and with it."""

    nobody = b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n"
    yield Rest("no token: half heads, 60 of 15 KB", heads, read=False, times=60, worst=True)
    yield Rest("no token: requests sent ahead, unread", lambda: nobody * (MB // len(nobody)), read=False)
    yield Rest(
        "no token: a body of 256 KB",
        lambda: nobody.replace(b"GET", b"PUT")[:-2] + b"Content-Length: 262000\r\n\r\n" + b"x" * SMALL,
    )
    yield Rest("no token: chunks of one byte", lambda: chunked(to, "/v1/jobs", "no"))
    yield Rest("no token: a token of 15 KB", lambda: to.request("GET", "/v1/status", key="t" * 15_000) * 60)
    yield from declarations(to)
    yield Rest(
        "a key with scopes without end",
        lambda: to.request("POST", "/v1/keys", small_numbered(b'{"name":"a","scopes":[', '"e%d"', b"]}")),
        worst=True,
    )
    yield Rest(
        "a key with a name of 256 KB",
        lambda: to.request("POST", "/v1/keys", b'{"name":"' + b"k" * (SMALL - 50) + b'","scopes":["*"]}'),
    )
    yield Rest(
        "an alias of 256 KB",
        lambda: to.request(
            "POST", "/v1/aliases", b'{"name":"digits","version":1,"alias":"' + b"a" * (SMALL - 90) + b'"}'
        ),
    )
    yield Rest(
        "a reason of 256 KB",
        lambda: to.request(
            "POST", "/v1/aliases", b'{"name":"digits","version":1,"alias":"a","reason":"' + b"a" * (SMALL - 90) + b'"}'
        ),
    )
    yield Rest("queries of 15 KB", lambda: to.request("GET", "/v1/history/digits?" + "a=b&" * 3500) * 60)
    yield Rest(
        "10,000 labels",
        lambda: to.request(
            "POST",
            "/v2/models/digits/feedback",
            numbered(b'{"labels":[', '{"request_id":"%d","label":1}', b"]}", 300_000),
        ),
    )
    yield Rest("metrics sent for ahead, unread", lambda: to.request("GET", "/metrics") * 300, read=False)
    yield Rest(
        "the API's description sent for ahead, unread",
        lambda: to.request("GET", "/openapi.json") * 1000,
        read=False,
        worst=True,
    )
    yield Rest(
        "logs that are followed, 60 of them", lambda: to.request("GET", "/v1/logs/nobody?follow"), read=False, times=60
    )


def exposed(to: "Platform") -> Iterator[Rest]:
    """The control API over TLS: the same, and what TLS adds."""
    yield from (one for one in control(to) if one.worst or "token" in one.name)
    yield Rest("records of one byte", lambda: to.request("GET", "/v1/status"), times=60, read=False)


def jobs(to: "Platform") -> Iterator[Rest]:
    """Batch jobs that are submitted."""
    names: list[str] = []

    def job(batch: bytes, more: bytes = b"") -> bytes:
        names.append(f"j{len(names)}")
        body = (
            b'{"name":"'
            + names[-1].encode()
            + b'","batch":{"model":"digits:1","output":"/nonexistent/out",'
            + batch
            + b"}"
            + more
            + b"}"
        )
        return to.request("POST", "/v1/jobs", body)

    size = FIT - 200
    yield Rest("inputs without end", lambda: job(numbered(b'"inputs":[', '"/nonexistent/%d"', b"]", size)), worst=True)
    yield Rest("an input of 1 MB", lambda: job(b'"inputs":["/' + b"a/" * (size // 2 - 20) + b'"]'))
    yield Rest("an input of wildcards", lambda: job(b'"inputs":["/' + b"*" * (size - 40) + b'"]'), worst=True)
    yield Rest("an input of folders of wildcards", lambda: job(b'"inputs":["/' + b"*/" * (size // 2 - 40) + b'"]'))
    yield Rest("variables without end", lambda: job(numbered(b'"inputs":["/x"],"env":{', '"V%d":"1"', b"}", size)))
    yield Rest("a map without end", lambda: job(numbered(b'"inputs":["/x"],"map":{', '"c%d":"1"', b"}", size)))
    yield Rest("columns to keep without end", lambda: job(numbered(b'"inputs":["/x"],"keep":[', '"c%d"', b"]", size)))
    yield Rest("an unknown key of 1 MB", lambda: job(b'"inputs":["/x"],"' + b"k" * (size - 30) + b'":1'), worst=True)
    inputs = b'"inputs":["/x"]'
    yield Rest(
        "a schedule of 1 MB",
        lambda: job(inputs, b',"schedule":"' + b"1," * (size // 2 - 40) + b'1 * * * *"'),
        worst=True,
    )
    yield Rest("a schedule of words", lambda: job(inputs, b',"schedule":"' + b"* " * (size // 2 - 40) + b'"'))
    yield Rest("a schedule that never comes", lambda: job(inputs, b',"schedule":"0 0 31 2 *"'), worst=True)
    yield Rest(
        "a time zone of 1 MB",
        lambda: job(inputs, b',"schedule":"* * * * *","timezone":"' + b"A/" * (size // 2 - 60) + b'"'),
    )
    yield Rest("a reason of 1 MB", lambda: job(inputs, b',"reason":"' + b"r" * (size - 40) + b'"'))
    yield Rest(
        "a model of 1 MB",
        lambda: to.request(
            "POST", "/v1/jobs", b'{"name":"j","batch":{"model":"' + b"m" * size + b'","inputs":["/x"],"output":"/y"}}'
        ),
    )


def console(to: "Platform") -> Iterator[Rest]:
    """The console's pages, for who has no session."""

    def posted(body: bytes, more: str = "Content-Type: application/x-www-form-urlencoded\r\n") -> bytes:
        return to.request("POST", "/console/login", body, key="-", more=more)

    yield Rest("a token of 1 MB", lambda: posted(b"token=" + b"t" * (FIT - 10)), worst=True)
    yield Rest("fields without end", lambda: posted(b"a&" * (FIT // 2)), worst=True)
    yield Rest("percent signs", lambda: posted(b"token=" + b"%41" * (FIT // 3 - 10)), worst=True)
    yield Rest("broken percent signs", lambda: posted(b"token=" + b"%" * (FIT - 10)))
    yield Rest("no UTF-8", lambda: posted(b"token=" + b"%ff" * (FIT // 3 - 10)))
    yield Rest("a next page of 1 MB", lambda: posted(b"token=x&next=/console/" + b"a" * (FIT - 40)), worst=True)
    yield Rest("a next page to be escaped", lambda: posted(b"token=x&next=/console/" + b"%22" * (FIT // 3 - 40)))
    yield Rest(
        "multipart", lambda: posted(b"--b\r\n" * (FIT // 5), "Content-Type: multipart/form-data; boundary=b\r\n")
    )
    yield Rest("chunks of one byte", lambda: chunked(to, "/console/login", "-"))
    yield Rest(
        "cookies of 15 KB",
        lambda: to.request("GET", "/console/", key="-", more="Cookie: " + "a=b; " * 2900 + "\r\n") * 60,
        worst=True,
    )
    yield Rest(
        "wrong cookies, sent ahead",
        lambda: to.request("GET", "/console/", key="-", more="Cookie: argosy=x\r\n") * 5000,
        read=False,
    )
    yield Rest("wrong tokens sent ahead, unread", lambda: posted(b"token=x") * 4000, read=False)
    yield Rest("long paths", lambda: to.request("GET", "/console/" + "a/" * 7000, key="-") * 60)
    yield Rest("tickets", lambda: to.request("GET", "/console/enter?ticket=" + "t" * 14_000, key="-") * 60)
    yield Rest(
        "files of the console sent for ahead, unread",
        lambda: to.request("GET", "/console/static/htmx.min.js", key="-") * 5000,
        read=False,
    )
    yield Rest("half bodies, 60 of 15 KB", lambda: posted(b"token=" + b"t" * 30_000)[:15_000], read=False, times=60)


def room(to: "Platform") -> Iterator[Rest]:
    """What waits for an endpoint that is asleep, with its key."""
    path = "/v2/models/asleep/infer"
    yield Rest(
        "400 requests of 2 KB that wait",
        lambda: to.request("POST", path, b"x" * 2000, key=to.asleep),
        read=False,
        times=400,
        worst=True,
    )
    yield Rest(
        "1,000 small ones that wait", lambda: to.request("POST", path, b"{}", key=to.asleep), read=False, times=1000
    )
    yield Rest(
        "60 heads of 15 KB that wait",
        lambda: to.request("POST", path, key=to.asleep, more="X: " + "x" * 14_000 + "\r\n"),
        read=False,
        times=60,
        worst=True,
    )
    yield Rest(
        "a body of 1 MB that waits", lambda: to.request("POST", path, b"x" * FIT, key=to.asleep), read=False, worst=True
    )
    yield Rest("chunks of one byte that wait", lambda: chunked(to, path, to.asleep), read=False)
    yield Rest("sent ahead", lambda: to.request("POST", path, b"{}", key=to.asleep) * 5000, read=False)
    yield Rest(
        "half bodies, 60 of 15 KB",
        lambda: to.request("POST", path, b"x" * 30_000, key=to.asleep)[:15_000],
        read=False,
        times=60,
    )
    yield Rest(
        "calls of gRPC that wait",
        lambda: first_messages(to.asleep).replace(b"digits", b"asleep"),
        read=False,
        worst=True,
    )
    yield Rest(
        "connections that come and go, 500",
        lambda: to.request("POST", path, b"{}", key=to.asleep)[:-1],
        read=False,
        times=500,
    )


SURFACES: dict[str, tuple["Door", Callable[["Platform"], Iterator[Rest]]]] = {
    "gateway": ("gateway", gateway),
    "labels": ("labels", labels),
    "activator": ("room", room),
    "control API": ("control", control),
    "control API, TLS": ("control", exposed),
    "batch jobs": ("control", jobs),
    "console": ("control", console),
}
"""Surface → where it is, and its inputs."""
