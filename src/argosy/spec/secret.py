"""Secrets in settings and declarations: a text that begins with `$` names a variable of the environment, so that no
file, database or history holds them. What may hold a secret is refused as a plain text, and hidden where it is shown.
"""

import re
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlsplit

from argosy.spec.errors import InvalidArgument

HIDDEN = "***"
PLAIN_HEADERS = frozenset({"accept", "accept-language", "content-type", "user-agent", "x-github-api-version"})
"""Headers whose values are no secrets. Every other one may be."""

_REFERENCE = re.compile(r"([A-Za-z][A-Za-z0-9-]* )?\$(?P<name>[A-Za-z_][A-Za-z0-9_]*)")
_SECRET_NAME = re.compile(
    r"pass(word|wd|phrase)?|secret|token|credential|auth|bearer|cookie|session|signature|api_?key|(^|_)(key|pwd|pat)($|_)",
    re.IGNORECASE,
)
_TOKEN_LIKE = re.compile(r"(?=[^/]*[0-9])(?=[^/]*[A-Za-z])[A-Za-z0-9_.:~+=-]{20,}")

MOST_VARIABLES, MOST_CHARACTERS = 64, 8192
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
"""The name of a variable of the environment."""
HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
"""The name of an HTTP header."""
_RESERVED = re.compile(
    r"(LD|DYLD|GLIBC|MALLOC|ARGOSY)_.*|PYTHON.*|PATH|HOME|TMPDIR|GCONV_PATH|LOCPATH|NLSPATH|JOBLIB_MULTIPROCESSING"
)


def resolved(text: str, environ: Mapping[str, str], where: str) -> str:
    """The text, or what the variable that it names holds. Raises InvalidArgument, naming `where`, if there is none."""
    if not text.startswith("$"):
        return text
    if (value := environ.get(text[1:])) is None:
        raise InvalidArgument(f"{where}: the variable {text[1:]} is not set")
    return value


def reference(text: str) -> str:
    """The variable that a text refers to, as in `$NAME` or, for a header, `Bearer $NAME`; empty if there is none."""
    found = _REFERENCE.fullmatch(text)
    return found["name"] if found else ""


def is_secret_name(name: str) -> bool:
    """Whether a variable of this name is likely to hold a secret."""
    return bool(_SECRET_NAME.search(name))


def plain_header(name: str, value: str) -> bool:
    """Whether a header may stand in a declaration as it is: it refers to a variable, or its kind is no secret."""
    return bool(reference(value)) or (name.lower() in PLAIN_HEADERS and HIDDEN not in value)


def url_holds(url: str) -> str:
    """What of a URL may be a secret, in words; empty for none, and for one that is a reference."""
    if reference(url):
        return ""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "something that is no URL"
    if "@" in parts.netloc or "@" in url.partition("://")[2].partition("/")[0]:
        return "a user or password"
    if parts.query or parts.fragment or "?" in url or "#" in url:
        return "a query or fragment"
    if HIDDEN in url:
        return f"{HIDDEN}, as it is shown"
    return "what looks like a token" if any(map(_TOKEN_LIKE.fullmatch, parts.path.split("/"))) else ""


def shown_url(url: str) -> str:
    """A URL as it may be shown: where something of it may be a secret, its scheme and host alone."""
    return hidden(url) if url_holds(url) else url


def hidden(text: str) -> str:
    """What is shown instead of a secret: the name of a variable, of a URL scheme and host, of anything else nothing."""
    if text == "" or reference(text):
        return text
    if not text.startswith(("http://", "https://")):
        return HIDDEN
    scheme, _, rest = text.partition("://")
    place = re.split(r"[/?#\\]", rest, maxsplit=1)[0]
    return f"{scheme}://{place.rpartition('@')[2]}" + (f"/{HIDDEN}" if len(place) < len(rest) else "")


def masked(value: Any) -> Any:
    """A declaration, a change or an entry of the ledger, as builtins, without the secrets that webhooks and commands
    hold in it. What previous versions wrote may hold some."""
    if isinstance(value, list | tuple):
        return [masked(each) for each in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    table = {name: masked(each) for name, each in cast("dict[str, Any]", value).items()}
    if table.get("kind") == "webhook" and isinstance(table.get("url"), str):
        table["url"] = shown_url(table["url"])
        table["secret"] = hidden(table.get("secret") or "")
        headers: dict[str, str] = table.get("headers") or {}
        table["headers"] = {k: v if plain_header(k, v) else HIDDEN for k, v in headers.items()}
    for key in ("env", "environ"):
        if isinstance(table.get(key), dict):
            table[key] = {name: masked_variable(name, each) for name, each in table[key].items()}
    field = str(table.get("field", ""))
    if ".env." in field:
        table |= {side: masked_variable(field, table[side]) for side in ("old", "new") if side in table}
    return table


def masked_variable(name: str, value: Any) -> Any:
    """What may be shown of a variable of this name, or of the field that declares it."""
    plain = not isinstance(value, str) or value.startswith("$") or not is_secret_name(name.rpartition(".")[2])
    return value if plain else HIDDEN


def check_variables(env: Mapping[str, str], where: str) -> None:
    """Raises InvalidArgument, naming `where`, for what is no variable or is the platform's to say."""
    if len(env) > MOST_VARIABLES:
        raise InvalidArgument(f"{where} has {len(env)} variables; at most {MOST_VARIABLES} are possible")
    for name, value in env.items():
        if not VARIABLE.fullmatch(name):
            raise InvalidArgument(f"{where}: '{name[:80]}' is no name of a variable: use letters, digits and _")
        if _RESERVED.fullmatch(name):
            raise InvalidArgument(
                f"{where}: {name[:80]} says where programs, libraries or files of the model lie, which is the "
                "platform's to say; leave it out"
            )
        if len(value) > MOST_CHARACTERS or "\0" in value:
            raise InvalidArgument(f"{where}.{name[:80]} must have at most {MOST_CHARACTERS} characters, and no NUL")
        if value.startswith("$") and not VARIABLE.fullmatch(value[1:]):
            raise InvalidArgument(f"{where}.{name[:80]}: what follows $ must be the name of a variable")


def variables(env: Mapping[str, str], environ: Mapping[str, str], where: str) -> dict[str, str]:
    """The variables with what they refer to. Raises InvalidArgument where that is not set."""
    return {name: resolved(value, environ, f"{where}.{name}") for name, value in env.items()}
