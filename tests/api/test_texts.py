"""Every text that the control API takes, and what it is held against: a table that a new field has to enter."""

import typing
from collections.abc import Iterator
from typing import Any

import msgspec

from argosy.api.application import ROUTES

RESTRICTED = {
    "BatchJob.model": "a reference of the registry",
    "BatchJob.inputs": "allow.inputs",
    "BatchJob.output": "allow.outputs",
    "BatchJob.env": "allow.secrets",
    "Runtime.env": "allow.secrets",
    "Submitted.timezone": "a key of the time zones",
    "Endpoint.model": "a reference of the registry",
    "Monitor.reference": "allow.references",
    "Command.argv": "triggers.commands",
    "Command.environ": "triggers.commands, allow.secrets",
    "Webhook.url": "allow.hosts, allow.secrets",
    "Webhook.headers": "allow.secrets",
    "Webhook.secret": "allow.secrets",
    "Metric.query": "the Prometheus of the settings",
    "Language.draft": "a reference of the registry",
    "Language.adapters": "references of the registry",
    "Language.share": "the endpoints that there are",
    "Trial.sink": "the sinks of the settings",
    "NewRegion.url": "allow.hosts",
    "Endpoint.regions": "the regions that there are",
    "Placed.replicas": "the endpoints that there are",
    "PlacementFile.offers": "the platform's own offers",
    "DeclaredModel.endpoint": "the endpoints that there are",
    "PlacementFile.models": "the endpoints that there are",
    "PlannedReplicas.model": "the models of the plan's file",
    "PlannedReplicas.region": "the regions that endpoints declare",
    "BatchJob.idle": "the endpoints that there are",
    "NewDeployment.model": "a reference of the registry",
    "NewLaunch.provider": "supply.providers",
}
"""Every text that names something of the platform or its surroundings → what it is held against."""
WORDS = {
    *("Endpoint.name", "StickyBy.name", "Metric.name", "PayloadLog.redact"),
    *("PayloadLog.hash", "Monitor.decision", "Monitor.score", "Monitor.positive", "Monitor.classes", "Monitor.label"),
    *("Monitor.segments", "RealisedDrop.name", "RealisedDrop.metric", "EstimatedDrop.name", "EstimatedDrop.metric"),
    *("Slo.name", "DeclaredKey.name", "DeclaredKey.id", "Writing.actor", "Writing.reason", "Written.actor"),
    *("Written.reason", "Label.request_id", "Label.label", "Label.time", "Label.source", "At.at", "Alias.name"),
    *("Alias.alias", "Alias.actor", "Alias.reason", "NewKey.name", "NewKey.scopes", "Submitted.name"),
    *("Submitted.schedule", "Submitted.actor", "Submitted.reason", "BatchJob.map", "BatchJob.keep", "Why.actor"),
    *(
        "BatchJob.partition",
        "BatchJob.nulls",
        "BatchJob.outputs",
        "Why.reason",
        "Wanted.endpoint",
        "Mute.alert",
        "Mute.actor",
        "Mute.reason",
    ),
    *("GatewayReport.run", "GatewayReport.refused", "GatewayReport.url", "GatewayReport.envoy"),
    *("GatewayReport.waiting", "GatewayTraffic.endpoint", "GatewayTraffic.revision", "Run.run", "Sender.key"),
    *(
        "Price.currency",
        "UsageQuery.by",
        "CostQuery.by",
        "BatchJob.template",
        "Guard.refusals",
        "NewFleet.name",
        "NewFleet.owner",
    ),
    *(
        "NewFleet.signers",
        "NewKeys.actor",
        "NewKeys.reason",
        "NewFleet.actor",
        "NewFleet.reason",
        "NewToken.labels",
        "NewToken.actor",
        "NewToken.reason",
    ),
    *("NewDeployment.fleet", "NewDeployment.match", "NewDeployment.actor", "NewDeployment.reason", "Wave.match"),
    *("Which.endpoint", "NewRegion.token", "NewRegion.fingerprint"),
    *(f"{each}.{field}" for each in ("NewRegion", "Drained", "Removed", "Placed") for field in ("actor", "reason")),
    *("NewPlan.actor", "NewPlan.reason", "PlacementFile.rtt", "PlacementFile.egress", "PlacementFile.transfer"),
    *("PlacementFile.regions", "DeclaredProfile.gpu", "DeclaredProfile.rates", "DeclaredProfile.latency"),
    "DeclaredProfile.slice",
    *("DeclaredProfile.variant", "DeclaredSupply.provider", "DeclaredSupply.region", "DeclaredSupply.gpu"),
    *("DeclaredSupply.domain", "DeclaredQuota.provider", "DeclaredQuota.region", "DeclaredQuota.gpu"),
    *("DeclaredDemand.model", "DeclaredDemand.area", "DeclaredDemand.bucket", "DeclaredDemand.regions"),
    *("Running.model", "Running.supply", "Running.variant", "MadePlan.costs", "MadePlan.prices", "MadePlan.regions"),
    *("PlannedReplicas.variant", "PlannedReplicas.supply", "Alternative.place", "Alternative.instead"),
    *("RentedSupply.supply", "RentedSupply.cuts"),
    *("Unserved.demand", "Unserved.model"),
    *("NewLaunch.instance", "NewLaunch.region", "NewLaunch.zone", "NewLaunch.gpu"),
    *("NewLaunch.actor", "NewLaunch.reason"),
    *("OfferQuery.gpu", "OfferQuery.region", "OfferQuery.provider"),
    *("NewLabels.labels", "NewLabels.actor", "NewLabels.reason", "WhichDevices.labels", "WhichDevices.after"),
}
"""Every other text: names, columns, words for the history."""


def texts_of(kind: Any, seen: set[Any]) -> Iterator[str]:
    for part in (kind, *parts_of(kind)):
        if isinstance(part, type) and issubclass(part, msgspec.Struct) and part not in seen:
            seen.add(part)
            for field in msgspec.structs.fields(part):
                if field.type is str or str in set(parts_of(field.type)):
                    yield f"{part.__name__}.{field.name}"
                yield from texts_of(field.type, seen)


def parts_of(kind: Any) -> Iterator[Any]:
    for part in typing.get_args(kind):
        yield part
        yield from parts_of(part)


def test_every_text_of_the_api_is_known_to_name_nothing_or_held_against_something():
    """A new field fails this test until somebody has said what it may name."""
    seen: set[Any] = set()
    found = {text for route in ROUTES for kind in (route.body, route.query) for text in texts_of(kind, seen)}
    assert found - set(RESTRICTED) - WORDS == set()
    assert (set(RESTRICTED) | WORDS) - found == set()
