"""OpenAI's API as its clients use it: models, answers, streams, usage, structured output, tools and errors."""

from typing import Any, cast

import msgspec

from argosy_conformance.check import Failed, Skipped, check
from argosy_conformance.expect import field, ok, that
from argosy_conformance.subject import Subject
from argosy_conformance.transport import JSON, Answer

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
QUESTION = [{"role": "user", "content": "Name one colour."}]
SCHEMA = {
    "type": "object",
    "properties": {"colour": {"type": "string", "enum": ["red", "green"]}},
    "required": ["colour"],
    "additionalProperties": False,
}
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def model(subject: Subject) -> str:
    """The model given, or the first one listed."""
    if subject.chosen:
        return subject.chosen
    listed = ok(subject.http.get("/v1/models")).object().get("data")
    if not isinstance(listed, list) or not listed:
        raise Skipped("no model was named (--model), and /v1/models lists none")
    return str(cast("dict[str, Any]", listed[0]).get("id"))


def ask(subject: Subject, **fields: Any) -> Answer:
    """A chat request of few tokens."""
    body = {"model": model(subject), "messages": QUESTION, "max_tokens": 8, "temperature": 0, **fields}
    return subject.http.post(CHAT, body)


def choices(answer: Answer, kind: str = "chat.completion") -> list[dict[str, Any]]:
    """The choices of an answer with the fields that every client reads."""
    found = ok(answer).object()
    that(found.get("object") == kind, f"object is {found.get('object')!r}, expected {kind!r}")
    for name, type_ in (("id", str), ("created", int), ("model", str), ("choices", list)):
        field(found, name, type_, "the answer")
    return cast("list[dict[str, Any]]", found["choices"])


def message(answer: Answer) -> dict[str, Any]:
    """The message of the one choice."""
    found = choices(answer)
    that(len(found) == 1, f"{len(found)} choices, expected 1")
    return cast("dict[str, Any]", field(found[0], "message", dict, "the choice"))


def used(found: dict[str, Any]) -> tuple[int, int]:
    """Input and output tokens of a usage that adds up."""
    usage = cast("dict[str, Any]", field(found, "usage", dict, "the answer"))
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    put, got, total = (cast("int", field(usage, name, int, "usage")) for name in names)
    that(put > 0 and got >= 0 and total == put + got, f"usage does not add up: {put} + {got} is not {total}")
    return put, got


def events(answer: Answer) -> list[dict[str, Any]]:
    """The events of a stream: `data: {…}` each with an empty line after it, and `[DONE]` last."""
    kind = ok(answer).headers.get("content-type", "")
    that(kind.startswith("text/event-stream"), f"content type {kind!r}, expected text/event-stream")
    parts = [each for each in answer.body.decode().replace("\r\n", "\n").split("\n\n") if each.strip()]
    lines = [line for part in parts for line in part.split("\n") if line and not line.startswith(":")]
    that(all(line.startswith("data: ") for line in lines), "a line of an event does not begin with 'data: '")
    that(bool(lines) and lines[-1] == "data: [DONE]", "the last event is not [DONE]")
    try:
        return [msgspec.json.decode(line[6:], type=dict[str, Any]) for line in lines[:-1]]
    except msgspec.MsgspecError as error:
        raise Failed(f"an event is no JSON object: {error}") from None


def refused(answer: Answer, *statuses: int) -> str | None:
    """An error in OpenAI's shape."""
    that(answer.status in statuses, f"expected {' or '.join(map(str, statuses))}, saw {answer.seen()}")
    error = answer.object().get("error")
    that(isinstance(error, dict), f'expected {{"error": {{…}}}}, saw {answer.seen()}')
    about = cast("dict[str, Any]", error)
    that(isinstance(about.get("message"), str) and about["message"], "the error has no message")
    that(isinstance(about.get("type"), str), "the error has no type")
    return None if "param" in about and "code" in about else "the error has no param or no code"


@check("openai.models", "GET /v1/models lists models")
def models(subject: Subject) -> str | None:
    found = ok(subject.http.get("/v1/models")).object()
    that(found.get("object") == "list", f"object is {found.get('object')!r}, expected 'list'")
    for each in cast("list[dict[str, Any]]", field(found, "data", list, "the list")):
        for name, kind in (("id", str), ("created", int), ("owned_by", str)):
            field(each, name, kind, "a model")
        that(each.get("object") == "model", f"a model's object is {each.get('object')!r}")
    return None


@check("openai.model", "GET /v1/models/NAME tells of one model")
def one_model(subject: Subject) -> str | None:
    answer = subject.http.get(f"/v1/models/{model(subject)}")
    if answer.status == 404:
        raise Skipped("there is no such path")
    that(ok(answer).object().get("id") == model(subject), f"another model: {answer.seen()}")
    return None


@check("openai.chat", "a chat request is answered by the assistant")
def chat(subject: Subject) -> str | None:
    found = message(ask(subject))
    that(found.get("role") == "assistant", f"the role is {found.get('role')!r}")
    field(found, "content", str, "the message")
    return None


@check("openai.completions", "a text is completed")
def completions(subject: Subject) -> str | None:
    body = {"model": model(subject), "prompt": "One, two,", "max_tokens": 4}
    found = choices(subject.http.post(COMPLETIONS, body), "text_completion")
    field(found[0], "text", str, "the choice")
    return None


@check("openai.usage", "usage adds up, and max_tokens bounds it")
def usage(subject: Subject) -> str | None:
    answer = ask(subject, max_tokens=3)
    _, got = used(ok(answer).object())
    that(got <= 3, f"{got} tokens were generated, 3 were allowed")
    reason = choices(answer)[0].get("finish_reason")
    that(reason in ("length", "stop"), f"finish_reason is {reason!r}")
    return None


@check("openai.stream", "a stream has well-formed events, one role and one finish_reason")
def stream(subject: Subject) -> str | None:
    found = events(ask(subject, stream=True))
    that(all(each.get("object") == "chat.completion.chunk" for each in found), "an event is no chat.completion.chunk")
    that(len({each.get("id") for each in found}) == 1, "the events have different ids")
    parts = [choice for each in found for choice in cast("list[dict[str, Any]]", each.get("choices", []))]
    ends = [each["finish_reason"] for each in parts if each.get("finish_reason")]
    that(len(ends) == 1, f"{len(ends)} finish reasons, expected 1")
    text = "".join(str(each.get("delta", {}).get("content") or "") for each in parts)
    that(text == message(ask(subject))["content"], "the stream's text is not that of the answer without a stream")
    that(not any(each.get("usage") for each in found), "usage came without being asked for")
    return None


@check("openai.stream_usage", "stream_options.include_usage gives usage in a last event without choices")
def stream_usage(subject: Subject) -> str | None:
    *before, last = events(ask(subject, stream=True, stream_options={"include_usage": True}))
    used(last)
    that(last.get("choices") == [], "the event with usage has choices")
    that(not any(each.get("usage") for each in before), "usage came in another event as well")
    return None


@check("openai.stop", "a stop sequence ends the answer and is not in it")
def stop(subject: Subject) -> str | None:
    text = str(message(ask(subject, max_tokens=8))["content"])
    words = text.split()
    if len(words) < 2:
        raise Skipped(f"the model says too little: {text!r}")
    answer = ask(subject, max_tokens=8, stop=[words[1]])
    that(words[1] not in str(message(answer)["content"]), "the stop sequence is in the answer")
    that(choices(answer)[0].get("finish_reason") == "stop", "finish_reason is not 'stop'")
    return None


@check("openai.seed", "the same seed gives the same answer")
def seed(subject: Subject) -> str | None:
    first, second = (message(ask(subject, temperature=1, seed=7))["content"] for _ in range(2))
    that(first == second, f"{first!r} and {second!r}")
    return None


@check("openai.n", "n gives so many choices, numbered")
def n(subject: Subject) -> str | None:
    answer = ask(subject, n=2, max_tokens=3, temperature=1)
    if answer.status == 400:
        refused(answer, 400)
        return "n of 2 is refused"
    that([each.get("index") for each in choices(answer)] == [0, 1], "the choices are not numbered 0 and 1")
    return None


@check("openai.logprobs", "logprobs has a token and its logarithm for each step")
def logprobs(subject: Subject) -> str | None:
    found = choices(ask(subject, logprobs=True, top_logprobs=2))[0].get("logprobs")
    steps = cast("dict[str, list[dict[str, Any]]]", found or {}).get("content") or []
    that(bool(steps), "no logprobs.content")
    for each in steps:
        that(isinstance(each.get("token"), str) and cast("float", each.get("logprob", 1)) <= 0, f"a step is {each}")
    return None


@check("openai.schema", "response_format with a JSON schema is kept to")
def schema(subject: Subject) -> str | None:
    form = {"type": "json_schema", "json_schema": {"name": "colour", "strict": True, "schema": SCHEMA}}
    text = str(message(ask(subject, response_format=form, max_tokens=32))["content"])
    try:
        found = msgspec.json.decode(text, type=dict[str, str])
    except msgspec.MsgspecError as error:
        raise Failed(f"the answer is not of the schema: {error}: {text[:120]!r}") from None
    that(found.keys() == {"colour"} and found["colour"] in ("red", "green"), f"saw {found}")
    return None


@check("openai.tools", "a tool that must be called is called, with arguments in JSON")
def tools(subject: Subject) -> str | None:
    choice = {"type": "function", "function": {"name": "weather"}}
    question = [{"role": "user", "content": "What is the weather in Bern?"}]
    answer = ask(subject, messages=question, tools=[TOOL], tool_choice=choice, max_tokens=32)
    if answer.status in (400, 500, 501):
        raise Skipped(f"the model or its template calls no tools: {answer.seen()}")
    calls = message(answer).get("tool_calls")
    if not isinstance(calls, list) or not calls:
        raise Skipped("the model called no tool")
    function = cast("dict[str, Any]", calls[0]).get("function", {})
    that(function.get("name") == "weather", f"another function: {function.get('name')!r}")
    msgspec.json.decode(str(function.get("arguments")), type=dict[str, Any])
    return None


@check("openai.unknown_fields", "a field that nobody knows is passed over")
def unknown_fields(subject: Subject) -> str | None:
    message(ask(subject, a_field_of_tomorrow={"a": [1]}))
    return None


@check("openai.malformed", "a body that is no JSON is 400, in OpenAI's shape")
def malformed(subject: Subject) -> str | None:
    body = f'{{"model": "{model(subject)}", "messages": ['.encode()
    return refused(subject.http.send("POST", CHAT, body, JSON), 400)


@check("openai.no_messages", "a request without messages is 400")
def no_messages(subject: Subject) -> str | None:
    return refused(subject.http.post(CHAT, {"model": model(subject)}), 400, 422)


@check("openai.no_model", "a model that is not there is 404")
def no_model(subject: Subject) -> str | None:
    answer = ask(subject, model="a-model-of-nobody")
    if answer.status == 200:
        return "any name is answered by the one model"
    note = refused(answer, 404, 403)
    if answer.status == 403:
        return "403: the key covers no such name, and is not told whether there is one"
    return note or (None if answer.object()["error"].get("code") == "model_not_found" else "code is no model_not_found")


@check("openai.no_key", "a key that nobody has is 401")
def no_key(subject: Subject) -> str | None:
    headers = {**JSON, "authorization": "Bearer sk-of-nobody"}
    body = msgspec.json.encode({"model": model(subject), "messages": QUESTION, "max_tokens": 1})
    answer = subject.http.send("POST", CHAT, body, headers)
    if answer.status == 200:
        raise Skipped("the server asks for no key")
    return refused(answer, 401)


@check("openai.embeddings", "embeddings have one vector for each input, in order")
def embeddings(subject: Subject) -> str | None:
    answer = subject.http.post("/v1/embeddings", {"model": model(subject), "input": ["one", "two", "one"]})
    if answer.status in (400, 404, 500, 501):
        raise Skipped(f"the model embeds nothing: {answer.seen()}")
    data = cast("list[dict[str, Any]]", field(ok(answer).object(), "data", list, "the answer"))
    that([each.get("index") for each in data] == [0, 1, 2], "the vectors are not numbered 0, 1, 2")
    that(len({len(each["embedding"]) for each in data}) == 1, "the vectors have different lengths")
    return None
