import sys

import psutil
import pytest

from bench import envs, servers
from bench.servers import Command, Server, Unavailable
from tests.ports import free

ANSWERING = """\
import http.server, os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.send_response(200); self.send_header("Content-Length", "2"); self.end_headers(); self.wfile.write(b"ok")
http.server.HTTPServer(("127.0.0.1", int(os.environ["BENCH_PORT"])), Handler).serve_forever()
"""


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch):
    """Logs of its own for each test: they run beside each other, and their servers have one name."""
    monkeypatch.setattr(envs, "WORK", tmp_path / "work")


def python(code: str) -> Server:
    return Server("test", lambda model, ports: Command([sys.executable, "-c", code]))


def test_a_server_runs_until_the_block_ends_and_leaves_no_child(tmp_path, monkeypatch):
    monkeypatch.setattr(servers, "free_ports", lambda: servers.Ports(free(), free(), free()))
    with servers.running(python(ANSWERING), tmp_path, b"", {}) as r:
        assert r.answer == b"ok"
        assert r.started > 0
        tree = [psutil.Process(r.pid), *psutil.Process(r.pid).children(recursive=True)]
        assert r.resident_mb() > 1
        assert tree[0].cpu_affinity() == list(servers.SERVER_CORES)
    assert len(tree) == 2
    assert not psutil.wait_procs(tree, timeout=60)[1]


def test_a_server_that_ends_is_reported_with_its_log(tmp_path):
    with (
        pytest.raises(Unavailable, match=r"exit code 3(.|\n)*no model"),
        servers.running(python("print('no model', flush=True); exit(3)"), tmp_path, b"", {}),
    ):
        pass


def test_free_ports_differ():
    ports = servers.free_ports()
    assert len({ports.http, ports.grpc, ports.metrics}) == 3
