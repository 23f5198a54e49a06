"""Words that people type and that are no commands, with the commands they can mean.

A word with one meaning runs it. One with several changes nothing and names them.
"""

from collections.abc import Container, Sequence

LISTS = ("ps", "models ls", "keys ls", "batch ls", "alerts ls")
REMOVE = ("undeploy", "models rm", "keys revoke", "batch cancel")
STOP = ("down", "undeploy", "batch cancel")
CHANGE = ("deploy", "apply")

ROOT: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("list", "ls"), LISTS),
    **dict.fromkeys(("status", "endpoints", "endpoint", "replicas"), ("ps",)),
    **dict.fromkeys(("stop", "kill", "terminate"), STOP),
    **dict.fromkeys(("rm", "remove", "delete", "del", "destroy", "uninstall"), REMOVE),
    **dict.fromkeys(("describe", "info", "inspect"), ("models show", "ps", "get")),
    **dict.fromkeys(("update", "set", "scale", "edit"), CHANGE),
    **dict.fromkeys(("create", "new"), ("init", "deploy", "keys create")),
    **dict.fromkeys(("rollback", "undo", "revert"), ("rollout undo", "rollout abort")),
    **dict.fromkeys(("upload", "register", "add", "publish", "package", "import", "save"), ("push",)),
    **dict.fromkeys(("download", "fetch"), ("pull",)),
    **dict.fromkeys(("infer", "invoke", "call", "query", "request", "ask", "prediction"), ("predict",)),
    **dict.fromkeys(("log", "tail"), ("logs",)),
    **dict.fromkeys(("dashboard", "ui", "web"), ("console",)),
    **dict.fromkeys(("metrics", "stats", "monitor"), ("top",)),
    **dict.fromkeys(("check", "diagnose"), ("doctor",)),
    **dict.fromkeys(("settings", "configure"), ("config",)),
    **dict.fromkeys(("autocomplete", "completions"), ("completion",)),
    **dict.fromkeys(("audit", "events", "ledger"), ("history",)),
    **dict.fromkeys(("job", "jobs"), ("batch",)),
    **{verb: (f"rollout {verb}",) for verb in ("pause", "resume", "promote", "abort")},
    "run": ("serve", "deploy", "batch run"),
    "restart": ("down", "up", "deploy"),
    "start": ("up",),
    "server": ("serve",),
    "shutdown": ("down",),
    "release": ("deploy",),
    "diff": ("plan",),
    "watch": ("top", "rollout watch"),
    "model": ("models",),
    "versions": ("models ls",),
    "show": ("models show",),
    "bom": ("sbom",),
    "alias": ("models alias",),
    "tag": ("models alias",),
    "key": ("keys",),
    "alert": ("alerts",),
    "mute": ("alerts mute",),
    "labels": ("feedback",),
    "trigger": ("triggers",),
}

REMOVING = ("rm", "revoke", "cancel")
MAKING = ("create", "submit", "run")
SHOWING = ("show", "status")

WITHIN: dict[str, tuple[str, ...]] = {
    "list": ("ls",),
    **dict.fromkeys(("delete", "remove", "del", "rm", "revoke", "cancel", "stop", "kill"), REMOVING),
    **dict.fromkeys(("new", "add", "create", "start"), MAKING),
    **dict.fromkeys(("get", "info", "describe", "inspect", "show", "status"), SHOWING),
    **dict.fromkeys(("rollback", "revert"), ("undo", "abort")),
    "check": ("verify",),
    "tag": ("alias",),
    "log": ("logs",),
    "silence": ("mute",),
    "upload": ("load",),
}
"""Of every group: those that it has count."""

NOUNS: dict[str, str] = {
    **dict.fromkeys(("endpoint", "endpoints", "deployment", "deployments"), "endpoints"),
    **dict.fromkeys(("model", "models", "version", "versions"), "models"),
    **dict.fromkeys(("key", "keys"), "keys"),
    **dict.fromkeys(("job", "jobs", "batch"), "batch"),
    **dict.fromkeys(("alert", "alerts"), "alerts"),
}
"""The group of what a verb may be followed by; endpoints have none."""
ENDPOINTS: dict[str, str] = {
    **dict.fromkeys(("list", "ls", "show", "status", "describe", "info", "inspect"), "ps"),
    **dict.fromkeys(("stop", "kill", "terminate", "rm", "remove", "delete", "del", "destroy"), "undeploy"),
    **dict.fromkeys(("create", "new", "add", "run", "deploy"), "deploy"),
    **{verb: verb for verb in ("get", "logs", "history", "predict")},
}


def noun_first(words: Sequence[str]) -> list[str]:
    """`delete key K` as `keys delete K`, `delete endpoint E`, `endpoint delete E` as `undeploy E`; else the words."""
    for verb, noun in (words[:2], words[1::-1]) if len(words) > 1 else ():
        group = NOUNS.get(noun, "")
        if group == "endpoints" and verb in ENDPOINTS:
            return [ENDPOINTS[verb], *words[2:]]
        if group != "endpoints" and group and (verb in ROOT or verb in WITHIN) and verb not in NOUNS:
            return [group, verb, *words[2:]]
    return list(words)


def meanings(word: str, commands: Container[str], *, root: bool) -> tuple[str, ...]:
    """The commands that a word can mean: below `argosy` itself, or in a group that has `commands`."""
    if root:
        return ROOT.get(word, ())
    return tuple(each for each in WITHIN.get(word, ()) if each in commands)
