"""Secrets in settings: a text that begins with `$` names a variable of the environment, so that no file holds them."""

from collections.abc import Mapping

from argosy.spec.errors import InvalidArgument


def resolved(text: str, environ: Mapping[str, str], where: str) -> str:
    """The text, or what the variable that it names holds. Raises InvalidArgument, naming `where`, if there is none."""
    if not text.startswith("$"):
        return text
    if (value := environ.get(text[1:])) is None:
        raise InvalidArgument(f"{where}: the variable {text[1:]} is not set")
    return value
