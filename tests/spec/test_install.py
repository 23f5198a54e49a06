"""The command that brings an extra is that for where argosy came from."""

import json
import re
import sys

import pytest

from argosy.spec import install


@pytest.mark.parametrize(
    ("origin", "command"),
    [
        (None, "'argosy[torch]'"),
        ({"url": "file:///srv/argosy", "dir_info": {"editable": True}}, "-e '/srv/argosy[torch]'"),
        ({"url": "file:///srv/my%20code", "dir_info": {}}, "'/srv/my code[torch]'"),
        ({"url": "file:///tmp/argosy.whl", "archive_info": {}}, "'argosy[torch] @ file:///tmp/argosy.whl'"),
        (
            {"url": "https://example.org/argosy.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}},
            "'argosy[torch] @ git+https://example.org/argosy.git@abc'",
        ),
    ],
)
def test_extras(monkeypatch, origin, command):
    monkeypatch.setattr(install, "_origin", lambda: origin or {})
    assert install.extras("torch") == command


def test_the_origin_is_that_of_this_environment():
    text = install.distribution("argosy").read_text("direct_url.json")
    origin = install._origin()
    assert origin == (json.loads(text) if text else {})
    assert re.search(r"\[torch\]", install.extras("torch"))


def test_a_distribution_beside_a_checkout_and_one_of_an_index(monkeypatch, tmp_path):
    (tmp_path / "distributions" / "examples").mkdir(parents=True)
    monkeypatch.setattr(install, "_origin", lambda: {"url": tmp_path.as_uri(), "dir_info": {"editable": True}})
    assert install.beside("argosy-examples", "1") == f"-e {tmp_path}/distributions/examples"
    monkeypatch.setattr(install, "_origin", dict)
    assert install.beside("argosy-examples", "1") == "argosy-examples==1"


def test_a_distribution_beside_a_wheel_and_one_of_a_repository(monkeypatch, tmp_path):
    url = (tmp_path / "argosy-1-py3-none-any.whl").as_uri()
    monkeypatch.setattr(install, "_origin", lambda: {"url": url, "archive_info": {}})
    assert install.beside("argosy-examples", "1") == "argosy-examples==1"
    (tmp_path / "argosy_examples-1-py3-none-any.whl").touch()
    assert install.beside("argosy-examples", "1") == f"{tmp_path}/argosy_examples-1-py3-none-any.whl"
    origin = {"url": "https://example.org/a.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}}
    monkeypatch.setattr(install, "_origin", lambda: origin)
    wanted = "'argosy-examples @ git+https://example.org/a.git@abc#subdirectory=distributions/examples'"
    assert install.beside("argosy-examples", "1") == wanted


def test_the_command_is_that_of_uv_where_there_is_no_pip(monkeypatch):
    monkeypatch.setattr(install, "find_spec", lambda name: None)
    assert install.pip() == f"uv pip install --python {sys.executable}"
    monkeypatch.setattr(install, "find_spec", lambda name: name)
    assert install.pip() == "pip install"
