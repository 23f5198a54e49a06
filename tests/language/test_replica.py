"""A replica of a language model, with a fake engine in the place of vLLM."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psutil
import pytest

from argosy.engines.language.vllm import PYTHON
from argosy.language.config import LanguageConfig, adapters_in
from argosy.language.copies import MOST
from argosy.packaging.language import golden
from argosy.process import launch
from argosy.process.sockets import listened
from argosy.serving.answers import RecordedAnswer, read
from argosy.serving.config import ModelConfig
from argosy.spec.address import Address
from argosy.spec.endpoint import Runtime
from argosy.spec.language import Language
from argosy.store.durable import keep
from tests.language.packages import fake_package

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}


class Running:
    """A replica's process, and clients of it and of its engine."""

    def __init__(self, config: LanguageConfig, folder: Path, fake: str) -> None:
        path = folder / "c.json"
        path.write_bytes(msgspec.json.encode(config))
        environ = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "FAKE": fake}
        environ[PYTHON] = str(Path(__file__).parents[1] / "fake_vllm")
        child = launch.ours("argosy.language", str(path), folder=folder, more=environ)
        self.config, self.log = config, folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(child.command, env=child.environ, stdout=log, stderr=log)
        self.http, self.engine = client(config.http), client(config.engine)

    def until(self, condition: Callable[[], object]) -> None:
        """Wait for it, as long as the process lives."""
        while not condition():
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)

    def ready(self) -> bool:
        """Whether it says so."""
        return listened(Path(self.config.http.path)) and self.http.get("/v2/health/ready").status_code == 200

    def ended(self) -> tuple[int, str]:
        """Its exit status, once it has ended, and its last line."""
        return self.process.wait(), self.log.read_text().splitlines()[-1]


def client(address: Address) -> httpx.Client:
    """Of a Unix socket."""
    transport = httpx.HTTPTransport(uds=address.path)
    return httpx.Client(transport=transport, base_url="http://r", timeout=60, trust_env=False)


@contextmanager
def replica(
    tmp_path: Path, fake: str = "", adapters: dict[str, str] | None = None, **runtime: Any
) -> Iterator[Running]:
    """One of a model `m`."""
    work = tmp_path / "w"
    work.mkdir()
    config = LanguageConfig(
        model=ModelConfig(name="m", package=str(fake_package(tmp_path / "p")), version="3"),
        http=Address(path=str(work / "r.sock")),
        engine=Address(path=str(work / "r.llm.sock")),
        language=Language(context=1024, at_zero="asleep"),
        runtime=Runtime(threads=1, **runtime),
        variables=("FAKE",),
        adapters=adapters or {},
        log=str(tmp_path / "log"),
    )
    running = Running(config, tmp_path, fake)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()
        running.http.close()
        running.engine.close()


def test_answers_counts_and_ends(tmp_path: Path) -> None:
    """The engine answers callers, the replica the platform; SIGTERM ends both."""
    with replica(tmp_path) as one:
        one.until(one.ready)
        child = psutil.Process(one.process.pid).children()[0]
        answer = one.engine.post("/v1/chat/completions", json=CHAT).json()
        assert answer["choices"][0]["message"]["content"].startswith("w0 w1")
        assert one.http.get("/v2/models/m").json()["versions"] == ["3"]
        assert one.http.get("/v2/models/m/ready").json() == {"name": "m", "ready": True}
        assert one.http.get("/v2/models/other").status_code == 404
        refused = one.http.post("/v2/models/m/infer", json={"inputs": []})
        assert (refused.status_code, "/v1/chat/completions" in refused.text) == (501, True)
        wanted = f"argosy_engine_output_tokens_total {answer['usage']['completion_tokens']}"
        one.until(lambda: wanted in one.http.get("/metrics").text)
        assert "argosy_ready 1.0" in one.http.get("/metrics").text
        assert set(one.http.get("/argosy/counts").json()["m"]) == {"3"}
        one.process.terminate()
        assert one.process.wait() == 0
        assert not child.is_running()


def test_adapters_are_loaded_as_it_runs(tmp_path: Path) -> None:
    """They are told of once their golden examples agree, and no more as soon as they are not wanted."""
    first, second, bad = (fake_package(tmp_path / name) for name in ("first", "second", "bad"))
    wrong = golden.Golden(engine="another", examples=golden.read(bad).examples, text="a text", logprobs=(-2.0,))
    golden.write(bad, wrong)
    with replica(tmp_path, adapters={"poet:1": str(first)}, drain_timeout=0.5) as one:
        one.until(one.ready)
        work = Path(one.config.http.path).parent
        assert adapters_in(work) == ("poet:1",)

        def want(**adapters: Path) -> None:
            named = {name.replace("_", ":"): str(path) for name, path in adapters.items()}
            keep(tmp_path / "c.json", msgspec.json.encode(msgspec.structs.replace(one.config, adapters=named)))

        want(poet_1=first, poet_2=second, clerk_1=bad)
        one.until(lambda: "clerk:1 does not take part: golden text" in one.log.read_text())
        one.until(lambda: adapters_in(work) == ("poet:1", "poet:2"))
        assert one.engine.get("/fake").json()["adapters"] == ["poet:1", "poet:2"]
        for model, status in (("poet:1", 200), ("poet:2", 200), ("clerk:1", 404)):
            assert one.engine.post("/v1/chat/completions", json=CHAT | {"model": model}).status_code == status
        want(poet_2=second)
        one.until(lambda: adapters_in(work) == ("poet:2",))
        one.until(lambda: one.engine.get("/fake").json()["adapters"] == ["poet:2"])


def test_drain_waits_for_a_stream(tmp_path: Path) -> None:
    """The stream that runs is not cut; the replica is not ready meanwhile."""
    with replica(tmp_path, "--each=0.02 --tokens=120") as one:
        one.until(one.ready)
        with one.engine.stream("POST", "/v1/chat/completions", json=CHAT | {"stream": True}) as answer:
            lines = (line for line in answer.iter_lines() if line)
            first = next(lines)
            one.process.send_signal(signal.SIGTERM)
            one.until(lambda: one.http.get("/v2/health/ready").status_code == 503)
            rest = list(lines)
        assert first.startswith("data: ")
        assert rest[-1] == "data: [DONE]"
        assert sum("content" in line for line in rest) == 119
        assert one.process.wait() == 0


def test_engine_that_dies(tmp_path: Path) -> None:
    """The replica ends with the reason, for the target to start it again."""
    with replica(tmp_path) as one:
        one.until(one.ready)
        with pytest.raises(httpx.TransportError):
            one.engine.post("/v1/chat/completions", json=CHAT | {"fake": {"fault": "die", "after": 1}})
        status, said = one.ended()
        assert (status, said) == (1, "error: vllm ended with status 13")


def test_sleep_waits_for_a_stream_and_golden_examples_are_replayed_after_it(tmp_path: Path) -> None:
    """Told to sleep and wake, it is ready again only when the engine has answered as it did."""
    with replica(tmp_path, "--each=0.02 --tokens=30") as one:
        one.until(one.ready)
        with one.engine.stream("POST", "/v1/chat/completions", json=CHAT | {"stream": True}) as answer:
            lines = (line for line in answer.iter_lines() if line)
            next(lines)
            assert one.http.post("/argosy/sleep").status_code == 200
            assert not one.ready()
            assert list(lines)[-1] == "data: [DONE]"

        def asked() -> list[str]:
            return [each["path"] for each in one.engine.get("/fake").json()["seen"]]

        one.until(lambda: asked()[-1] == "/sleep")
        assert one.engine.post("/v1/chat/completions", json=CHAT).status_code == 503
        assert (one.ready(), one.http.get("/v2/health/live").status_code) == (False, 200)
        assert one.http.post("/argosy/wake").status_code == 200
        one.until(one.ready)
        after = asked()[asked().index("/wake_up") :]
        assert "/v1/completions" in after, "golden examples"
        assert one.engine.post("/v1/chat/completions", json=CHAT).status_code == 200
        one.http.post("/argosy/wake")
        assert one.ready(), "who is awake stays so"


def test_copies_are_asked_anew_greedily_and_recorded(tmp_path: Path) -> None:
    """What a shadow compares: the first tokens, whatever was asked for, under the request's id."""
    with replica(tmp_path) as one:
        one.until(one.ready)
        sampled = {"stream": True, "n": 2, "temperature": 1.5, "seed": 7, "stream_options": {"include_usage": True}}
        copies = [
            ("a", CHAT | sampled, {"x-argosy-shadow": "3"}),
            ("b", CHAT | {"max_tokens": 2, "top_k": 5}, {"x-argosy-shadow": "3"}),
            ("c", CHAT | {"fake": {"fault": "error"}}, {"x-argosy-shadow": "3"}),
            ("d", CHAT | {"fake": {"said": "No "}}, {"x-argosy-shadow": "3"}),
        ]
        for id, body, headers in copies:
            answer = one.http.post("/v1/chat/completions", json=body, headers=headers | {"x-request-id": id})
            assert answer.status_code == 202
        assert one.http.post("/v1/chat/completions", json=CHAT).status_code == 404, "no copy"
        found: dict[str, RecordedAnswer] = {}

        def all_there() -> bool:
            found.update({each.id: each for each in read(one.http.post("/argosy/answers").content).answers})
            return len(found) == len(copies)

        one.until(all_there)
        texts = {id: each.outputs[0].data for id, each in found.items() if each.outputs}
        assert texts == {"a": [b"w0 w1 w2"], "b": [b"w0 w1"], "d": [b"No w0 w1 w2"]}
        assert found["c"].code == "internal"
        seen = [each["body"] for each in one.engine.get("/fake").json()["seen"] if "top_k" in each["body"]]
        assert seen == [CHAT | {"top_k": 5, "temperature": 0, "max_tokens": 2}]
        slow = CHAT | {"fake": {"delay": 30.0}}
        headers = {"x-argosy-shadow": "3"}
        taken = [one.http.post("/v1/chat/completions", json=slow, headers=headers).status_code for _ in range(9)]
        assert taken.count(202) == MOST, "callers come first"


@pytest.mark.slow
def test_engine_that_hangs(tmp_path: Path) -> None:
    """No progress for `runtime.hang_timeout`, and no answer either."""
    with replica(tmp_path, hang_timeout=1.0) as one:
        one.until(one.ready)
        with pytest.raises(httpx.TransportError):
            one.engine.post("/v1/chat/completions", json=CHAT | {"fake": {"fault": "hang", "after": 1}})
        status, said = one.ended()
        assert (status, said[:42]) == (1, "error: vllm has made no progress for 1 s a")


def test_engine_that_stalls(tmp_path: Path) -> None:
    """It answers on, but the one stream goes no further."""
    with replica(tmp_path, hang_timeout=1.0) as one:
        one.until(one.ready)
        with pytest.raises(httpx.TransportError):
            one.engine.post("/v1/chat/completions", json=CHAT | {"fake": {"fault": "stall", "after": 1}})
        assert one.ended()[0] == 1


@pytest.mark.slow
def test_replica_that_is_killed(tmp_path: Path) -> None:
    """Its engine does not outlive it."""
    with replica(tmp_path) as one:
        one.until(one.ready)
        engine = psutil.Process(one.process.pid).children()[0]
        one.process.kill()
        assert psutil.wait_procs([engine], 60)[1] == []
