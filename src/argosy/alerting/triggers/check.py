"""What a trigger may run: nothing with a secret in its declaration, and no host or variable that is not allowed."""

from collections.abc import Mapping

from argosy.alerting import destination
from argosy.alerting.allowed import Allowed
from argosy.spec.alerts import Webhook
from argosy.spec.errors import InvalidArgument
from argosy.spec.secret import HIDDEN, is_secret_name, plain_header, reference, resolved, url_holds
from argosy.spec.trigger import Command, Trigger

OURS = (
    *("host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade", "expect"),
    *("idempotency-key", "x-argosy-signature"),
)
"""Headers that say how a request is framed and whom it is for: ours to set."""


def check_declared(one: Trigger, allowed: Allowed, environ: Mapping[str, str]) -> None:
    """What `check_run` does, and InvalidArgument where the declaration itself holds a secret: it is kept in the history
    and shown to whoever may look."""
    where, run = f"the trigger '{one.name}'", one.run
    if isinstance(run, Command):
        for name, value in run.environ.items():
            check_named(f"{where}: the value of environ.{name}", name, value)
    else:
        if holds := url_holds(run.url):
            raise _plain(f"{where}: url holds {holds}, and a url with a secret", "url: $HOOK_URL")
        for name, value in run.headers.items():
            if not plain_header(name, value):
                raise _plain(f"{where}: the value of the header {name}", f"{name}: $HOOK_HEADER, or Bearer $HOOK_TOKEN")
    check_run(run, allowed, environ, where)


def check_named(where: str, name: str, value: str) -> None:
    """Raises InvalidArgument where a variable has the name of a secret and its value stands there as it is."""
    if value == HIDDEN or (is_secret_name(name) and value and not value.startswith("$")):
        raise _plain(where, f"{name}: ${name}")


def _plain(what: str, instead: str) -> InvalidArgument:
    return InvalidArgument(
        f"{what} must refer to a variable of the platform's environment, as in  {instead} : the history and everybody "
        "who may look would see it"
    )


def check_run(run: Command | Webhook, allowed: Allowed, environ: Mapping[str, str], where: str) -> None:
    """Raises PermissionDenied for variables and hosts that are not allowed, and for a variable that may not go to this
    host; InvalidArgument for headers that are ours to set and a url that is none."""
    if isinstance(run, Command):
        for text in run.environ.values():
            allowed.check_variable(text, where)
        return
    used = [name for text in (run.url, run.secret, *run.headers.values()) if (name := reference(text))]
    for name in used:
        allowed.check_known(f"${name}", where)
    names = [name.lower() for name in run.headers]
    if wrong := [name for name in names if name in OURS or name.startswith("proxy-") or not name]:
        raise InvalidArgument(f"{where}: the header '{wrong[0]}' is not for a declaration to set")
    if not run.url.startswith("$") or run.url[1:] in environ:
        url = destination.parse(resolved(run.url, environ, where), where)
        destination.check_host(url, allowed, where)
        for name in used:
            destination.check_secret(url, name, allowed, where)
