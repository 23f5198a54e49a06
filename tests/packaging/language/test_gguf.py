import re
import resource
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.packaging.language import gguf
from argosy.spec.errors import BadPackage, Unsupported
from tests.language.weights import F32, KEYS, TENSORS, gguf_bytes, split_gguf, tiny_gguf

WHOLE = gguf_bytes(KEYS, TENSORS)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("gguf") / "model.gguf"


def refused(path, data):
    """Which error these bytes raise, if any."""
    path.write_bytes(data)
    try:
        gguf.facts(gguf.read_all(gguf.shards(path)), path.name)
    except (BadPackage, Unsupported) as error:
        return error
    return None


def test_facts_of_a_tiny_llama(tmp_path):
    header = gguf.read(tiny_gguf(tmp_path / "tiny.gguf"))
    facts = gguf.facts(header, "tiny.gguf")
    assert (facts.kind, facts.architecture, facts.quantization, facts.context) == ("generator", "llama", "Q4_0", 512)
    assert facts.parameters == 64 * 8 + 64 * 64
    assert facts.kv_bytes == 2 * 2 * (16 + 16) * 2  # 2 layers, 2 KV heads, keys and values of 16, 2 bytes each
    assert facts.chat
    assert gguf.templates(header) == (KEYS["tokenizer.chat_template"],)


@pytest.mark.parametrize(
    ("more", "kv_bytes"),
    [
        ({"llama__attention__key_length": 32, "llama__attention__value_length": 8}, 2 * 2 * 40 * 2),
        ({"llama__attention__head_count_kv": [2, 0]}, 2 * 32 * 2),
        ({"llama__attention__head_count_kv": None}, 2 * 2 * 32 * 4),
        ({"llama__attention__kv_lora_rank": 100, "llama__rope__dimension_count": 28}, 2 * 2 * 128),
    ],
)
def test_the_kv_cache_of_other_attentions(tmp_path, more, kv_bytes):
    assert gguf.facts(gguf.read(tiny_gguf(tmp_path / "t.gguf", **more)), "t").kv_bytes == kv_bytes


def test_without_a_file_type_the_type_of_most_numbers_counts(tmp_path):
    path = tmp_path / "t.gguf"
    path.write_bytes(gguf_bytes({k: v for k, v in KEYS.items() if k != "general.file_type"}, TENSORS, kind=F32))
    assert gguf.facts(gguf.read(path), "t").quantization == "F32"


@given(st.integers(0, len(WHOLE) - 1))
def test_a_file_cut_off_anywhere_is_refused(scratch, length):
    assert isinstance(refused(scratch, WHOLE[:length]), BadPackage)


@given(st.binary(max_size=400), st.integers(0, 400))
def test_random_bytes_are_refused_or_read_within_bounds(scratch, noise, at):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(scratch, WHOLE[:at] + noise)
    refused(scratch, WHOLE[:at] + noise + WHOLE[at + len(noise) :])
    assert refused(scratch, noise) is not None
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "cut off"),
        (b"GGML" + WHOLE[4:], "does not begin with GGUF"),
        (b"GGUF" + struct.pack("<I", 1) + WHOLE[8:], "version 1"),
        (b"GGUF" + struct.pack(">I", 3) + WHOLE[8:], "big-endian"),
        (WHOLE[:8] + struct.pack("<QQ", 2**60, 1) + WHOLE[24:], "1152921504606846976 tensors"),
        (WHOLE[:8] + struct.pack("<QQ", 2, 2**50) + WHOLE[24:], "1125899906842624 keys"),
        (WHOLE[:8] + struct.pack("<QQ", 60_000, 60_000) + WHOLE[24:], "its keys and tensors"),
        (WHOLE[:-40], "'blk.0.attn_q.weight' needs 40 bytes more"),
        (gguf_bytes(KEYS, {"a": (63, 2)}), "rows of 63 elements"),
        (gguf_bytes(KEYS, {"a": (1, 1, 1, 1, 1)}, kind=F32), "5 axes"),
        (gguf_bytes(KEYS, {"a": (0, 32)}), r"shape \[0, 32\]"),
        (gguf_bytes(KEYS, {}), "0 tensors"),
        (gguf_bytes(KEYS | {"general.alignment": 24}, TENSORS), "alignment is 24"),
        (gguf_bytes(KEYS | {"general.architecture": ""}, TENSORS), "does not say its architecture"),
        (gguf_bytes({"general.architecture": "llama"}, TENSORS), "number of layers"),
        (gguf_bytes(KEYS | {"general.architecture": "bert"}, TENSORS), "an encoder"),
        (gguf_bytes(KEYS | {"general.architecture": "clip"}, TENSORS), "mmproj"),
        (gguf_bytes(KEYS | {"general.type": "imatrix"}, TENSORS), "imatrix"),
    ],
)
def test_what_is_wrong_is_said(scratch, data, words):
    error = refused(scratch, data)
    assert error is not None
    assert re.search(words, error.message), error.message


def test_a_tensor_at_another_place_is_refused(scratch):
    name = b"blk.0.attn_q.weight"
    at = WHOLE.index(name) + len(name) + 4 + 16 + 4
    data = WHOLE[:at] + struct.pack("<Q", 32) + WHOLE[at + 8 :]
    assert "where it cannot lie" in refused(scratch, data).message


def test_a_split_model_is_one(tmp_path):
    parts = split_gguf(tmp_path, parts=3)
    assert gguf.shards(parts[1]) == parts
    header = gguf.read_all(parts)
    assert len(header.tensors) == 3
    assert header.size == sum(part.stat().st_size for part in parts)


def test_a_missing_part_is_named(tmp_path):
    parts = split_gguf(tmp_path, parts=3)
    parts[1].unlink()
    with pytest.raises(BadPackage, match=r"one of 3 files, and of these tiny-00002-of-00003\.gguf is missing"):
        gguf.shards(parts[0])


def test_parts_that_were_mixed_up_are_refused(tmp_path):
    first, second = split_gguf(tmp_path)
    first.write_bytes(second.read_bytes())
    with pytest.raises(BadPackage, match="says that it is file 2 of 2, and not 1 of 2"):
        gguf.read_all([first, second])


def test_one_part_under_another_name_is_refused(tmp_path):
    first = split_gguf(tmp_path)[0].rename(tmp_path / "model.gguf")
    with pytest.raises(BadPackage, match="file 1 of 2, and not 1 of 1"):
        gguf.read_all(gguf.shards(first))
