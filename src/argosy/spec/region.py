"""Other regions, as a region knows them."""

import msgspec


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """The gateway of another region. `rtt` is in seconds; `rank` orders peers, the least first: what a request costs
    there, as the one who holds the plan says. `endpoints` are those that it serves, by name; a request of an endpoint
    goes nowhere else."""

    region: str
    host: str
    port: int
    tls: bool = False
    authority: str = ""
    rtt: float = 0.0
    rank: float = 0.0
    endpoints: tuple[str, ...] = ()
