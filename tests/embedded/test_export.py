"""`argosy export c`: what it writes, and what it refuses before it writes anything."""

import json
import subprocess

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from argosy.cli.main import argosy
from argosy.embedded import report, tree_package, verify
from argosy.embedded.code import as_identifier, resource
from argosy.embedded.export import Options, export, generate
from argosy.embedded.report import in_words
from argosy.spec.errors import GoldenMismatch, InvalidArgument, MissingExtra
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import Tensor
from tests import programs


def test_a_folder_has_code_a_self_test_and_a_report(package, tmp_path):
    programs.need("gcc")
    ran = CliRunner().invoke(
        argosy, ["export", "c", str(package.folder), "-o", str(tmp_path / "out"), "--name", "digits", "--json"]
    )
    assert ran.exit_code == 0, ran.output
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("digits.c", "digits.h", "digits_test.c", "report.json", "report.txt")
    }
    said = json.loads(ran.stdout)
    assert said == json.loads((tmp_path / "out/report.json").read_text())
    assert said["golden_rows"] == 16
    subprocess.run(["gcc", "digits.c", "digits_test.c", "-o", "test"], cwd=tmp_path / "out", check=True)
    assert subprocess.run([tmp_path / "out/test"], check=False).returncode == 0


def test_the_self_test_ends_with_the_row_that_fails(package, tmp_path):
    programs.need("gcc")
    files = export(package, "digits", "digits:1", Options()).files
    text = files["digits_test.c"].decode()
    start = text.index("golden_label[] = {") + len("golden_label[] = {")
    numbers = text[start : text.index("}", start)].split(",")
    numbers[4] = f" {int(numbers[4]) + 1}"
    files["digits_test.c"] = (text[:start] + ",".join(numbers) + text[text.index("}", start) :]).encode()
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    subprocess.run(["gcc", "digits.c", "digits_test.c", "-o", "test"], cwd=tmp_path, check=True)
    assert subprocess.run([tmp_path / "test"], check=False).returncode == 5


@pytest.mark.slow
def test_verify_runs_the_self_test_on_two_boards(package):
    for program in ("gcc", "arm-none-eabi-gcc", "qemu-system-arm"):
        programs.need(program)
    found = export(package, "digits", "digits:1", Options(verify=True)).report
    assert found.checks == dict.fromkeys(("this machine", "mps2-an385", "mps2-an500"), "passed")
    assert found.instructions.keys() == {"mps2-an385", "mps2-an500"}
    assert all(count > found.estimate.operations for count in found.instructions.values())
    assert f"instructions of a prediction on mps2-an385: {found.instructions['mps2-an385']}\n" in in_words(found)


LOOP = """
int loop_predict(void)
{
  __asm__ volatile("movw r3, #5000\\n1: subs r3, #1\\n bne 1b" : : : "r3", "cc");
  return 0;
}
"""
MAIN = "int loop_predict(void);\nint main(void)\n{\n  return loop_predict() + loop_predict();\n}\n"


@pytest.mark.slow
@pytest.mark.parametrize("board", verify.BOARDS)
def test_instructions_are_those_that_ran(tmp_path, board):
    for program in ("arm-none-eabi-gcc", "qemu-system-arm"):
        programs.need(program)
    files = {"loop.c": LOOP, "loop_test.c": MAIN, **{name: resource(name) for name in verify.BARE}}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    first = verify.on_board("loop", tmp_path, board)
    assert first == pytest.approx(10_000, rel=0.01)
    assert verify.on_board("loop", tmp_path, board) == first


@pytest.mark.slow
def test_sizes_are_estimated_within_5_percent_of_the_elf(package):
    programs.need("arm-none-eabi-gcc")
    found = export(package, "digits", "digits:1", Options()).report
    assert found.estimate.flash == pytest.approx(found.measured[report.DEVICE].flash, rel=0.05)
    assert found.estimate.stack >= found.measured[report.DEVICE].stack * 0.95


@pytest.mark.parametrize(("most", "names"), [({"max_flash": 1000}, "flash"), ({"max_ram": 10}, "ram")])
def test_a_model_above_a_budget_is_refused(package, most, names):
    with pytest.raises(InvalidArgument, match=rf"bytes of {names}, and --max-{names} is .* nothing was written"):
        export(package, "digits", "digits:1", Options(**most))


@pytest.mark.parametrize("name", ["8bit", "my-model", "int", ""])
def test_a_name_that_is_none_in_c_is_refused(package, name):
    with pytest.raises(InvalidArgument, match="must be a name in C"):
        export(package, name, "digits:1", Options())


def test_a_golden_example_that_is_answered_otherwise_is_refused(package, monkeypatch):
    wrong = [Tensor(each.name, each.datatype, each.array.copy()) for each in package.golden_outputs()]
    wrong[1].array[3, 2] += 0.1
    monkeypatch.setattr(type(package), "golden_outputs", lambda _: wrong)
    with pytest.raises(
        GoldenMismatch, match=r"golden example 3 .* output 'probabilities' \[2\] .* nothing was written"
    ):
        generate(package, "digits", "digits:1")


def test_verify_names_the_package_of_a_program_that_is_missing(package, monkeypatch):
    monkeypatch.setattr(report.shutil, "which", lambda program: None)
    with pytest.raises(MissingExtra, match="--verify needs gcc, which is not installed: run  apt-get install gcc"):
        export(package, "digits", "digits:1", Options(verify=True))


def test_names_of_columns_cannot_leave_the_comment(package):
    signature = package.manifest.signature
    spec = msgspec.structs.replace(signature.inputs[0], columns=tuple(f"a*/{n}\né" for n in range(64)))
    package = type(package)(
        package.folder,
        msgspec.structs.replace(package.manifest, signature=msgspec.structs.replace(signature, inputs=(spec,))),
    )
    text = generate(package, "digits", "digits:1").code.header
    assert text.count("*/") == 1
    assert text.isascii()


def test_the_forest_answers_as_scikit_learn_does(package, forest, digits, compiled):
    made = generate(package, "digits", "digits:1")
    (label, scores), refused = compiled(made.code).ask(digits[0])
    assert not refused
    assert np.array_equal(label[:, 0], forest.predict(digits[0]))
    assert np.abs(scores - forest.predict_proba(digits[0])).max() < 1e-7


def test_no_tensor_is_called_in_c_as_generated_code_calls_its_own():
    named = {"Sum": "sum_", "i0": "i0_", "net_exp": "net_exp_", "labels": "labels_", "row id": "row_id", "7": "port"}
    assert {name: as_identifier(name, "port") for name in (*named, "float")} == {**named, "float": "port"}
    inputs = (TensorSpec(name="sum", datatype="FP32", shape=(-1, 3)),)
    assert tree_package.input_port(Signature(inputs=inputs, outputs=()), 3, {}).name == "x"
