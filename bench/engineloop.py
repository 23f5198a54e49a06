"""The bare engine in a loop.

`python -m bench.engineloop MODEL SECONDS BATCH...` prints the rows a second at each batch size as JSON.
"""

import json
import sys
import time

import numpy as np

from bench import envs, models


def rows_per_second(session, row: dict[str, np.ndarray], batch: int, seconds: float) -> float:
    feed = {name: np.repeat(a, batch, axis=0) for name, a in row.items()}
    for _ in range(3):
        session.run(None, feed)
    calls, began = 0, time.perf_counter()
    while (took := time.perf_counter() - began) < seconds:
        session.run(None, feed)
        calls += 1
    return calls * batch / took


def main() -> None:
    name, seconds, *batches = sys.argv[1:]
    case = models.COMPUTE[name](envs.site("models"))
    session = models.session(case.path)
    print(json.dumps({b: rows_per_second(session, case.row, int(b), float(seconds)) for b in batches}))


if __name__ == "__main__":
    main()
