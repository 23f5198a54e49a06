"""A language model on a platform: behind its gateway, through updates, kills and sleep."""

import itertools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import httpx
import psutil
import pytest

from argosy.spec.settings import Home
from argosy.store.store import Store
from tests.language.packages import FAKE, push_language
from tests.language.weights import gemma
from tests.platform.streams import CHAT, Stream
from tests.platform.up import Up, until

SPEC: dict[str, Any] = {"public": True, "runtime": {"threads": 1}, "language": {"context": 512}}


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch, home: Home, store: Store) -> str:
    """A model that the fake engine answers for in the place of vLLM."""
    for name, value in FAKE.items():
        monkeypatch.setenv(name, value)
    return push_language(store, home.root / "package")


def engines(platform: Up) -> Iterator[psutil.Process]:
    """The processes of the engines. A replica that has just ended has none, though it is still listed as ready."""
    for pid in platform.pids():
        with suppress(psutil.Error):
            for each in psutil.Process(pid).children():
                if "--disable-hot-restart" not in each.cmdline():
                    yield each


@pytest.mark.slow
def test_streams_outlive_an_update_and_engines_are_replaced(faked: str, start: Callable[..., Up], home: Home):
    home.config.write_text("control: {port: 0}\ngateway: {port: 0}\nreplicas: {network: tls}\n")
    platform = start().ready()
    url = platform.call("PUT", "/v1/endpoints/m", {"model": faked, **SPEC}, wait=60)["url"]
    answer = httpx.post(f"{url}/chat/completions", json=CHAT).json()
    assert answer["choices"][0]["message"]["content"].startswith("w0 w1")
    stream = Stream(f"{url}/chat/completions", fake={"tokens": 200, "each": 0.02})
    until(lambda: len(stream.lines) > 2)
    changed = SPEC | {"language": {"context": 1024}}
    platform.call("PUT", "/v1/endpoints/m", {"model": faked, **changed}, wait=60)
    assert stream.tokens() == 200
    until(lambda: len(platform.pids()) == 1)
    (engine,) = engines(platform)
    engine.send_signal(signal.SIGKILL)
    until(lambda: (found := list(engines(platform))) and found[0].pid != engine.pid)
    until(lambda: httpx.post(f"{url}/chat/completions", json=CHAT).status_code == 200)
    assert platform.stop() == 0


@pytest.mark.slow
def test_a_stream_wakes_an_endpoint(faked: str, start: Callable[..., Up], home: Home):
    home.config.write_text("control: {port: 0}\ngateway: {port: 0}\nreplicas: {network: tls}\n")
    platform = start().ready()
    spec = {"model": faked, **SPEC, "replicas": {"min": 0, "max": 1, "idle": 1}}
    url = platform.call("PUT", "/v1/endpoints/m", spec, wait=60)["url"]
    until(lambda: not platform.pids())
    assert Stream(f"{url}/chat/completions").tokens() == 16
    assert platform.stop() == 0


@pytest.mark.slow
def test_adapters_come_and_go_while_it_answers(faked: str, home: Home, store: Store, start: Callable[..., Up]):
    """The replica that runs loads them; nobody's request fails, and no other model answers."""
    for name in ("poet", "clerk"):
        push_language(store, home.root / name, name, kind="adapter", base="m")
    platform = start().ready()

    def declare(*adapters: str) -> str:
        language = {"context": 512, "adapters": adapters}
        answer = platform.call("PUT", "/v1/endpoints/m", {"model": faked, **SPEC, "language": language}, wait=60)
        return str(answer["url"])

    url, over, failed = declare("poet:1"), threading.Event(), list[str]()

    def ask(model: str) -> httpx.Response:
        return httpx.post(f"{url}/chat/completions", json=CHAT | {"model": model}, timeout=60)

    def load(model: str, wanted: str) -> None:
        while not over.is_set():
            answer = ask(model)
            if answer.status_code != 200 or answer.json()["model"] != wanted:
                failed.append(answer.text)

    before = platform.pids()
    with ThreadPoolExecutor(3) as pool:
        for model, wanted in (("m", "m"), ("m+poet", "poet:1"), ("m", "m")):
            pool.submit(load, model, wanted)
        try:
            assert ask("m+clerk").status_code == 404
            declare("poet:1", "clerk:1")
            until(lambda: ask("m+clerk").status_code == 200)
            declare("poet:1")
            until(lambda: ask("m+clerk").status_code == 404)
        finally:
            over.set()
    assert (failed, platform.pids()) == ([], before)
    assert platform.stop() == 0


@pytest.mark.slow
@pytest.mark.parametrize(("said", "phase"), [("", "done"), ("No.", "rolled-back")], ids=["same", "other"])
def test_a_shadow_compares_greedy_answers(faked: str, start: Callable[..., Up], said: str, phase: str):
    def spec(said: str, slots: int) -> dict[str, Any]:
        runtime = {"threads": 1, "env": {"FAKE": f"--said={said}"}}
        shadow = {"share": 1.0, "requests": 40, "agreement": 0.9, "tokens": 8}
        more = {"language": {"context": 512, "slots": slots}, "rollout": {"strategy": "blue-green", "shadow": shadow}}
        return {"model": faked, **SPEC, "runtime": runtime, **more}

    platform = start().ready()
    url = platform.call("PUT", "/v1/endpoints/m", spec("", 4), wait=60)["url"]
    platform.call("PUT", "/v1/endpoints/m", spec(said, 8))

    def ended() -> dict[str, Any] | None:
        for stream in (True, False):
            httpx.post(f"{url}/chat/completions", json=CHAT | {"stream": stream, "temperature": 1.0}, timeout=60)
        known = platform.ask("GET", "/v1/endpoints/m/rollout").json()
        return None if known.get("live", True) else known

    found = until(ended, 90)
    assert (found["phase"], found["shadow"]["agreement"]) == (phase, 0.0 if said else 1.0), found
    assert found["shadow"]["compared"] >= (2 if said else 40)
    assert platform.stop() == 0


@pytest.mark.slow
def test_an_endpoint_shares_the_replicas_of_another(faked: str, home: Home, store: Store, start: Callable[..., Up]):
    """It is asked by its own name, answers by its adapter, and wakes those replicas."""
    push_language(store, home.root / "poet", "poet", kind="adapter", base="m")
    platform = start().ready()
    shared = {"model": "poet:1", "public": True, "language": {"share": "m"}}
    refused = platform.ask("PUT", "/v1/endpoints/verses", json=shared)
    assert (refused.status_code, "has no adapter poet:1" in refused.text) == (400, True)
    language, replicas = {"context": 512, "adapters": ["poet:1"]}, {"min": 0, "max": 1, "idle": 1}
    spec = {"model": faked, **SPEC, "language": language, "replicas": replicas}
    url = platform.call("PUT", "/v1/endpoints/m", spec, wait=60)["url"]
    told = platform.call("PUT", "/v1/endpoints/verses", shared, wait=60)["endpoint"]
    assert (told["state"], told["serving"]) == ("ready", "poet:1"), told
    until(lambda: not platform.pids())

    def ask(path: str = "", **body: Any) -> tuple[int, str]:
        answer = httpx.post(f"{url.removesuffix('/v1')}{path}/v1/chat/completions", json=CHAT | body, timeout=60)
        return answer.status_code, answer.json().get("model", "")

    assert ask(model="verses") == (200, "poet:1")
    assert ask("/endpoints/verses", model="gpt-4") == (200, "poet:1")
    assert ask(model="verses+poet")[0] == 404
    until(lambda: ask() == (200, "m") and [each["endpoint"] for each in platform.call("GET", "/v1/replicas")] == ["m"])
    without = platform.ask("PUT", "/v1/endpoints/m", json={**spec, "language": {"context": 512}})
    assert (without.status_code, "'verses' shares its replicas" in without.text) == (400, True)
    assert platform.stop() == 0


@pytest.mark.slow
def test_an_endpoint_sleeps_and_its_processes_stay(faked: str, start: Callable[..., Up]):
    platform = start().ready()
    spec = SPEC | {"language": {"context": 512, "at_zero": "asleep"}, "price": {"input": 1.0}}
    spec |= {"model": faked, "replicas": {"min": 0, "max": 1, "idle": 1, "hourly": 3.6}}
    url = platform.call("PUT", "/v1/endpoints/m", spec, wait=60)["url"]

    def phases() -> list[str]:
        return [each["phase"] for each in platform.ask("GET", "/v1/replicas").json()]

    def processes() -> list[int]:
        return [each["pid"] for each in platform.call("GET", "/v1/replicas")]

    before = processes()
    assert len(before) == 1
    for _ in range(2):
        until(lambda: phases() == ["asleep"])
        cold = platform.ask("GET", "/v1/endpoints/m").json()["cold_start"]
        assert cold["state"] == "asleep"
        assert Stream(f"{url}/chat/completions").tokens() == 16
        assert processes() == before
    until(lambda: "asleep" in platform.ask("GET", "/v1/endpoints/m").json()["cold_start"]["seconds"])
    cold = platform.ask("GET", "/v1/endpoints/m").json()["cold_start"]
    assert cold["price"]["asleep"] == pytest.approx(cold["seconds"]["asleep"] / 1000)
    platform.call("DELETE", "/v1/endpoints/m")
    until(lambda: not platform.pids())
    assert platform.stop() == 0


@pytest.mark.slow
def test_a_version_that_is_slower_to_its_first_token_is_rolled_back(faked: str, start: Callable[..., Up]):
    def spec(delay: float) -> dict[str, Any]:
        rollout = {"strategy": "canary", "steps": [{"weight": 30, "requests": 100_000}]}
        runtime = {"threads": 1, "env": {"FAKE": f"--delay {delay}"}}
        return {"model": faked, **SPEC, "runtime": runtime, "rollout": rollout, "guard": {"first_token_margin": 1.5}}

    platform = start().ready()
    url = platform.call("PUT", "/v1/endpoints/m", spec(0.05), wait=60)["url"]

    def ask(until_over: Callable[[], bool]) -> None:
        while not until_over():
            assert httpx.post(f"{url}/chat/completions", json=CHAT | {"stream": True}, timeout=60).status_code == 200

    asked, over = itertools.count(), threading.Event()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: ask(lambda: next(asked) > 260), range(4)))
        loads = [pool.submit(ask, over.is_set) for _ in range(4)]
        try:
            platform.call("PUT", "/v1/endpoints/m", spec(0.3))

            def ended() -> dict[str, Any] | None:
                known = platform.ask("GET", "/v1/endpoints/m/rollout").json()
                return None if known.get("live", True) else known

            found = until(ended, 90)
        finally:
            over.set()
        for each in loads:
            each.result()
    assert (found["phase"], "time to first token got worse" in found["reason"]) == ("rolled-back", True), found
    assert platform.stop() == 0


@pytest.mark.slow
def test_gemma(home: Home, start: Callable[..., Up]):
    """By llama.cpp, in its sandbox: pushed, checked against its golden examples, deployed, streamed, drained."""
    command = [sys.executable, "-m", "argosy", "push", str(gemma()), "--name", "gemma"]
    subprocess.run(command, env={**os.environ, "ARGOSY_HOME": str(home.root)}, check=True, capture_output=True)
    home.config.write_text("control: {port: 0}\ngateway: {port: 0}\nreplicas: {network: tls}\n")
    platform = start().ready()
    spec = {"model": "gemma:1", **SPEC, "language": {"context": 512, "slots": 2}}
    deployed = platform.call("PUT", "/v1/endpoints/m", spec, wait=120)
    assert deployed["endpoint"]["state"] == "ready", deployed
    url = deployed["url"]
    answer = httpx.post(f"{url}/completions", json={"model": "m", "prompt": "One, two,", "max_tokens": 4}, timeout=60)
    assert answer.json()["usage"]["completion_tokens"] == 4
    (engine,) = engines(platform)
    assert engine.uids().real != os.getuid() or os.getuid()
    stream = Stream(f"{url}/chat/completions", max_tokens=100, ignore_eos=True)
    until(lambda: len(stream.lines) > 3)
    platform.call("DELETE", "/v1/endpoints/m")
    assert stream.tokens() >= 99
    until(lambda: not engine.is_running())
    assert platform.stop() == 0
