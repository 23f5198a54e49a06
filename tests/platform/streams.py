"""Chats that are streamed while a test does something else."""

import threading
from typing import Any

import httpx

CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}


class Stream(threading.Thread):
    """A chat that is streamed, read as it comes."""

    def __init__(self, url: str, **more: Any) -> None:
        super().__init__()
        self.url, self.body, self.lines = url, CHAT | {"stream": True} | more, list[str]()
        self.start()

    def run(self) -> None:
        """Read it."""
        with httpx.stream("POST", self.url, json=self.body, timeout=60, trust_env=False) as answer:
            self.lines += [f"{answer.status_code}"]
            for line in answer.iter_lines():
                self.lines += [line] if line else []

    def tokens(self) -> int:
        """Once it has ended, how many came."""
        self.join(60)
        assert self.lines[-1] == "data: [DONE]", self.lines[-3:]
        return sum('"content":"' in line for line in self.lines)
