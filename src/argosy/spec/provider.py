"""Where machines come from: the entries of `supply.providers` in `config.yaml`, by a name of the user's."""

from typing import Annotated, ClassVar

from msgspec import Meta, field

from argosy.spec.strict import Amount, Declaration, Positive, Share, require

Gpus = Annotated[int, Meta(ge=0, le=64)]


class Host(Declaration, frozen=True, kw_only=True):
    """A machine that is there: its `price` in US dollars per hour (0: unpriced), and of `count` GPUs the name, where
    they are not found by asking it. `trusted` is false for a machine of strangers."""

    price: Amount = 0.0
    gpu: str = ""
    count: Gpus = 0
    region: str = ""
    zone: str = ""
    trusted: bool = True


class LocalProvider(Declaration, frozen=True, kw_only=True, tag="local", tag_field="kind"):
    """This machine."""

    host: Host = Host()


class SshProvider(Declaration, frozen=True, kw_only=True, tag="ssh", tag_field="kind"):
    """Machines that `ssh` reaches without asking anything: `hosts` by what is given to it (an alias, or USER@HOST).
    `config` is the absolute path of its file of settings, where ports, keys and known hosts are not those of the
    user."""

    hosts: dict[str, Host]
    config: str = ""

    where: ClassVar[str] = "supply.providers: ssh: "

    def __post_init__(self) -> None:
        super().__post_init__()
        wrong = [each for each in self.hosts if not each.isprintable() or each[:1] in ("-", "") or " " in each]
        checks = {
            "hosts must name one machine at least": bool(self.hosts),
            f"'{wrong[0][:40] if wrong else ''}' is no host": not wrong,
            "config must be an absolute path": not self.config or self.config.startswith("/"),
        }
        require(self.where, checks)


class KubernetesProvider(Declaration, frozen=True, kw_only=True, tag="kubernetes", tag_field="kind"):
    """Nodes of the cluster of the section `kubernetes` that have the labels of `selector`. `prices`: of a node, by its
    instance type, in US dollars per hour; `*` is any other."""

    selector: str = ""
    prices: dict[str, Amount] = field(default_factory=dict[str, float])


class RayProvider(Declaration, frozen=True, kw_only=True, tag="ray", tag_field="kind"):
    """Nodes of the Ray cluster of the section `ray`. `prices`: of a node, by the custom resource that tells its type;
    `*` is any other."""

    prices: dict[str, Amount] = field(default_factory=dict[str, float])


class Faults(Declaration, frozen=True, kw_only=True):
    """How often something goes wrong, as shares of calls: a launch is `refused`; its answer is `lost` after it was
    done; it is `dropped`, undone and unanswered; it is accepted and `never` starts; two machines are made of it
    (`twice`); the end of a machine is answered and it `stays`. `lag`: seconds until a list has what was launched.
    `dear`: the true price over that of the offer. `notice`: seconds from the announcement that a machine is taken."""

    refused: Share = 0.0
    lost: Share = 0.0
    dropped: Share = 0.0
    never: Share = 0.0
    twice: Share = 0.0
    stays: Share = 0.0
    lag: Amount = 0.0
    dear: Positive = 1.0
    notice: Amount = 0.0


class ReplayProvider(Declaration, frozen=True, kw_only=True, tag="replay", tag_field="kind"):
    """A cloud that is played, and forgotten when the platform ends: what `catalogue` lists (a file of SkyPilot's or
    gpuhunt's columns), spot capacity by zone as in the folder `traces` (ZONE_*.json), `quotas` by region, `ready`
    seconds from a launch until a machine serves, and `faults`."""

    catalogue: str
    traces: str = ""
    ready: Amount = 120.0
    quotas: dict[str, Annotated[int, Meta(ge=0)]] = field(default_factory=dict[str, int])
    faults: Faults = Faults()
    seed: int = 0


Provided = LocalProvider | SshProvider | KubernetesProvider | RayProvider | ReplayProvider
