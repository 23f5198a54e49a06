"""Servers with a certificate of their own making."""

import http.server
import ssl
import subprocess
import threading

import pytest

from argosy.client import Client
from argosy.spec.errors import InvalidArgument, Unavailable
from tests.programs import need


class Answers(http.server.BaseHTTPRequestHandler):
    """Metadata of a server, whatever is asked."""

    def do_GET(self):
        body = b'{"name":"a","version":"1","extensions":[]}'
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def secure(tmp_path):
    """A URL and its CA file."""
    cert, key = tmp_path / "ca.pem", tmp_path / "ca.key"
    command = [need("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    subprocess.run([*command, *subject, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.handle_error = lambda *_: None
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}", str(cert)
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_private_certificate_is_trusted_by_file_or_variable(secure, monkeypatch):
    url, ca = secure
    with Client(url, verify=ca) as client:
        assert client.server()["name"] == "a"
    monkeypatch.setenv("SSL_CERT_FILE", ca)
    with Client(url) as client:
        assert client.server()["name"] == "a"


def test_one_that_is_not_says_how(secure):
    with Client(secure[0], timeout=10) as client, pytest.raises(Unavailable, match="SSL_CERT_FILE"):
        client.server()


def test_a_ca_file_that_is_none(tmp_path, monkeypatch):
    with pytest.raises(InvalidArgument, match=r"CA file cannot be used: .*none\.pem"):
        Client("https://localhost", verify=str(tmp_path / "none.pem"))
