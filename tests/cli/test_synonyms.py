"""Words that are no commands lead to those that are; every word of the tables leads somewhere."""

import click
import pytest

from argosy.cli.catalog import COMMANDS, words_of
from argosy.cli.main import argosy


def find(path):
    """The command of a path such as `models ls`."""
    command = argosy
    with click.Context(argosy) as context:
        for word in path.split():
            command = command.get_command(context, word)
            assert command is not None, path
    return command


@pytest.mark.parametrize("word", words_of("root"))
def test_what_a_word_can_mean_exists_and_the_word_itself_does_not(word):
    assert word not in COMMANDS
    for path in words_of("root")[word]:
        find(path)


def test_words_within_groups_name_commands_of_some_group():
    groups = [each for each in map(find, COMMANDS) if isinstance(each, click.Group)]
    names = {name for group in groups for name in group.commands}
    assert {each for meant in words_of("within").values() for each in meant} <= names


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (("status", "--help"), "argosy ps"),
        (("show", "--help"), "argosy models show"),
        (("start", "--help"), "argosy up"),
        (("keys", "list", "--help"), "argosy keys ls"),
        (("keys", "delete", "--help"), "argosy keys revoke"),
        (("batch", "stop", "--help"), "argosy batch cancel"),
        (("help", "deploy"), "argosy deploy"),
        (("help", "keys", "create"), "argosy keys create"),
        (("keys", "help", "create"), "argosy keys create"),
        (("deploy", "help"), "argosy deploy"),
        (("models", "show", "help"), "argosy models show"),
        (("list", "models", "--help"), "argosy models ls"),
        (("delete", "key", "--help"), "argosy keys revoke"),
        (("create", "key", "--help"), "argosy keys create"),
        (("show", "model", "--help"), "argosy models show"),
        (("stop", "job", "--help"), "argosy batch cancel"),
        (("list", "endpoints", "--help"), "argosy ps"),
        (("endpoint", "delete", "--help"), "argosy undeploy"),
        (("delete", "endpoint", "--help"), "argosy undeploy"),
    ],
)
def test_a_word_with_one_meaning_runs_it(run, words, command):
    result = run(*words)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith(f"Usage: {command} ")


@pytest.mark.parametrize(
    ("word", "commands"),
    [
        ("list", ("argosy ps ", "argosy models ls ")),
        ("run", ("argosy serve ", "argosy deploy ", "argosy batch run ")),
        ("stop", ("argosy down ", "argosy undeploy ")),
        ("delete", ("argosy undeploy ", "argosy models rm ", "argosy keys revoke ")),
    ],
)
def test_a_word_with_several_meanings_changes_nothing_and_names_them(run, word, commands):
    result = run(word, "digits")
    assert result.exit_code == 2
    assert result.stdout == ""
    for command in commands:
        assert command in result.stderr


def test_a_group_without_near_names_says_what_it_has(run):
    assert "there are abort, pause, promote, " in run("rollout", "list").stderr


def test_verbs_of_endpoints_lead_to_commands():
    for path in words_of("endpoints").values():
        find(path)


def test_help_alone_is_that_of_argosy(run):
    assert run("help").stdout == run("--help").stdout


def test_a_name_after_a_group_is_taken_to_be_listed(run):
    assert "did you mean 'argosy models ls digits'?" in run("models", "digits").stderr
