"""Documents with a part that a proof writes: what stands between two markers."""

from pathlib import Path


def put(document: Path, begin: str, end: str, text: str) -> None:
    """Put a text between the markers, each of which is there once."""
    head, rest = document.read_text(encoding="utf-8").split(begin)
    document.write_text(f"{head}{begin}\n{text}\n{end}{rest.split(end)[1]}", encoding="utf-8")
