"""The usage of a day, one row an account and model, as a table, CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from rich.table import Column, Table

from cluster.settings import Settings
from cluster.usage import UsageStore
from wire.usage import DayUsage, GpuSeconds, ModelUsage, SessionSeconds

Row = dict[str, Any]
"""By the names in `COLUMNS`; numbers are numbers."""

COLUMNS = (
    *("day", "account", "model", "sessions"),
    *(f"{state}_s" for state in SessionSeconds.model_fields),
    *(f"gpu_{state}_s" for state in GpuSeconds.model_fields),
    *("gpu_s", "busy_s", "chunks", "frames"),
)
_IN_SUM = {f"gpu_{state}_s" for state in GpuSeconds.model_fields}


class Form(StrEnum):
    """How it is written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


def yesterday() -> date:
    """The newest day that is over, in UTC."""
    return datetime.now(UTC).date() - timedelta(days=1)


async def rows(redis: Redis, settings: Settings, day: date, account: str | None) -> list[Row]:
    """The rows of a day, of all accounts or of one."""
    store = UsageStore(redis, settings)
    if account is None:
        found = [*(await store.of_day(day)).items()]
    else:
        found = [(account, usage) for usage in await store.days(account, day, day)]
    return [row for name, usage in found for row in _rows(name, usage)]


def written(rows: Sequence[Row], form: Form) -> str:
    """CSV with a head line, or one JSON object a line."""
    if form is Form.JSON:
        return "".join(f"{json.dumps(row)}\n" for row in rows)
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def save(folder: Path, day: date, rows: Sequence[Row], form: Form) -> Path:
    """Write a file of the day, whole or not at all, in the place of one that is there."""
    path = folder / f"usage-{day.isoformat()}.{'csv' if form is Form.CSV else 'jsonl'}"
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(written(rows, form))
    return beside.replace(path)


def table(rows: Sequence[Row]) -> Table:
    """For people: without the day, which they have asked for, and what can be had from the sums."""
    shown = [name for name in COLUMNS if name != "day" and name not in _IN_SUM]
    found = Table(*(Column(name, overflow="fold") for name in shown))
    for row in rows:
        found.add_row(*(f"{value:.1f}" if isinstance(value := row[name], float) else str(value) for name in shown))
    return found


def _rows(account: str, usage: DayUsage) -> Iterator[Row]:
    for each in usage.models:
        yield dict(zip(COLUMNS, _values(account, usage.day, each), strict=True))


def _values(account: str, day: date, usage: ModelUsage) -> Iterator[Any]:
    gpu = usage.gpu_seconds.model_dump().values()
    yield from (day.isoformat(), account, usage.model, usage.sessions)
    yield from usage.seconds.model_dump().values()
    yield from gpu
    yield from (round(sum(gpu), 3), usage.busy_seconds, usage.chunks, usage.frames)
