"""What of the environment a child is given."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.process import launch
from argosy.process.sandbox import VARIABLE, Policy

TEXT = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0="), min_size=1, max_size=20)
FIXED = {"HOME", "TMPDIR", "JOBLIB_MULTIPROCESSING", "PYTHONDONTWRITEBYTECODE", "PYTHONSAFEPATH"} | {
    "PYTHONNOUSERSITE",
    "PYTHONUSERBASE",
    VARIABLE,
}


def of_model(given: Mapping[str, str]) -> dict[str, str]:
    return launch.of_model(Path("/work"), Policy(), {}, given)


def of_ours(given: Mapping[str, str]) -> dict[str, str]:
    return launch.of_ours(Path("/work"), {}, given)


@given(st.dictionaries(TEXT, TEXT, max_size=30))
def test_a_model_sees_no_name_that_is_not_on_the_list(given: dict[str, str]):
    found = of_model(given)
    for name in found.keys() - FIXED:
        assert name in launch._PASSED or name.startswith("LC_") or name in (*launch._PATHS, *launch._OF_PYTHON)


SECRETS = """SMTP_PASSWORD AWS_SECRET_ACCESS_KEY ARGOSY_KEY ARGOSY_HOME LD_PRELOAD PYTHONPATH PYTHONHOME PYTHONSTARTUP
PYTHONINSPECT GCONV_PATH DATABASE_URL SSH_AUTH_SOCK DBUS_SESSION_BUS_ADDRESS KUBECONFIG XDG_RUNTIME_DIR HTTPS_PROXY LCX
"""


@pytest.mark.parametrize("name", SECRETS.split())
def test_secrets_and_ways_out_are_not_passed(name: str):
    assert name not in of_model({name: "x"})


def test_lists_of_folders_lose_what_is_relative():
    given = {"PATH": f"/usr/bin{os.pathsep}.{os.pathsep}{os.pathsep}bin", "LD_LIBRARY_PATH": f"lib{os.pathsep}"}
    found = of_model(given)
    assert found["PATH"] == "/usr/bin"
    assert "LD_LIBRARY_PATH" not in found
    assert (found["HOME"], found["TMPDIR"]) == ("/work", "/work")


def test_our_own_children_keep_all_but_what_python_would_import_first():
    given = {"SMTP_PASSWORD": "x", "PYTHONSTARTUP": "a.py", "PYTHONHOME": "h", "PYTHONINSPECT": "1", "PYTHONUTF8": "1"}
    found = of_ours(given | {"PYTHONPATH": f"{os.pathsep}src{os.pathsep}/abs"})
    assert found["SMTP_PASSWORD"] == "x"
    assert found["PYTHONPATH"] == "/abs"
    assert found["PYTHONUTF8"] == "1"
    assert not {"PYTHONSTARTUP", "PYTHONHOME", "PYTHONINSPECT"} & found.keys()
    assert found["PYTHONSAFEPATH"] == "1"
    assert "PYTHONPATH" not in of_ours({"PYTHONPATH": f".{os.pathsep}"})
