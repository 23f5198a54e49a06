"""What has no effect, does not fit, or does not go with the model is refused."""

import importlib.util
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from argosy.control.admission import (
    GIB,
    check_fits,
    check_honoured,
    check_language,
    check_possible,
    check_recordable,
    check_strangers,
)
from argosy.spec.endpoint import Endpoint, Resources, Runtime
from argosy.spec.errors import ArgosyError, InvalidArgument, MissingExtra
from argosy.spec.guard import Guard, Metric, Threshold
from argosy.spec.language import Language, LanguageModel, Price
from argosy.spec.monitor import Monitor
from argosy.spec.package import ModelManifest
from argosy.spec.payload import PayloadLog
from argosy.spec.scaling import ActivatorQueue, Scaling
from argosy.spec.settings import (
    ControlSettings,
    GatewaySettings,
    PrometheusSettings,
    ReplicaSettings,
    Settings,
    TriggerSettings,
)
from argosy.spec.trigger import Command, RealisedDrop
from argosy.targets.base import Capacity
from tests.control.test_recording import SIGNATURE
from tests.language import packages

THERE = Capacity(cores=4, memory=8 * GIB, gpus=0)


def test_a_plain_declaration_passes():
    check_honoured(Endpoint(name="digits", model="digits:1", replicas=3), Settings(), THERE)


def test_a_waiting_room_goes_with_an_endpoint_that_may_sleep():
    check_honoured(
        Endpoint(name="d", model="d:1", replicas=Scaling(min=0), waiting=ActivatorQueue(size=3)), Settings(), THERE
    )


def test_a_setting_without_effect_is_named():
    with pytest.raises(InvalidArgument, match=r"waiting without replicas\.min of 0"):
        check_honoured(Endpoint(name="digits", model="digits:1", waiting=ActivatorQueue(size=3)), Settings(), THERE)


def test_a_sandbox_that_the_target_lacks_is_refused():
    endpoint = Endpoint(name="digits", model="digits:1", runtime=Runtime(sandbox="required"))
    check_honoured(endpoint, Settings(), THERE)
    with pytest.raises(InvalidArgument, match="lacks a part of it: seccomp"):
        check_honoured(endpoint, Settings(), Capacity(cores=4, memory=GIB, lacks="seccomp"))


def test_secrets_of_the_platform_go_to_no_machine_of_a_stranger(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TOKEN", "x")
    told = Endpoint(name="digits", model="digits:1", untrusted=True, runtime=Runtime(env={"HUB": "$TOKEN"}))
    with pytest.raises(InvalidArgument, match=r"is untrusted, and runtime\.env\.HUB is of this platform"):
        check_honoured(told, Settings(), Capacity())
    check_honoured(msgspec.structs.replace(told, untrusted=False), Settings(), Capacity())
    check_honoured(msgspec.structs.replace(told, runtime=Runtime(env={"A": "b"})), Settings(), Capacity())


def test_a_package_that_strangers_may_not_have_stays_here():
    manifest = SimpleNamespace(untrusted=False)
    version: Any = SimpleNamespace(ref="digits:1", manifest=manifest)
    told = Endpoint(name="digits", model="digits:1", untrusted=True)
    with pytest.raises(
        InvalidArgument, match=r"weights of digits:1, and that does not say .* push it with --untrusted"
    ):
        check_strangers(told, version)
    check_strangers(msgspec.structs.replace(told, untrusted=False), version)
    manifest.untrusted = True
    check_strangers(told, version)


def test_users_metrics_need_a_prometheus():
    guard = Guard(metrics=(Metric(name="score", query="score{r='$revision'}"),))
    endpoint = Endpoint(name="digits", model="digits:1", guard=guard)
    with pytest.raises(InvalidArgument, match=r"set prometheus\.url"):
        check_honoured(endpoint, Settings(), THERE)
    check_honoured(endpoint, Settings(prometheus=PrometheusSettings(url="http://127.0.0.1:9090")), THERE)


def test_an_open_control_api_runs_no_programs_unless_it_is_told_to():
    retrain = RealisedDrop(name="retrain", metric="f1", run=Command(argv=("retrain",)))
    endpoint = Endpoint(
        name="d", model="d:1", payload=PayloadLog(), monitor=Monitor(reference="/data/r.parquet"), triggers=(retrain,)
    )
    check_honoured(endpoint, Settings(), THERE)
    exposed = ControlSettings(expose=True)
    with pytest.raises(InvalidArgument, match=r"'retrain' runs a command.*triggers\.commands"):
        check_honoured(endpoint, Settings(control=exposed), THERE)
    check_honoured(endpoint, Settings(control=exposed, triggers=TriggerSettings(commands=True)), THERE)


def endpoint(name: str = "digits", replicas: Any = 1, **resources: Any) -> Endpoint:
    return Endpoint(name=name, model="digits:1", replicas=replicas, resources=Resources(**resources))


def test_what_fits_passes():
    check_fits(endpoint(replicas=4, cpu=1, memory=2 * GIB), [], THERE)
    check_fits(endpoint(replicas=100), [endpoint("other", 4, cpu=1)], THERE)
    check_fits(endpoint(cpu=4), [endpoint(replicas=4, cpu=1)], THERE)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (endpoint(replicas=3, cpu=1.5), "3 x 1.5 = 4.5 cores, and there are 4"),
        (endpoint(replicas=Scaling(max=5), cpu=1), "5 x 1 = 5 cores"),
        (endpoint(memory=9 * GIB), "1 x 9 = 9 GiB of memory, and there are 8"),
        (endpoint(gpu=1), "asks for 1 GPUs a replica; here are 0"),
    ],
)
def test_what_does_not_is_told_with_the_numbers(asked: Endpoint, words: str):
    with pytest.raises(InvalidArgument) as caught:
        check_fits(asked, [], THERE)
    assert words in caught.value.message


def test_what_others_have_declared_is_taken():
    with pytest.raises(InvalidArgument, match="of which other endpoints have declared 3"):
        check_fits(endpoint(cpu=2), [endpoint("other", 3, cpu=1)], THERE)


def test_gpus_are_not_shared():
    there = msgspec.structs.replace(THERE, gpus=2)
    check_fits(endpoint(gpu=1), [endpoint("other", gpu=1)], there)
    check_fits(endpoint(replicas=4, gpu=0.5), [], there)
    with pytest.raises(
        InvalidArgument, match="2 x 1 = 2 GPUs, and there are 2, of which other endpoints have declared 1"
    ):
        check_fits(endpoint(replicas=2, gpu=1), [endpoint("other", gpu=1)], there)


def test_threads_beyond_the_cores_are_refused():
    with pytest.raises(InvalidArgument, match=r"runtime\.threads is 4"):
        Endpoint(name="digits", model="digits:1", resources=Resources(cpu=1.5), runtime=Runtime(threads=4))


def test_what_is_to_be_hidden_must_be_there(monkeypatch: pytest.MonkeyPatch):
    manifest = msgspec.structs.replace(packages.manifest(), signature=SIGNATURE, language=None)

    def check(payload: PayloadLog | None, model: ModelManifest = manifest) -> None:
        check_recordable(Endpoint(name="s", model="s:1", payload=payload), model)

    for names in (("age",), ("x",), ("input.income",), ("y",)):
        check(PayloadLog(redact=names))
    check(PayloadLog(redact=("text", "$.messages[*].name", "$.prompt"), patterns=("card",)), packages.manifest())
    for log, model, said in (
        (PayloadLog(hash=("salary",)), manifest, "'salary' is to be hidden"),
        (PayloadLog(redact=("$.messages",)), manifest, r"'\$\.messages' is to be hidden"),
        (PayloadLog(patterns=()), manifest, r"payload\.patterns are of language models, and m is none"),
        (PayloadLog(redact=("age",)), packages.manifest(), "'age' is to be hidden"),
        (PayloadLog(redact=("$.user",)), packages.manifest(), r"'\$\.user' is no field of requests that is recorded"),
        (PayloadLog(hash=("$.prompt",)), packages.manifest(), "redact takes paths"),
    ):
        with pytest.raises(InvalidArgument, match=said):
            check(log, model)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    check(None)
    with pytest.raises(MissingExtra, match="monitoring"):
        check(PayloadLog())


def test_a_target_without_bounds_takes_what_is_asked():
    check_possible(endpoint(replicas=100, cpu=64, memory=900 * GIB, gpu=8), [], Settings(), Capacity())


def test_what_others_declared_elsewhere_counts_not():
    elsewhere = Endpoint(name="b", model="m:1", target="ray", replicas=9, resources=Resources(cpu=9))
    check_possible(endpoint(replicas=4, cpu=1), [elsewhere], Settings(), THERE)


FACTS = LanguageModel(kind="generator", architecture="llama", weights=GIB, context=4096, kv_bytes=64 * 1024)


def language(endpoint: Endpoint, facts: LanguageModel | None = FACTS, **settings: Any) -> None:
    """Check an endpoint of a language model."""
    engine = "vllm" if endpoint.language and endpoint.language.adapters else "llamacpp"
    manifest = msgspec.structs.replace(packages.manifest(engine=engine), language=facts)
    version = SimpleNamespace(manifest=manifest, ref="m:1", name="m", digest="sha256:1")
    other = msgspec.structs.replace(manifest, language=msgspec.structs.replace(FACTS, kind="adapter", base="n"))
    found = SimpleNamespace(manifest=other, ref="a:1")
    store = SimpleNamespace(registry=SimpleNamespace(resolve=lambda _: found))
    check_language(endpoint, cast("Any", version), cast("Any", store), Settings(**settings), THERE)


def test_a_language_model_that_fits_passes():
    language(Endpoint(name="m", model="m:1", language=Language(slots=8), price=Price(input=1.0)))
    language(Endpoint(name="m", model="m:1"), replicas=ReplicaSettings(network="tls"))
    language(Endpoint(name="m", model="m:1", guard=Guard(first_token_margin=1.5, token_margin=2.0)))
    language(Endpoint(name="m", model="m:1", payload=PayloadLog(), monitor=Monitor(segments=("language",))))
    with pytest.raises(InvalidArgument, match="the gateway of this machine alone tells"):
        language(Endpoint(name="m", model="m:1", payload=PayloadLog()), gateway=GatewaySettings(place="remote"))


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        (
            {"language": Language(context=4096, slots=64)},
            r"fit into the memory of this machine, 8\.00 GiB: weights of 1\.00 GiB",
        ),
        ({"resources": Resources(memory=GIB)}, r"does not fit into resources\.memory, 1\.00 GiB"),
        ({"monitor": Monitor()}, "what a monitor sees of a language model is its payload log"),
        ({"monitor": Monitor(reference="/x.csv"), "payload": PayloadLog()}, "neither monitor.reference nor"),
        ({"language": Language(tensor_parallel=2)}, r"language\.tensor_parallel is 2"),
        ({"language": Language(at_zero="prefetched")}, r"at_zero has no effect where replicas\.min is not 0"),
        (
            {"language": Language(at_zero="prefetched"), "replicas": Scaling(min=0), "target": "ray"},
            "prefetched at target local, not at target ray",
        ),
        ({"language": Language(at_zero="asleep"), "replicas": Scaling(min=0)}, "llamacpp cannot sleep"),
        ({"language": Language(adapters=("a:1",))}, "the adapter a:1 is made for n, not for m:1"),
        ({"language": Language(draft="a:1")}, "a:1 is no generator"),
        (
            {"language": Language(draft="a:1"), "target": "ray"},
            "a:1 is a further package, which replicas at target ray",
        ),
        (
            {"guard": Guard(latency_margin=1.5)},
            r"guard\.latency_margin; .* declare first_token_margin and token_margin",
        ),
        ({"guard": Guard(thresholds=(Threshold(metric="latency", above=1.0),))}, r"guard\.thresholds of latency"),
    ],
    ids=[
        "slots",
        "memory",
        "monitor",
        "reference",
        "engine",
        "no-zero",
        "ray",
        "no-sleep",
        "base",
        "draft",
        "elsewhere",
        "latency",
        "threshold",
    ],
)
def test_what_a_language_model_cannot_have_is_refused(
    declared: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ARGOSY_VLLM_PYTHON", "/bin/true")
    with pytest.raises(ArgosyError, match=said):
        language(Endpoint(name="m", model="m:1", **declared))


@pytest.mark.parametrize("facts", [None, LanguageModel(kind="encoder", architecture="bert")], ids=["none", "encoder"])
def test_prices_are_for_generators(facts: LanguageModel | None):
    language(Endpoint(name="m", model="m:1"), facts)
    with pytest.raises(InvalidArgument, match="declares price, and m:1 is no model that generates text"):
        language(Endpoint(name="m", model="m:1", price=Price()), facts)
    for margin in ("first_token_margin", "token_margin", "speed_margin", "length_margin", "refusals"):
        guard = Guard(refusals=("No",)) if margin == "refusals" else Guard(**{margin: 1.5})
        with pytest.raises(InvalidArgument, match=rf"declares guard\.{margin}, and m:1 is no model that generates"):
            language(Endpoint(name="m", model="m:1", guard=guard), facts)


BASE = Endpoint(name="gemma", model="gemma:1", language=Language(adapters=("poet:1",)))


def verses(**fields: Any) -> Endpoint:
    """One that shares the replicas of another."""
    return Endpoint(**{"name": "verses", "model": "poet:1", "language": Language(share="gemma")} | fields)


@pytest.mark.parametrize(
    ("declared", "other", "said"),
    [
        (verses(), None, "shares the replicas of 'gemma', which has no adapter poet:1: declare it there first"),
        (verses(model="poet:2"), BASE, "has no adapter poet:2"),
        (verses(replicas=2), BASE, "declares replicas, which is that of 'gemma', whose replicas answer"),
        (verses(language=Language(share="gemma", slots=2)), BASE, "declares language"),
        (Endpoint(name="gemma", model="gemma:1"), verses(), "'verses' shares its replicas: leave poet:1 in"),
    ],
)
def test_what_cannot_be_shared_is_refused(declared: Endpoint, other: Endpoint | None, said: str):
    with pytest.raises(InvalidArgument, match=said):
        check_possible(declared, [other] if other else [], Settings(), THERE)


def test_replicas_are_shared_by_those_who_declare_it():
    check_possible(verses(price=Price(input=1.0), public=True), [BASE], Settings(), THERE)
    check_possible(BASE, [verses()], Settings(), THERE)
