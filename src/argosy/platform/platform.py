"""The platform of one home, put together: store, target, gateway, controller, API."""

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import psutil
from starlette.applications import Starlette

from argosy.alerting.allowed import Allowed
from argosy.alerting.incidents import Incidents
from argosy.alerting.triggers import command as commands
from argosy.alerting.triggers.task import Triggers
from argosy.api import batches, token
from argosy.api.application import application
from argosy.api.devices import DIRECT, DeviceApi, DeviceServer
from argosy.api.feedback import take as take_labels
from argosy.api.labels import LabelServer
from argosy.api.region import RegionApi
from argosy.api.route import Pages, Services, no_pages
from argosy.api.server import ApiServer
from argosy.api.tls import certificate
from argosy.control.controller import Controller
from argosy.control.follow import keep_following
from argosy.control.followers import Followers
from argosy.control.recording import Quotas, Recording
from argosy.control.rollout.metrics import Metrics
from argosy.control.scaling.activation import Activation
from argosy.control.state import State
from argosy.fleets.controller import Deployments
from argosy.gateway.base import Routing
from argosy.gateway.gateway import Gateway
from argosy.gateway.model import GatewayConfig
from argosy.jobs.batches import Batches
from argosy.jobs.files import Files
from argosy.jobs.runner import Jobs
from argosy.jobs.slots import IdleSlots
from argosy.monitoring.analysis.prometheus import Prometheus
from argosy.monitoring.cost import CostLedger, Sources
from argosy.monitoring.devices.intake import DeviceIntake
from argosy.monitoring.devices.lost import LostDevices
from argosy.monitoring.drift.monitor import DriftMonitor
from argosy.monitoring.performance.monitor import PerformanceMonitor
from argosy.monitoring.slo.monitor import Slos
from argosy.platform import leftovers
from argosy.platform.home import gateway_config
from argosy.platform.objects import Objects
from argosy.platform.overflow import OverflowProcess
from argosy.platform.regions import ControlLink, OwnPlatform, PlanSources
from argosy.platform.supervisor import ACCESS_LOG_BYTES, HOUSEKEEPING, Supervisor, rotate_logs, watch_gateway
from argosy.platform.targets import TargetOf, local_target, targets
from argosy.process.cores import cores
from argosy.regions.holder import Holder
from argosy.regions.member import Member
from argosy.regions.replan import Replanner
from argosy.serving.port import take
from argosy.spec.errors import ArgosyError
from argosy.spec.settings import GatewaySettings, Home, RunFile, Settings
from argosy.spec.status import View
from argosy.store import streams
from argosy.store.durable import say
from argosy.store.launches import Launches
from argosy.store.plans import Plans
from argosy.store.store import Store
from argosy.store.usage import totals
from argosy.supply import offers, providers
from argosy.supply.commands import Commands
from argosy.supply.groups import Groups
from argosy.supply.launcher import Launcher
from argosy.supply.watch import HostWatch
from argosy.telemetry.history import Minutes
from argosy.telemetry.rates import Meter

LOG = logging.getLogger(__name__)


def _routing(
    config: GatewayConfig, settings: GatewaySettings, term: int
) -> tuple[Gateway | None, Followers | None, Routing]:
    """The Envoy of this machine, those that follow, and both as one."""
    here = None if settings.place == "remote" else Gateway(config, settings.envoy or None)
    if here is not None and settings.place == "local":
        return here, None, here
    followers = Followers(here, term, settings.url)
    return here, followers, followers


class Platform:
    """Everything that `argosy up` runs. `stop` is what the API's shutdown calls."""

    def __init__(
        self,
        home: Home,
        settings: Settings,
        store: Store,
        stop: Callable[[], None],
        target: TargetOf = local_target,
        pages: Pages = no_pages,
        term: int = 1,
    ) -> None:
        self.home, self.settings, self.store = home, settings, store
        self.config = gateway_config(home, settings.gateway, settings.tracing)
        self.gateway, self.followers, self.routing = _routing(self.config, settings.gateway, term)
        self.target = targets(home, settings, store, target)
        self.state = State(store.database)
        self.controller = Controller(self.state, store.keys, self.target, self.routing, settings.gateway)
        self.overflow = OverflowProcess(self.home, self.settings.supply.external)
        self.regions, self.member = self._regions(term)
        self.activation = self.controller.activation = self._activation()
        self.recording = self.controller.recording = Recording(home, settings)
        self.quotas, self.batches = self._quotas(), self._batches()
        told = Prometheus(at.url, at.token_file) if (at := settings.prometheus).url else None
        self.metrics = self.controller.analysis.metrics = Metrics(told)
        self.meter = Meter(self.controller.feed, self.target.usage, tokens=partial(totals, store.database))
        self.minutes = Minutes(store.database, self.controller.feed, self._view, self.controller.versions)
        self.slots = IdleSlots(home.slots, self._view, self.controller.revisions, self.meter.now)
        allowed = Allowed.of(settings)
        self.jobs = Jobs(home, store.database, settings.batch, allowed=allowed, slots=self.slots)
        self.incidents = Incidents(store.database, settings.alerts, partial(streams.names, store))
        self.regions.tell = self.incidents.report
        self.deployments = Deployments(store.fleets, self.incidents.report)
        self.slos = Slos(
            store.database, self.controller.feed, lambda: self.controller.declared, self._view, self.incidents.report
        )
        self.controller.slos = self.slos.statuses
        self.costs = self._costs()
        self.controller.analysis.price = self.costs.price_of
        self.drift = DriftMonitor(store, self.state, self.incidents.report, settings.drift.every)
        self.performance = PerformanceMonitor(store, self.state, self.incidents.report)
        self.intake = DeviceIntake(store)
        self.launcher = Launcher(Launches(store.database), providers.of(settings))
        vacate = (self.target.vacate, self.regions.vacate)
        self.groups = Groups(self.launcher, settings.supply, Commands(home.logs / "groups.log"), vacate)
        reach = (self.gateway or self.routing).url
        self.hosts = HostWatch(store, self._view, reach, self.incidents.report, settings.supply, self.groups.evictions)
        sources = PlanSources(store, self.state, settings.supply, self.meter, self.launcher)
        self.plans = Replanner(Plans(store.database), self.regions, sources)
        self.recording.fleets = lambda: self.intake.logged
        self.lost = LostDevices(store, self.incidents.report, settings.devices.silent)
        self.triggers = Triggers(home, self.state, self.incidents.report, store=settings.payload.store, allowed=allowed)
        self._ending = asyncio.Event()
        self.supervisor = Supervisor()
        self.started = psutil.Process().create_time()
        services = self._services(stop)
        self.objects = Objects(services) if settings.kubernetes.image else None
        app = self._application(services, pages)
        self.certificate = certificate(home, settings.control)
        self.server = ApiServer(app, settings.control, self.certificate and self.certificate.context)
        self.labels = LabelServer(home, partial(take_labels, services), batches.routes(self.batches))
        self._tasks: list[asyncio.Task[Any]] = []

    def _application(self, services: Services, pages: Pages) -> Starlette:
        """The control API, and what devices ask, which the gateway reaches at a socket of its own."""
        secret = token.ensure(self.home)
        self.devices = DeviceApi(self.store, self.incidents.report, self.intake.take)
        self.device_server = DeviceServer(self.home, self.devices.routes())
        shown = [*pages(services, secret), *self.devices.routes(DIRECT), *RegionApi(services).routes()]
        return application(services, secret, any_host=self.settings.control.expose, pages=shown)

    def _regions(self, term: int) -> tuple[Holder, Member]:
        """The plan over regions, and what the holder of another one has placed here."""
        region = self.settings.region
        member = Member(self.home, self.store, region.name, trust=region.trust)
        here = OwnPlatform(self.store, self.state, self.controller, self.settings, lambda: self.costs.hourly)
        holder = Holder(
            member.table,
            here,
            partial(ControlLink, self.store),
            own=region.name,
            token=token.ensure_of(self.home, "region") if region.name else "",
            holder=self.store.database.platform(),
            term=term,
        )
        holder.changed = self.controller.wake
        self.controller.own_part = lambda each: each if each.name in member.held else holder.own_part(each)
        self.controller.own_keys = lambda records: self.hosts.keys(member.keys(holder.budgets.of(region.name, records)))
        self.controller.peers = lambda: (*(member.peers or holder.peers), *self.overflow.peers())
        return holder, member

    def _services(self, stop: Callable[[], None]) -> Services:
        """What the handlers of the API work on."""
        return Services(
            home=self.home,
            settings=self.settings,
            store=self.store,
            state=self.state,
            controller=self.controller,
            targets=self.target,
            meter=self.meter,
            jobs=self.jobs,
            deployments=self.deployments,
            incidents=self.incidents,
            costs=self.costs,
            intake=self.intake,
            launcher=self.launcher,
            groups=self.groups,
            followers=self.followers,
            regions=self.regions,
            plans=self.plans,
            member=self.member,
            stop=stop,
            started=self.started,
            ending=self._ending,
            restarts=self.supervisor.restarts,
        )

    def _activation(self) -> Activation:
        """The activator of this machine, and what those of followers are told."""
        here, wake = self.gateway is not None, self.controller.wake
        made = Activation(self.home, self.controller.scaler, wake, here=here)
        if self.followers is not None:
            self.followers.activated, self.followers.demanded = lambda: made.activated, made.demanded
            self.followers.withheld = self.controller.blind
        return made

    def _quotas(self) -> Quotas:
        """Whose tokens are counted, by the gateway of this machine alone."""
        made = Quotas(self.home, self.config.access_log_path)
        made.shared = lambda key: self.regions.budgets.divides(key) or self.member.limits(key)
        self.controller.quotas = made if self.gateway is not None else None
        return made

    def _batches(self) -> Batches:
        """Requests of callers' files, sent through the gateway of this machine."""
        made = Batches(Files(self.home.batches), (self.gateway or self.routing).url, self.controller.wake)
        self.controller.key_hashes = made.hashes
        return made

    def _costs(self) -> CostLedger:
        """What all of it costs."""
        sources = Sources(
            view=self._view,
            declared=lambda: self.controller.declared,
            revisions=self.controller.revisions,
            ends=self.target.ends,
            away=self.target.away,
            machines=lambda: [each for each in Launches(self.store.database).live() if each.started],
            lent=self.slots.lent,
            free=self.jobs.free,
            keys=lambda: {each.id: each.name for each in self.store.keys.list()},
        )
        return CostLedger(
            self.store.database,
            self.controller.feed,
            sources,
            self.settings.cost,
            log=Path(self.config.access_log_path) if self.gateway is not None else None,
            cores=cores(),
            region=self.settings.region.name,
            promises=self.settings.supply.promises,
            report=self.incidents.report,
        )

    def _view(self) -> View:
        return self.controller.view

    async def start(self, report: Callable[[str], None]) -> None:
        """Adopt what runs, start what does not, listen. What it started is ended again if it cannot go through."""
        await asyncio.to_thread(self.batches.load)
        await asyncio.to_thread(self.regions.load)
        await asyncio.to_thread(self.regions.budgets.load)
        await asyncio.to_thread(self.member.load)
        url = self.server.listen()
        self.server.task = self.supervisor.begin("api", self.server.run)
        self.labels.task = self.supervisor.begin("labels", self.labels.run)
        self.device_server.task = self.supervisor.begin("devices", self.device_server.run)
        try:
            adopted = await self.routing.adopt()
            if not adopted:
                await asyncio.to_thread(leftovers.end_gateways, self.home)
                take(self.config.host, self.config.port, "gateway.port").close()
            await self.activation.activator.start()
            await self.recording.sidecar.start()
            await self.quotas.sidecar.start()
            await self.overflow.start()
            await self.jobs.start()
            found = await self.controller.start(gateway_runs=adopted)
        except BaseException:
            await self._close_api()
            await self.activation.activator.close()
            await self.target.close()
            raise
        self._tasks = [self.supervisor.begin(name, work) for name, work in self._work()]
        self._announce(url)
        gateway = "the gateway and " if adopted and self.gateway is not None else ""
        if gateway or found:
            report(f"adopted   {gateway}{found} replicas that were running")
        report(f"gateway   {self.controller.gateway_url or 'none follows yet: start them by  argosy gateway'}")
        report(f"control   {url}")
        if self.certificate is not None:
            report(f"tls       {self.certificate.path}, SHA-256 {self.certificate.fingerprint}")

    def _announce(self, url: str) -> None:
        shown = self.certificate
        more = {"fingerprint": shown.fingerprint, "certificate": str(shown.path)} if shown is not None else {}
        running = RunFile(url=url, pid=os.getpid(), started=self.started, **more)
        say(self.home.control, msgspec.json.encode(running))
        self._url = url

    def _work(self) -> Iterable[tuple[str, Callable[[], Awaitable[object]]]]:
        """What goes on for as long as the platform runs."""
        yield "controller", self.controller.run
        yield "housekeeping", self._maintain
        if (gateway := self.gateway) is not None:
            yield "watchdog", lambda: watch_gateway(gateway, self.controller.wake)
        if self.followers is not None:
            yield "followers", self.followers.run
        yield "aliases", lambda: keep_following(self.state, self.store.registry, self.controller.wake)
        yield "meter", self.meter.run
        yield "minutes", self.minutes.run
        yield "drift", self.drift.run
        yield "quality", self.performance.run
        yield "profiles", self.intake.run
        yield "silence", self.lost.run
        if self.launcher.providers:
            yield "launches", self.launcher.run
        yield "groups", self.groups.run
        if (supply := self.settings.supply).refresh and supply.catalogues:
            yield "catalogues", partial(offers.keep_fresh, self.store.database, supply)
        yield "hosts", self.hosts.run
        yield "incidents", self.incidents.run
        yield "slos", self.slos.run
        yield "costs", self.costs.run
        yield "triggers", self.triggers.run
        yield "jobs", self.jobs.run
        yield "batches", self.batches.run
        yield "deployments", self.deployments.run
        yield "regions", self.regions.run
        yield "plans", self.plans.run
        if self.objects is not None:
            yield "objects", self.objects.run

    async def _maintain(self) -> None:
        """Bound the logs, and take up another certificate."""
        while True:
            await asyncio.to_thread(rotate_logs, self.home, self.config)
            if self.gateway is not None:
                await self.gateway.rotate_log(ACCESS_LOG_BYTES)
            try:
                if self.certificate is not None and self.certificate.renewed():
                    self._announce(self._url)
            except ArgosyError as error:
                LOG.error("the certificate stays as it was: %s", error.message)
            await asyncio.sleep(HOUSEKEEPING)

    async def stop(self, hurry: asyncio.Event) -> None:
        """The gateway drains first, then the replicas. Once `hurry` is set, nothing is waited for."""
        await self._end_tasks()
        stopping = asyncio.create_task(self._drain())
        hurrying = asyncio.create_task(hurry.wait())
        await asyncio.wait([stopping, hurrying], return_when=asyncio.FIRST_COMPLETED)
        if not stopping.done():
            await asyncio.to_thread(leftovers.end_serving, self.home)
        hurrying.cancel()
        await stopping

    async def leave(self) -> None:
        """End what runs in this process, and beside it on this machine. Gateways elsewhere and their replicas go on."""
        await self._end_tasks()
        await self.jobs.stop()
        await asyncio.to_thread(commands.end, self.home)
        await self.recording.sidecar.stop()
        await self.quotas.sidecar.stop()
        await self.overflow.sidecar.stop()
        await self.target.close()
        await self._close_api()

    async def _drain(self) -> None:
        await self.jobs.stop()
        await asyncio.to_thread(commands.end, self.home)
        await self.routing.stop()
        await self.activation.activator.stop()
        await self.quotas.sidecar.stop()
        await self.overflow.sidecar.stop()
        await self.target.stop()
        await self.costs.close()
        await self.recording.sidecar.stop()
        await self._close_api()

    async def _close_api(self) -> None:
        self._ending.set()
        await self.server.stop()
        await self.labels.stop()
        await self.device_server.stop()
        self.devices.transfers.close()

    async def _end_tasks(self) -> None:
        self.devices.end()
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks = []
        await self.metrics.close()
