"""What a user declares to be done once a model is not good enough any more: when, and what."""

import re
from typing import Annotated, ClassVar

from msgspec import Meta, field

from argosy.spec.alerts import Webhook
from argosy.spec.errors import InvalidArgument
from argosy.spec.monitor import METRICS
from argosy.spec.secret import VARIABLE
from argosy.spec.strict import Amount, Declaration, Share, repeated, require

_NAME = re.compile(r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?")


class Command(Declaration, frozen=True, kw_only=True, tag="command", tag_field="kind"):
    """A program with its arguments, as they are: no shell reads them.

    It runs as the platform's user with the platform's PATH and ARGOSY_ variables and those of `environ`; a value that
    begins with `$` names a variable of the platform's own. It is ended after `timeout` seconds.
    """

    argv: tuple[str, ...]
    environ: dict[str, str] = field(default_factory=dict[str, str])
    timeout: Annotated[float, Meta(ge=1, le=604800)] = 3600.0

    where: ClassVar[str] = "triggers: "

    def __post_init__(self) -> None:
        super().__post_init__()
        wrong = next((each for each in self.environ if not VARIABLE.fullmatch(each) or each.startswith("ARGOSY_")), "")
        texts = (*self.argv, *self.environ.values())
        checks = {
            "argv must name a program, as in [python, /srv/retrain.py]": bool(self.argv) and bool(self.argv[0]),
            "argv and environ may hold no NUL": not any("\0" in each for each in texts),
            f"environ: '{wrong[:60]}' is no name of a variable that can be given": not wrong,
        }
        require(self.where, checks)


class Rule(Declaration, frozen=True, kw_only=True):
    """What both kinds of triggers have.

    It fires where `metric` has been worse than `against` by more than `margin`, its whole interval beyond `against`,
    in `windows` windows in a row. `against`: what it is on the reference rows, unless a value is given. A `margin` of
    an error (mae, rmse) is a part of it. Then it rests for `cooldown` seconds, and while what it `run`s goes on.
    """

    name: str
    metric: str
    run: Command | Webhook
    margin: Amount = 0.05
    against: float | None = None
    windows: Annotated[int, Meta(ge=1, le=1000)] = 1
    cooldown: Amount = 86400.0

    where: ClassVar[str] = "triggers: "

    def __post_init__(self) -> None:
        super().__post_init__()
        checks = {
            "name must have 1 to 63 lower-case letters, digits, '_' and '-'": bool(_NAME.fullmatch(self.name)),
            f"metric is one of {', '.join(METRICS)}": self.metric in METRICS,
            "run.secret must name a variable, as in $HOOK: the history shows what is declared": (
                not isinstance(self.run, Webhook) or self.run.secret[:1] in ("", "$")
            ),
        }
        require(f"trigger '{self.name[:63]}': ", checks)


class RealisedDrop(Rule, frozen=True, kw_only=True, tag="realised_drop", tag_field="when"):
    """Labels say that the model is worse. A window counts once it has this `maturity`: the share of the labels it will
    ever get."""

    maturity: Share = 0.8


class EstimatedDrop(Rule, frozen=True, kw_only=True, tag="estimated_drop", tag_field="when"):
    """The estimate without labels says so, in windows that a classifier separates from the reference with an AUC of at
    least `domain_auc` (0.5: it cannot)."""

    domain_auc: Share = 0.5


Trigger = RealisedDrop | EstimatedDrop


def check_triggers(endpoint: str, triggers: tuple[Trigger, ...], reference: bool, watched: bool) -> None:
    """Raises InvalidArgument for triggers that could never fire. `watched`: whether performance is measured at all,
    `reference`: whether there are reference rows."""
    if twice := repeated(each.name for each in triggers):
        raise InvalidArgument(f"endpoint '{endpoint}': two of triggers have the name '{twice}'")
    for each in triggers:
        of = f"endpoint '{endpoint}': the trigger '{each.name}' "
        estimated = isinstance(each, EstimatedDrop)
        checks = {
            "is about performance, and none is measured: declare payload and monitor, too": watched,
            "is about estimates, which need monitor.reference": reference or not estimated,
            "needs something to compare with: monitor.reference, or a value as its against": reference
            or each.against is not None,
        }
        require(of, checks)
