"""The site is whole: references are those of the code, links lead somewhere, and Sphinx has nothing to warn of."""

import re
import subprocess
import sys

import pytest

from argosy.cli.catalog import COMMANDS
from argosy.spec import errors
from tests.docs.page import ROOT

DOCS = ROOT / "docs"
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)(?:#[^)\s]*)?\)")


def test_references_are_those_of_the_code():
    done = subprocess.run(
        [sys.executable, "tools/reference.py", "--check"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, f"run  python tools/reference.py\n{done.stdout}{done.stderr}"


def test_the_references_name_every_command_error_and_series():
    text = (DOCS / "reference" / "cli.md").read_text()
    assert [name for name in COMMANDS if f"### argosy {name}\n" not in text] == []
    table = (DOCS / "reference" / "errors.md").read_text()
    assert [code for code in errors.table() if f"| `{code}` |" not in table] == []
    named = set(re.findall(r"`(argosy_\w+)`", (DOCS / "reference" / "metrics.md").read_text()))
    made = "".join(path.read_text() for path in (ROOT / "src/argosy/api/metrics").glob("*.py"))
    constants = set(re.findall(r'"(argosy_\w+)"', made))
    assert {name for name in constants if name not in named} <= {"argosy_controller", "argosy_replica_up"}


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_links_of_pages_outside_the_site_lead_to_files(page):
    links = LINK.findall((ROOT / page).read_text())
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q", "docs", str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for page in tmp_path.rglob("*.html"):
        loaded = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(https?:[^"]+)"', page.read_text())
        assert loaded == [], page
    assert (tmp_path / "endpoint.schema.json").is_file()
