"""`python -m benchmarks.load`: play sessions against a cluster and say what came.

    python -m benchmarks.load --sessions 1 --sessions 2
    python -m benchmarks.load --find --profile --write docs/load
    python -m benchmarks.load --sessions 2 --rounds 3 --compare LLC_MEDIA__BITRATE=2000000
    python -m benchmarks.load --sessions 2 --rounds 3 --against ../other-checkout
    LOAD_API_KEY=rk_… python -m benchmarks.load --url https://gateway.example.org --sessions 4

The exit code is 1 if a step met fewer than 99 % of its chunks' deadlines, or a session failed; with `--find` if
not one session could be played in time.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.load import report
from benchmarks.load.profile import NoProfile, profile
from benchmarks.load.seen import KEY
from benchmarks.load.setting import BadSetting, Setting
from benchmarks.load.step import Plan, Profiled, Step, limit, run
from benchmarks.load.target import Own, Running, Target
from benchmarks.load.trace import BadTrace, Trace

MOST = 3
"""Sessions for each core that `--find` tries, at most."""
PROFILE_S = 8


class Steps:
    """What is played against one target after the other."""

    def __init__(self, plan: Plan, counts: Sequence[int | None], *, find: bool, profiled: bool) -> None:
        self._plan = plan
        self._counts = counts
        self._find = find
        self._profiled = profiled
        self._console = Console(stderr=True)

    def play(self, target: Target, setting: str, number: int) -> Iterator[Step]:
        """All counts, or with `find` up to the first that is too many."""
        for count in self._counts:
            plan = replace(self._plan, sessions=count)
            step = asyncio.run(run(target, plan, setting, number, self._profile(target)))
            met = "–" if step.met is None else f"{step.met:.1%}"
            self._console.print(f"{setting}, round {number}, {step.sessions} sessions: {met} in time; {limit(step)}")
            yield step
            if self._find and not step.is_good:
                return

    def _profile(self, target: Target) -> Profiled | None:
        return (lambda: profile(target.pids(), PROFILE_S)) if self._profiled else None


def _settings(url: str, compare: list[str], against: Path | None) -> list[Setting]:
    base = [Setting("running" if url else "this" if compare or against else "tiny")]
    return base + ([Setting.changed(compare)] if compare else []) + ([Setting.revision(against)] if against else [])


def _counts(sessions: list[int], per_minute: float, find: bool, cores: int) -> list[int | None]:
    if per_minute:
        return [None]
    return list(range(1, MOST * cores + 1)) if find else list(sessions or [1])


def main(
    sessions: Annotated[list[int] | None, typer.Option(min=1, help="At once; once for each step.")] = None,
    find: Annotated[bool, typer.Option(help="One more at a time, until chunks are late.")] = False,
    per_minute: Annotated[float, typer.Option(min=0, help="Sessions that come and go instead.")] = 0,
    per_s: Annotated[float, typer.Option(min=0.01, help="How fast those of a step come, a second.")] = 1.0,
    seconds: Annotated[float, typer.Option(min=10, help="For how long a step is measured.")] = 30,
    trace: Annotated[str, typer.Option(help="Name of a trace of benchmarks/traces, or a .json file.")] = "storyboard",
    viewers: Annotated[int, typer.Option(min=0, help="Beside the director of each session.")] = 0,
    codec: Annotated[str | None, typer.Option(help="All that players offer: H264, VP8.")] = None,
    buffer_s: Annotated[float, typer.Option(min=0, help="What a simulated player fills before it starts.")] = 0.2,
    per_process: Annotated[int, typer.Option(min=1, help="Sessions of one process of players.")] = 2,
    workers: Annotated[int, typer.Option(min=0, help="Of the cluster; 0 is as many as the sessions need.")] = 0,
    per_worker: Annotated[int, typer.Option(min=1, help="Sessions of one worker.")] = 1,
    cores: Annotated[int, typer.Option(min=0, help="For the cluster; players have the rest. 0: all share all.")] = 0,
    compare: Annotated[list[str] | None, typer.Option(help="LLC_NAME=VALUE; together the second setting.")] = None,
    against: Annotated[Path | None, typer.Option(help="Another checkout, which takes turns with this one.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each setting.")] = 1,
    url: Annotated[str, typer.Option(help=f"A running cluster; its API key is in {KEY}.")] = "",
    metrics: Annotated[list[str] | None, typer.Option(help="URLs of its workers' and gateways' metrics.")] = None,
    profiled: Annotated[bool, typer.Option("--profile", help="py-spy beside workers and gateway.")] = False,
    seed: Annotated[int, typer.Option(help="Of the arrivals.")] = 1,
    write: Annotated[Path | None, typer.Option(help="Folder for README.md, load.json and load.png.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, not tables.")] = False,
) -> None:
    """Play, print the tables, and write them."""
    if url and (compare or against or cores or profiled):
        raise typer.BadParameter("--url is for a cluster that runs: without --compare, --against, --cores, --profile")
    try:
        settings = _settings(url, compare or [], against)
        counts = _counts(sessions or [], per_minute, find, cores or os.cpu_count() or 1)
        rate = per_minute / 60 or per_s
        plan = Plan(Trace.read(trace), counts[0], rate, seconds, viewers, codec, buffer_s, per_process, seed)
    except (BadTrace, BadSetting) as error:
        raise typer.BadParameter(str(error)) from None
    most = max((count for count in counts if count), default=per_worker * (os.cpu_count() or 1))
    needed = workers or -(-most // per_worker)

    def target(setting: Setting) -> AbstractContextManager[Target]:
        if not url:
            return Own.started(setting, needed, per_worker, cores)
        if not os.environ.get(KEY):
            raise typer.BadParameter(f"--url needs an API key in {KEY}")
        return nullcontext(Running(url, os.environ[KEY], metrics or []))

    playing = Steps(plan, counts, find=find, profiled=profiled)
    loads, steps = [os.getloadavg()[0]], []
    for number in range(1, rounds + 1):
        for setting in settings if number % 2 else reversed(settings):  # who goes first changes
            try:
                with target(setting) as cluster:
                    steps += list(playing.play(cluster, setting.name, number))
            except NoProfile as error:
                raise typer.BadParameter(str(error)) from None
    loads.append(os.getloadavg()[0])
    command = " ".join(["python -m benchmarks.load", *sys.argv[1:]])
    _tell(report.Run(command, plan, cores, (loads[0], loads[1]), tuple(steps)), write, as_json)
    good = any(step.is_good for step in steps) if find else all(step.is_good for step in steps)
    raise typer.Exit(0 if good else 1)


def _tell(found: report.Run, write: Path | None, as_json: bool) -> None:
    print(json.dumps(report.plain(found), indent=1) if as_json else report.markdown(found))
    if write is not None:
        from benchmarks.load.plots import draw  # matplotlib is not where clusters run

        write.mkdir(parents=True, exist_ok=True)
        draw(write / report.PLOT, found)
        report.write(write, found)


if __name__ == "__main__":
    typer.run(main)
