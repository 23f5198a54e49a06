"""`model.yaml`: what a model package says of itself."""

from typing import Literal

import msgspec

from argosy.spec.language import RECORDED, LanguageModel
from argosy.spec.signature import Signature

LANGUAGE = ("llamacpp", "vllm")
"""Engines of language models: servers of their own, which are asked by OpenAI's API."""
ENGINES = ("onnx", "sklearn", "xgboost", "lightgbm", "catboost", "mlflow", "torch", "python", "encoder", *LANGUAGE)
"""Ours; other distributions add theirs by entry points of the group `argosy.engines`."""
MODEL_FOLDER = "/models"
"""Where a container image has the model package, alone or beside what serves it."""

DATA_ONLY = ("onnx", "xgboost", "lightgbm", "encoder", *LANGUAGE)
"""Engines whose weights cannot run code when they are loaded."""


class Tolerance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How close a replayed output must be: |got - want| <= atol + rtol·|want|; labels and other non-floats exactly."""

    atol: float = 1e-5
    rtol: float = 1e-4


class Conversion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What became of a model on its way in: from which engine, whether it was converted, and why (not)."""

    source: str
    converted: bool
    reason: str
    max_abs_diff: float | None = None


class Scan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Verdict on a format that can run code on load. `objections` are the names nobody vouches for.

    All of it is information, `trusted` (who pushed it overruled the objections) as well: what may be loaded, the store
    says, not the package.
    """

    verdict: Literal["data-only", "clean", "objected", "code"]
    objections: tuple[str, ...] = ()
    trusted: bool = False


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The input of the push, by name and digest (sha256 over the file, or over the sorted files of a folder)."""

    name: str
    digest: str
    format: str


class ModelManifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """`model.yaml`. Everything in it follows from the input, so that the same input gives the same digest.

    `weights` is the path, inside the package, of what the engine loads: a file or a folder. `settings` are the engine's
    own, checked by the engine. `engine` is checked when a package is built and loaded: it may be that of a distribution
    which is not installed everywhere. Only what is `untrusted` may run on machines of strangers. Who pushed it and when
    is lineage: attached beside the package, not part of its digest.
    """

    api: Literal["argosy/v1"] = "argosy/v1"
    name: str
    engine: str
    weights: str
    signature: Signature
    source: Source
    conversion: Conversion
    scan: Scan
    tolerance: Tolerance = Tolerance()
    requirements: tuple[str, ...] = ()
    settings: dict[str, str | int | float | bool] = {}
    license: str = ""
    description: str = ""
    untrusted: bool = False
    golden_rows: int = 0
    language: LanguageModel | None = None

    @property
    def generates(self) -> bool:
        """Whether it is a model that generates text."""
        return self.language is not None and self.language.kind == "generator"

    @property
    def recorded(self) -> Signature:
        """The columns of its payload log."""
        return RECORDED if self.generates else self.signature


class OptimizationTry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One recipe, and what came of it. `agreement`: the share of test rows with the parent's top class or label; of
    numbers, the share of their variance that is kept. `interval`: where it lies with 95 % confidence, for shares.
    `worst`, `worst_class`: the lowest agreement among classes, and which. `parent_ms`, `ms`: p50 of one row, one
    thread, asked in turns; `speedup`: the median of their ratios. `rejected`: why it lost; empty where it passed."""

    recipe: str
    agreement: float | None = None
    interval: tuple[float, float] | None = None
    worst: float | None = None
    worst_class: str = ""
    parent_ms: float = 0.0
    ms: float = 0.0
    speedup: float = 0.0
    size: int = 0
    rejected: str = ""


class Optimization(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where an optimized version comes from: the digest of its parent, the machine it was measured on, every try, and
    the recipe that won ("" where none did). `frozen`: the digest of the version whose scales it has."""

    parent: str
    parent_ref: str
    target: str
    processor: str
    recipe: str
    calibration_rows: int
    test_rows: int
    min_agreement: float
    min_speedup: float
    tries: tuple[OptimizationTry, ...]
    frozen: str = ""


class Lineage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who pushed a package, when, from where. Stored as an OCI referrer of the package and in the registry.

    `git_dirty`: whether a tracked file beside the model differed from the commit; None where that is not known.
    `optimization`: from which version it was made, where it was.
    """

    pushed_by: str
    pushed_at: str
    host: str
    git_commit: str = ""
    git_dirty: bool | None = False
    git_remote: str = ""
    source_path: str = ""
    argosy: str = ""
    python: str = ""
    optimization: Optimization | None = None
