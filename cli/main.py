"""`longlive-cluster`: the commands, their options and their exit codes."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import typer
from pydantic import SecretStr, ValidationError
from rich.console import Console
from rich.table import Column, Table

from cli.usage import Form
from cluster.errors import UnknownWorker
from cluster.keys import GRACE_S, KeyLimits, KeyRing
from cluster.records import PriorityClass
from cluster.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # locals hold keys
    help="Interactive world models on your own GPUs, for unmodified Reactor SDKs.",
)
keys_app = typer.Typer(no_args_is_help=True, help="API keys of a running cluster.")
app.add_typer(keys_app, name="keys")
console = Console()
errors = Console(stderr=True)

Port = Annotated[int, typer.Option(help="Port of the gateway.", min=1, max=65_535)]
Host = Annotated[str, typer.Option(help="Address the gateway listens on.")]
KeyId = Annotated[str, typer.Argument(help="Id of the key, as `list` shows it.")]
MaxSessions = Annotated[int | None, typer.Option(help="Open sessions; without it the cluster's limit.", min=0)]
MaxSessionS = Annotated[
    int | None, typer.Option(help="Longest session in seconds, if shorter than the cluster's.", min=1, max=86_400)
]
MaxCreations = Annotated[
    int | None,
    typer.Option("--max-creations-per-minute", help="New sessions in any 60 s; without it the cluster's limit.", min=1),
]
Priority = Annotated[
    PriorityClass | None, typer.Option(help="Class of its sessions where they wait; strict. Without it normal.")
]
T = TypeVar("T")

_NO_KEY = "no key {} in Redis; keys of LLC_API_KEYS live in the environment"


@app.command()
def serve(port: Port = 8080, host: Host = "0.0.0.0") -> None:
    """Run the cluster until interrupted. `LLC_API_KEYS` lists keys that are accepted from the start."""
    from cli import up

    settings = _settings()
    try:
        with up.running(settings, host, port) as url:
            console.print(f"serving {', '.join(pool.model for pool in settings.pools)} on {url}")
            if not settings.api_keys:
                console.print("no key is set: `longlive-cluster keys create NAME` makes one")
            up.wait_for_signal()
    except up.PortTaken as error:
        _fail(str(error))


@app.command("demo")
def show(
    port: Port = 8080,
    host: Host = "0.0.0.0",
    once: Annotated[
        bool, typer.Option("--once", help="Exit after the storyboard; 0 only if it played as planned.")
    ] = False,
    kill: Annotated[bool, typer.Option("--kill", help="Kill the worker in the midst of it.")] = False,
) -> None:
    """Bring a cluster up, play a three-beat storyboard through the published SDK, then keep serving."""
    from cli import demo, failover, up

    key = SecretStr(secrets.token_urlsafe(24))
    settings = _settings()
    settings = settings.model_copy(update={"api_keys": (*settings.api_keys, key)})
    play = demo.play
    if kill:
        play, settings = failover.play, failover.with_spare(settings)
    try:
        with up.running(settings, host, port) as url:
            played = asyncio.run(play(url, key.get_secret_value(), settings, console))
            if not once:
                console.print("serving on; Ctrl-C ends it")
                up.wait_for_signal()
    except up.PortTaken as error:
        _fail(str(error))
    raise typer.Exit(0 if played else 1)


@app.command()
def doctor(port: Port = 8080) -> None:
    """Check this machine, one line a thing, each with its remedy."""
    from cli.doctor import examine

    findings = examine(_settings(), port)
    for finding in findings:
        mark = "[green]ok  [/]" if finding.good else ("[red]bad [/]" if finding.needed else "[yellow]note[/]")
        console.print(f"{mark} {finding.subject}: {finding.text}", highlight=False, soft_wrap=True)
    raise typer.Exit(0 if all(finding.good or not finding.needed for finding in findings) else 1)


@app.command()
def workers(as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False) -> None:
    """List the workers of the running cluster: state, sessions, process and metrics port."""
    from cli import attach

    try:
        statuses = asyncio.run(attach.with_cluster(_settings(), lambda cluster: cluster.workers()))
    except attach.NotRunning as error:
        _fail(str(error))
    if as_json:
        for status in statuses:
            typer.echo(status.model_dump_json())
        return
    columns = ("worker", "model", "state", "sessions", "pid", "metrics port", "node")
    table = Table(*(Column(name, overflow="fold") for name in columns))
    for status in statuses:
        sessions = " ".join(held.session_id for held in status.sessions)
        table.add_row(
            status.name,
            status.model,
            status.state,
            sessions,
            str(status.pid),
            str(status.metrics_port or "-"),
            status.node,
        )
    console.print(table)


@app.command()
def drain(
    target: Annotated[
        str | None, typer.Argument(help="Name of a worker, or id of a node (`workers` lists both).")
    ] = None,
    here: Annotated[bool, typer.Option("--here", help="All workers of the node that this runs on.")] = False,
    deadline_s: Annotated[
        float | None,
        typer.Option("--deadline", help="Seconds after which what is left is moved; else it ends by itself.", min=0),
    ] = None,
    wait_s: Annotated[float, typer.Option("--wait", help="Seconds to wait for them to leave.", min=0)] = 86_400.0,
) -> None:
    """Have workers leave; their sessions end by themselves or, at the deadline, go on elsewhere."""
    from cli import attach
    from cli.drain import TooLate
    from cli.drain import drain as leave

    if (target is None) is not here:
        _fail("name a worker or a node, or say --here")

    def say(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    try:
        asyncio.run(attach.with_cluster(_settings(), lambda cluster: leave(cluster, target, deadline_s, wait_s, say)))
    except (attach.NotRunning, UnknownWorker, TooLate) as error:
        _fail(str(error))


@app.command()
def integrity(
    within_s: Annotated[
        float, typer.Option("--within", help="Seconds for which to look: what is gone by then was a change.", min=0)
    ] = 5.0,
) -> None:
    """Compare what registry, allocator and workers say; 1 if something lastingly does not fit."""
    from cli import attach
    from cli.integrity import lasting
    from cluster.errors import Unavailable

    try:
        found = asyncio.run(attach.with_cluster(_settings(), lambda cluster: lasting(cluster, within_s)))
    except (attach.NotRunning, Unavailable) as error:
        _fail(str(error))
    for violation in sorted(found):
        errors.print(f"{violation.kind}: {violation.subject} {violation.detail}", highlight=False, soft_wrap=True)
    if found:
        raise typer.Exit(1)
    console.print("all fits")


@app.command("usage")
def show_usage(
    day: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="In UTC; without it yesterday.", show_default=False)
    ] = None,
    account: Annotated[str | None, typer.Option(help="Of one account alone.")] = None,
    form: Annotated[Form, typer.Option("--format", help="A table, CSV, or one JSON object a line.")] = Form.TABLE,
    folder: Annotated[
        Path | None,
        typer.Option(help="Write `usage-DAY.csv` (or `.jsonl`) there.", exists=True, file_okay=False, writable=True),
    ] = None,
) -> None:
    """Show what accounts have used on a day, one line an account and model; a Redis that is set is enough."""
    from cli import attach, usage

    if folder is not None and form is Form.TABLE:
        _fail("--folder is for --format csv or json")
    of_day = day.date() if day is not None else usage.yesterday()
    settings = _settings()
    try:
        rows = asyncio.run(attach.with_redis(settings, lambda redis: usage.rows(redis, settings, of_day, account)))
    except attach.NotRunning as error:
        _fail(str(error))
    if form is Form.TABLE:
        console.print(usage.table(rows))
    elif folder is None:
        typer.echo(usage.written(rows, form), nl=False)
    else:
        console.print(str(usage.save(folder, of_day, rows, form)), highlight=False, soft_wrap=True)


@keys_app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Who or what the key is for.")],
    max_sessions: MaxSessions = None,
    max_session_s: MaxSessionS = None,
    max_creations: MaxCreations = None,
    priority: Priority = None,
) -> None:
    """Make a key. It is printed this once; the cluster keeps its hash."""
    limits = _limits(max_sessions, max_session_s, max_creations, priority)

    async def make(ring: KeyRing) -> tuple[str, str]:
        key, raw = await ring.create(name, limits)
        return key.key_id, raw

    key_id, raw = _with_keys(make)
    errors.print(f"{key_id} created; this is the only time the key is shown:", highlight=False)
    console.print(raw, highlight=False, soft_wrap=True)


@keys_app.command("list")
def list_keys() -> None:
    """List the live keys."""
    columns = (
        "id",
        "name",
        "created (unix s)",
        "rotated (unix s)",
        "sessions",
        "seconds of one",
        "a minute",
        "priority",
    )
    table = Table(*(Column(title, overflow="fold") for title in columns))
    for key in _with_keys(lambda ring: ring.all()):
        own = key.limits
        limits = (own.max_sessions, own.max_session_s, own.max_creations_per_minute, own.priority)
        cells = ("-" if limit is None else str(limit) for limit in limits)
        table.add_row(key.key_id, key.name, str(key.created_at or "-"), str(key.rotated_at or "-"), *cells)
    console.print(table)


@keys_app.command("limit")
def limit(
    key_id: KeyId,
    max_sessions: MaxSessions = None,
    max_session_s: MaxSessionS = None,
    max_creations: MaxCreations = None,
    priority: Priority = None,
) -> None:
    """Replace a key's limits; one that is left out becomes the cluster's again. They hold for new sessions."""
    limits = _limits(max_sessions, max_session_s, max_creations, priority)
    if not _with_keys(lambda ring: ring.limit(key_id, limits)):
        _fail(_NO_KEY.format(key_id))
    console.print(f"{key_id} limited", highlight=False)


@keys_app.command("rotate")
def rotate(
    key_id: KeyId,
    grace_s: Annotated[
        int, typer.Option("--grace", help="Seconds the old secret stays good; 0: none.", min=0)
    ] = GRACE_S,
) -> None:
    """Give a key a new secret, printed this once. Account, name, limits, sessions and tokens stay."""
    raw = _with_keys(lambda ring: ring.rotate(key_id, grace_s))
    if raw is None:
        _fail(_NO_KEY.format(key_id))
    errors.print(
        f"{key_id} rotated, the old secret is good for {grace_s} s; the new one, shown only now:", highlight=False
    )
    console.print(raw, highlight=False, soft_wrap=True)


@keys_app.command("revoke")
def revoke(key_id: KeyId) -> None:
    """Forget a key. Its tokens stop working at once."""
    if not _with_keys(lambda ring: ring.revoke(key_id)):
        _fail(_NO_KEY.format(key_id))
    console.print(f"{key_id} revoked", highlight=False)


def _limits(
    max_sessions: int | None, max_session_s: int | None, max_creations: int | None, priority: PriorityClass | None
) -> KeyLimits:
    return KeyLimits(
        max_sessions=max_sessions,
        max_session_s=max_session_s,
        max_creations_per_minute=max_creations,
        priority=priority,
    )


def _with_keys(work: Callable[..., Awaitable[T]]) -> T:
    from cli import attach

    try:
        return asyncio.run(attach.with_key_ring(_settings(), work))
    except attach.NotRunning as error:
        _fail(str(error))


def _settings() -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_url=False)
        _fail("settings: " + "; ".join(f"{_variable(each['loc'])}{each['msg']}" for each in wrong))


def _variable(location: tuple[int | str, ...]) -> str:
    return f"LLC_{'__'.join(map(str, location)).upper()}: " if location else ""


def _fail(message: str) -> NoReturn:
    errors.print(message, style="red", highlight=False, soft_wrap=True)
    raise typer.Exit(1)


if __name__ == "__main__":
    app()
