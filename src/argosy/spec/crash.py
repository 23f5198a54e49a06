"""What a process leaves in its log when a signal such as SIGSEGV ends it: Python's traceback of every thread."""

import faulthandler
import signal

STDERR = 2
STACKS = signal.SIGUSR1
"""The signal at which a process that has called `report_location` writes the stacks of its threads to its log."""
_DUMP = ("Extension modules: ", 'File "', 'Binary file "', "...")
"""How the last lines of a traceback begin that a signal has left."""


def tell() -> None:
    """From now on, whatever crashes this process leaves a traceback on standard error."""
    faulthandler.enable(STDERR)


def report_location() -> None:
    """From now on, `STACKS` has this process write where it is to standard error."""
    faulthandler.register(STACKS, STDERR)


def end_after(seconds: float) -> None:
    """End this process in so many seconds, with its stacks in the log, unless this is called anew; 0: do not.

    A thread of faulthandler's does it, which needs no interpreter lock: what hangs may hold it.
    """
    if seconds:
        faulthandler.dump_traceback_later(seconds, exit=True, file=STDERR)
    else:
        faulthandler.cancel_dump_traceback_later()


def last_words(text: str) -> str:
    """The last line that says something; of a crash, what it was and the line of Python that it came from."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines or not lines[-1].startswith(_DUMP):
        return lines[-1] if lines else ""
    fatal = next((at for at in range(len(lines) - 1, -1, -1) if lines[at].startswith("Fatal Python error: ")), None)
    if fatal is None:
        return lines[-1]
    dump = lines[fatal:]
    frame = next((dump[at + 1] for at in range(len(dump) - 1) if dump[at].startswith("Current thread ")), "")
    return f"{dump[0]}, {frame}" if frame.startswith('File "') else dump[0]
