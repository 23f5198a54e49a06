import pytest

from tools import house

PACKAGE = "src/argosy/__init__.py"


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """`tree({path: text})` writes files of a repository, below the folder that is the working directory."""

    def write(files):
        for name, text in {PACKAGE: "", **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(house, "CEILINGS", dict.fromkeys(house.CEILINGS, house.Ceiling(0, 0)))
    monkeypatch.setitem(house.CEILINGS, house.LINES, house.Ceiling(1000, 0))
    return write


def measured(name):
    return next((count, where) for found, count, where in house.measures() if found == name)


def test_every_measure_has_a_ceiling_that_is_not_below_its_goal(tree):
    ceilings = house.CEILINGS
    tree({})
    assert {name for name, *_ in house.measures()} == set(ceilings)
    assert all(ceiling.most >= ceiling.goal for ceiling in ceilings.values())


@pytest.mark.parametrize(
    "line", ["from argosy.a.small import x", "import argosy.a.small", "def f():\n    from argosy.a import small"]
)
def test_a_small_module_with_one_importer_is_reported(tree, capsys, line):
    tree({"src/argosy/a/__init__.py": "", "src/argosy/a/small.py": "x = 1\n", "src/argosy/b.py": f"{line}\n"})
    assert house.main() == 1
    said = capsys.readouterr().out
    assert "src/argosy/a/small.py: 1 lines, imported by argosy.b alone" in said
    assert f"{house.SMALL}: 1; at most 0" in said


@pytest.mark.parametrize(
    "files",
    [
        {"src/argosy/small.py": "x = 1\n" * 60, "src/argosy/b.py": "from argosy import small\n"},
        {
            "src/argosy/small.py": "",
            "src/argosy/b.py": "import argosy.small\n",
            "src/argosy/c.py": "import argosy.small\n",
        },
        {"src/argosy/small.py": "", "src/argosy/__main__.py": "import argosy.small\n"},
        {"src/argosy/small/__init__.py": "", "src/argosy/b.py": "import argosy.small\n"},
        {"src/argosy/small.py": ""},
    ],
    ids=["sixty-lines", "two-importers", "main", "package", "no-importer"],
)
def test_what_is_no_crumb(tree, capsys, files):
    tree(files)
    assert house.main() == 0, capsys.readouterr().out


def test_class_names_are_counted_over_the_tree(tree, capsys):
    tree({f"src/argosy/m{at}.py": "class State: pass\n" for at in range(3)})
    assert house.main() == 0
    tree({"src/argosy/sub/deep.py": "def f():\n    class State: pass\n"})
    assert house.main() == 1
    assert "class State: 4 of them" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["look", "first_look", "judge"])
@pytest.mark.parametrize("folder", ["src/argosy/x", "distributions/d/src/argosy_d"])
def test_words_that_name_no_file(tree, capsys, name, folder):
    tree({f"{folder}/{name}.py": "", f"{folder}/{name}up.py": ""})
    assert house.main() == 1
    assert measured(house.NAMED) == (1, [f"{folder}/{name}.py"])


def test_lines_and_files_of_control(tree, capsys):
    tree({"src/argosy/controls.py": "", "src/argosy/long.py": "x = 1\n" * 300})
    assert measured(house.CONTROL)[0] == 0
    assert measured(house.LINES)[0] == 300
    tree({"src/argosy/control/deep/er.py": ""})
    assert measured(house.CONTROL)[0] == 1
    house.CEILINGS[house.LINES] = house.Ceiling(299, 0)
    assert house.main() == 1
    assert f"{house.LINES}: 300; at most 299" in capsys.readouterr().out


def test_one_file(tmp_path):
    path = tmp_path / "a.py"
    path.write_text("def f():\n" + "    x = 1\n" * 60 + "# " + house.MARKERS[0] + "\n" + "y = 1\n" * 339)
    assert [one.removeprefix(f"{path}") for one in house.problems(path)] == [
        ": 401 lines; at most 400",
        f": holds {house.MARKERS[0]}",
        ":1: f has 61 lines; at most 60",
    ]
