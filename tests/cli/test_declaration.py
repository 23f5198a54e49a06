"""Declarations in files."""

import pytest

from argosy.cli import declaration
from argosy.spec.endpoint import Endpoint, Runtime
from argosy.spec.errors import InvalidArgument


def read(tmp_path, text):
    file = tmp_path / "e.yaml"
    file.write_text(text)
    return declaration.read((str(file),))


def test_one_or_several_documents(tmp_path):
    found = read(tmp_path, "---\nname: a\nmodel: m:1\n---\n---\nname: b\nmodel: m:2\nruntime: {threads: 2}\n")
    assert found == [Endpoint(name="a", model="m:1"), Endpoint(name="b", model="m:2", runtime=Runtime(threads=2))]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "declares no endpoint"),
        ("name: a\nmodel: m\nreplica: 2", "did you mean 'replicas'"),
        ("name: a\nmodel: m\n---\nname: b\nmodel: m\nruntime: {thread: 2}", "document 2: unknown key 'thread'"),
        ("name: a\nmodel: m\n---\nname: a\nmodel: m", "declares 'a', as"),
        ("name: a\nmodel: m\nruntime: {threads: 1, threads: 2}", "'threads' stands twice (line 3)"),
        ("name: [", "not valid YAML"),
        ("- 1", "Expected `object`"),
        ("[" * 100_000, "not valid YAML"),
        ("!!python/object:os.system {}", "not valid YAML"),
        ("#" * 1_048_577, "over 1048576 bytes"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path, text, words):
    with pytest.raises(InvalidArgument) as caught:
        read(tmp_path, text)
    assert words in caught.value.message
    assert str(tmp_path) in caught.value.message


def test_lists_are_told_without_what_is_empty():
    keys = [{"name": "app", "id": "", "burst": None, "test": False, "requests_per_second": 5.0}]
    line = declaration.change_line({"field": "keys", "old": [], "new": keys})
    assert line == 'keys: [] → [{"name":"app","requests_per_second":5.0}]'


def test_a_reference_is_relative_to_the_file_that_names_it(tmp_path, monkeypatch):
    text = "{name: m, model: 'm:1', payload: {}, monitor: {reference: data/held-out.csv}}"
    (tmp_path / "m.yaml").write_text(text)
    (one,) = declaration.read((str(tmp_path / "m.yaml"),))
    assert one.monitor is not None
    assert one.monitor.reference == str(tmp_path / "data/held-out.csv")
    (tmp_path / "m.yaml").write_text(text.replace("data/", "/srv/"))
    monkeypatch.chdir(tmp_path)
    (one,) = declaration.read(("m.yaml",))
    assert one.monitor is not None
    assert one.monitor.reference == "/srv/held-out.csv"


def test_a_guard_that_is_new_is_shown_with_its_numbers():
    new = {"margin": 0.005, "latency_quantiles": [0.5, 0.95]}
    line = declaration.change_line({"field": "guard", "old": None, "new": new})
    assert line == 'guard: - → {"margin":0.005,"latency_quantiles":[0.5,0.95]}'
    line = declaration.change_line({"field": "guard.latency_quantiles", "old": [0.5, 0.95], "new": [0.5]})
    assert line == "guard.latency_quantiles: [0.5,0.95] → [0.5]"
