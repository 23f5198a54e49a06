"""Packages of language models without weights, for fake engines."""

import os
import sys
from pathlib import Path

import msgspec

from argosy.packaging.language import golden
from argosy.packaging.language.golden import Example, Golden
from argosy.packaging.package import open_package, write_manifest
from argosy.spec.language import LanguageModel
from argosy.spec.package import Conversion, ModelManifest, Scan, Source
from argosy.spec.signature import Signature, TensorSpec
from argosy.store.store import Store
from tests.store.samples import model_lineage

FACTS = LanguageModel(kind="generator", architecture="llama", context=4096, kv_bytes=1024, weights=1 << 20, chat=True)
FAKE = {
    "ARGOSY_VLLM_PYTHON": str(Path(__file__).parents[1] / "fake_vllm"),
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
}
"""Variables by which the fake engine is started in the place of vLLM."""


def manifest(name: str = "m", engine: str = "vllm", facts: LanguageModel | None = FACTS) -> ModelManifest:
    """`model.yaml` of one."""
    text = TensorSpec(name="text", datatype="BYTES", shape=(-1,))
    return ModelManifest(
        name=name,
        engine=engine,
        weights="weights",
        signature=Signature(inputs=(text,), outputs=(text,)),
        source=Source(name="weights", digest="sha256:0", format="hf"),
        conversion=Conversion(source=engine, converted=False, reason=""),
        scan=Scan(verdict="data-only"),
        language=facts,
    )


def fake_package(folder: Path) -> Path:
    """A package that the fake engine serves."""
    (folder / "weights").mkdir(parents=True)
    (folder / "golden").mkdir()
    write_manifest(folder, manifest())
    examples = (Example(prompt="1", answer="w0", tokens=1),)
    golden.write(folder, Golden(engine="another", examples=examples, text="a text", logprobs=(-1.0,), margin=0.02))
    return folder


def push_language(store: Store, folder: Path, name: str = "m", **facts: str) -> str:
    """Put such a package into the store, with other facts perhaps; its reference."""
    fake_package(folder)
    (folder / "weights" / "w").write_text(name)
    write_manifest(folder, manifest(name, facts=msgspec.structs.replace(FACTS, **facts)))
    return store.add(folder, name=name, manifest=open_package(folder).manifest, lineage=model_lineage()).ref
