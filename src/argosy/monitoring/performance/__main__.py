"""`python -m argosy.monitoring.performance`: evaluate a job from standard input; the result goes to standard output.

A process of its own, at nice 10: the platform's loop and gateway go on as if nobody looked, and what it needed of
memory is given back at its end.
"""

import os
import sys

import msgspec

from argosy.monitoring.performance.evaluate import look
from argosy.monitoring.performance.job import Failed, Job
from argosy.spec.errors import ArgosyError


def main() -> None:
    """Answer one job."""
    os.nice(10)
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    try:
        answer = msgspec.json.encode(look(job))
    except ArgosyError as error:
        answer = msgspec.json.encode(Failed(code=error.code, message=error.message))
    sys.stdout.buffer.write(answer)


if __name__ == "__main__":
    main()
