"""A gateway that speaks TLS: from its start, by a change, with a new certificate, with a bad one."""

import asyncio
import ssl
import subprocess

import httpx
import msgspec
import pytest

from argosy.gateway.gateway import Gateway
from argosy.gateway.model import Tls
from argosy.spec.errors import InvalidArgument
from tests.gateway.kit import one
from tests.programs import need

INFER = "/v2/models/digits/infer"


def certificate(folder, name, common_name):
    """A self-signed certificate for localhost."""
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    command = [need("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subject = ["-subj", f"/CN={common_name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    out = ["-keyout", str(key), "-out", str(cert), "-days", "2"]
    subprocess.run([*command, *subject, *out], check=True, capture_output=True)
    return cert, key


async def served_name(gateway, trusted):
    host, port = await gateway.address()
    context = ssl.create_default_context(cafile=str(trusted))
    _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname="localhost")
    name = writer.get_extra_info("peercert")["subject"][0][0][1]
    writer.close()
    return name


async def test_tls_comes_with_a_change_of_the_listener(gateway, replica, config, folder):
    await gateway.start()
    cert, key = certificate(folder, "c", "late")
    later = Gateway(msgspec.structs.replace(config, tls=Tls(str(cert), str(key))))
    assert await later.adopt()
    await later.apply([])
    assert await served_name(later, cert) == "late"


async def test_tls_with_a_certificate_that_is_replaced(config, replica, folder):
    a = await replica("a")
    certs = folder / "certs"
    certs.mkdir()
    cert, key = certificate(certs, "live", "first")
    new_cert, new_key = certificate(folder, "new", "second")
    gateway = Gateway(msgspec.structs.replace(config, tls=Tls(str(cert), str(key))))
    await gateway.start([one(a, auth=False)])
    try:
        _, port = await gateway.address()
        context = ssl.create_default_context(cafile=str(cert))
        async with httpx.AsyncClient(verify=context, trust_env=False) as client:
            answer = await client.post(f"https://localhost:{port}{INFER}", content=b"x")
            assert answer.status_code == 200
        assert await served_name(gateway, cert) == "first"
        new_key.rename(key)
        new_cert.rename(cert)
        async with asyncio.timeout(60):
            while True:
                try:
                    if await served_name(gateway, cert) == "second":
                        break
                except ssl.SSLError:
                    await asyncio.sleep(0.02)
    finally:
        await gateway.stop(0.2)


async def test_a_bad_certificate_is_refused_with_its_reason(config, folder):
    cert, key = folder / "c.pem", folder / "c.key"
    cert.write_text("nonsense")
    key.write_text("nonsense")
    gateway = Gateway(msgspec.structs.replace(config, tls=Tls(str(cert), str(key))))
    with pytest.raises(InvalidArgument, match=r"c\.pem.*Failed to load certificate"):
        await gateway.start()
    assert not await gateway.alive()
