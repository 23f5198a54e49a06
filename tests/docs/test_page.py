"""The runner of pages tells every way in which a block can be wrong, and passes none over."""

import subprocess

import pytest

from tests.docs import page

GOOD = """# A page

```sh
echo told > told.txt
echo first
```

## Then

```python
import pathlib

told = pathlib.Path("told.txt").read_text()
```

```text
# no heading
```

```python
more = told * 2
```

```sh
printf second
```
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """`write(text)`: the path of a page that holds it; the folder is an empty one."""
    monkeypatch.chdir(tmp_path)

    def call(text):
        (tmp_path / "page.md").write_text(text)
        return str(tmp_path / "page.md")

    return call


def test_blocks_are_found_with_their_place(write):
    found = page.blocks(write(GOOD))
    assert [(block.language, block.line, block.heading) for block in found] == [
        ("sh", 3, "A page"),
        ("python", 10, "Then"),
        ("text", 16, "Then"),
        ("python", 20, "Then"),
        ("sh", 24, "Then"),
    ]
    assert found[0].text == "echo told > told.txt\necho first\n"


def test_blocks_share_a_folder_and_variables_and_tell_what_they_said(write):
    names = {}
    assert page.run(write(GOOD), names, shown=["text"]) == "first\nsecond"
    assert names["more"] == "told\ntold\n"


def test_a_port_is_replaced_wherever_it_is_named(write):
    name = write("Port 4318:\n\n```sh\necho 4318\n```\n\n```python\nport = 4318\n```\n")
    names = {}
    assert page.run(name, names, ports=["4318"]) == f"{names['port']}\n" != "4318\n"
    with pytest.raises(AssertionError, match="does not name port 4319"):
        page.run(name, {}, ports=["4319"])


@pytest.mark.parametrize("body", ["echo said; false\ntrue", "no-such-command-anywhere", "exit 3"])
def test_a_shell_block_that_fails_is_told_with_its_place(write, body):
    with pytest.raises(AssertionError, match=r"page\.md:3 \(sh, under 'A'\): exit \d+"):
        page.run(write(f"# A\n\n```sh\n{body}\n```\n"), {})


def test_a_shell_block_ends_in_time(write):
    with pytest.raises(subprocess.TimeoutExpired) as told:
        page.run(write("```sh\nexec sleep 60\n```\n"), {}, seconds=0.2)
    assert "page.md:1" in told.value.__notes__[0]


@pytest.mark.parametrize(("body", "error"), [("fine = 1\n1 / 0", ZeroDivisionError), ("fine = 1\n1 +", SyntaxError)])
def test_a_python_block_that_fails_is_told_with_its_line_on_the_page(write, body, error):
    name = write(f"# A\n\nWords.\n\n```python\n{body}\n```\n")
    with pytest.raises(error) as told:
        page.run(name, {})
    assert "page.md:5 (python, under 'A')" in told.value.__notes__[0]
    line = told.value.lineno if error is SyntaxError else told.traceback[-1].lineno + 1
    assert line == 7


def test_a_block_of_another_language_goes_to_its_check(write):
    seen = []
    page.run(write("```yaml\na: 1\n```\n"), {}, checks={"yaml": seen.append})
    assert seen == ["a: 1\n"]

    def refuse(text):
        raise ValueError(text)

    with pytest.raises(ValueError, match="a: 1"):
        page.run(write("```yaml\na: 1\n```\n"), {}, checks={"yaml": refuse})


def test_a_language_that_nobody_named_and_one_named_in_vain_are_refused(write):
    with pytest.raises(AssertionError, match="nobody said what becomes of it"):
        page.run(write("```yaml\na: 1\n```\n"), {})
    for named in ({"shown": ["text"]}, {"checks": {"text": print}}):
        with pytest.raises(AssertionError, match="has no block of text"):
            page.run(write("```sh\ntrue\n```\n"), {}, **named)


@pytest.mark.parametrize(
    "text", ["```\nfalse\n```\n", "``` sh\nfalse\n```\n", "- a\n  ```sh\n  false\n  ```\n", "~~~sh\nfalse\n~~~\n"]
)
def test_a_fence_that_is_not_read_is_refused(write, text):
    with pytest.raises(AssertionError, match="a fence that names no language"):
        page.run(write(text), {})


def test_a_block_that_is_never_closed_is_refused(write):
    with pytest.raises(AssertionError, match=r"page\.md:1: a block that is never closed"):
        page.run(write("```sh\nfalse\n"), {})
