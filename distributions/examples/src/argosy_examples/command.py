"""`argosy demo`."""

import contextlib
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from argosy.cli.base import Command, json_option
from argosy.cli.output import emit, progress, table

if TYPE_CHECKING:
    from argosy_examples.loop import Loop
    from argosy_examples.stage import Figures, Stage

COLUMNS = ("model", "engine", "rows", "a request", "result", "p50 ms", "p99 ms", "requests/s", "rows/s", "")


@click.command(cls=Command)
@click.option("--once", is_flag=True, help="End after the results instead of staying up.")
@click.option("--home", type=click.Path(path_type=Path, file_okay=False), help="Where it lives; a temporary folder.")
@click.option(
    "--drift", is_flag=True, help="Let the data change and the model be retrained; ends after about two minutes."
)
@click.option("--language", is_flag=True, help="Deploy a language model: it streams, is counted, limited and updated.")
@click.option("--edge", is_flag=True, help="Update a model on three devices over the air, well and badly.")
@json_option
def demo(once: bool, home: Path | None, drift: bool, language: bool, edge: bool, as_json: bool) -> None:
    """Deploy three real models and send them real data through the gateway.

    A scikit-learn classifier on handwritten digits, a LightGBM model on a table with missing values, and a network that
    recognises file types. Prints accuracy, latency and throughput of each, then stays up until Ctrl-C. It has a
    platform of its own, on free ports. The exit status is 0 if every model is as good as it should be. JSON: a list
    of {name, score, good, p50_ms, p99_ms, requests_per_second, rows_per_second, …}.

    With --drift a model of the mornings' flights is asked about the evenings': the estimate without labels falls,
    labels come and agree, a trigger retrains, the next version is rolled out, quality returns. The exit status is 0 if
    the loop has closed. JSON: {links: [{name, told, held}], stretches: [{flights, version, rows, estimated, realised}],
    reference, seconds}.

    With --language Gemma 3 with 270 million parameters is pushed and deployed, holds a conversation, has its tokens
    counted and limited, and is updated under load. The exit status is 0 if every step held. JSON: {links: [{name, told,
    held}], answers: [{text, first, whole, input, cached, output}], usage: [{key, endpoint, …}], seconds}.

    With --edge three agents become devices of a fleet. One is offline while a good update comes, and takes it when it
    is back; a bad one, whose labels are permuted, is rolled back by its quality on the first device and goes no
    further. The exit status is 0 if the good update is committed on all and the bad one on none. JSON: {links: [{name,
    told, held}], sent: {first, good, bad}, full, namespaces, seconds}.

    \b
    Example:
      argosy demo --once
      argosy demo --drift
      argosy demo --language --once
      argosy demo --edge --once
    """
    from argosy_examples import PARTS, needs
    from argosy_examples.stage import stage

    if drift:
        if once:
            raise click.UsageError("--drift ends by itself: leave --once out")
        _drift(home, as_json)
        return
    if edge:
        _edge(home, as_json, once)
        return
    if language:
        _language(home, as_json, once)
        return
    needs.check()

    with stage(home, lambda line: click.echo(line, err=True)) as running:
        found = [_play(running, name) for name in PARTS]
        emit(found, as_json, lambda: _print(found))
        if not once:
            _stay(running, as_json)
    if not all(one.good for one in found):
        raise click.exceptions.Exit(1)


def _drift(home: Path | None, as_json: bool) -> None:
    from argosy_examples import needs
    from argosy_examples.loop import Player
    from argosy_examples.stage import stage

    needs.check_drift()

    def report(line: str) -> None:
        click.echo(line, err=True)

    with stage(home, report) as running:
        found = Player(running.home, running.key, report).play()
        emit(found, as_json, lambda: _print_loop(found))
    if not found.closed:
        raise click.exceptions.Exit(1)


def _language(home: Path | None, as_json: bool, once: bool) -> None:
    from argosy_examples import needs
    from argosy_examples.language import NAME, Player
    from argosy_examples.stage import stage

    needs.check_language()

    def report(line: str) -> None:
        click.echo(line, err=True)

    with stage(home, report) as running:
        player = Player(running.home, running.gateway, report)
        found = player.play()
        steps = [(one.name, "ok" if one.held else "fail", one.told) for one in found.links]
        emit(found, as_json, lambda: table(("step", "", "what was seen"), steps))
        if not once:
            asked = f"\nexport OPENAI_BASE_URL={player.url} OPENAI_API_KEY={player.key}  # the model is {NAME}"
            click.echo(asked, err=as_json)
            _stay(running, as_json)
    if not found.good:
        raise click.exceptions.Exit(1)


def _edge(home: Path | None, as_json: bool, once: bool) -> None:
    from argosy_examples import needs
    from argosy_examples.edge import EdgePlayer
    from argosy_examples.stage import stage

    needs.check_edge()

    def report(line: str) -> None:
        click.echo(line, err=True)

    with stage(home, report) as running, EdgePlayer(running.home, running.gateway, report) as player:
        found = player.play()
        steps = [(one.name, "ok" if one.held else "fail", one.told) for one in found.links]
        emit(found, as_json, lambda: table(("step", "", "what was seen"), steps))
        if not once:
            _stay(running, as_json)
    if not found.good:
        raise click.exceptions.Exit(1)


def _print_loop(found: "Loop") -> None:
    click.echo()
    rows = [(one.flights, one.version, one.rows, one.estimated, one.realised) for one in found.stretches]
    table(("flights", "version", "rows", "AUROC estimated without labels", "AUROC by labels"), rows)
    click.echo()
    table(("link", "", "what was seen"), [(one.name, "ok" if one.held else "fail", one.told) for one in found.links])
    broken = next((one.name for one in found.links if not one.held), "")
    said = "the loop has closed" if found.closed else f"the loop is broken at '{broken}'"
    click.echo(f"\n{said}, after {found.seconds:.0f} s")


def _play(running: "Stage", name: str) -> "Figures":
    from argosy_examples import part

    with progress(name) as report:
        found = running.play(part(name), lambda step: report(f"{name}: {step}"))
    score = found.score
    line = f"{score.measure} {score.value:.3f} on {found.rows} rows ({score.note})"
    click.echo(f"{_verdict(found)}  {click.style(name, bold=True)}: {line}", err=True)
    return found


def _verdict(found: "Figures") -> str:
    return click.style("ok", fg="green") if found.good else click.style("poor", fg="red")


def _print(found: "list[Figures]") -> None:
    click.echo()
    table(COLUMNS, [_row(one) for one in found])
    busy = ", ".join(f"{one.name} {one.connections}" for one in found)
    click.echo(f"\nlatencies as the client sees them, through the gateway, all connections busy ({busy})")


def _row(one: "Figures") -> tuple[object, ...]:
    return (
        one.ref,
        f"{one.engine} x {one.replicas}",
        one.rows,
        f"{one.rows_each} as {one.form}",
        f"{one.score.measure} {one.score.value:.3f} (floor {one.score.floor:.2f})",
        f"{one.p50_ms:.1f}",
        f"{one.p99_ms:.1f}",
        f"{one.requests_per_second:.0f}",
        f"{one.rows_per_second:.0f}",
        "ok" if one.good else "fail",
    )


def _stay(running: "Stage", as_json: bool) -> None:
    """Say how to call the endpoints, and wait for Ctrl-C."""
    from argosy_examples.stage import curl

    lines = [
        f"gateway  {running.gateway}",
        f"key      {running.key}",
        *(f"\n{live.name}\n  {curl(live, running.key)}" for live in running.live),
        f"\nlook around with  ARGOSY_HOME={running.home.root} argosy ps",
        "Ctrl-C ends it",
    ]
    click.echo("\n".join(["", *lines]), err=as_json)
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            signal.pause()
