"""What a user declares of a deployment to a fleet: which model, for which devices, in which waves, what stops it."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from argosy.spec.errors import InvalidArgument
from argosy.spec.monitor import Monitor
from argosy.spec.strict import Amount, Count, Declaration, InnerShare, Positive, Share, require

_LABEL = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9._/]{0,61}[A-Za-z0-9])?")
_WAVE = re.compile(r"(?:(?P<percent>\d+(?:\.\d+)?) ?%|(?P<devices>\d+))")
MOST_WAVES = 32
MOST_LABELS = 32
CELL = 2.0
"""Devices count latencies in cells of this factor: what is slower by less cannot be told from noise."""


def check_labels(labels: Mapping[str, str], where: str) -> None:
    """Raises InvalidArgument for labels that no device can have."""
    if len(labels) > MOST_LABELS:
        raise InvalidArgument(f"{where} has {len(labels)} labels; at most {MOST_LABELS} are allowed")
    for key, value in labels.items():
        odd = next((text for text in (key, value) if text and not _LABEL.fullmatch(text)), None if key else key)
        if odd is not None:
            raise InvalidArgument(
                f"{where}: {odd[:80]!r} is no label: use up to 63 letters, digits and -._/, "
                "with a letter or digit at both ends"
            )


class Wave(Declaration, frozen=True, kw_only=True):
    """A step of a deployment: a `share` (0 to 1) of the devices it is for, or so many `devices`, those of earlier waves
    included; neither: all of them. With `match` only devices with these labels, and a share of those. It lasts at least
    `seconds`, and until `reports` of its devices have committed, or all where it has fewer; what is left out is as the
    deployment says."""

    share: Annotated[float, Meta(gt=0, le=1)] | None = None
    devices: Count | None = None
    match: dict[str, str] = field(default_factory=dict[str, str])
    seconds: Amount | None = None
    reports: Count | None = None

    where: ClassVar[str] = "waves: "

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.share is not None and self.devices is not None:
            raise InvalidArgument("waves: a wave is a share of the devices or a number of them: give one of both")
        check_labels(self.match, "waves: match")

    def size(self, devices: int) -> int:
        """How many of so many devices have the update once this wave is complete: one at least, if there is one."""
        if self.devices is not None:
            return min(self.devices, devices)
        return devices if self.share is None else min(devices, math.ceil(self.share * devices - 1e-9))

    @property
    def whole(self) -> bool:
        """Whether it takes in every device."""
        return not self.match and self.devices is None and self.share in (None, 1.0)


WAVES = (Wave(share=0.01), Wave(share=0.1), Wave(share=1.0))


class StopRule(Declaration, frozen=True, kw_only=True):
    """What stops a deployment: evidence, at level `alpha` at all times together, that more than a share `failures` of
    its devices fail, or that its answers have more errors or are slower than those of the version before on the same
    devices by more than `trial` allows. A device fails that rolls back, refuses the update, or takes it and then is
    silent for `silence` seconds, more often than devices that do not have it are."""

    failures: InnerShare = 0.05
    alpha: Annotated[float, Meta(gt=0, le=0.5)] = 0.01
    silence: Positive = 1800.0

    where: ClassVar[str] = "stop."


class DeviceTrial(Declaration, frozen=True, kw_only=True):
    """How a device compares the new version with the one it had before it commits. Of `rows` answers, in the `shadow`
    or `live`, within `seconds` at least, a share `agreement` has to be the same (numbers: within `tolerance` of each
    other, relatively; null: not compared), at most `errors` more may fail, and it may be `slower` by that factor, all
    at level `alpha`. It may be loaded `loads` times. After `longest` seconds without so many rows it ends by `then`."""

    mode: Literal["shadow", "live"] = "shadow"
    rows: Count = 100
    seconds: Amount = 60.0
    loads: Count = 3
    agreement: Share | None = 0.9
    tolerance: Amount = 0.05
    errors: Annotated[float, Meta(ge=0, lt=0.5)] = 0.01
    slower: Annotated[float, Meta(ge=1, le=1000)] = 2.0
    alpha: Annotated[float, Meta(gt=0, le=0.5)] = 0.05
    longest: Positive = 7 * 86400.0
    then: Literal["commit", "rollback"] = "commit"

    where: ClassVar[str] = "trial."


class DeviceBudget(Declaration, frozen=True, kw_only=True):
    """What a model may cost on a device; 0: no bound. `milliseconds` of one golden example, `memory` in bytes."""

    milliseconds: Amount = 0.0
    memory: Annotated[int, Meta(ge=0)] = 0

    where: ClassVar[str] = "budget."


class Deployment(Declaration, frozen=True, kw_only=True):
    """A model for the devices of a fleet, or for those of them whose labels `match`.

    It goes from wave to wave, each of which lasts at least `seconds` and until `reports` of its devices have committed;
    `stop` says what ends it. Devices that are offline join when they are back. Devices try the new version before they
    commit it (`trial`) within a `budget`. `payloads` is the share of requests whose inputs and outputs are sent; with a
    `monitor` it is measured how good the answers in it are, once labels come.
    """

    fleet: str
    model: str
    match: dict[str, str] = field(default_factory=dict[str, str])
    waves: tuple[Wave, ...] = WAVES
    seconds: Amount = 600.0
    reports: Count = 20
    stop: StopRule = StopRule()
    trial: DeviceTrial = DeviceTrial()
    budget: DeviceBudget = DeviceBudget()
    payloads: Share = 0.0
    monitor: Monitor | None = None

    where: ClassVar[str] = "the deployment: "

    def __post_init__(self) -> None:
        super().__post_init__()
        check_labels(self.match, "match")
        shares = [each.share for each in self.waves if each.share is not None and not each.match]
        checks = {
            "names no model": bool(self.model),
            f"has {len(self.waves)} waves; give 1 to {MOST_WAVES}": 0 < len(self.waves) <= MOST_WAVES,
            f"shares of waves must grow from wave to wave, not {', '.join(f'{each:.4g}' for each in shares)}": (
                shares == sorted(set(shares))
            ),
            "the last wave has to take in every device (100%), or those that are left never get it": (
                not self.waves or self.waves[-1].whole
            ),
        }
        if self.monitor is not None:
            checks["monitor is about payloads, and none are sent: give payloads a share"] = self.payloads > 0
            checks["monitor.reference is of endpoints alone"] = not self.monitor.reference
        require(self.where, checks)

    def least(self, wave: int) -> tuple[float, int]:
        """The seconds and the reports of a wave, at least."""
        one = self.waves[wave]
        seconds = self.seconds if one.seconds is None else one.seconds
        return seconds, self.reports if one.reports is None else one.reports


def labels(words: Iterable[str], where: str) -> dict[str, str]:
    """`key=value` words as labels. Raises InvalidArgument."""
    found: dict[str, str] = {}
    for word in words:
        key, sign, value = word.partition("=")
        if not sign or key in found:
            raise InvalidArgument(f"{where}: write KEY=VALUE, each key once, not {word[:80]!r}")
        found[key] = value
    check_labels(found, where)
    return found


def waves(text: str) -> tuple[Wave, ...]:
    """`1%,10%,100%` or `5,50,100%` as waves. Raises InvalidArgument."""
    found: list[Wave] = []
    for word in text.split(","):
        match = _WAVE.fullmatch(word.strip())
        if match is None or not float(match["percent"] or match["devices"]) or float(match["percent"] or 0) > 100:
            raise InvalidArgument(f"waves: '{word.strip()[:40]}' is no wave: write 1%,10%,100%, or numbers of devices")
        if match["percent"]:
            found.append(Wave(share=float(match["percent"]) / 100))
        else:
            found.append(Wave(devices=int(match["devices"])))
    return tuple(found)
