"""What a declaration may hold that this platform does not act upon yet, or may not by its owner's settings: refused."""

import os
from collections.abc import Callable, Mapping

from argosy.alerting.allowed import Allowed
from argosy.alerting.triggers.check import check_declared, check_named
from argosy.control.scaling.activation import may_sleep
from argosy.monitoring.performance.reference import path_of
from argosy.process import sandbox
from argosy.spec import variables
from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import InvalidArgument
from argosy.spec.scaling import WaitingRoom
from argosy.spec.settings import Settings
from argosy.spec.trigger import Command

PENDING: dict[str, Callable[[Endpoint], bool]] = {
    "waiting without replicas.min of 0": lambda endpoint: endpoint.waiting != WaitingRoom() and not may_sleep(endpoint),
}
"""Setting → whether a declaration makes use of it."""


def check_honoured(endpoint: Endpoint, settings: Settings) -> None:
    """Raises InvalidArgument, naming what would have no effect here, or what this machine or its environment lacks."""
    if endpoint.guard and endpoint.guard.metrics and not settings.prometheus.url:
        raise InvalidArgument(
            f"endpoint '{endpoint.name}' declares guard.metrics, and there is no Prometheus to ask: set "
            "prometheus.url in config.yaml (or ARGOSY_PROMETHEUS_URL), as in http://127.0.0.1:9090, and start the "
            "platform again"
        )
    if settings.confined and not settings.triggers.commands:
        _check_commands(endpoint)
    if endpoint.runtime.sandbox == "required" and (lacks := sandbox.lacks()):
        raise InvalidArgument(
            f"endpoint '{endpoint.name}': runtime.sandbox is required, and this machine lacks a part of it: {lacks}"
        )
    variables.given(endpoint.runtime.env, os.environ, f"endpoint '{endpoint.name}': runtime.env")
    if found := [name for name, used in PENDING.items() if used(endpoint)]:
        raise InvalidArgument(
            f"endpoint '{endpoint.name}' declares what this platform does not act upon: {', '.join(found)}; "
            "leave it out"
        )


def check_allowed(endpoint: Endpoint, settings: Settings, environ: Mapping[str, str]) -> None:
    """Raises PermissionDenied for files, hosts and variables that a caller may not name, InvalidArgument for secrets
    that a declaration holds as they are."""
    allowed = Allowed.of(settings)
    if endpoint.monitor is not None and endpoint.monitor.reference:
        allowed.check_place(path_of(endpoint.monitor), "references", "monitor.reference")
    for one in endpoint.triggers:
        check_declared(one, allowed, environ)
    for name, value in endpoint.runtime.env.items():
        where = f"endpoint '{endpoint.name}': runtime.env.{name}"
        check_named(where, name, value)
        allowed.check_variable(value, where)


def _check_commands(endpoint: Endpoint) -> None:
    if one := next((each for each in endpoint.triggers if isinstance(each.run, Command)), None):
        raise InvalidArgument(
            f"endpoint '{endpoint.name}': the trigger '{one.name}' runs a command, and callers of the control API may "
            "not (control.expose or allow is set): set triggers.commands in config.yaml if whoever has its token may "
            "run programs here, or let the trigger call a webhook"
        )
