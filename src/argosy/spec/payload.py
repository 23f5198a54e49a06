"""What a user declares of an endpoint's payload log: what is recorded, what is hidden, how long it is retained."""

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from argosy.spec.errors import InvalidArgument
from argosy.spec.strict import Count, Declaration, Positive, Share


class PayloadLog(Declaration, frozen=True, kw_only=True):
    """Requests and answers, as Parquet.

    `sample` is the share of requests that is recorded; with `errors` those that fail are recorded always. `redact`
    names columns that are never written, `hash` columns of which only a keyed hash is. A name is a tensor's, a
    feature's, or a column's as the log has it (`input.age`). Tensors of more than `max_elements` a row are kept as
    their profile, texts up to `max_text` bytes. Of language models `redact` may name fields of requests, too
    (`$.messages[*].name`), and what looks like one of `patterns` is taken out of prompts and answers: e-mail addresses,
    numbers of cards, keys. `flush` is the seconds after which what was recorded is on disk: as
    much is lost at most when a replica is killed. Kept for `keep_days` days and up to `keep_bytes` bytes.
    """

    sample: Share = 1.0
    errors: bool = True
    redact: tuple[str, ...] = ()
    hash: tuple[str, ...] = ()
    patterns: tuple[Literal["email", "card", "key"], ...] = ("email", "card", "key")
    max_elements: Annotated[int, Meta(ge=1, le=1024**2)] = 1024
    max_text: Annotated[int, Meta(ge=1, le=1024**2)] = 4096
    flush: Annotated[float, Meta(ge=0.1, le=3600)] = 10.0
    keep_days: Positive = 30.0
    keep_bytes: Count = 10 * 1024**3

    where: ClassVar[str] = "payload."

    def __post_init__(self) -> None:
        super().__post_init__()
        if both := sorted(set(self.redact) & set(self.hash)):
            raise InvalidArgument(f"payload: '{both[0]}' is in redact and in hash; choose one")
