"""A controller and a replica that a signal ends leave a traceback where they log."""

import os
import signal
from collections.abc import Callable

import pytest

from argosy.spec.crash import last_words
from argosy.spec.settings import Home
from argosy.store.store import Store
from tests.platform.packages import push
from tests.platform.up import Up, until


@pytest.mark.slow
def test_sigsegv_leaves_a_traceback_in_the_log(home: Home, store: Store, start: Callable[..., Up]):
    push(store, home.root / "p", 2.0)
    platform = start().ready()
    platform.call("PUT", "/v1/endpoints/digits", {"model": "digits:1"}, wait=60)
    (replica,) = platform.call("GET", "/v1/replicas")
    os.kill(replica["pid"], signal.SIGSEGV)
    log = home.logs / f"{replica['id']}.log"
    until(lambda: "Fatal Python error: Segmentation fault" in log.read_text())
    until(lambda: platform.pids() and platform.pids() != [replica["pid"]])
    assert 'argosy/serving/server.py", line' in log.read_text()
    platform.process.send_signal(signal.SIGSEGV)
    assert platform.process.wait(60) == -signal.SIGSEGV
    said = platform.out.read_text()
    assert 'argosy/platform/__main__.py", line' in said
    assert last_words(said).startswith("Fatal Python error: Segmentation fault, File ")
