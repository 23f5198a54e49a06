"""A leader that lives on while it cannot be heard: another one leads, and the old one serves until it finds out."""

import contextlib
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator

import httpx
import pytest

from argosy.platform.lease import Lease
from argosy.spec.errors import Conflict, Unavailable
from argosy.spec.settings import Home, load
from argosy.store import database as databases
from argosy.store import open_store
from argosy.store.database import Database
from tests import postgres as stores
from tests.platform.up import STAND_IN_UP, Up, clear, until
from tests.store.samples import model_lineage, model_manifest, write_folder

STANDBY = [sys.executable, "-m", "argosy.platform", "--standby"]


class Link:
    """A way to a PostgreSQL server that can be cut: bytes stay where they are, and no connection is closed."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.whole = threading.Event()
        self.whole.set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                far = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                far.connect(self.target)
                self._open += [near, far]
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._copy, args=pair, daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self.whole.wait()
                sink.sendall(data)
            sink.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.whole.set()
        for each in (self.listener, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


@pytest.fixture
def link(postgres: str) -> Iterator[Link]:
    made = Link(f"{postgres}/.s.PGSQL.5432")
    yield made
    made.close()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["cut off", "stopped"])
def test_another_leads_and_the_old_one_ends_when_it_hears_of_it(
    home: Home, postgres: str, link: Link, start: Callable[..., Up], how: str, tmp_path_factory: pytest.TempPathFactory
):
    url = stores.schema(postgres)
    far = f"postgresql+psycopg://postgres@127.0.0.1:{link.port}/postgres?options={url.partition('options=')[2]}"
    other = Home(tmp_path_factory.mktemp("h")).create()
    for place, way in ((home, far), (other, url)):
        place.config.write_text(f"control: {{port: 0}}\ngateway: {{port: 0}}\nstore: {{database: '{way}'}}\n")
    store = open_store(home, load(home, {}))
    folder = write_folder(home.root / "package")
    (folder / "behaviour").write_text("ok")
    package = store.add(folder, name="digits", manifest=model_manifest(), lineage=model_lineage()).ref
    store.close()
    old = start(STAND_IN_UP).ready()
    serves = old.call("PUT", "/v1/endpoints/digits", {"model": package, "public": True}, wait=60)["url"]
    new = Up(other, STANDBY)
    try:
        until(lambda: "standby" in new.out.read_text())
        link.whole.clear() if how == "cut off" else old.process.send_signal(signal.SIGSTOP)
        new.ready()
        assert old.process.poll() is None
        assert httpx.post(serves, json={}).status_code == 200, "the old one's gateway and replicas go on"
        written = new.call("PUT", "/v1/endpoints/digits", {"model": package, "public": True, "retries": 3})
        link.whole.set()
        old.process.send_signal(signal.SIGCONT)
        assert old.process.wait(60) != 0
        assert "another platform leads this database now" in old.out.read_text()
        found = new.call("GET", "/v1/endpoints/digits")
        assert (found["generation"], found["endpoint"]["retries"]) == (written["endpoint"]["generation"], 3)
        assert new.call("GET", "/v1/ledger")["broken"] is None
        assert new.stop() == 0
    finally:
        if new.process.poll() is None:
            new.kill()
        clear(other)


def test_a_transaction_that_stands_still_does_not_keep_the_lease(postgres: str):
    url = stores.schema(postgres)
    a, b = Lease(Database(url), "here", 0.0), Lease(Database(url), "there", 0.0)
    assert a.take()
    a.database.fence = a.fence

    def write_slowly() -> None:
        with a.database.begin() as connection:
            limit = connection.exec_driver_sql("SHOW idle_in_transaction_session_timeout").scalar()
            assert limit == f"{databases.IDLE_SECONDS:g}s"
            connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = '300ms'")
            assert b.take()

    with pytest.raises(Unavailable, match="does not answer"):
        write_slowly()
    with pytest.raises(Conflict, match="another platform leads"), a.database.begin():
        pytest.fail("the block is not entered")
    a.database.close()
    b.database.close()
