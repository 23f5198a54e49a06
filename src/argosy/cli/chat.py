"""`argosy chat`."""

import json
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from argosy.cli.base import Command
from argosy.cli.completion import endpoints
from argosy.cli.predict import target
from argosy.spec.errors import ArgosyError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx


@click.command(cls=Command)
@click.argument("name", shell_complete=endpoints)
@click.option("-m", "--message", metavar="TEXT", help="Ask this alone and end; - reads standard input.")
@click.option("--system", metavar="TEXT", help="What the model is told before the conversation.")
@click.option("--max-tokens", type=click.IntRange(1), help="The most of one answer.")
@click.option("--temperature", type=click.FloatRange(0), help="0: the likeliest token each time.")
@click.option("--url", envvar="ARGOSY_URL", help="A server; by default ARGOSY_URL, else the platform of the home.")
@click.option("--key", envvar="ARGOSY_KEY", help="An API key; by default ARGOSY_KEY, else the one kept by deploy.")
def chat(
    name: str,
    message: str | None,
    system: str | None,
    max_tokens: int | None,
    temperature: float | None,
    url: str | None,
    key: str | None,
) -> None:
    """Talk to a language model; answers come as they are generated.

    NAME is an endpoint, NAME:VERSION for testers, or NAME+ADAPTER. The conversation goes on until an empty line or the
    end of the input. Tokens a second are printed to standard error.

    \b
    Example:
      argosy chat gemma
      argosy chat gemma --system "Answer in one sentence." -m "What is a gateway?"
      cat report.txt | argosy chat gemma -m -
      argosy chat gemma --url http://127.0.0.1:8000
    """
    import httpx

    where, key = target(name.partition(":")[0].partition("+")[0], url, key)
    headers = {"authorization": f"Bearer {key}"} if key else {}
    asked = {"max_tokens": max_tokens, "temperature": temperature}
    body: dict[str, Any] = {"model": name, **{field: value for field, value in asked.items() if value is not None}}
    messages = [{"role": "system", "content": system}] if system else []
    # No bound on an answer: it may wait for its turn, and for the endpoint to wake up.
    timeout = httpx.Timeout(None, connect=10.0)
    with httpx.Client(base_url=where, headers=headers, timeout=timeout, trust_env=False) as client:
        if message is not None:
            text = sys.stdin.read() if message == "-" else message
            _turn(client, {**body, "messages": [*messages, {"role": "user", "content": text}]})
            return
        while text := _read():
            messages.append({"role": "user", "content": text})
            messages.append({"role": "assistant", "content": _turn(client, {**body, "messages": messages})})


def _read() -> str:
    """What the user says next; empty at the end."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().strip()
    try:
        return input("> ").strip()
    except (EOFError, KeyboardInterrupt):
        return ""


def _turn(client: "httpx.Client", body: dict[str, Any]) -> str:
    """Ask, print the answer as it comes, and how fast it came; Ctrl-C ends the answer alone."""
    parts: list[str] = []
    usage: dict[str, int] = {}
    begun = first = time.monotonic()
    try:
        for event in _events(client, {**body, "stream": True, "stream_options": {"include_usage": True}}):
            usage = event.get("usage") or usage
            for choice in event.get("choices", []):
                if text := choice.get("delta", {}).get("content"):
                    first = first if parts else time.monotonic()
                    parts.append(text)
                    click.echo(text, nl=False)
    except KeyboardInterrupt:
        click.echo(" …", nl=False)
    click.echo()
    output, took = usage.get("completion_tokens", len(parts)), time.monotonic() - first
    speed = f", {(output - 1) / took:.1f} tokens/s" if output > 1 and took > 0 else ""
    click.echo(
        f"{usage.get('prompt_tokens', '?')} + {output} tokens, first after {first - begun:.2f} s{speed}", err=True
    )
    return "".join(parts)


def _events(client: "httpx.Client", body: dict[str, Any]) -> "Iterator[dict[str, Any]]":
    """The events of a stream. Raises ArgosyError with what the server says."""
    import httpx

    try:
        with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            if answer.status_code != 200:
                raise ArgosyError(_said(answer.read(), answer.status_code))
            for line in answer.iter_lines():
                if line.startswith("data: ") and line != "data: [DONE]":
                    event = json.loads(line[6:])
                    if "error" in event:
                        raise ArgosyError(_said(line[6:].encode(), 500))
                    yield event
    except httpx.ConnectError as error:
        raise Unavailable(f"nobody answers at {client.base_url}: {error}") from None
    except httpx.HTTPError as error:
        raise Unavailable(f"the answer broke off: {error}") from None


def _said(content: bytes, status: int) -> str:
    try:
        found: Any = json.loads(content)["error"]
        return str(found if isinstance(found, str) else found["message"])
    except (ValueError, KeyError, TypeError):
        return f"the server answered {status}: {content[:200].decode(errors='replace')}"
