"""Everything that can refuse a declaration: what its caller may not name, what has no effect here or does not fit, and
what does not go with the model."""

import importlib.util
import os
from collections.abc import Iterable, Mapping

from argosy.alerting.allowed import Allowed
from argosy.alerting.triggers.check import check_declared, check_named
from argosy.control.scaling.activation import may_sleep
from argosy.language.config import beside, check
from argosy.monitoring.performance.reference import check_monitorable, path_of
from argosy.monitoring.recorder.redact import steps
from argosy.packaging.package import stored
from argosy.spec import secret
from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import ArgosyError, InvalidArgument, MissingExtra
from argosy.spec.language import Language, TokenLimits
from argosy.spec.package import ModelManifest
from argosy.spec.payload import PayloadLog
from argosy.spec.scaling import ActivatorQueue
from argosy.spec.settings import GatewaySettings, Home, Settings
from argosy.spec.signing import Signatures
from argosy.spec.trigger import Command
from argosy.store.payloads.columns import columns
from argosy.store.store import Store
from argosy.store.streams import PREFIX
from argosy.store.version import Version
from argosy.targets.base import Capacity
from argosy.trust.policy import admit_stored

GIB = 1024**3


def check_allowed(endpoint: Endpoint, settings: Settings, environ: Mapping[str, str]) -> None:
    """Raises PermissionDenied for files, hosts and variables that a caller may not name, InvalidArgument for secrets
    that a declaration holds as they are. Nothing that it names is touched before this."""
    allowed = Allowed.of(settings)
    if endpoint.monitor is not None and endpoint.monitor.reference:
        allowed.check_place(path_of(endpoint.monitor), "references", "monitor.reference")
    for one in endpoint.triggers:
        check_declared(one, allowed, environ)
    for name, value in endpoint.runtime.env.items():
        where = f"endpoint '{endpoint.name}': runtime.env.{name}"
        check_named(where, name, value)
        allowed.check_variable(value, where)


def check_possible(endpoint: Endpoint, others: Iterable[Endpoint], settings: Settings, there: Capacity) -> None:
    """Raises InvalidArgument, which names what would have no effect here, is forbidden by the settings, or is more than
    `there` is for replicas, of which `others` have declared a part."""
    if endpoint.name.startswith(PREFIX):
        raise InvalidArgument(f"endpoint '{endpoint.name}': names that begin with '{PREFIX}' are those of fleets")
    others = tuple(others)
    check_honoured(endpoint, settings, there)
    check_shared(endpoint, {each.name: each for each in others if each.name != endpoint.name})
    check_fits(endpoint, others, there)


OWN = ("name", "model", "target", "price", "keys", "limits", "timeout", "retries", "public", "slos")
"""What an endpoint that shares the replicas of another has of its own."""


def check_shared(endpoint: Endpoint, others: Mapping[str, Endpoint]) -> None:
    """Raises InvalidArgument where shared replicas lack an adapter, or what follows from them is declared."""
    name, adapters = f"endpoint '{endpoint.name}'", endpoint.language.adapters if endpoint.language else ()
    for each in others.values():
        if each.shares == endpoint.name and each.model not in adapters:
            raise InvalidArgument(f"{name}: '{each.name}' shares its replicas: leave {each.model} in language.adapters")
    if not endpoint.shares:
        return
    of = others.get(endpoint.shares)
    if of is None or of.language is None or endpoint.model not in of.language.adapters:
        raise InvalidArgument(
            f"{name} shares the replicas of '{endpoint.shares[:80]}', which has no adapter {endpoint.model}: "
            "declare it there first, in language.adapters"
        )
    plain = Endpoint(name=endpoint.name, model=endpoint.model, language=Language(share=endpoint.shares))
    for field in endpoint.__struct_fields__:
        if field not in OWN and getattr(endpoint, field) != getattr(plain, field):
            raise InvalidArgument(f"{name} declares {field}, which is that of '{of.name}', whose replicas answer")


def check_honoured(endpoint: Endpoint, settings: Settings, there: Capacity) -> None:
    """Raises InvalidArgument for what this platform, its settings, or the place of its replicas lack."""
    if endpoint.guard and endpoint.guard.metrics and not settings.prometheus.url:
        raise InvalidArgument(
            f"endpoint '{endpoint.name}' declares guard.metrics, and there is no Prometheus to ask: set "
            "prometheus.url in config.yaml (or ARGOSY_PROMETHEUS_URL), as in http://127.0.0.1:9090, and start the "
            "platform again"
        )
    commands = [each.name for each in endpoint.triggers if isinstance(each.run, Command)]
    if commands and settings.confined and not settings.triggers.commands:
        raise InvalidArgument(
            f"endpoint '{endpoint.name}': the trigger '{commands[0]}' runs a command, and callers of the control API "
            "may not (control.expose or allow is set): set triggers.commands in config.yaml if whoever has its token "
            "may run programs here, or let the trigger call a webhook"
        )
    for key in endpoint.keys:
        check_counted(key.limits, settings.gateway)
        if key.limits is not None and key.limits.costs and endpoint.price is None:
            raise InvalidArgument(
                f"endpoint '{endpoint.name}': the key '{key.name}' is limited in money, and the endpoint has no price: "
                "declare price, as in  price: {input: 0.5, output: 1.5}"
            )
    if endpoint.runtime.sandbox == "required" and there.lacks:
        raise InvalidArgument(
            f"endpoint '{endpoint.name}': runtime.sandbox is required, and this machine lacks a part of it: "
            f"{there.lacks}"
        )
    secret.variables(endpoint.runtime.env, os.environ, f"endpoint '{endpoint.name}': runtime.env")
    kept = [name for name, value in endpoint.runtime.env.items() if value.startswith("$")]
    if endpoint.untrusted and kept:
        raise InvalidArgument(
            f"endpoint '{endpoint.name}' is untrusted, and runtime.env.{kept[0]} is of this platform: machines of "
            "strangers would be told it; leave one of them out"
        )
    if endpoint.waiting != ActivatorQueue() and not may_sleep(endpoint):
        raise InvalidArgument(
            f"endpoint '{endpoint.name}' declares what this platform does not act upon: waiting without replicas.min "
            "of 0; leave it out"
        )


def check_counted(limits: TokenLimits | None, gateway: GatewaySettings) -> None:
    """Raises InvalidArgument for limits of tokens where gateways elsewhere answer, which do not count them."""
    if limits is not None and gateway.place != "local":
        raise InvalidArgument(
            f"limits of tokens are counted by the gateway of this machine alone, and gateway.place is {gateway.place}: "
            "set it to local, or leave the limits out"
        )


def check_fits(endpoint: Endpoint, others: Iterable[Endpoint], there: Capacity) -> None:
    """Raises InvalidArgument, with the numbers, where all replicas of an endpoint together with what the other ones
    have declared are more than there is. The replicas that overlap during a rollout are not counted.
    """
    asked = endpoint.resources
    if there.gpus is not None and asked.gpu > there.gpus:
        raise InvalidArgument(
            f"endpoint '{endpoint.name}' asks for {asked.gpu} GPUs a replica; here are {there.gpus} that it could use"
        )
    others = [each for each in others if each.name != endpoint.name and each.target == endpoint.target]
    gpus = sum(each.resources.gpu * _most(each) for each in others)
    cores = sum(each.resources.cpu * _most(each) for each in others)
    memory = sum(each.resources.memory * _most(each) for each in others)
    for what, each, taken, most, unit in (
        ("GPUs", asked.gpu, gpus, there.gpus, 1),
        ("cores", asked.cpu, cores, there.cores, 1),
        ("GiB of memory", asked.memory, memory, there.memory, GIB),
    ):
        count = _most(endpoint)
        if each and most is not None and each * count + taken > most:
            declared = f", of which other endpoints have declared {taken / unit:g}" if taken else ""
            raise InvalidArgument(
                f"endpoint '{endpoint.name}' does not fit: {count} x {each / unit:g} = {each * count / unit:g} {what}, "
                f"and there are {most / unit:g}{declared}"
            )


def _most(endpoint: Endpoint) -> int:
    """The most replicas it may have."""
    return endpoint.replicas if isinstance(endpoint.replicas, int) else endpoint.replicas.max


def check_version(endpoint: Endpoint, version: Version, home: Home, store: Store, policy: Signatures) -> None:
    """Raises BadSignature where the model has to be signed and is not, InvalidArgument where payload log or monitor do
    not go with it, MissingExtra without Arrow."""
    admit_stored(policy, store.layout, version.digest, version.ref, endpoint.name)
    check_strangers(endpoint, version)
    check_recordable(endpoint, version.manifest)
    if endpoint.payload is None and endpoint.monitor is None:
        return
    package = stored(store, version.digest)  # the recorder reads it here, wherever replicas run
    if endpoint.monitor is not None:
        check_monitorable(home, endpoint, package)


def check_strangers(endpoint: Endpoint, version: Version) -> None:
    """Raises InvalidArgument where an endpoint may run on machines of strangers, and what it runs may not."""
    if endpoint.untrusted and not version.manifest.untrusted:
        raise InvalidArgument(
            f"endpoint '{endpoint.name}' is untrusted, so that strangers could read the weights of {version.ref}, and "
            "that does not say that they may: push it with --untrusted, or leave untrusted out"
        )


def check_language(endpoint: Endpoint, version: Version, store: Store, settings: Settings, there: Capacity) -> None:
    """Raises InvalidArgument, Unsupported or MissingExtra for what does not go with a language model, or is one where
    the model is none: settings that its engine lacks, a place where none can run, too little memory."""
    about, name = version.manifest.language, f"endpoint '{endpoint.name}'"
    if endpoint.shares and about is not None and about.kind == "adapter":
        return
    if about is None or about.kind != "generator":
        wanted = (("language", endpoint.language), ("price", endpoint.price))
        wanted = (*wanted, ("rollout.warm_caches", endpoint.rollout.warm_caches))
        margins = ("first_token_margin", "token_margin", "speed_margin", "length_margin", "refusals")
        wanted = (*wanted, *((f"guard.{each}", getattr(endpoint.guard, each, None) or None) for each in margins))
        wanted = (*wanted, ("limits of a key", any(key.limits for key in endpoint.keys) or None))
        if declared := next((what for what, value in wanted if value is not None), ""):
            raise InvalidArgument(f"{name} declares {declared}, and {version.ref} is no model that generates text")
        if endpoint.resources.gpu and (endpoint.target or "local") == "local":
            raise InvalidArgument(f"{name} declares resources.gpu, and here only language models use GPUs")
        return
    if endpoint.payload is not None and settings.gateway.place != "local":
        raise InvalidArgument(
            f"{name} declares payload; the gateway of this machine alone tells what a language model is asked, and "
            f"gateway.place is {settings.gateway.place}: leave it out"
        )
    if (monitor := endpoint.monitor) and (endpoint.payload is None or monitor.reference or monitor.score):
        raise InvalidArgument(
            f"{name}: what a monitor sees of a language model is its payload log, and what it judges are thumbs: "
            "declare payload, and neither monitor.reference nor monitor.score"
        )
    if (guard := endpoint.guard) and (
        guard.latency_margin or any(each.metric == "latency" for each in guard.thresholds)
    ):
        what = "latency_margin" if guard.latency_margin else "thresholds of latency"
        raise InvalidArgument(
            f"{name} declares guard.{what}; how long a whole answer takes follows from its length: declare "
            "first_token_margin and token_margin instead"
        )
    language = endpoint.language or Language()
    try:
        check(version.manifest, language, endpoint.resources, there.memory)
    except ArgosyError as error:
        raise type(error)(f"{name}: {error.message}") from None
    target = endpoint.target or "local"
    if language.at_zero != "absent" and not may_sleep(endpoint):
        raise InvalidArgument(f"{name}: language.at_zero has no effect where replicas.min is not 0")
    if language.at_zero == "prefetched" and target != "local":
        raise InvalidArgument(f"{name}: weights are prefetched at target local, not at target {target}")
    if language.at_zero == "asleep" and target == "kubernetes":
        raise InvalidArgument(f"{name}: replicas sleep at target local or ray, not at target {target}")
    _check_beside(endpoint, language, version, store, target)


def _check_beside(endpoint: Endpoint, language: Language, version: Version, store: Store, target: str) -> None:
    name = f"endpoint '{endpoint.name}'"
    for ref in beside(language):
        if target != "local":
            raise InvalidArgument(
                f"{name}: {ref} is a further package, which replicas at target {target} cannot get yet"
            )
        found = store.registry.resolve(ref)
        check_strangers(endpoint, found)
        facts, wanted = found.manifest.language, "adapter" if ref in language.adapters else "generator"
        if facts is None or facts.kind != wanted:
            raise InvalidArgument(f"{name}: {ref} is no {wanted}")
        if wanted == "adapter" and facts.base not in (version.digest, version.name):
            raise InvalidArgument(f"{name}: the adapter {ref} is made for {facts.base}, not for {version.ref}")


def check_recordable(endpoint: Endpoint, manifest: ModelManifest) -> None:
    """Raises InvalidArgument where a column or field that is to be hidden is none of the model's, or what is declared
    has no effect for it, MissingExtra without Arrow."""
    log = endpoint.payload
    if log is None:
        return
    if not manifest.generates and log.patterns != PayloadLog().patterns:
        raise InvalidArgument(f"payload.patterns are of language models, and {manifest.name} is none: leave them out")
    for path in (each for each in (*log.redact, *log.hash) if each.startswith("$") and manifest.generates):
        if path in log.hash or (steps(path) or ("",))[0] not in ("messages", "prompt", "input"):
            raise InvalidArgument(
                f"payload: '{path[:80]}' is no field of requests that is recorded: redact takes paths as "
                "$.messages[*].name, of messages, prompt and input"
            )
    if importlib.util.find_spec("pyarrow") is None:
        raise MissingExtra.named("monitoring", "the payload log")
    columns(manifest.recorded, log)
