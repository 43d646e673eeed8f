"""`python -m longlive.parity FILE...`: how far the engine is from golden files.

Exits 1 if an output is off by more than the bound, not finite, missing or of another shape; 2 if a file cannot be
checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer

from longlive.parity.check import Report, check
from longlive.parity.difference import BOUND, Difference
from longlive.parity.golden import CannotCheck

LISTED = 4
"""Outputs that differ only in their number are listed one by one up to here, else in one line."""

app = typer.Typer(add_completion=False)


@app.command()
def main(files: Annotated[list[Path], typer.Argument(help="Golden files.")]) -> None:
    """Compute the outputs of golden files again, in float32 on the CPU, and compare them."""
    worst = max([_check(path) for path in files])
    raise typer.Exit(worst)


def _check(path: Path) -> int:
    """Print what there is to say of a file; the exit code that it asks for."""
    try:
        report = check(path)
    except CannotCheck as error:
        typer.echo(f"CANNOT CHECK {path}: {error}")
        return 2
    typer.echo("\n".join(_lines(report)))
    if report.failing:
        typer.echo(f"FAIL {path} ({report.kind}), above {BOUND:.0e}: {_few([each.key for each in report.failing])}")
        return 1
    if report.unchecked:
        typer.echo(f"CANNOT CHECK {path} ({report.kind}): nothing to compare with {_few(report.unchecked)}")
        return 2
    largest = max(difference.largest for difference in report.differences)
    typer.echo(f"PASS {path} ({report.kind}), {len(report.differences)} compared, largest difference {largest:.1e}")
    return 0


def _lines(report: Report) -> Iterator[str]:
    for _, group in groupby(report.differences, lambda each: _family(each.key)):
        members = list(group)
        passing = [each for each in members if each.passes]
        if len(passing) > LISTED:
            yield _fold(passing)
            members = [each for each in members if not each.passes]
        for each in members:
            yield _line(each.largest, each.key, each.problem or each.remark)


def _fold(members: list[Difference]) -> str:
    worst = max(members, key=lambda each: each.largest)
    return _line(worst.largest, _family(worst.key), f"{len(members)} of them, the largest in {worst.key}")


def _line(largest: float, name: str, note: str) -> str:
    mark = "ok  " if largest <= BOUND else "FAIL"
    return f"  {mark} {largest:8.1e}  {name}" + (f"  ({note})" if note else "")


def _family(key: str) -> str:
    """The key with a star for its last number."""
    return re.sub(r"\d+(?=\D*$)", "*", key)


def _few(keys: Sequence[str]) -> str:
    more = len(keys) - LISTED
    return ", ".join(keys[:LISTED]) + (f" and {more} more" if more > 0 else "")


if __name__ == "__main__":
    app()
