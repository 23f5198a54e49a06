"""`argosy hosts`: machines of strangers."""

import sys
import time
from urllib.parse import quote

import click
import msgspec

from argosy.cli.base import Command, Group, json_option
from argosy.cli.completion import endpoints
from argosy.cli.here import actor, control, reason_option
from argosy.cli.output import Columns, emit, table
from argosy.console.words import clock
from argosy.spec.errors import InvalidArgument
from argosy.spec.foreign import printable

SCORES: Columns = {name: name for name in ("replica", "canaries", "disagreed", "evicted")}


EVICTED: Columns = {
    "host": "host",
    "since (UTC)": ("since", clock),
    "left": ("left", lambda left: "?" if left is None else left),
    "why": lambda row: printable(row["reason"]),
}


@click.group(cls=Group)
def hosts() -> None:
    """Machines of strangers: what they can do, and whether they answer as they should.

    \b
    Example:
      argosy hosts check --on 'ssh worker' --claim compute=2e11 --claim memory=64e9
      argosy hosts watch digits
    """


@hosts.command(cls=Command)
@json_option
def ls(as_json: bool) -> None:
    """List hosts that are evicted: they get no more replicas, and their machines are given back.

    Hosts are evicted by hand or, with `supply.evict` in config.yaml, where a replica answers canaries wrongly. JSON: a
    list of {host, names, since, reason, left}; left are replicas that have not moved yet.

    \b
    Example:
      argosy hosts ls
    """
    found = control().get("/v1/hosts")["hosts"]
    emit(found, as_json, lambda: table(EVICTED, found, "no host is evicted"))


@hosts.command(cls=Command)
@click.argument("host")
@reason_option
def evict(host: str, reason: str) -> None:
    """Have the replicas of HOST move and its machine given back. It gets no more, until it is allowed again.

    \b
    Example:
      argosy hosts evict 10.0.0.7 -m 'its answers differ'
    """
    control().put(f"/v1/hosts/{quote(host, safe='')}", {"actor": actor(), "reason": reason})


@hosts.command(cls=Command)
@click.argument("host")
def allow(host: str) -> None:
    """Use HOST again, which was evicted.

    \b
    Example:
      argosy hosts allow 10.0.0.7
    """
    control().delete(f"/v1/hosts/{quote(host, safe='')}", actor=actor())


@hosts.command(cls=Command)
@click.option("--on", metavar="COMMAND", default="", help="Runs a command there, as in 'ssh worker'; else here.")
@click.option("--claim", "claims", metavar="NAME=NUMBER", multiple=True, help="What it has to show.")
@click.option("--seconds", type=float, default=60.0, show_default=True, help="For all of it.")
@click.option("--memory", type=float, default=4e9, show_default=True, help="Bytes to fill, at most.")
@json_option
def check(on: str, claims: tuple[str, ...], seconds: float, memory: float, as_json: bool) -> None:
    """Have a machine show what it can do, within a minute.

    Timed challenges whose answers are checked: products of matrices, memory that is filled and read at places it could
    not foresee, the disk, the network. Needs Python with numpy there, for a GPU PyTorch. NAME is compute, gpu_compute
    (multiply-adds a second), memory, gpu_memory (bytes), disk, network (bytes a second) or rtt (seconds). Ends with 1
    where the machine is less than it claims. JSON: {measured, refused, seconds}.

    \b
    Example:
      argosy hosts check --claim memory=2e9
    """
    from argosy.cli.here import place
    from argosy.supply.benchmark import Effort, program, show
    from argosy.supply.hosts import Figures

    try:
        claimed = msgspec.convert(dict(one.split("=", 1) for one in claims), Figures, strict=False)
    except ValueError as error:
        raise InvalidArgument(f"--claim {' '.join(claims)}: {error}; give NAME=NUMBER, as in memory=2e9") from None
    if not (0 < seconds < 3600 and 0 <= memory < 1e13):
        raise InvalidArgument("--seconds is up to an hour, --memory a number of bytes")
    found = show(program(place().root, on), claimed, Effort(seconds=seconds, memory=memory))
    rows = [(name, f"{figure:.3g}") for name, figure in msgspec.structs.asdict(found.measured).items() if figure]

    def render() -> None:
        table(("figure", "measured"), rows)
        for line in [f"refused: {reason}" for reason in found.refused] or ["admitted: it is what it claims"]:
            click.echo(line)

    emit(msgspec.to_builtins(found), as_json, render)
    if found.refused:
        sys.exit(1)


@hosts.command(cls=Command)
@click.argument("name", shell_complete=endpoints)
@click.option("--every", type=float, default=120.0, show_default=True, help="Seconds between two, on average.")
@click.option("--for", "seconds", type=float, default=3600.0, show_default=True, help="Seconds in all.")
@click.option("--key", envvar="ARGOSY_KEY", help="An API key; by default ARGOSY_KEY, else the one kept by deploy.")
@json_option
def watch(name: str, every: float, seconds: float, key: str | None, as_json: bool) -> None:
    """Replay golden examples in the traffic of an endpoint, at random times, and score each replica.

    They go through the gateway and look as any request does; while something speaks against a replica, they come seven
    times as often. Ends with 1 where a replica is to be evicted: its answers are not the package's, and chance is no
    explanation. JSON: [{replica, canaries, disagreed, evicted, why}].

    \b
    Example:
      argosy hosts watch digits --every 60 --for 3600
    """
    import httpx

    from argosy.cli import here
    from argosy.cli.predict import target
    from argosy.packaging.package import stored
    from argosy.supply.canaries import Canaries, Heard

    if not (0 < every < 1e6 and 0 <= seconds < 1e9):
        raise InvalidArgument("--every and --for are numbers of seconds")
    status, said = here.control().endpoint(name), dict[str, str]()
    where, key = target(name, None, key)
    headers = {"authorization": f"Bearer {key}"} if key else {}
    with here.store() as store, httpx.Client(headers=headers, timeout=status["endpoint"]["timeout"]) as client:
        canaries = Canaries(
            stored(store, status["digest"]), status["revision"], client, f"{where}/v2/models/{name}/infer"
        )
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not any(each.evicted for each in canaries.scores.values()):
            time.sleep(min(canaries.pause(every), left))
            try:
                heard = canaries.once()
            except httpx.HTTPError as error:
                heard = Heard(why=f"no answer: {error}")
            if heard.why and said.get(heard.replica) != heard.why:
                said[heard.replica] = heard.why
                click.echo(f"{heard.replica or name}: {heard.why}", err=True)
    rows = [
        {"replica": replica, "why": said.get(replica, "")} | {each: getattr(score, each) for each in list(SCORES)[1:]}
        for replica, score in sorted(canaries.scores.items())
    ]
    emit(rows, as_json, lambda: table(SCORES, rows))
    if any(row["evicted"] for row in rows):
        sys.exit(1)
