"""What every command shares: lazy loading, near names, `--json` and `--debug`, errors into exit statuses."""

import contextlib
import difflib
import errno
import os
import sys
from collections.abc import Sequence
from typing import Any, Never

import click
from click.shell_completion import CompletionItem

from argosy import __version__
from argosy.cli.catalog import COMMANDS, meanings, noun_first, sections
from argosy.spec.errors import INTERRUPTED, ArgosyError, Internal, InvalidArgument, MissingExtra, NotFound, StorageFull
from argosy.spec.install import beside, pip

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Command(click.Command):
    """A command that also understands `--debug`, wherever it stands."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["context_settings"] = CONTEXT | (kwargs.get("context_settings") or {})
        super().__init__(*args, **kwargs)
        self.params.append(_debug_option())

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """`argosy deploy help` is `argosy deploy --help`."""
        return super().parse_args(ctx, ["--help"] if args == ["help"] else args)


def _debug_option() -> click.Option:
    return click.Option(["--debug"], is_flag=True, expose_value=False, help="Show a traceback on errors.")


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class Group(click.Group):
    """A group that offers the nearest name when a command is unknown. One that does something by itself understands
    `--debug`, too."""

    command_class = Command

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["context_settings"] = CONTEXT | (kwargs.get("context_settings") or {})
        super().__init__(*args, **kwargs)
        if self.invoke_without_command:
            self.params.append(_debug_option())

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """`argosy help deploy` is `argosy deploy --help`."""
        return super().parse_args(ctx, [*args[1:], "--help"] if args[:1] == ["help"] else args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command named by `args[0]`, or by a synonym. Raises UsageError with those that may be meant."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            meant = meanings(name, self.list_commands(ctx), root=isinstance(self, Root))
            if len(meant) == 1:
                args = [*meant[0].split(), *args[1:]]
            elif not ctx.resilient_parsing:  # of the shell that completes
                raise click.UsageError(self._unknown(ctx, name, meant), ctx)
        return super().resolve_command(ctx, args)

    def _unknown(self, ctx: click.Context, name: str, meant: Sequence[str]) -> str:
        """What to write instead: what the word can mean, else the nearest names, else the first of the group."""
        if meant:
            lines = "".join(f"\n  {ctx.command_path} {each:14}{self._about(ctx, each)}" for each in meant)
            return f"'{name}' can mean several commands; write one of them:{lines}"
        commands = self.list_commands(ctx)
        near = difflib.get_close_matches(name, commands, n=2, cutoff=0.5)
        if not near and "ls" in commands:
            return f"there is no command '{name}'; did you mean '{ctx.command_path} ls {name}'?"
        hint = f"; did you mean {' or '.join(repr(one) for one in near)}?" if near else ""
        if not hint and not isinstance(self, Root):
            hint = f"; there are {', '.join(commands)}"
        return f"there is no command '{name}'{hint}"

    def _about(self, ctx: click.Context, path: str) -> str:
        """The first sentence of a command's help."""
        command: click.Command | None = self
        for word in path.split():
            command = command.get_command(ctx, word) if isinstance(command, click.Group) else None
        return command.get_short_help_str(80) if command else ""


class Root(Group):
    """`argosy` itself: knows its commands from the catalog and loads the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command; None for a name that is not in the catalog, or whose distribution is not installed."""
        entry = COMMANDS.get(cmd_name)
        return entry and entry.load(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command named by `args[0]`. Raises UsageError, and MissingExtra naming the distribution to install."""
        args = args if args[0] in COMMANDS else noun_first(args)
        name = args[0]
        if name in COMMANDS and self.get_command(ctx, name) is None and not ctx.resilient_parsing:
            wanted = COMMANDS[name].distribution
            raise MissingExtra(
                f"argosy {name} needs the distribution '{wanted}', which is not installed: run  "
                f"{pip()} {beside(wanted, __version__)}"
            )
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands of the catalog with their lines: none is loaded for this."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [CompletionItem(name, help=each.help) for name, each in COMMANDS.items() if name.startswith(incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The catalog under its headings; no command is loaded for this."""
        for heading, rows in sections().items():
            with formatter.section(heading):
                formatter.write_dl(rows)

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, *rest: Any, **kwargs: Any) -> Any:
        """Run a command line and leave with the exit status of the error table."""
        if "_ARGOSY_COMPLETE" in os.environ:
            return super().main(args, prog_name, *rest, **kwargs)
        words = list(sys.argv[1:] if args is None else args)
        status = 0
        try:
            try:
                with self.make_context(prog_name or "argosy", list(words)) as context:
                    self.invoke(context)
            except click.exceptions.Exit as end:
                status = end.exit_code
            sys.stdout.flush()
        except BaseException as error:
            _leave(error, words)
        sys.exit(status)


def _leave(error: BaseException, words: list[str]) -> Never:
    """Print one line for whatever ended the command, and exit."""
    if isinstance(error, BrokenPipeError):
        with contextlib.suppress(OSError):  # the reader is gone: the interpreter's last flush goes nowhere
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    if isinstance(error, SystemExit):
        raise error
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        sys.exit(InvalidArgument.exit)
    if isinstance(error, KeyboardInterrupt | click.Abort):
        sys.exit(INTERRUPTED)
    if "--debug" in words:
        _print_whole(error)
    known = translate(error)
    if "--json" in words:
        import msgspec

        click.echo(msgspec.json.encode({"error": known.message, "code": known.code}), err=True)
        sys.exit(known.exit)
    click.echo(click.style("error:", fg="red", bold=True) + f" {known.message}", err=True)
    if isinstance(error, click.UsageError) and error.ctx:
        click.echo(f"try '{error.ctx.command_path} --help'", err=True)
    sys.exit(known.exit)


def _print_whole(error: BaseException) -> None:
    """A traceback with what plain messages leave out: the errors of frameworks that they stand for."""
    import traceback

    cause: BaseException | None = error
    while cause is not None:
        cause.__suppress_context__ = False
        cause = cause.__cause__ or cause.__context__
    traceback.print_exception(error)


def translate(error: BaseException) -> ArgosyError:
    """The member of the error table for any exception; what is not in it is a bug of ours."""
    if isinstance(error, ArgosyError):
        return error
    if isinstance(error, click.ClickException):
        text = error.format_message().rstrip(".")
        return InvalidArgument(text[:1].lower() + text[1:])
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull(f"no space left on the device ({error.filename or 'while writing'})")
    if isinstance(error, OSError) and error.filename:
        kind = NotFound if isinstance(error, FileNotFoundError) else InvalidArgument
        return kind(f"{error.strerror}: {error.filename}")
    return Internal(f"this is a bug in argosy: {type(error).__name__}: {error} (run again with --debug to see where)")
