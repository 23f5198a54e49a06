"""Every command: where its code is, the line `argosy --help` shows, and the group it stands in; and the words that are
no commands and mean some."""

import tomllib
from collections.abc import Container, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import click

ENTRY_POINTS = "argosy.commands"


class CommandEntry(NamedTuple):
    """The command is the attribute of `argosy.cli.<module>` that has its name; `section` is its heading in
    `argosy --help`.

    A command with a `distribution` is not part of argosy: the entry point of its name in the group `argosy.commands`
    is the command, once that distribution is installed.
    """

    module: str
    help: str
    section: str
    distribution: str = ""

    def load(self, name: str) -> click.Command | None:
        """Import the command; None if its distribution is not installed."""
        if not self.distribution:
            return getattr(import_module(f"argosy.cli.{self.module}"), name)
        from importlib.metadata import entry_points

        return next((point.load() for point in entry_points(group=ENTRY_POINTS, name=name)), None)


SERVE, MODELS, ENDPOINTS, TOOLS = "Run", "Models", "Endpoints", "Tools"

COMMANDS: dict[str, CommandEntry] = {
    "serve": CommandEntry("serve", "Serve one model file in this process, without a platform.", SERVE),
    "up": CommandEntry("platform", "Start the platform on this machine.", SERVE),
    "down": CommandEntry("platform", "Stop the platform and everything it runs.", SERVE),
    "gateway": CommandEntry("platform", "Run a gateway that follows a platform elsewhere.", SERVE),
    "console": CommandEntry("platform", "Open the console in the browser, signed in.", SERVE),
    "demo": CommandEntry("", "Deploy three real models and send them real data.", SERVE, "argosy-examples"),
    "push": CommandEntry("models", "Package a model file as a version, or push one to a registry.", MODELS),
    "pull": CommandEntry("registry", "Fetch a package from a registry and register it as a version.", MODELS),
    "tags": CommandEntry("registry", "List the tags of a repository in a registry.", MODELS),
    "registry": CommandEntry("registry", "Log in to registries of packages and images, and out.", MODELS),
    "models": CommandEntry("models", "List, show, verify, alias and remove versions of models.", MODELS),
    "sign": CommandEntry("sign", "Sign a package, or attach a signature made elsewhere.", MODELS),
    "verify": CommandEntry("sign", "Check who signed a package, and that these are the bytes.", MODELS),
    "sbom": CommandEntry("sign", "Write the bill of material of a package (CycloneDX).", MODELS),
    "image": CommandEntry("image", "Build container images of models, without a daemon.", MODELS),
    "optimize": CommandEntry("optimize", "Make a version smaller and faster, if it answers alike.", MODELS),
    "tune": CommandEntry("tune", "Measure a language model, and find its settings.", MODELS),
    "batch": CommandEntry("batch", "Answer the rows of files with a model, each exactly once.", MODELS),
    "init": CommandEntry("init", "Write a commented endpoint.yaml to begin with.", ENDPOINTS),
    "deploy": CommandEntry("apply", "Run a version as an endpoint behind the gateway.", ENDPOINTS),
    "apply": CommandEntry("apply", "Declare endpoints from YAML files.", ENDPOINTS),
    "plan": CommandEntry("apply", "Print what apply would change.", ENDPOINTS),
    "get": CommandEntry("apply", "Print the declaration of an endpoint as YAML.", ENDPOINTS),
    "history": CommandEntry("history", "What served when, which bytes, who changed it and why.", ENDPOINTS),
    "rollout": CommandEntry("rollout", "Watch, pause, promote, abort or undo a rollout.", ENDPOINTS),
    "undeploy": CommandEntry("apply", "Remove an endpoint and its replicas.", ENDPOINTS),
    "predict": CommandEntry("predict", "Send rows to an endpoint and print its answers.", ENDPOINTS),
    "chat": CommandEntry("chat", "Talk to a language model in the terminal.", ENDPOINTS),
    "ps": CommandEntry("ps", "List endpoints and replicas.", ENDPOINTS),
    "top": CommandEntry("top", "Watch traffic, load, rollouts and alerts in the terminal.", ENDPOINTS),
    "logs": CommandEntry("logs", "Print or follow the logs of an endpoint or the gateway.", ENDPOINTS),
    "feedback": CommandEntry("feedback", "Load labels, and see how good predictions were.", ENDPOINTS),
    "drift": CommandEntry("monitoring", "Compare what came lately with the model's own data.", ENDPOINTS),
    "report": CommandEntry("monitoring", "Write one page on an endpoint: drift, performance, alerts.", ENDPOINTS),
    "performance": CommandEntry("monitoring", "How good predictions are, with and without labels.", ENDPOINTS),
    "alerts": CommandEntry("alerts", "What is wrong with endpoints; mute it, try the sinks.", ENDPOINTS),
    "triggers": CommandEntry("alerts", "What an endpoint's triggers have seen and set off.", ENDPOINTS),
    "keys": CommandEntry("keys", "Create, list and revoke API keys.", ENDPOINTS),
    "usage": CommandEntry("usage", "Tokens and money of language models, by key and endpoint.", ENDPOINTS),
    "config": CommandEntry("doctor", "Show the settings in effect and where each comes from.", TOOLS),
    "schema": CommandEntry("init", "Print the JSON Schema of a declaration or of config.yaml.", TOOLS),
    "completion": CommandEntry("completion", "Have the shell complete commands, endpoints and versions.", TOOLS),
    "doctor": CommandEntry("doctor", "Check this machine and say what to fix.", TOOLS),
    "conformance": CommandEntry(
        "", "Test any server against the Open Inference Protocol.", TOOLS, "argosy-conformance"
    ),
    "export": CommandEntry("export", "Write a model as C, or files for clouds, KServe, Grafana and Prometheus.", TOOLS),
    "simulate": CommandEntry("", "Replay a trace of requests under scaling policies.", TOOLS, "argosy-simulators"),
    "version": CommandEntry("doctor", "Print the version.", TOOLS),
}


def sections() -> dict[str, list[tuple[str, str]]]:
    """Heading → (command, its line), in the order of the table."""
    found: dict[str, list[tuple[str, str]]] = {}
    for name, entry in COMMANDS.items():
        found.setdefault(entry.section, []).append((name, entry.help))
    return found


@cache
def words_of(section: str) -> dict[str, Any]:
    """Word that is no command → what it can mean, of a section of `synonyms.toml`."""
    found = tomllib.loads(Path(__file__).with_name("synonyms.toml").read_text())[section]
    return {word: meant for words, meant in found.items() for word in words.split()}


def noun_first(words: Sequence[str]) -> list[str]:
    """`delete key K` as `keys delete K`, `delete endpoint E`, `endpoint delete E` as `undeploy E`; else the words."""
    nouns, endpoints = words_of("nouns"), words_of("endpoints")
    for verb, noun in (words[:2], words[1::-1]) if len(words) > 1 else ():
        group = nouns.get(noun, "")
        if group == "endpoints" and verb in endpoints:
            return [endpoints[verb], *words[2:]]
        if (
            group not in ("", "endpoints")
            and (verb in words_of("root") or verb in words_of("within"))
            and verb not in nouns
        ):
            return [group, verb, *words[2:]]
    return list(words)


def meanings(word: str, commands: Container[str], *, root: bool) -> Sequence[str]:
    """The commands that a word can mean: below `argosy` itself, or in a group that has `commands`."""
    if root:
        return words_of("root").get(word, ())
    return [each for each in words_of("within").get(word, ()) if each in commands]
