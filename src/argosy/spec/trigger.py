"""What a user declares to be done once a model is not good enough any more: when, and what."""

import math
import re

import msgspec

from argosy.spec.alerts import Webhook
from argosy.spec.errors import InvalidArgument
from argosy.spec.monitor import CLASSIFICATION, REGRESSION
from argosy.spec.strict import repeated

METRICS = CLASSIFICATION + REGRESSION
_NAME = re.compile(r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Command(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="command", tag_field="kind"):
    """A program with its arguments, as they are: no shell reads them.

    It runs as the platform's user with the platform's PATH and ARGOSY_ variables and those of `environ`; a value that
    begins with `$` names a variable of the platform's own. It is ended after `timeout` seconds.
    """

    argv: tuple[str, ...]
    environ: dict[str, str] = {}
    timeout: float = 3600.0

    def __post_init__(self) -> None:
        wrong = next((each for each in self.environ if not _VARIABLE.fullmatch(each) or each.startswith("ARGOSY_")), "")
        texts = (*self.argv, *self.environ.values())
        checks = {
            "argv must name a program, as in [python, /srv/retrain.py]": bool(self.argv) and bool(self.argv[0]),
            "argv and environ may hold no NUL": not any("\0" in each for each in texts),
            f"environ: '{wrong[:60]}' is no name of a variable that can be given": not wrong,
            "timeout must be 1 to 604800 seconds": 1 <= self.timeout <= 604800,
        }
        for message, good in checks.items():
            if not good:
                raise InvalidArgument(f"triggers: {message}")


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What both kinds of triggers have.

    It fires where `metric` has been worse than `against` by more than `margin`, its whole interval beyond `against`,
    in `windows` windows in a row. `against`: what it is on the reference rows, unless a value is given. A `margin` of
    an error (mae, rmse) is a part of it. Then it rests for `cooldown` seconds, and while what it `run`s goes on.
    """

    name: str
    metric: str
    run: Command | Webhook
    margin: float = 0.05
    against: float | None = None
    windows: int = 1
    cooldown: float = 86400.0

    def __post_init__(self) -> None:
        checks = {
            "name must have 1 to 63 lower-case letters, digits, '_' and '-'": bool(_NAME.fullmatch(self.name)),
            f"metric is one of {', '.join(METRICS)}": self.metric in METRICS,
            "run.secret must name a variable, as in $HOOK: the history tells what is declared": (
                not isinstance(self.run, Webhook) or self.run.secret[:1] in ("", "$")
            ),
            "margin must be 0 or above, and finite": 0 <= self.margin < math.inf,
            "against must be finite": self.against is None or math.isfinite(self.against),
            "windows must be 1 to 1000": 1 <= self.windows <= 1000,
            "cooldown must be 0 or more seconds, and finite": 0 <= self.cooldown < math.inf,
        }
        for message, good in checks.items():
            if not good:
                raise InvalidArgument(f"trigger '{self.name[:63]}': {message}")


class RealisedDrop(Rule, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="realised_drop", tag_field="when"):
    """Labels say that the model is worse. A window counts once it has this `maturity`: the share of the labels it will
    ever get."""

    maturity: float = 0.8

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.maturity <= 1:
            raise InvalidArgument(f"trigger '{self.name}': maturity must be 0 to 1")


class EstimatedDrop(
    Rule, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="estimated_drop", tag_field="when"
):
    """The estimate without labels says so, in windows that a classifier tells from the reference with an AUC of at
    least `domain_auc` (0.5: it cannot)."""

    domain_auc: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.domain_auc <= 1:
            raise InvalidArgument(f"trigger '{self.name}': domain_auc must be 0 to 1")


Trigger = RealisedDrop | EstimatedDrop


def check_triggers(endpoint: str, triggers: tuple[Trigger, ...], reference: bool, watched: bool) -> None:
    """Raises InvalidArgument for triggers that could never fire. `watched`: whether performance is measured at all,
    `reference`: whether there are reference rows."""
    if twice := repeated(each.name for each in triggers):
        raise InvalidArgument(f"endpoint '{endpoint}': two of triggers have the name '{twice}'")
    for each in triggers:
        if not watched:
            raise InvalidArgument(
                f"endpoint '{endpoint}': the trigger '{each.name}' looks at performance, and none is measured: declare "
                "payload and monitor, too"
            )
        if isinstance(each, EstimatedDrop) and not reference:
            raise InvalidArgument(
                f"endpoint '{endpoint}': the trigger '{each.name}' looks at estimates, which need monitor.reference"
            )
        if each.against is None and not reference:
            raise InvalidArgument(
                f"endpoint '{endpoint}': the trigger '{each.name}' needs something to compare with: monitor.reference, "
                "or a value as its against"
            )
