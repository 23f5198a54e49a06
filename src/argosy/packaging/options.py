"""What a user may say about a push."""

from pathlib import Path

import msgspec

from argosy.spec.errors import InvalidArgument
from argosy.spec.package import ENGINES, Tolerance


class PushOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of `push` and `build`.

    `sample`: rows (.parquet, .csv, .json, .npy, .npz) that fit the model. `engine` overrides the one found. `trust`:
    overrule the scan. `untrusted`: strangers may have it on their machines. `requirements`: pip requirements, instead
    of those found. `convert` False keeps scikit-learn as it is. `code`: a folder, file or wheel that a pickle needs.
    `input_names` and `output_names` replace the model's, in its order; `classes` are the names of a classifier's.
    `install`: whether requirements that are lacking are installed for it, into an environment of its own. Of language
    models: `prompts`, a file of JSON lines, are what golden examples ask; `margin` is by what share the perplexity may
    differ on another engine; `base`, a reference, is what an adapter is made for. `max_bytes` bounds the source,
    `seconds` each step that runs the model.
    """

    sample: Path | None = None
    code: Path | None = None
    engine: str = ""
    trust: bool = False
    requirements: tuple[str, ...] = ()
    license: str = ""
    description: str = ""
    untrusted: bool = False
    tolerance: Tolerance = Tolerance()
    convert: bool = True
    input_names: tuple[str, ...] = ()
    output_names: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    install: bool = True
    prompts: Path | None = None
    margin: float = 0.02
    base: str = ""
    max_bytes: int = 64 * 1024**3
    seconds: float = 600.0

    def __post_init__(self) -> None:
        if self.engine and self.engine not in ENGINES:
            from argosy.engines import entry_point

            entry_point(self.engine)
        if self.tolerance.atol < 0 or self.tolerance.rtol < 0:
            raise InvalidArgument("a tolerance must not be negative")
        if not 0 < self.margin < 1:
            raise InvalidArgument(f"the margin {self.margin:g} is not between 0 and 1, as 0.02 is")
