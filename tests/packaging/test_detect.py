import gzip
import json
import pickle
import zipfile

import joblib
import numpy as np
import pytest

from argosy.packaging.detect import detect
from argosy.spec.errors import ArgosyError, BadPackage, InvalidArgument, NotFound
from tests.packaging.conftest import PYTHON_MODEL


def test_models_are_known_by_their_content_not_their_name(digits_onnx, digits_joblib, trees, tmp_path):
    for source, kind in ((digits_onnx, "onnx"), (digits_joblib, "joblib"), (trees, "lightgbm-text")):
        other = tmp_path / f"{kind}.bin"
        other.write_bytes(source.read_bytes())
        assert detect(other).format == kind


@pytest.mark.parametrize("suffix", ["z", "gz", "bz2", "xz", "lzma"])
def test_compressed_joblib(suffix, digits_model, tmp_path):
    path = tmp_path / f"m.joblib.{suffix}"
    joblib.dump(digits_model, path)
    assert detect(path).format == "joblib"


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_every_protocol(protocol, digits_model, tmp_path):
    path = tmp_path / "m"
    path.write_bytes(pickle.dumps(digits_model, protocol))
    assert detect(path).format == "pickle"


def test_skops_and_torch_export_are_zips_with_a_mark(forest, tmp_path):
    import skops.io

    skops.io.dump(forest, tmp_path / "m.zip")
    assert detect(tmp_path / "m.zip").format == "skops"
    with zipfile.ZipFile(tmp_path / "p", "w") as archive:
        archive.writestr("m/archive_format", "pt2")
    assert detect(tmp_path / "p").engine == "torch"


def test_xgboost_json_and_ubj(tmp_path):
    import xgboost

    x = np.random.default_rng(0).normal(size=(50, 2)).astype("f4")
    booster = xgboost.train({"max_depth": 1, "nthread": 1}, xgboost.DMatrix(x, x[:, 0]), 2)
    for suffix in ("json", "ubj"):
        booster.save_model(tmp_path / f"m.{suffix}")
        assert detect(tmp_path / f"m.{suffix}").format == f"xgboost-{suffix}"
        cut = tmp_path / "cut"
        cut.write_bytes((tmp_path / f"m.{suffix}").read_bytes()[:-100])
        with pytest.raises(BadPackage, match="cut off"):
            detect(cut)


def test_python_classes_are_found_without_running_them(tmp_path, scale_folder):
    (tmp_path / "boom.py").write_text("raise SystemExit\n" + PYTHON_MODEL)
    found = detect(tmp_path / "boom.py")
    assert (found.format, found.settings) == ("python", {"class": "boom:Scale"})
    assert detect(scale_folder).settings == {"class": "model:Scale"}
    (tmp_path / "boom.py").write_text(PYTHON_MODEL + PYTHON_MODEL.replace("Scale", "Other"))
    with pytest.raises(InvalidArgument, match="2 classes"):
        detect(tmp_path / "boom.py")


def test_mlflow_folders_and_folders_around_one_onnx_file(tmp_path, digits_onnx):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "MLmodel").write_text("flavors: {}")
    assert detect(tmp_path / "a").format == "mlflow"
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "net.onnx").write_bytes(digits_onnx.read_bytes())
    assert detect(tmp_path / "b").entry == "net.onnx"


def test_the_engine_can_be_overridden(digits_joblib):
    assert detect(digits_joblib, "lightgbm").engine == "lightgbm"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html><body>404 Not Found</body></html>", "an HTML page.*download that failed"),
        (b"hello world\n" * 10, "text starting with 'hello world'"),
        (json.dumps({"weights": [1, 2]}).encode(), "JSON that is no XGBoost model"),
        (b"\0" * 4096, "nothing but zero bytes"),
        (b"\x93NUMPY\x01\0" + b"v" * 100, "numpy array.*--sample"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 50, r"HDF5.*load_model\('thing.bin', compile=False\).*argosy push model.onnx"),
        (b"GGUF\x03\0\0\0", "a GGUF file that is cut off"),
        (b'<?xml version="1.0"?>\n<PMML version="4.4">', "a PMML document.*argosy push model.joblib --trust"),
        (b"\x10\0\0\0\0\0\0\0" + b'{"w":{"dtype":1}}', "safetensors.*torch.export.*argosy push model.pt2"),
        (b"version https://git-lfs", "git lfs pull"),
        (b"\x18\0\0\0TFL3" + b"\0" * 50, "TensorFlow Lite"),
        (b"ftrt" + b"\1" * 50, "TensorRT engine.*torch.onnx.export.*argosy push model.onnx"),
        (gzip.compress(b"RDX3\nX\n" + b"\0" * 50, mtime=0), "an object of R.*argosy push model.ubj --name NAME$"),
        (b'<?xml version="1.0"?>\n<net name="m" version="11"></net>', "an OpenVINO model.*argosy push model.onnx"),
        (b"\n\x12\n\1x\x12\x0bPlaceholder" + b"\0" * 50, "a TensorFlow graph.*--graphdef thing.bin"),
        (b'[ { "nodeid": 0, "depth": 0 } ]', r"XGBoost has dumped.*save_model\('model.ubj'\)"),
        (b"booster[0]:\n0:[f2<2.45]", r"XGBoost has dumped.*save_model\('model.ubj'\)"),
        (b'{"name": "tree", "version": "v4"}', r"LightGBM has dumped.*save_model\('model.txt'\)"),
        (b'{"features_info": {}}', "CatBoost's JSON.*argosy push model.cbm --trust"),
        (b"\x1f\x8b broken", "compressed and cut off"),
        (np.random.default_rng(0).bytes(5000), "unknown binary data"),
        (b"PK\x03\x04" + b"\x01\x02" * 40, "zip archive that is cut off"),
        (b"tree\nversion=v4\nnum_class=1\n", "'end of trees' is missing"),
    ],
)
def test_what_is_no_model_is_described(data, said, tmp_path):
    path = tmp_path / "thing.bin"
    path.write_bytes(data)
    with pytest.raises(BadPackage, match=said):
        detect(path)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"saved_model.pb": b"x"}, "a TensorFlow SavedModel.*tf2onnx.*argosy push model.onnx"),
        ({"config.json": b"{}", "model.safetensors": b"x"}, "a Hugging Face model.*optimum-cli.*argosy push exported"),
        ({"Manifest.json": b"{}", "Data": b""}, "a Core ML model.*argosy push"),
        ({"meta.json": b"{}", "config.cfg": b""}, "a spaCy pipeline.*argosy push FOLDER"),
    ],
)
def test_folders_that_are_not_served_name_the_commands(files, said, tmp_path):
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(BadPackage, match=said):
        detect(tmp_path)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (
            ("m/data.pkl", "m/code/__torch__.py", "m/constants.pkl"),
            "a TorchScript program.*jit.load.*argosy push",
        ),
        (("m/data.pkl", "m/data/0"), "a torch.save file.*torch.export.save.*argosy push model.pt2"),
        (("m.mlpackage/Data/com.apple.CoreML/model.mlmodel",), "a Core ML model.*argosy push model.onnx"),
        (("MAR-INF/MANIFEST.json", "handler.py"), "a TorchServe archive"),
        (("a.npy", "b.npy"), "arrays of numpy.*--sample"),
        (("config.json", "model.weights.h5"), "a Keras model.*load_model.*argosy push model.onnx"),
    ],
)
def test_archives_that_are_not_served_name_the_commands(names, said, tmp_path):
    with zipfile.ZipFile(tmp_path / "m.bin", "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    with pytest.raises(BadPackage, match=said):
        detect(tmp_path / "m.bin")


def test_zip_archives_and_folders_are_described(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.pt", "w") as archive:
        archive.writestr("w/data.pkl", b"x")
    with pytest.raises(BadPackage, match=r"torch.save file"):
        detect(tmp_path / "w.pt")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("x")
    with pytest.raises(BadPackage, match=r"a folder with notes.txt"):
        detect(tmp_path / "folder")
    with pytest.raises(NotFound, match="no file or folder"):
        detect(tmp_path / "none")


def test_truncated_models_are_refused(digits_onnx, digits_joblib, tmp_path):
    for source in (digits_onnx, digits_joblib):
        data = source.read_bytes()
        path = tmp_path / source.name
        path.write_bytes(data[: len(data) // 2])
        with pytest.raises(BadPackage):
            detect(path)


def test_no_prefix_of_a_model_gives_anything_but_a_clear_error(digits_onnx, tmp_path):
    data = digits_onnx.read_bytes()
    path = tmp_path / "m"
    for length in (*range(1, 40), *range(40, len(data), 997)):
        path.write_bytes(data[:length])
        with pytest.raises(ArgosyError):
            detect(path)


@pytest.mark.parametrize(("name", "said"), [("m.mlmodel", "a Core ML model"), ("saved_model.pb", "SavedModel.*{} ")])
def test_other_messages_of_protobuf_are_no_onnx(name, said, tmp_path):
    (tmp_path / name).write_bytes(b"\x08\x01\x12\x04\x0a\x02hi\x07")
    with pytest.raises(BadPackage, match=said.format(tmp_path.name)):
        detect(tmp_path / name)


def test_weights_in_the_old_format_of_torch(tmp_path):
    start = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
    (tmp_path / "m.pth").write_bytes(start + pickle.dumps(1001, 2) + b"\0" * 30)
    with pytest.raises(BadPackage, match=r"a torch.save file.*argosy push model.pt2"):
        detect(tmp_path / "m.pth")
