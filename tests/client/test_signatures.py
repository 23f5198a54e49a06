"""What has to be signed is not loaded without: by reference, by path, and in a replica."""

import json
import shutil

import numpy as np
import pytest

import argosy
from argosy.batch.wire import Begin
from argosy.client.local import locate
from argosy.control.admission import check_version
from argosy.packaging.package import open_package
from argosy.serving.config import ModelConfig
from argosy.serving.server import load_model
from argosy.spec.endpoint import Endpoint, Runtime
from argosy.spec.errors import BadSignature
from argosy.spec.settings import Home, load
from argosy.store import open_store
from argosy.trust.bundle import BUNDLE, sign
from argosy.trust.policy import beside
from argosy.trust.statement import files_of
from tests.batch import kit
from tests.platform import packages
from tests.trust.conftest import make_key, write_key


@pytest.fixture
def key(tmp_path):
    made = make_key()
    write_key(tmp_path / "ada.pem", made)
    return made


@pytest.fixture
def home(tmp_path, monkeypatch, key):
    monkeypatch.setenv("ARGOSY_HOME", str(tmp_path / "home"))
    found = Home(tmp_path / "home").create()
    public = json.dumps(str(tmp_path / "ada.pub"))
    found.config.write_text(f"signatures: {{signers: {{ada: {{key: {public}}}}}, require: [digits, 'prod-*']}}\n")
    return found


@pytest.fixture
def store(home):
    opened = open_store(home, load(home))
    yield opened
    opened.close()


@pytest.fixture
def version(store, tmp_path):
    return packages.push(store, tmp_path / "made", 2.0)


def attach(store, version, key):
    files = {path: each.digest.removeprefix("sha256:") for path, each in store.layout.files(version.digest).items()}
    store.layout.attach(version.digest, BUNDLE, sign("digits", files, key), BUNDLE)


def test_a_version_is_loaded_once_it_is_signed(store, version, key):
    with pytest.raises(BadSignature, match=r"digits:1 is not signed.*argosy sign digits:1"):
        argosy.load("digits:1")
    attach(store, version, make_key())
    with pytest.raises(BadSignature, match="no signature that counts"):
        argosy.load(version.digest)
    attach(store, version, key)
    assert locate("digits:1").signed
    model = argosy.load("digits:1")
    assert model.predict(np.ones((1, 4), np.float32))["y"].tolist() == [[2.0] * 4]


def test_a_folder_is_copied_and_checked(home, version, tmp_path, key):
    folder = tmp_path / "made"
    with pytest.raises(BadSignature, match=f"{folder} is not signed"):
        argosy.load(folder)
    beside(folder).write_bytes(sign("digits", files_of(folder), key))
    located = locate(folder)
    assert located.signed
    (folder / "weights" / "model.onnx").write_bytes(packages.times(3.0))
    assert files_of(located.folder) != files_of(folder), "what was checked cannot change any more"
    located.release()
    assert not located.folder.exists()
    with pytest.raises(BadSignature, match=r"weights/model\.onnx: altered"):
        locate(folder)


def test_a_model_file_has_no_signature(home, tmp_path):
    (tmp_path / "digits.onnx").write_bytes(packages.times(2.0))
    with pytest.raises(BadSignature, match=r"push it, sign the version with  argosy sign digits:1"):
        argosy.load(tmp_path / "digits.onnx")


def test_admission_refuses_what_is_not_signed(home, store, version, key):
    settings = load(home)
    named = Endpoint(name="prod-a", model="times:1")
    with pytest.raises(BadSignature, match="demands it of 'prod-a'"):
        check_version(named, version, home, store, settings.signatures)
    attach(store, version, key)
    check_version(named, version, home, store, settings.signatures)


async def test_a_replica_hashes_what_it_loads(store, version, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(store.unpacked(version.digest), folder, copy_function=shutil.copyfile)
    config = ModelConfig(name="m", package=str(folder), digest=version.digest, exact=True)
    served = await load_model(config, Runtime())
    await served.close()
    profile = folder / "golden" / "inputs.oip"
    profile.write_bytes(profile.read_bytes() + b" ")
    with pytest.raises(BadSignature, match="holds other bytes than it should"):
        await load_model(config, Runtime())


def test_a_batch_worker_hashes_what_it_loads(tmp_path):
    place = kit.home(tmp_path / "home")
    folder = kit.package(place, "times")
    plan = kit.planned(folder, kit.write(tmp_path / "data", kit.table(np.arange(4), width=4)), tmp_path / "out")
    begin = Begin(0, plan.job, None, str(folder), False, True)
    with pytest.raises(BadSignature, match="holds other bytes"):
        begin.open(plan)
    assert Begin(0, plan.job, None, str(folder), False).open(plan).manifest.name == open_package(folder).manifest.name
