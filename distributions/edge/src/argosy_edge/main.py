"""The command `argosy-edge`: become a device of a fleet, run its model, say how it is."""

import argparse
import errno
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

import msgspec

from argosy_edge import __version__
from argosy_edge.errors import AgentError, InvalidArgument, NotFound, StorageFull
from argosy_edge.identity import Identity, Platform, facts
from argosy_edge.link import enrol
from argosy_edge.slots import Slots
from argosy_edge.state import Content, Event, State
from argosy_edge.wire import WireError

log = logging.getLogger("argosy.edge")

HOME = "ARGOSY_EDGE_HOME"
BAD_WIRE = 7
"""The exit status where what the platform said, or signed, is not what it has to be."""


def main() -> None:
    """Run the command line of this process."""
    sys.exit(command(sys.argv[1:]))


def command(words: list[str]) -> int:
    """One command. Its exit status."""
    given = _parser().parse_args(words)
    try:
        given.do(given)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        print(f"Error: {error.filename or given.home}: {error.strerror or error}", file=sys.stderr)
        return StorageFull.exit if full else AgentError.exit
    except (AgentError, WireError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit if isinstance(error, AgentError) else BAD_WIRE
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="argosy-edge", description="The agent of a device, which runs its model.")
    parser.add_argument("--version", action="version", version=f"argosy-edge {__version__}")
    home = argparse.ArgumentParser(add_help=False)
    default = os.environ.get(HOME) or Path.home() / ".argosy-edge"
    home.add_argument("--home", type=Path, default=default, help=f"its folder; {HOME}, else ~/.argosy-edge")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    one = commands.add_parser("enrol", parents=[home], help="become a device of a fleet")
    one.add_argument("url", help="the platform, as https://argosy.example.org:8443")
    one.add_argument("--fleet", required=True)
    one.add_argument("--token", default="", help="of `argosy fleet token`; - reads it from standard input")
    one.add_argument("--chain", type=Path, help="certificates of the owner in PEM, the first of this device's key")
    one.add_argument("--name", help="of the device; otherwise the platform names it")
    one.add_argument("--label", action="append", default=[], metavar="KEY=VALUE")
    one.add_argument("--authority", type=Path, help="the platform's own authority in PEM; no clock is needed then")
    one.add_argument("--plain", action="store_true", help="HTTP, in a network that encrypts")
    one.set_defaults(do=_enrol)

    one = commands.add_parser("run", parents=[home], help="serve the model, take updates, report; until it is ended")
    one.add_argument("--host", default="127.0.0.1")
    one.add_argument("--port", type=int, default=8000)
    one.add_argument("--threads", type=int, default=1, help="of the model")
    one.set_defaults(do=_run)

    one = commands.add_parser("status", parents=[home], help="what it has and what it does")
    one.add_argument("--json", action="store_true")
    one.set_defaults(do=_status)

    one = commands.add_parser("factory", parents=[home], help="let the committed model be its factory model, for good")
    one.set_defaults(do=_factory)
    one = commands.add_parser("allow", parents=[home], help="let a package be tried again that was rolled back here")
    one.add_argument("package", help="its digest, or the beginning of it, as `argosy-edge status` shows it")
    one.set_defaults(do=_allow)
    one = commands.add_parser("key", parents=[home], help="print the public key, which is made where there is none")
    one.set_defaults(do=_key)
    return parser


def _enrol(given: Any) -> None:
    labels: dict[str, str] = {}
    for each in given.label:
        key, sign, value = each.partition("=")
        if not sign or not key:
            raise InvalidArgument(f"--label {each}: a label is KEY=VALUE")
        labels[key] = value
    token = sys.stdin.readline().strip() if given.token == "-" else given.token
    if bool(token) == bool(given.chain):
        raise InvalidArgument("a device enrols with --token or with --chain, one of them")
    found = enrol(
        Identity(given.home),
        Platform(url=given.url, authority=given.authority.read_text() if given.authority else "", plain=given.plain),
        given.fleet,
        token=token,
        chain=given.chain.read_text() if given.chain else "",
        name=given.name,
        labels=labels,
    )
    print(f"this is device {found.device} of fleet {found.fleet}; next:  argosy-edge run --home {given.home}")


def _run(given: Any) -> None:
    """Until SIGTERM or SIGINT. Imports onnxruntime, which the other commands do without."""
    from argosy_edge.agent import Agent
    from argosy_edge.clock import Clock
    from argosy_edge.link import Link
    from argosy_edge.remote import Remote
    from argosy_edge.server import DeviceServer
    from argosy_edge.serving import Serving
    from argosy_edge.spool import Spool
    from argosy_edge.watching import Watching

    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    identity = Identity(given.home)
    link_at = identity.platform
    enrolled = identity.enrolled
    assert enrolled is not None
    slots = Slots(given.home)
    slots.claim()
    server = DeviceServer(given.port, given.host)
    boot = slots.read()[0].boot + 1
    clock = Clock(given.home / "clock.json", boot)
    spool = Spool(given.home / "spool", clock)
    watching = Watching(clock, spool).start()
    models = Serving(server, given.threads, watching)
    link: Any = Link(identity, clock)
    remote = Remote(link, enrolled, clock, spool, counted=server.counted.take)

    def notice(state: State, event: Event) -> None:
        log.info("%s", _line(event))
        remote.notice(state, event)

    agent = Agent(
        slots, models, remote, facts=facts(given.home), notice=notice, changed=remote.changed, looked=remote.looked
    )

    def ending(number: int, frame: object) -> None:
        agent.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ending)
    server.start()
    log.info("device %s of fleet %s, platform %s", enrolled.device, enrolled.fleet, link_at.url)
    log.info("models at http://%s:%d/v2", given.host, server.port)
    remote.start(agent.want)
    try:
        agent.run()
    finally:
        server.stop()
        watching.stop()
        remote.stop()
        slots.release()


def _line(event: Event) -> str:
    content = event.content
    about = f"update {content.index} ({content.ref}): " if content and not event.detail.startswith("update ") else ""
    return f"{event.kind.replace('_', ' ')}: {about}{event.detail}".rstrip(": ")


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """What `status` says as JSON. `process`: the agent's, None where none runs."""

    device: str
    fleet: str
    platform: str
    process: int | None
    phase: str
    held: bool
    committed: Content | None
    candidate: Content | None
    loads: int
    rows: int
    floor: int
    denied: tuple[dict[str, Any], ...]
    refused: str
    trouble: str


def _status(given: Any) -> None:
    identity, slots = Identity(given.home), Slots(given.home)
    url, enrolled = identity.platform.url, identity.enrolled
    assert enrolled is not None
    state, trouble = slots.read(put_aside=False)
    shown = Shown(
        device=enrolled.device,
        fleet=enrolled.fleet,
        platform=url,
        process=slots.owner(),
        phase=state.phase,
        held=state.held,
        committed=state.content,
        candidate=state.target,
        loads=state.loads,
        rows=state.tally.seen.compared,
        floor=state.floor,
        denied=tuple(msgspec.to_builtins(each) for each in state.denied),
        refused=state.refused,
        trouble=trouble,
    )
    print(msgspec.json.encode(shown).decode() if given.json else _told(shown, slots.factory_update() is not None))


def _told(shown: Shown, factory: bool) -> str:
    lines = [f"device     {shown.device} of fleet {shown.fleet}, {shown.platform}"]
    lines.append(f"agent      {f'process {shown.process}' if shown.process else 'does not run:  argosy-edge run'}")
    none = "the factory model" if factory else "none yet"
    have = shown.committed
    lines.append(f"model      {f'{have.ref}, update {have.index}, {have.package[:19]}' if have else none}")
    if (new := shown.candidate) is not None:
        rows = f", {shown.rows:,} of {new.trial.rows:,} rows, {shown.loads} starts left"
        lines.append(f"update     {new.ref}, update {new.index}: {shown.phase}{rows if shown.phase == 'trial' else ''}")
    lines += ["held       the platform has stopped updates"] * shown.held
    lines += [f"refused    {shown.refused}"] * bool(shown.refused)
    lines += [f"denied     {each['package'][:19]}, update {each['index']}: {each['why']}" for each in shown.denied]
    lines += [f"trouble    {shown.trouble}"] * bool(shown.trouble)
    return "\n".join(lines)


def _key(given: Any) -> None:
    print(Identity(given.home).public_key, end="")


def _factory(given: Any) -> None:
    slots = Slots(given.home)
    slots.claim()
    try:
        update = slots.make_factory(slots.read()[0])
    finally:
        slots.release()
    print(f"{update.ref} is the factory model of this device, for good")


def _allow(given: Any) -> None:
    slots = Slots(given.home)
    slots.claim()
    try:
        state, _ = slots.read()
        found = [each for each in state.denied if each.package.startswith(given.package)]
        if len({each.package for each in found}) != 1:
            raise NotFound(f"{len(found)} packages that are denied begin with '{given.package}': argosy-edge status")
        slots.write(msgspec.structs.replace(state, denied=tuple(each for each in state.denied if each not in found)))
    finally:
        slots.release()
    print(f"{found[0].package} may be tried again, once it is deployed anew")
