"""What a provider sells, and what each second of what was bought cost."""

from typing import Literal

import msgspec

Market = Literal["on_demand", "spot"]
Use = Literal["requests", "candidate", "batch", "startup", "idle", "shared", "credit"]
"""What a second of a replica was spent on. `shared`: of gateway, controller, storage, egress; `credit`: given back by a
provider, as a negative cost."""


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of machine in one place, at one price.

    `price` is in US dollars per hour of the whole machine; `memory` and `gpu_memory` (of one GPU) are bytes. `gpu` is
    empty for a machine without one. `as_of` says when the price was true, in seconds since 1970; `source` where it is
    from. `available` is the learned probability that a launch succeeds now, `ready` the learned seconds until it
    serves; None where nothing is known. `trusted` is false for machines of strangers.
    """

    provider: str
    region: str
    instance: str
    price: float
    zone: str = ""
    market: Market = "on_demand"
    gpu: str = ""
    count: int = 0
    gpu_memory: int = 0
    cpus: float = 0.0
    memory: int = 0
    as_of: float = 0.0
    source: Literal["catalogue", "live", "declared"] = "catalogue"
    available: float | None = None
    ready: float | None = None
    trusted: bool = True


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """A machine that was asked for. `id` is chosen before the provider is asked and goes with the request, so that a
    launch that is repeated makes one machine; `machine` is the provider's own name of it.

    Times are seconds since 1970, of the provider's record where it has one: `asked`, `started` (it is billed from
    here), `ready`, `ended`. `price` is the true one, per hour, from the provider's answer.
    """

    id: str
    offer: Offer
    asked: float
    state: Literal["intended", "starting", "ready", "ending", "ended", "failed"] = "intended"
    machine: str = ""
    address: str = ""
    price: float = 0.0
    started: float | None = None
    ready: float | None = None
    ended: float | None = None
    reason: str = ""


class CostRow(msgspec.Struct, frozen=True, kw_only=True):
    """What one use of an endpoint's replicas cost in the hour that begins at `hour` (seconds since 1970).

    `seconds` are of replicas, `cost` is in US dollars. `key` is empty where the use has none (idle, start-up). The sum
    of `cost` over all rows of an hour is the sum of price times time of what ran in it.
    """

    hour: int
    endpoint: str
    version: str
    use: Use
    key: str = ""
    region: str = ""
    seconds: float = 0.0
    cost: float = 0.0
    requests: int = 0
    tokens: int = 0
