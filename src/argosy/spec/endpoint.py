"""What a user declares of an endpoint, and the settings of one running copy."""

import math
import re
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta, field

from argosy.spec import secret
from argosy.spec.cost import EndpointCost
from argosy.spec.errors import InvalidArgument
from argosy.spec.guard import Guard
from argosy.spec.language import Language, Price, TokenLimits
from argosy.spec.limits import Limits, check_rate
from argosy.spec.monitor import Monitor
from argosy.spec.payload import PayloadLog
from argosy.spec.region import check_region
from argosy.spec.rollout import Rollout
from argosy.spec.scaling import MOST, ActivatorQueue, Scaling
from argosy.spec.slo import Slo
from argosy.spec.strict import Amount, Count, Declaration, Positive, repeated
from argosy.spec.trigger import Trigger, check_triggers

NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")


def check_name(name: str, what: str = "name") -> str:
    """Names are lower-case letters, digits, '.', '_' and '-', 1 to 63 of them. Raises InvalidArgument."""
    if not NAME.fullmatch(name):
        raise InvalidArgument(
            f"{what} '{name[:80]}' is not valid: use 1 to 63 lower-case letters, digits, '.', '_', '-', "
            "starting and ending with a letter or digit"
        )
    return name


class Runtime(Declaration, frozen=True, kw_only=True):
    """How a replica runs. Part of a revision: changing one of these makes a new revision.

    Times are seconds, sizes bytes. `threads` are the engine's (0: the cores this process may use). `max_queue_delay`
    lets a batch wait for company; 0, the default, never waits. `start_timeout` is how long a replica may take to become
    ready before it is replaced, `hang_timeout` how long one engine call may take before it calls itself dead. `strict`
    refuses what is not exactly as the protocol and the signature say, instead of fitting it where no value changes.

    A model sees nothing of the platform's environment but language, time zone, threads and certificates, reaches no
    network and starts no processes, unless that is declared. `env` are variables that it gets; a value that begins
    with `$` names one of the platform's environment, and is resolved at each start. `network` lets it reach, and be
    reached by, all that the machine can; `subprocesses` lets it start others. With `sandbox` `required` it runs only
    on a machine that has all parts of the sandbox (`argosy doctor`); by `default` in those that there are.
    """

    threads: Annotated[int, Meta(ge=0)] = 0
    max_batch_size: Count = 64
    max_queue_delay: Amount = 0.0
    max_queue_size: Count = 1024
    timeout: Positive = 30.0
    start_timeout: Positive = 600.0
    hang_timeout: Positive = 60.0
    drain_timeout: Positive = 30.0
    max_body_bytes: Count = 64 * 1024 * 1024
    body_timeout: Positive = 30.0
    allow_nan: bool = True
    strict: bool = False
    env: dict[str, str] = field(default_factory=dict[str, str])
    network: bool = False
    subprocesses: bool = False
    sandbox: Literal["default", "required"] = "default"

    where: ClassVar[str] = "runtime."

    def __post_init__(self) -> None:
        super().__post_init__()
        secret.check_variables(self.env, "runtime.env")


class Resources(Declaration, frozen=True, kw_only=True):
    """What one replica takes. Part of a revision, and checked against the machine when it is declared.

    `cpu`: cores, which all declarations share among them; the engine gets so many threads, rounded up (0: its part of
    the machine). `memory`: bytes that may be resident; a replica that uses more is replaced (0: no bound). `gpu`: GPUs,
    or a part of one, as in 0.5.
    """

    cpu: Amount = 0.0
    memory: Annotated[int, Meta(ge=0)] = 0
    gpu: Annotated[int, Meta(ge=0)] | float = 0

    where: ClassVar[str] = "resources."

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gpu > 1 and self.gpu != int(self.gpu):
            raise InvalidArgument(f"resources.gpu must be a whole number, or a part of one GPU, not {self.gpu:g}")
        if self.gpu == int(self.gpu):
            msgspec.structs.force_setattr(self, "gpu", int(self.gpu))


class DeclaredKey(Declaration, frozen=True, kw_only=True):
    """An API key for the endpoint. A declaration holds no secret: the text of a key that it makes is shown once.

    By `name`: a good key of this name that covers the endpoint, or else a new one, which is the declaration's own: it
    takes the limits that are declared, and is revoked when it is declared no more. By `id`: a key that there is.
    `requests_per_second` refills a bucket of `burst` requests (one second's worth); without it the gateway's rate
    holds. The holder of a `test` key may pick a revision. `limits` are of tokens, where the model is a language model.
    `budget`: dollars a month that its requests here may cost, before there is an incident (0: no bound).
    """

    name: str = ""
    id: str = ""
    requests_per_second: float | None = None
    burst: int | None = None
    limits: TokenLimits | None = None
    budget: Amount = 0.0
    test: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.name) == bool(self.id):
            raise InvalidArgument("keys: each needs a name or, for a key that there is, its id, and not both")
        if self.name:
            check_name(self.name, "key name")
        elif self.requests_per_second is not None or self.burst is not None or self.limits is not None:
            raise InvalidArgument(f"key {self.id[:80]}: the limits of a key that there is were given when it was made")
        check_rate(f"key '{self.name}'", self.requests_per_second, self.burst)


class Endpoint(Declaration, frozen=True, kw_only=True):
    """A public name and what serves it. `model` is `name:version`, `name@alias` or a digest.

    `follow`: an alias is resolved again whenever it moves. `replicas` is a number, or bounds within which they follow
    the load. Without a `guard` a rollout is decided by readiness and golden examples alone. `retries` is how many
    further replicas a request may be tried at. It also bounds how many one request can crash. `keys` come on top of
    those that cover the endpoint already; where none does, one is made, unless the endpoint is `public`. `target` is
    where replicas run; without it, where the platform's `replicas.target` says when this is declared. With `regions` it
    runs in each of them, and no request of it goes elsewhere; without, on this platform alone. Only what is `untrusted`
    may run on machines of strangers, who can read the model and what it is asked. Without `payload` nothing of what is
    asked and answered is recorded. With a `monitor` the model's performance is watched; `triggers` say what is done
    where it falls. `language` and `price` are for language models alone; `cost` bounds what is spent.
    """

    name: str
    model: str
    target: Literal["", "local", "kubernetes", "ray"] = ""
    regions: tuple[str, ...] = ()
    untrusted: bool = False
    follow: bool = False
    replicas: Annotated[int, Meta(ge=0, le=MOST)] | Scaling = 1
    waiting: ActivatorQueue = ActivatorQueue()
    resources: Resources = Resources()
    runtime: Runtime = Runtime()
    language: Language | None = None
    price: Price | None = None
    cost: EndpointCost | None = None
    rollout: Rollout = Rollout()
    guard: Guard | None = None
    payload: PayloadLog | None = None
    monitor: Monitor | None = None
    triggers: tuple[Trigger, ...] = ()
    slos: tuple[Slo, ...] = ()
    timeout: Positive = 60.0
    retries: Annotated[int, Meta(ge=0, le=10)] = 1
    public: bool = False
    keys: tuple[DeclaredKey, ...] = ()
    limits: Limits = Limits()

    where: ClassVar[str] = "endpoint: "

    def __post_init__(self) -> None:
        check_name(self.name, "endpoint name")
        super().__post_init__()
        self._check_keys()
        if self.payload is None and self.monitor is not None and self.monitor.judges:
            raise InvalidArgument(
                f"endpoint '{self.name}': monitor.{self.monitor.judges[0]} is about recorded predictions, and none are "
                "recorded: declare payload, too, as in  payload: {}"
            )
        measured = self.payload is not None and self.monitor is not None
        check_triggers(self.name, self.triggers, bool(self.monitor and self.monitor.reference), measured)
        if self.follow and "@" not in self.model:
            raise InvalidArgument(f"endpoint '{self.name}': follow needs an alias as its model, as in digits@champion")
        if self.resources.cpu and self.runtime.threads > math.ceil(self.resources.cpu):
            raise InvalidArgument(
                f"endpoint '{self.name}': runtime.threads is {self.runtime.threads}, and resources.cpu only "
                f"{self.resources.cpu:g} cores"
            )
        for name in self.regions:
            check_region(name, f"endpoint '{self.name}': regions:")
        if twice := repeated(self.regions):
            raise InvalidArgument(f"endpoint '{self.name}': regions has '{twice}' twice")
        if len({slo.name for slo in self.slos}) != len(self.slos):
            raise InvalidArgument(f"endpoint '{self.name}': two of slos have the same name")

    @property
    def shares(self) -> str:
        """The endpoint whose replicas answer; empty: its own."""
        return self.language.share if self.language is not None else ""

    def _check_keys(self) -> None:
        if twice := repeated(key.name or key.id for key in self.keys):
            raise InvalidArgument(f"endpoint '{self.name}': the key '{twice[:80]}' is declared twice")
        for key in self.keys:
            if key.test and not self.rollout.testers:
                raise InvalidArgument(
                    f"endpoint '{self.name}': the key '{key.name or key.id[:80]}' is for testers, and rollout.testers "
                    "is off: turn it on, or leave test out"
                )
            if self.public and not key.test:
                raise InvalidArgument(
                    f"endpoint '{self.name}' is public, so that the key '{key.name or key.id[:80]}' would mean nothing"
                )
