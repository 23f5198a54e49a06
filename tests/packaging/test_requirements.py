import importlib.metadata
import re

import pytest

from argosy.packaging import requirements
from argosy.packaging.requirements import check_all, check_installed, of_engine, read
from argosy.spec import install
from argosy.spec.errors import InvalidArgument, MissingExtra


def test_frameworks_are_recorded_as_installed():
    version = importlib.metadata.version("scikit-learn")
    assert of_engine("sklearn") == (f"scikit-learn=={version}",)
    assert [line.split("==")[0] for line in of_engine("sklearn", ["lightgbm"])] == ["lightgbm", "scikit-learn"]
    assert [line.split("==")[0] for line in of_engine("sklearn", ["xgboost"])] == ["scikit-learn", "xgboost-cpu"]
    assert of_engine("onnx")[0].startswith("onnxruntime>=")
    assert of_engine("python") == ()


def test_a_requirements_file_is_read_strictly(tmp_path):
    path = tmp_path / "requirements.txt"
    path.write_text("# comment\nnumpy >= 1   # why\n\nscipy==1.0; python_version<'3'\n")
    assert read(path) == ("numpy>=1", 'scipy==1.0; python_version < "3"')
    for line in ("-r other.txt", "./local", "--hash=x", "x @ file:///tmp/x"):
        path.write_text(line)
        with pytest.raises(InvalidArgument, match=r"requirement|URL"):
            read(path)
    with pytest.raises(InvalidArgument):
        check_all(["==1"])


def test_installed_requirements_pass_and_markers_count():
    check_installed(["numpy>=1", "nothing-like-this; python_version < '3'"])
    check_installed([f"xgboost=={importlib.metadata.version('xgboost-cpu')}"])
    with pytest.raises(MissingExtra, match=r"nothing-like-this \(not installed\).*pip install 'nothing-like-this'"):
        check_installed(["nothing-like-this"])


def test_a_framework_that_lacks_is_brought_by_its_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(requirements, "installed", lambda name: "")
    with pytest.raises(MissingExtra, match=r"needs lightgbm>=4\.5 \(not installed\): .*install .*\[lightgbm\]'$"):
        check_installed(["lightgbm>=4.5"])
    with pytest.raises(
        MissingExtra, match=re.escape(f"pip install {install.extras('sklearn')} 'scikit-learn==1.6.0'") + "$"
    ):
        check_installed(["scikit-learn==1.6.0"])
