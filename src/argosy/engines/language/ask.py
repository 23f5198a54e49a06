"""A client of one language engine, for what we ask of it ourselves: golden examples, probes, measurements."""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import httpx
import msgspec

from argosy.process import sockets
from argosy.spec.address import Address
from argosy.spec.errors import ArgosyError, Internal, InvalidArgument, Unavailable

TIMEOUT = 600.0
"""Seconds between two bytes of an answer: a long prompt on a slow machine takes its time."""
ALONE = {"connection": "close"}
"""Engines close a connection that was idle for some seconds, perhaps while a request is on its way to it."""
FORCED = 100_000.0
"""A bias that leaves no choice."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What was generated, why it ended, and how many tokens it took; with the logarithm of each token's probability
    where asked for."""

    text: str
    finish: str = ""
    input: int = 0
    output: int = 0
    tokens: tuple[str, ...] = ()
    logprobs: tuple[float, ...] = ()


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds to the first token of a stream and to its end, and its tokens."""

    first: float
    whole: float
    output: int

    @property
    def each(self) -> float:
        """Seconds for a token after the first."""
        return (self.whole - self.first) / max(1, self.output - 1)


class _Usage(msgspec.Struct):
    completion_tokens: int = 0


class _Event(msgspec.Struct):
    usage: _Usage | None = None


class Ask:
    """Asks the engine at an address for the model `name`; as a context manager it closes its connections."""

    def __init__(self, address: Address, name: str, engine: str = "llamacpp", timeout: float = TIMEOUT) -> None:
        self._name, self._engine, self._path = name, engine, address.path
        self._more: dict[str, Any] = {}
        transport = httpx.HTTPTransport(uds=address.path) if address.path else None
        url = "http://engine" if address.path else f"http://{address}"
        self._http = httpx.Client(transport=transport, base_url=url, timeout=timeout, trust_env=False, headers=ALONE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def healthy(self) -> bool:
        """Whether it has loaded its model."""
        if self._path and not sockets.listened(Path(self._path)):
            return False
        try:
            return self._http.get("/health", timeout=5.0).status_code == 200
        except httpx.HTTPError:
            return False

    def metrics(self, timeout: float = TIMEOUT) -> str:
        """Its metrics as text. Raises Unavailable where it does not answer in time."""
        try:
            return self._http.get("/metrics", timeout=timeout).text
        except httpx.HTTPError as error:
            raise Unavailable(f"the engine does not answer: {error!r}") from None

    def order(self, path: str) -> None:
        """Have it do something that takes no body. Raises Unavailable where it does not answer, Internal."""
        try:
            answer = self._http.post(path)
        except httpx.HTTPError as error:
            raise Unavailable(f"the engine does not answer: {error!r}") from None
        if answer.status_code != 200:
            raise Internal(f"the engine answers {path} with status {answer.status_code}")

    def send(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Its whole answer to a request, from any thread. Raises as `chat`."""
        return self._post(path, body)

    def chat(self, messages: Sequence[Mapping[str, str]], *, most: int = 32, logprobs: bool = False) -> Answer:
        """A greedy answer of at most so many tokens. Raises InvalidArgument, Internal, Unavailable."""
        body: dict[str, Any] = {"messages": list(messages), "max_tokens": most, "temperature": 0}
        found = self._post("/v1/chat/completions", body | ({"logprobs": True} if logprobs else {}))
        choice: dict[str, Any] = found["choices"][0]
        return _answer(choice, choice["message"].get("content") or "", found)

    def complete(self, prompt: str | Sequence[int], *, most: int = 32, logprobs: bool = False) -> Answer:
        """The greedy continuation of a text or of tokens. Raises as `chat`."""
        given = prompt if isinstance(prompt, str) else list(prompt)
        body: dict[str, Any] = {"prompt": given, "max_tokens": most, "temperature": 0}
        found = self._post("/v1/completions", body | ({"logprobs": 1} if logprobs else {}))
        return _answer(found["choices"][0], found["choices"][0]["text"], found)

    def adapt(self, adapter: str, number: int | None = None) -> None:
        """Have an adapter take part in all answers from now on: by its name, or by its number as well. Then nothing is
        taken from a cache, so that an answer does not depend on who has asked before."""
        more = {"lora": [{"id": number, "scale": 1.0}], "cache_prompt": False}
        self._name, self._more = adapter, {} if number is None else more

    def load_adapter(self, name: str, path: Path | None) -> None:
        """Have vLLM load what lies there under a name; None: unload it. Raises as `chat`."""
        body = {"lora_name": name} if path is None else {"lora_name": name, "lora_path": str(path)}
        try:
            answer = self._http.post(f"/v1/{'unload' if path is None else 'load'}_lora_adapter", json=body)
        except httpx.HTTPError as error:
            raise Unavailable(f"the engine does not answer: {error!r}") from None
        if answer.status_code != 200:
            raise _refused(answer)

    def tokenize(self, text: str) -> list[int]:
        """The tokens of a text, with the one that begins it. Raises as `chat`."""
        body = {"content": text, "prompt": text, "add_special": True, "add_special_tokens": True}
        return list(self._post("/tokenize", body)["tokens"])

    def logprobs(self, text: str, most: int = 64) -> list[float]:
        """The logarithms of the probabilities of a text's tokens after the first, at most so many. Raises as `chat`."""
        tokens = self.tokenize(text)[: most + 1]
        if self._engine == "vllm":
            body: dict[str, Any] = {"prompt": tokens, "max_tokens": 1, "echo": True, "logprobs": 0, "temperature": 0}
            told: list[float] = self._post("/v1/completions", body)["choices"][0]["logprobs"]["token_logprobs"]
            return [float(each) for each in told[1 : len(tokens)]]
        # llama.cpp tells them of tokens that it generates: each is forced, and the cache has all before it.
        return [self._forced(tokens[:place], tokens[place]) for place in range(1, len(tokens))]

    def _forced(self, before: list[int], token: int) -> float:
        body = {"prompt": before, "n_predict": 1, "n_probs": 1, "logit_bias": [[token, FORCED]], "cache_prompt": True}
        told = self._post("/completion", body | {"temperature": 0})["completion_probabilities"][0]
        if told["id"] != token:
            raise Internal(f"the engine generated token {told['id']} where {token} was forced")
        return float(told["logprob"])

    def timed(self, prompt: str, most: int) -> Timing:
        """How fast a stream of `most` tokens is. Raises as `chat`."""
        body = {"prompt": prompt, "max_tokens": most, "stream": True, "temperature": 0, "ignore_eos": True}
        start, first, count = time.perf_counter(), 0.0, 0
        for line in self._stream("/v1/completions", body | {"stream_options": {"include_usage": True}}):
            first = first or time.perf_counter() - start
            if (usage := msgspec.json.decode(line, type=_Event).usage) is not None:
                count = usage.completion_tokens
        return Timing(first=first, whole=time.perf_counter() - start, output=count)

    def _stream(self, path: str, body: dict[str, Any]) -> Iterator[str]:
        try:
            with self._http.stream("POST", path, json={"model": self._name, **self._more, **body}) as answer:
                if answer.status_code != 200:
                    answer.read()
                    raise _refused(answer)
                lines = (line.removeprefix("data: ") for line in answer.iter_lines() if line.startswith("data: "))
                yield from (line for line in lines if line != "[DONE]")
        except httpx.HTTPError as error:
            raise Unavailable(f"the engine does not answer: {error!r}") from None

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        try:
            answer = self._http.post(path, json={"model": self._name, **self._more, **body})
        except httpx.HTTPError as error:
            raise Unavailable(f"the engine does not answer: {error!r}") from None
        if answer.status_code != 200:
            raise _refused(answer)
        return dict[str, Any](answer.json())


def _answer(choice: dict[str, Any], text: str, found: dict[str, Any]) -> Answer:
    logprobs: dict[str, Any] = choice.get("logprobs") or {}
    told: list[dict[str, Any]] = logprobs.get("content") or []
    usage: dict[str, int] = found.get("usage") or {}
    return Answer(
        text=text,
        finish=choice.get("finish_reason") or "",
        input=usage.get("prompt_tokens", 0),
        output=usage.get("completion_tokens", 0),
        tokens=tuple(each["token"] for each in told),
        logprobs=tuple(each["logprob"] for each in told),
    )


def _refused(answer: httpx.Response) -> ArgosyError:
    try:
        message = str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = answer.text[:500]
    kind = InvalidArgument if answer.status_code < 500 else Internal
    return kind(f"the engine answers {answer.status_code}: {message}")
