"""What a user declares of an endpoint's payload log: what is recorded, what is hidden, how long it is kept."""

import math

import msgspec

from argosy.spec.errors import InvalidArgument


class PayloadLog(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Requests and answers, kept as Parquet.

    `sample` is the share of requests that is recorded; with `errors` those that fail are recorded always. `redact`
    names columns that are never written, `hash` columns of which only a keyed hash is. A name is a tensor's, a
    feature's, or a column's as the log has it (`input.age`). Tensors of more than `max_elements` a row are kept as
    their profile, texts up to `max_text` bytes. `flush` is the seconds after which what was recorded is on disk: as
    much is lost at most when a replica is killed. Kept for `keep_days` days and up to `keep_bytes` bytes.
    """

    sample: float = 1.0
    errors: bool = True
    redact: tuple[str, ...] = ()
    hash: tuple[str, ...] = ()
    max_elements: int = 1024
    max_text: int = 4096
    flush: float = 10.0
    keep_days: float = 30.0
    keep_bytes: int = 10 * 1024**3

    def __post_init__(self) -> None:
        checks = {
            "sample must be 0 to 1": 0 <= self.sample <= 1,
            "max_elements must be 1 to 1048576": 1 <= self.max_elements <= 1024**2,
            "max_text must be 1 to 1048576 bytes": 1 <= self.max_text <= 1024**2,
            "flush must be 0.1 to 3600 seconds": 0.1 <= self.flush <= 3600,
            "keep_days must be above 0 and finite": 0 < self.keep_days < math.inf,
            "keep_bytes must be at least 1": self.keep_bytes >= 1,
        }
        for message, good in checks.items():
            if not good:
                raise InvalidArgument(f"payload.{message}")
        if both := sorted(set(self.redact) & set(self.hash)):
            raise InvalidArgument(f"payload: '{both[0]}' is in redact and in hash; choose one")
