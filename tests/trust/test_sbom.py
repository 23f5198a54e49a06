import json

import msgspec
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from argosy.trust.sbom import Component, bill, package_bill, required
from argosy.trust.statement import files_of
from tests.store.samples import digest_of, model_manifest

SCHEMA = JsonStrictValidator(SchemaVersion.V1_6)


def test_the_bill_of_a_package(folder):
    manifest = msgspec.structs.replace(
        model_manifest(), requirements=("numpy==2.1.0", "Scikit_Learn>=1.6"), description="Reads digits."
    )
    files = files_of(folder)
    data = package_bill(manifest, files, digest_of(7))
    assert SCHEMA.validate_str(data.decode()) is None
    assert package_bill(manifest, dict(reversed(files.items())), digest_of(7)) == data
    said = json.loads(data)
    model = said["metadata"]["component"]
    assert (model["type"], model["version"], model["licenses"]) == (
        "machine-learning-model",
        digest_of(7),
        [{"expression": "Apache-2.0"}],
    )
    assert model["modelCard"]["modelParameters"]["inputs"] == [{"format": "x FP32 [-1, 4]"}]
    assert model["pedigree"]["ancestors"][0]["hashes"] == [{"alg": "SHA-256", "content": "0" * 64}]
    parts = {each["bom-ref"]: each for each in said["components"]}
    assert {"pkg:pypi/numpy@2.1.0", "pkg:pypi/scikit-learn", "file:weights/model.onnx"} < parts.keys()
    assert parts["file:LICENSE"]["hashes"][0]["content"] == files["LICENSE"]
    assert sorted(said["dependencies"][0]["dependsOn"]) == list(parts)
    assert b"timestamp" not in data


def test_the_serial_number_follows_from_the_digest():
    subject = Component(name="x", kind="container")
    serials = [json.loads(bill(subject, [], digest=digest_of(n)))["serialNumber"] for n in (1, 1, 2)]
    assert serials[0] == serials[1] != serials[2]


def test_the_bill_of_an_image():
    parts = [
        Component(
            name="libc6", kind="operating-system", version="2.36", purl="pkg:deb/debian/libc6@2.36", sha256="a" * 64
        ),
        Component(name="numpy", version="2.1.0", purl="pkg:pypi/numpy@2.1.0", license="BSD 3-Clause, as shipped"),
    ]
    subject = Component(name="digits", kind="container", version=digest_of(1))
    data = bill(subject, [*parts, parts[0]], digest=digest_of(1))
    assert SCHEMA.validate_str(data.decode()) is None
    assert data == bill(subject, parts[::-1], digest=digest_of(1))
    assert [each["name"] for each in json.loads(data)["components"]] == ["libc6", "numpy"]


@pytest.mark.parametrize(
    ("text", "purl"),
    [
        ("numpy==2.1.0", "pkg:pypi/numpy@2.1.0"),
        ("xgboost-cpu >= 3", "pkg:pypi/xgboost-cpu"),
        ("Zope.Interface[test] == 7.1 ; python_version > '3.11'", "pkg:pypi/zope-interface@7.1"),
        ("torch", "pkg:pypi/torch"),
        ("a==1,<2", "pkg:pypi/a@1"),
    ],
)
def test_requirements(text, purl):
    found = required(text)
    assert (found.purl, found.properties) == (purl, (("argosy:requirement", text),))
