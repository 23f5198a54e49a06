import sys
from importlib import resources

import pytest

from argosy.packaging import lock
from argosy.spec.errors import InvalidArgument
from argosy.spec.settings import Home
from argosy.store.layout import Layout
from tests.platform import packages

HASH = " \\\n    --hash=sha256:" + "0" * 64 + "\n"
OTHER = "win32" if sys.platform != "win32" else "linux"


def test_the_locks_of_argosy_can_be_read():
    text = (resources.files("argosy") / "images" / "locks" / "serve.txt").read_text()
    assert lock.check(text, ["numpy>=2", "click"]) == len(lock.pins(text)) > 10


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"--index-url https://example.invalid\nsmall==1.0{HASH}", "--index-url"),
        (f"-r other.txt\nsmall==1.0{HASH}", "-r other.txt"),
        ("-e .\n", "-e ."),
        (f"small==1.0{HASH}--find-links /tmp\n", "--find-links"),
        (f"small @ https://example.invalid/small.whl{HASH}", "small @"),
        (f"./small.whl{HASH}", "small.whl"),
        (f"small>=1.0{HASH}", "small>=1.0"),
        ("small==1.0\n", "with digests"),
        (f"small==1.0 \\\n    --hash=md5:{'0' * 32}\n", "with digests"),
        (f"small==1.0 --no-binary :all:{HASH}", "with digests"),
        (f"small==1.0 ; ({HASH}", "marker"),
        (f"small==1.0 ; {'(' * 490}{HASH}", "recursion"),
        (f"small==1.0 ; os_name ~= 'a'{HASH}", "~="),
        (f"small==one{HASH}", "one"),
        (f"small==1.0{HASH}Small==2.0{HASH}", "two versions of small"),
        (f"small==1.0{HASH}" + f"more==1.0{HASH}" * 12_000, "over 1048576 bytes"),
        (f"small==2.0{HASH}", "lacks small<2,>=1"),
        (f"large==1.0{HASH}", "lacks small<2,>=1"),
        (f"small==1.0 ; sys_platform == '{OTHER}'{HASH}", "lacks small<2,>=1"),
        (f"small==1.0{HASH}numpy==1.0{HASH}", "lacks numpy>="),
    ],
    ids=lambda value: value[:24] if len(value) < 60 else "",
)
def test_what_is_no_lock_of_these_requirements_does_not_count(text, said):
    with pytest.raises(InvalidArgument) as error:
        lock.check(text, ["small<2,>=1"])
    assert said in error.value.message
    assert len(error.value.message) < 400


def test_a_lock_may_have_other_versions_for_other_machines():
    text = f"small==1.5 ; sys_platform == '{sys.platform}'{HASH}small==2.0 ; sys_platform == '{OTHER}'{HASH}"
    assert lock.check(text, ["Small<2,>=1", f"large; sys_platform == '{OTHER}'"]) == 2


def test_locks_of_a_package_are_told_in_the_order_they_came(store, tmp_path):
    digest = packages.push(store, tmp_path / "made", 2.0).digest
    good = f"small==1.0{HASH}"
    for text in ("-e .\n", good, good):
        lock.attach(store.home, digest, text)
    store.layout.attach(digest, lock.LOCK, b"\xff", lock.LOCK)
    first, second = lock.attached(store.home, digest, ["small"])
    assert "-e ." in first.wrong
    assert second == lock.Attached(good, 1)
    assert len(Layout(store.home.store).referrers(digest, lock.LOCK)) == 3


def test_a_lock_of_what_the_store_does_not_have_is_not_kept(tmp_path):
    digest = "sha256:" + "0" * 64
    lock.attach(Home(tmp_path).create(), digest, f"small==1.0{HASH}")
    assert lock.attached(Home(tmp_path), digest, ["small"]) == []
