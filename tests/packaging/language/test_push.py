"""Pushes of language models, whose engine is a stub; that of Gemma is at the end."""

import hashlib
import os
from contextlib import contextmanager

import pytest

from argosy.packaging.language import engine, golden
from argosy.packaging.options import PushOptions
from argosy.packaging.package import stored
from argosy.packaging.push import push, verify
from argosy.spec.errors import BadPackage, GoldenMismatch, InvalidArgument, MissingExtra, PayloadTooLarge, Untrusted
from tests.language.weights import (
    CONFIG,
    causal_folder,
    gemma,
    gemma_adapter,
    lora_folder,
    split_gguf,
    tiny_gguf,
)
from tests.packaging.language.test_golden import Stub


class Pusher:
    """Pushes into one store, and notes what its engines were started for."""

    def __init__(self, store):
        self.store, self.lines, self.started, self.stub = store, [], [], Stub()

    def __call__(self, source, name="m", **options):
        return push(source, name=name, store=self.store, options=PushOptions(**options), report=self.lines.append)

    @contextmanager
    def running(self, package, base):
        assert package.weights.exists()
        self.started.append((package.manifest.name, base and base.manifest.name))
        yield self.stub


@pytest.fixture
def pusher(store, monkeypatch):
    made = Pusher(store)
    monkeypatch.setattr(engine, "running", made.running)
    monkeypatch.setattr("argosy.packaging.push.engine_of", lambda name: None)
    return made


def test_a_gguf_file_becomes_a_package(pusher, tmp_path):
    source = tiny_gguf(tmp_path / "tiny.gguf")
    version = pusher(source, "tiny")
    manifest = version.manifest
    assert (version.ref, manifest.engine, manifest.weights) == ("tiny:1", "llamacpp", "weights/model.gguf")
    assert (manifest.license, manifest.scan.verdict, manifest.golden_rows) == ("Apache-2.0", "data-only", 3)
    assert manifest.source.digest == f"sha256:{hashlib.sha256(source.read_bytes()).hexdigest()}"
    package = stored(pusher.store, version.digest)
    assert package.weights.read_bytes() == source.read_bytes()
    assert os.stat(package.weights).st_nlink == 2  # that of the blob
    assert (pusher.lines[-1], version.trust) == ("storing", None)
    assert "chat template: loops, conditions and filters only" in pusher.lines
    assert pusher(source, "tiny").number == 1
    found = verify(pusher.store, "tiny:1")
    assert "3 answers, 96 tokens in all, agree" in found.compared
    source.write_bytes(b"changed by its owner")
    pusher.store.layout.verify(version.digest)


def test_a_model_that_answers_otherwise_does_not_verify(pusher, tmp_path):
    pusher(tiny_gguf(tmp_path / "tiny.gguf"), "tiny")
    pusher.stub = Stub(-1.5)
    with pytest.raises(GoldenMismatch):
        verify(pusher.store, "tiny:1")


def test_a_split_model_keeps_the_names_of_its_parts(pusher, tmp_path):
    parts = split_gguf(tmp_path)
    version = pusher(parts[1])
    assert version.manifest.weights == f"weights/model/{parts[0].name}"
    assert {*pusher.store.layout.files(version.digest)} > {f"weights/model/{part.name}" for part in parts}
    assert version.digest == pusher(tmp_path).digest


def test_a_folder_becomes_a_package(pusher, tmp_path):
    source = causal_folder(tmp_path / "llama", 2)
    (source / "pytorch_model.bin").write_bytes(b"never taken")
    version = pusher(source)
    assert (version.engine, version.manifest.weights) == ("vllm", "weights/model")
    files = pusher.store.layout.files(version.digest)
    assert "weights/model/tokenizer.json" in files
    assert not any("pytorch" in path for path in files)
    assert pusher(source).number == 1


def test_an_adapter_names_its_base_by_digest(pusher, tmp_path):
    base = pusher(causal_folder(tmp_path / "llama"), "llama")
    adapter = lora_folder(tmp_path / "lora")
    (adapter / "adapter_model.safetensors").write_bytes(pair((4, 64), (64, 4)))
    version = pusher(adapter, "poet", base="llama:1")
    assert (version.manifest.language.base, version.manifest.source.format) == (base.digest, "lora")
    assert pusher.started[-1] == ("poet", "llama")
    assert verify(pusher.store, "poet:1").compared


def pair(one, other, target="model.layers.0.self_attn.q_proj"):
    from tests.language.weights import safetensors_bytes

    name = f"base_model.model.{target}"
    return safetensors_bytes({f"{name}.lora_A.weight": one, f"{name}.lora_B.weight": other}, "F32", 4)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (pair((4, 32), (64, 4)), r"is not for llama: its .*lora_A.weight' has the shape \[4, 32\].*\[64, 64\]"),
        (pair((4, 64), (32, 4)), r"lora_B.weight' has the shape \[32, 4\]"),
        (pair((4, 64), (64, 4), "model.layers.9.mlp.up"), r"changes 'model\.layers\.9\.mlp\.up', which llama does not"),
    ],
)
def test_a_wrong_base_is_refused(pusher, tmp_path, data, said):
    pusher(causal_folder(tmp_path / "llama"), "llama")
    adapter = lora_folder(tmp_path / "lora")
    (adapter / "adapter_model.safetensors").write_bytes(data)
    with pytest.raises(BadPackage, match=said):
        pusher(adapter, "poet", base="llama:1")


def test_an_adapter_needs_a_base_of_its_format(pusher, tmp_path):
    pusher(tiny_gguf(tmp_path / "tiny.gguf"), "tiny")
    with pytest.raises(InvalidArgument, match=r"for tiny/llama\): name the version of its base with  --base"):
        pusher(lora_folder(tmp_path / "lora"))
    with pytest.raises(InvalidArgument, match=r"an adapter in safetensors, and tiny a model in GGUF.*convert it"):
        pusher(lora_folder(tmp_path / "lora"), base="tiny:1")
    with pytest.raises(InvalidArgument, match="is no adapter, so it has no --base"):
        pusher(tiny_gguf(tmp_path / "other.gguf"), base="tiny:1")


def test_a_gguf_adapter_of_another_architecture_is_refused(pusher, tmp_path):
    pusher(tiny_gguf(tmp_path / "tiny.gguf"), "tiny")
    tensors = {"blk.0.attn_q.weight.lora_a": (64, 32), "blk.0.attn_q.weight.lora_b": (32, 64)}
    good = tiny_gguf(tmp_path / "a.gguf", tensors, general__type="adapter")
    assert pusher(good, "poet", base="tiny:1").manifest.language.base
    bad = tiny_gguf(tmp_path / "b.gguf", tensors, general__type="adapter", general__architecture="qwen2")
    with pytest.raises(BadPackage, match=r"for models of architecture 'qwen2', and tiny is 'llama'"):
        pusher(bad, base="tiny:1")


def test_a_template_that_reaches_for_more_needs_trust(pusher, tmp_path):
    template = "{{ messages.__class__ }}{{ raise_exception('x') }}"
    source = tiny_gguf(tmp_path / "t.gguf", tokenizer__chat_template=template)
    with pytest.raises(Untrusted, match="chat template: __class__; no chat template needs that"):
        pusher(source)
    version = pusher(source, trust=True)
    assert version.manifest.language.template == ("call raise_exception()",)
    assert version.trust.objections == ("chat template: __class__",)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"classes": ("a",)}, "--classes has no meaning for it"),
        ({"engine": "onnx"}, "the engine onnx does not run gguf; llamacpp and vllm would"),
    ],
)
def test_options_of_other_models_are_refused(pusher, tmp_path, options, said):
    with pytest.raises(InvalidArgument, match=said):
        pusher(tiny_gguf(tmp_path / "t.gguf"), **options)


def test_nothing_is_left_of_a_push_that_failed(pusher, tmp_path):
    source = tiny_gguf(tmp_path / "t.gguf")
    with pytest.raises(PayloadTooLarge):
        pusher(source, max_bytes=10)
    pusher.stub = Stub(float("nan"))
    with pytest.raises(BadPackage):
        pusher(source)
    assert not any((pusher.store.home.root / "staging").iterdir())
    assert not any(pusher.store.layout.blobs.folder.iterdir())


def test_without_its_engine_nothing_is_read(store, tmp_path, monkeypatch):
    monkeypatch.delenv("ARGOSY_VLLM_PYTHON", raising=False)
    source = causal_folder(tmp_path / "llama", architectures=CONFIG["architectures"])
    with pytest.raises(MissingExtra, match=r"the engine vllm needs the extra 'vllm'.*install"):
        push(source, name="m", store=store, options=PushOptions(), report=print)


def test_prompts_are_for_language_models_alone(store, tmp_path):
    (tmp_path / "m.txt").write_text("tree\nversion=v4\n")
    with pytest.raises(InvalidArgument, match="is no language model, so it has no prompts"):
        push(tmp_path / "m.txt", name="m", store=store, options=PushOptions(base="a:1"), report=print)


@pytest.mark.slow
def test_gemma_answers_as_it_did(store):
    version = push(gemma(), name="gemma", store=store, options=PushOptions(), report=print)
    facts = version.manifest.language
    assert (facts.architecture, facts.parameters, facts.quantization) == ("gemma3", 268_098_176, "Q4_K_M")
    assert (facts.context, facts.kv_bytes, facts.chat) == (32_768, 18_432, False)
    assert "3 answers, 96 tokens in all, agree" in verify(store, "gemma:1").compared


@pytest.mark.slow
def test_an_adapter_changes_what_gemma_answers(store, tmp_path):
    base = push(gemma(), name="gemma", store=store, options=PushOptions(), report=print)
    gemma_adapter(tmp_path / "poet.gguf")
    version = push(tmp_path / "poet.gguf", name="poet", store=store, options=PushOptions(base="gemma:1"), report=print)
    assert version.manifest.language.base == base.digest
    with_it, without = (golden.read(store.unpacked(each.digest)) for each in (version, base))
    assert with_it.perplexity > without.perplexity * 1.01
    assert "agree" in verify(store, "poet:1").compared
