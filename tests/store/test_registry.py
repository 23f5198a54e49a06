import json
import subprocess
import sys
from pathlib import Path

import pytest

from argosy.spec.errors import Conflict, InvalidArgument, NotFound
from argosy.store import ledger
from argosy.store.database import Database
from argosy.store.ledger import Cause
from argosy.store.registry import Registry
from argosy.store.version import Version
from tests.store.samples import digest_of, model_lineage, model_manifest


@pytest.fixture
def registry(database: Database) -> Registry:
    return Registry(database)


def push(registry: Registry, name: str, number: int) -> Version:
    manifest, lineage = model_manifest(name), model_lineage()
    return registry.register(name, digest_of(number), manifest=manifest, lineage=lineage, size=number)


def test_numbers_count_up_and_the_same_package_keeps_its_number(registry: Registry):
    assert [push(registry, "digits", n).ref for n in (1, 2, 1, 3)] == ["digits:1", "digits:2", "digits:1", "digits:3"]
    assert push(registry, "other", 1).ref == "other:1"


def test_a_version_comes_back_as_it_went_in(registry: Registry):
    version = push(registry, "digits", 2**40)
    assert registry.resolve("digits:1") == version
    assert (version.manifest, version.lineage) == (model_manifest("digits"), model_lineage())
    assert (version.size, version.engine) == (2**40, "onnx")


def test_the_second_push_keeps_the_first_lineage(registry: Registry):
    push(registry, "digits", 1)
    again = registry.register("digits", digest_of(1), manifest=model_manifest(), lineage=model_lineage("bob"), size=1)
    assert again.lineage.pushed_by == "ada"


def test_references_of_every_kind(registry: Registry):
    for number in (1, 2, 3):
        push(registry, "digits", number)
    registry.set_alias("digits", "champion", 2)
    refs = ("digits", "digits:1", "digits@champion", digest_of(3))
    assert [registry.resolve(ref).number for ref in refs] == [3, 1, 2, 3]
    assert registry.resolve("digits:2").aliases == ("champion",)


@pytest.mark.parametrize(
    ("ref", "hint"),
    [
        ("digts", "did you mean 'digits'"),
        ("digits:7", "no version 7; it has 1, 2"),
        ("digits@champ", "did you mean 'champion'"),
        ("zzz", "there are digits"),
        (digest_of(9), "no version has the digest"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(registry: Registry, ref: str, hint: str):
    push(registry, "digits", 1)
    push(registry, "digits", 2)
    registry.set_alias("digits", "champion", 1)
    with pytest.raises(NotFound, match=hint):
        registry.resolve(ref)


def test_an_empty_registry_says_so(registry: Registry):
    with pytest.raises(NotFound, match="nothing has been pushed"):
        registry.resolve("digits")
    with pytest.raises(NotFound):
        registry.versions("digits")
    assert registry.models() == []


def test_an_alias_moves_and_the_ledger_keeps_every_move(registry: Registry):
    push(registry, "digits", 1)
    push(registry, "digits", 2)
    for number in (1, 1, 2, 1):
        assert registry.set_alias("digits", "champion", number).number == number
    assert [version.aliases for version in registry.versions("digits")] == [("champion",), ()]
    registry.remove_alias("digits", "champion")
    assert [version.aliases for version in registry.versions("digits")] == [(), ()]
    assert [move.number for move in registry.history("digits")] == [1, 2, 1, None]
    with pytest.raises(NotFound, match="it has none"):
        registry.remove_alias("digits", "champion")
    with pytest.raises(NotFound):
        registry.set_alias("digits", "champion", 3)


def test_a_move_of_an_alias_is_in_the_chained_ledger_with_its_cause(registry: Registry):
    version = push(registry, "digits", 1)
    registry.set_alias("digits", "champion", 1, Cause(actor="ada", reason="better"))
    registry.set_alias("digits", "champion", 1, Cause(actor="bob"))
    registry.remove_alias("digits", "champion")
    with registry.database.read() as connection:
        first, second = ledger.entries(connection, "digits@champion")
    assert (first.event, first.actor, first.reason) == ("alias", "ada", "better")
    assert first.body == {"version": "digits:1", "digest": version.digest}
    assert second.body["version"] is None


def test_a_removed_number_is_never_given_again(registry: Registry):
    push(registry, "digits", 1)
    push(registry, "digits", 2)
    assert registry.remove("digits:2").digest == digest_of(2)
    assert push(registry, "digits", 2).ref == "digits:3"
    assert registry.digests() == {digest_of(1), digest_of(2)}


def test_a_version_under_an_alias_stays(registry: Registry):
    push(registry, "digits", 1)
    registry.set_alias("digits", "champion", 1)
    with pytest.raises(Conflict, match="digits@champion"):
        registry.remove("digits:1")
    registry.remove_alias("digits", "champion")
    registry.remove("digits:1")
    with pytest.raises(NotFound):
        registry.resolve("digits")


@pytest.mark.parametrize("ref", ["digits", "digits@champion", digest_of(1)])
def test_only_an_exact_version_is_removed(registry: Registry, ref: str):
    push(registry, "digits", 1)
    with pytest.raises(InvalidArgument, match="say which one"):
        registry.remove(ref)


def test_models_are_summed_up(registry: Registry):
    push(registry, "b", 1)
    for number in (1, 2):
        push(registry, "a", number)
    registry.set_alias("a", "champion", 1)
    first, second = registry.models()
    assert (first.name, first.latest, first.versions, first.aliases) == ("a", 2, 2, {"champion": 1})
    assert (second.name, second.latest, second.aliases) == ("b", 1, {})
    assert [version.number for version in registry.versions("a")] == [1, 2]


@pytest.mark.parametrize("name", ["", "Digits", "a/b", "a:b", "ä", "x" * 64])
def test_names_are_checked(registry: Registry, name: str):
    with pytest.raises(InvalidArgument):
        push(registry, name, 1)


REGISTER = """
import json, os, sys
from argosy.store.registry import Registry
from tests.store.samples import digest_of, model_lineage, model_manifest
start, go = os.pipe()
readers = []
for child in range(4):
    reader, writer = os.pipe()
    readers.append(os.fdopen(reader))
    if os.fork() == 0:
        os.close(go)
        os.read(start, 1)
        registry, numbers = Registry(sys.argv[1]), []
        for number in (0, *range(100 * child + 100, 100 * child + 115)):
            digest, manifest, lineage = digest_of(number), model_manifest(), model_lineage()
            numbers.append(registry.register("digits", digest, manifest=manifest, lineage=lineage, size=1).number)
        os.write(writer, json.dumps(numbers).encode())
        os._exit(0)
    os.close(writer)
os.close(go)
print(json.dumps([json.loads(reader.read()) for reader in readers]))
"""


def test_processes_that_register_at_once_share_no_number(url: str):
    command = [sys.executable, "-c", REGISTER, url]
    output = subprocess.run(command, cwd=Path(__file__).parents[2], check=True, stdout=subprocess.PIPE, timeout=100)
    numbers = json.loads(output.stdout)
    assert len({own[0] for own in numbers}) == 1
    assert sorted({number for own in numbers for number in own}) == list(range(1, 62))


def test_an_alias_that_moves_back_says_so(registry: Registry):
    for n in range(3):
        push(registry, "digits", n + 1)
    moves = [registry.set_alias("digits", "champion", n) for n in (1, 3, 2, 2, 3)]
    assert [(each.number, each.before, each.back) for each in moves] == [
        (1, None, False),
        (3, 1, False),
        (2, 3, True),
        (2, None, False),
        (3, 2, True),
    ]
    with registry.database.read() as connection:
        told = [each.body for each in ledger.entries(connection, "digits@champion")]
    assert [(each.get("before"), each.get("back", False)) for each in told] == [
        (None, False),
        ("digits:1", False),
        ("digits:3", True),
        ("digits:2", True),
    ]


def test_an_alias_may_be_kept_from_moving_back(registry: Registry):
    for n in range(3):
        push(registry, "digits", n + 1)
    strict = Registry(registry.database, forbid_back=True)
    strict.set_alias("digits", "champion", 2)
    with pytest.raises(Conflict, match=r"had version 2.*store\.forbid_alias_back.*by its number"):
        strict.set_alias("digits", "champion", 1)
    strict.remove_alias("digits", "champion")
    with pytest.raises(Conflict, match="had version 2"):
        strict.set_alias("digits", "champion", 1)
    assert strict.set_alias("digits", "other", 1).number == 1
    assert strict.set_alias("digits", "champion", 2).back
    assert strict.set_alias("digits", "champion", 3).before == 2
