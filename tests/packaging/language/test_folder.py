import json
from pathlib import Path

import pytest

from argosy.packaging.detect import detect
from argosy.packaging.language import folder
from argosy.spec.errors import BadPackage, InvalidArgument, NotFound, Unsupported
from tests.language.weights import CHAT, CONFIG, causal_folder, lora_folder, safetensors_bytes, split_gguf, tiny_gguf


@pytest.mark.parametrize("shards", [1, 2])
def test_a_causal_folder_is_found_by_its_configuration(tmp_path, shards):
    found = detect(causal_folder(tmp_path / "llama", shards))
    assert (found.format, found.engine, found.templates) == ("causal-lm", "vllm", (CHAT,))
    facts = found.language
    assert (facts.architecture, facts.quantization, facts.context) == ("LlamaForCausalLM", "BF16", 512)
    assert (facts.parameters, facts.kv_bytes) == (8 * 64 + 64 * 64, 2 * 2 * 2 * 2 * 16)
    assert {"config.json", "tokenizer.json", "generation_config.json"} <= {*found.beside}


def test_only_what_a_model_needs_is_taken(tmp_path):
    path = causal_folder(tmp_path / "llama")
    for name in ("pytorch_model.bin", "modeling.py", "notes.pdf", ".gitattributes"):
        (path / name).write_bytes(b"x")
    (path / "README.md").write_text("---\ntags:\n- x\nlicense: apache-2.0\n---\n# Llama\nlicense: no\n")
    found = detect(path)
    assert not {"pytorch_model.bin", "modeling.py", "notes.pdf"} & {*found.beside}
    assert found.license == "apache-2.0"


def test_a_chat_template_in_a_file_comes_first(tmp_path):
    path = causal_folder(tmp_path / "llama")
    (path / "chat_template.jinja").write_text("{{ messages }}")
    assert detect(path).templates == ("{{ messages }}", CHAT)


def test_the_text_part_of_a_larger_model_counts(tmp_path):
    inner = {"max_position_embeddings": 99, "num_hidden_layers": 1, "num_attention_heads": 2, "head_dim": 8}
    path = causal_folder(tmp_path / "m", architectures=["Gemma3ForConditionalGeneration"], text_config=inner)
    facts = detect(path).language
    assert (facts.context, facts.kv_bytes) == (99, 2 * 2 * 2 * 8)


def test_packed_integers_are_counted_as_what_they_hold(tmp_path):
    path = causal_folder(tmp_path / "m", quantization_config={"quant_method": "gptq", "bits": 4})
    (path / "model.safetensors").write_bytes(safetensors_bytes({"a.qweight": (8, 8)}, "I32", 4))
    facts = detect(path).language
    assert (facts.quantization, facts.parameters) == ("GPTQ 4 bit", 8 * 8 * 8)


def damage(path: Path, what: str) -> None:
    """Break a folder of two shards."""
    one, two = sorted(path.glob("model-*.safetensors"))
    match what:
        case "missing":
            two.unlink()
        case "cut":
            one.write_bytes(one.read_bytes()[:-7])
        case "longer":
            one.write_bytes(one.read_bytes() + b"x")
        case "swapped":
            two.write_bytes(one.read_bytes())
        case "header":
            one.write_bytes(b"\xff\xff\xff\xff\xff\xff\xff\x7f" + one.read_bytes()[8:])
        case "elsewhere":
            index = json.loads((path / folder.INDEX).read_text())
            index["weight_map"]["x"] = "../other.safetensors"
            (path / folder.INDEX).write_text(json.dumps(index))
        case "tokenizer":
            (path / "tokenizer.json").unlink()
        case "link":
            (path / "tokenizer.json").unlink()
            (path / "tokenizer.json").symlink_to("/etc/passwd")
        case "pickles":
            (path / folder.INDEX).unlink()
            one.rename(path / "pytorch_model.bin")
        case _:
            (path / "config.json").write_text(json.dumps(CONFIG | {"auto_map": {"AutoModel": "m.M"}}))


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("missing", r"2 files, and of these model-00002-of-00002\.safetensors is not there"),
        ("cut", r"model-00001.* is truncated: .*fetch it again"),
        ("longer", "1 bytes follow its last tensor"),
        ("swapped", r"that it is in model-00001-of-00002\.safetensors, where it is not"),
        ("header", "its header is cut off"),
        ("elsewhere", r"of these \.\./other\.safetensors is not there"),
        ("tokenizer", "has no tokenizer"),
        ("link", "a link that leads out of the folder"),
        ("pickles", r"as pickles \(pytorch_model\.bin\), which are not taken.*save_pretrained"),
    ],
)
def test_what_a_folder_lacks_is_said(tmp_path, what, said):
    path = causal_folder(tmp_path / "m", 2)
    damage(path, what)
    with pytest.raises(BadPackage, match=said):
        detect(path)


def test_a_model_with_code_of_its_author_is_refused(tmp_path):
    path = causal_folder(tmp_path / "m", 2)
    damage(path, "code")
    with pytest.raises(Unsupported, match="needs Python code that its author"):
        detect(path)


def test_adapters_are_found(tmp_path):
    found = detect(lora_folder(tmp_path / "lora"))
    assert (found.format, found.language.kind, found.language.base) == ("lora", "adapter", "tiny/llama")
    gguf = tiny_gguf(tmp_path / "a.gguf", {"blk.0.attn_q.weight.lora_a": (64, 32)}, general__type="adapter")
    assert (detect(gguf).format, detect(gguf).engine) == ("lora", "llamacpp")


def test_other_adapters_are_refused(tmp_path):
    path = lora_folder(tmp_path / "a")
    (path / folder.ADAPTER).write_text('{"peft_type": "PROMPT_TUNING"}')
    with pytest.raises(Unsupported, match="type 'PROMPT_TUNING'; engines load LORA"):
        detect(path)
    (path / folder.ADAPTER).write_text('{"peft_type": "LORA"}')
    (path / folder.ADAPTER_WEIGHTS).rename(path / "adapter_model.bin")
    with pytest.raises(BadPackage, match="as pickles"):
        detect(path)


def test_a_folder_of_one_gguf_model_is_that_model(tmp_path):
    parts = split_gguf(tmp_path)
    found = detect(tmp_path)
    assert (found.path, found.beside) == (parts[0], (parts[1].name,))
    tiny_gguf(tmp_path / "other.gguf")
    with pytest.raises(BadPackage, match=r"with 2 GGUF models; push one of them: other\.gguf, tiny-00001"):
        detect(tmp_path)


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """A cache with one model at a commit that `main` names, its files links into `blobs`."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    place, commit = tmp_path / "hub/models--tiny--llama", "0123456789abcdef" * 2 + "01234567"
    snapshot = causal_folder(place / "snapshots" / commit)
    (place / "blobs").mkdir()
    for file in sorted(snapshot.iterdir()):
        blob = file.rename(place / "blobs" / file.name)
        file.symlink_to(f"../../blobs/{blob.name}")
    (place / "refs").mkdir()
    (place / "refs/main").write_text(commit)
    return commit


def test_a_model_of_the_hub_is_taken_from_its_cache(hub_cache):
    from argosy.packaging.language import hub

    for named in ("hf:tiny/llama", "hf:tiny/llama@main", f"hf:tiny/llama@{hub_cache}"):
        path, name = hub.locate(Path(named), print)
        assert name == f"hf:tiny/llama@{hub_cache}"
    assert detect(path).format == "causal-lm"
    with pytest.raises(NotFound, match=r"has no q4\.gguf"):
        hub.locate(Path("hf:tiny/llama/q4.gguf"), print)


@pytest.mark.parametrize("name", ["hf:tiny", "hf:../x/y", "hf:a/b@../c", "hf:a/b/c.bin", "hf:a/b@"])
def test_names_that_are_none_of_the_hub_are_refused(name):
    from argosy.packaging.language import hub

    with pytest.raises(InvalidArgument, match="write hf:OWNER/NAME@REVISION"):
        hub.locate(Path(name), print)


def test_a_model_that_is_not_here_needs_the_library(tmp_path, monkeypatch):
    from argosy.packaging.language import hub
    from argosy.spec.errors import MissingExtra

    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(MissingExtra, match=r"install .*huggingface_hub"):
        hub.locate(Path("hf:tiny/llama@main"), print)
