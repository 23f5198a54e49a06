"""`stand_in_up`, for which a minute is two seconds and calm begins after three."""

import asyncio

from argosy.control.up import up
from argosy.monitoring import alert, traffic
from argosy.spec.settings import home, load
from tests.control.stand_in_up import STAND_IN

if __name__ == "__main__":
    alert.CALM = 3.0
    traffic.TIERS = ((23400, 2), *traffic.TIERS[1:])
    asyncio.run(up(home(), load(home()), report=print, command=STAND_IN))
