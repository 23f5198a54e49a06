"""`stand_in_up`, for which a minute is two seconds and calm begins after three."""

import asyncio
from functools import partial

from argosy.alerting import incident
from argosy.monitoring.slo import policy
from argosy.platform.targets import local_target
from argosy.platform.up import up
from argosy.spec.settings import home, load
from tests.platform.stand_in_up import STAND_IN

if __name__ == "__main__":
    incident.CALM = 3.0
    policy.TIERS = ((23400, 2), *policy.TIERS[1:])
    asyncio.run(up(home(), load(home()), report=print, target=partial(local_target, command=STAND_IN)))
