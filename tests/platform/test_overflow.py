"""An endpoint that no replica answers, and an external provider that does: through a real gateway."""

import http.server
import json
import socket

import httpx
import pytest

from argosy.spec.settings import Settings
from argosy.store import open_store
from argosy.supply.overflow import config_file
from tests import programs
from tests.platform.regions import BODY
from tests.platform.up import PATIENCE, STAND_IN_UP, until
from tests.store.samples import FILES, model_lineage, model_manifest, write_folder

pytestmark = pytest.mark.slow
ANSWER = {"model_name": "mnist", "outputs": [{"name": "y", "datatype": "FP32", "shape": [1], "data": [7.0]}]}


@pytest.fixture
def provider():
    """Answers all that is asked of `mnist`; what it was asked."""
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            seen.append((self.path, dict(self.headers)))
            self.rfile.read(int(self.headers["content-length"]))
            body = json.dumps(ANSWER).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with programs.web(Handler) as url:
        yield url, seen


def listening(home):
    """Whether the process that sends requests there has begun."""
    try:
        socket.create_connection(("127.0.0.1", json.loads(config_file(home.run).read_bytes())["port"])).close()
    except OSError:
        return False
    return True


def test_what_no_replica_answers_an_external_provider_does_within_its_budget(home, start, provider):
    url, seen = provider
    external = f"{{url: '{url}', protocol: oip, models: {{digits: mnist}}, request: 0.25, budget: 1.0, rate: 100}}"
    home.config.write_text(f"control: {{port: 0}}\ngateway: {{port: 0}}\nsupply: {{external: {{other: {external}}}}}\n")
    store = open_store(home, Settings())
    folder = write_folder(home.root / "p", FILES | {"behaviour": b"never"})
    store.add(folder, name="digits", manifest=model_manifest(), lineage=model_lineage())
    store.close()
    up = start(STAND_IN_UP).ready()
    until(lambda: listening(home))
    key = up.call("PUT", "/v1/endpoints/digits", {"model": "digits:1"})["key"]
    gateway = up.call("GET", "/v1/status")["gateway"]

    def ask():
        headers = {"authorization": f"Bearer {key}"}
        return httpx.post(f"{gateway}/v2/models/digits/infer", json=BODY, headers=headers, timeout=PATIENCE)

    until(lambda: ask().status_code == 200)
    assert (seen[0][0], seen[0][1].get("Authorization")) == ("/v2/models/mnist/infer", None)
    until(lambda: ask().status_code == 503)
    (status,) = up.call("GET", "/v1/external")
    assert (status["spent"], len(seen)) == (1.0, 4)
    anonymous = httpx.post(f"{gateway}/v2/models/digits/infer", json=BODY, timeout=PATIENCE)
    assert anonymous.status_code == 401
    assert up.stop() == 0
    assert len(seen) == 4
