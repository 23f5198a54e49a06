from argosy.engines.onnx_file import inspect
from argosy.packaging.detect import Found
from argosy.packaging.licence import file_beside, name_of


def test_a_file_beside_the_model_is_recognised(tmp_path):
    model = tmp_path / "m.onnx"
    model.write_bytes(b"x")
    found = Found(path=model, format="pickle", engine="sklearn")
    assert file_beside(model) is None
    assert name_of(found, None, "") == ""
    (tmp_path / "LICENSE").write_text("\n   Apache License\n Version 2.0\n")
    assert name_of(found, file_beside(model), "") == "Apache-2.0"
    (tmp_path / "LICENSE").write_text("All rights reserved")
    assert name_of(found, file_beside(model), "") == "see LICENSE"
    assert name_of(found, file_beside(model), "MIT") == "MIT"


def test_onnx_metadata_is_read_from_the_file(digits_onnx, tmp_path):
    import onnx

    model = onnx.load(digits_onnx)
    onnx.helper.set_model_props(model, {"license": "BSD-3-Clause"})
    onnx.save(model, tmp_path / "m.onnx")
    assert inspect(tmp_path / "m.onnx").metadata == {"license": "BSD-3-Clause"}
    found = Found(path=tmp_path, entry="m.onnx", format="onnx", engine="onnx")
    assert name_of(found, None, "") == "BSD-3-Clause"
