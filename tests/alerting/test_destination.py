"""Where webhooks of triggers go, against names and addresses that lead elsewhere, and what is told of the answer."""

import asyncio
import socket
from typing import Any

import pytest

from argosy.alerting.allowed import Allowed
from argosy.alerting.send import post, signed
from argosy.spec.alerts import Webhook
from argosy.spec.allow import Allow
from argosy.spec.errors import ArgosyError, InvalidArgument, PermissionDenied, Unavailable
from attack import token_holder as attack
from tests.alerting.kit import web


def lookup(monkeypatch: pytest.MonkeyPatch, *answers: str) -> list[str]:
    """Every name has the first of these addresses when it is asked for first, then the next."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def told(host: Any, port: Any, *more: Any, **named: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name.replace(".", "").isdigit() or ":" in name:
            return real(host, port, *more, **named)
        asked.append(name)
        return real(answers[min(len(asked), len(answers)) - 1], port, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", told)
    return asked


def allowing(*hosts: str) -> Allowed:
    return Allowed(confined=True, allow=Allow(hosts=hosts))


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "127.0.0.1", "::1", "0.0.0.0", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "fe80::1"],
)
async def test_an_allowed_name_leads_to_no_address_of_this_machine_or_link(monkeypatch, address):
    lookup(monkeypatch, address)
    with pytest.raises(PermissionDenied, match="webhooks may not call"):
        await post("http://ci.example.org/", b"{}", {}, {}, allowing("ci.example.org"))


async def test_where_nothing_is_set_metadata_is_out_of_reach_all_the_same(monkeypatch):
    for url in (attack.METADATA, "http://[::ffff:a9fe:a9fe]/", "http://2852039166/", "http://[fd00:ec2::254]/"):
        with pytest.raises(PermissionDenied):
            await post(url, b"{}", {}, {}, Allowed())


async def test_a_name_that_answers_otherwise_the_second_time_is_looked_up_once(monkeypatch):
    with web() as site:
        port = site.url.rpartition(":")[2]
        asked = lookup(monkeypatch, "127.0.0.1", "169.254.169.254")
        said = await post(f"http://localhost:{port}/x", b"{}", {}, {}, allowing(f"localhost:{port}"))
    assert (said, asked) == ("localhost answered 200", ["localhost"])
    assert site.seen[0][1]["host"] == f"localhost:{port}"


async def test_a_redirect_is_not_followed_and_no_answer_is_told(monkeypatch):
    with web() as site:
        site.statuses = [302, 500]
        port = site.url.rpartition(":")[2]
        for kind in (InvalidArgument, Unavailable):
            with pytest.raises(kind) as error:
                await post(f"{site.url}/x", b"{}", {}, {}, allowing(f"127.0.0.1:{port}"))
            assert "ok" not in error.value.message
    assert len(site.seen) == 2


async def test_what_is_no_http_is_not_repeated():
    async def banner(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-inner-secret\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(banner, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Unavailable) as error:
            await post(f"http://127.0.0.1:{port}/", b"{}", {}, {}, allowing(f"127.0.0.1:{port}"))
    assert "SSH" not in error.value.message


@pytest.mark.parametrize("secret", ["line\nHost: evil", "line\r\n\r\nGET / HTTP/1.1", "é", "a\x00b"])
async def test_a_variable_that_would_smuggle_is_not_sent_and_not_told(secret):
    with pytest.raises(InvalidArgument) as error:
        signed(Webhook(url="http://x", headers={"Authorization": "Bearer $TOKEN"}), b"", {"TOKEN": secret})
    assert secret not in error.value.message
    with pytest.raises(ArgosyError) as error:
        await post("$TOKEN", b"", {}, {"TOKEN": f"http://{secret}/"}, Allowed())
    assert secret not in error.value.message
