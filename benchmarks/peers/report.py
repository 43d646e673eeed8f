"""The tables of a run: for a terminal, and as Markdown in the place that a page has for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from benchmarks.peers.figures import OURS, Figures, Key, as_json, for_each_more, ratios

Row = tuple[str, ...]

BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"
"""What stands in a page around the tables."""
COST = ("contestant", "viewers", "CPU s/s, media", "all processes", "each viewer more", "Mbit/s")
RATIO = ("CPU in the cluster's", "viewers", "media", "all processes", "each viewer more")
SEEN = ("contestant", "viewers", "connected", "first picture", "fps, median / least", "age p50 / p95", "frozen s/min")


@dataclass(frozen=True, slots=True)
class Report:
    """A run. `setting` is a sentence or two, `absent` says of each contestant that took no part why."""

    setting: str
    versions: Mapping[str, str]
    absent: Mapping[str, str]
    found: Mapping[Key, Figures]

    def tables(self) -> list[Table]:
        """For a terminal."""
        tables = []
        for columns, rows in self._parts():
            table = Table(*columns)
            for row in rows:
                table.add_row(*row)
            tables.append(table)
        tables[0].title = self.setting
        return tables

    def markdown(self) -> str:
        """The same for a page."""
        absent = [f"Took no part: {name} ({why})." for name, why in self.absent.items()]
        return "\n\n".join([self.setting, *absent, *(_table(*part) for part in self._parts())])

    def as_json(self) -> dict[str, object]:
        """All of it."""
        return {
            "setting": self.setting,
            "versions": dict(self.versions),
            "absent": dict(self.absent),
            "figures": as_json(self.found),
            "ratios": {name: ratios(self.found, name) for name in self._peers()},
        }

    def write(self, page: Path) -> None:
        """Put the tables into a page's place for them. Raises ValueError if it has none."""
        text = page.read_text()
        before, begin, rest = text.partition(BEGIN)
        _, end, after = rest.partition(END)
        if not (begin and end):
            raise ValueError(f"{page} has no {BEGIN} … {END}")
        page.write_text(f"{before}{BEGIN}\n{self.markdown()}\n{END}{after}")

    def _parts(self) -> list[tuple[Row, list[Row]]]:
        costs = [self._cost(key, one) for key, one in self.found.items()]
        return [
            (COST, costs),
            (RATIO, self._ratios()),
            (SEEN, [self._seen(key, one) for key, one in self.found.items()]),
        ]

    def _ratios(self) -> list[Row]:
        rows = []
        for name in self._peers():
            for count, (media, everything) in ratios(self.found, name).items():
                rows.append((name, str(count), f"{media:.1f}×", f"{everything:.1f}×", self._more(name, count)))
        return rows

    def _peers(self) -> list[str]:
        return list(dict.fromkeys(name for name, _ in self.found if name != OURS))

    def _cost(self, key: Key, one: Figures) -> Row:
        more = for_each_more(self.found, key)
        each = "" if more is None else f"{more:.3f}"
        return *self._who(key), f"{one.cpu:.3f}", f"{one.cpu_all:.3f}", each, f"{one.mbit_s:.2f}"

    def _seen(self, key: Key, one: Figures) -> Row:
        return (
            *self._who(key),
            f"{one.connected_ms:.0f} ms",
            f"{one.first_ms:.0f} ms",
            f"{one.fps:.1f} / {one.least_fps:.1f}",
            f"{one.age_p50_ms:.0f} / {one.age_p95_ms:.0f} ms",
            f"{one.frozen_s:.1f}",
        )

    def _who(self, key: Key) -> tuple[str, str]:
        name, count = key
        return f"{name} {self.versions[name]}", str(count)

    def _more(self, name: str, count: int) -> str:
        theirs, ours = for_each_more(self.found, (name, count)), for_each_more(self.found, (OURS, count))
        return "" if not theirs or not ours else f"{theirs / ours:.1f}×"


def _table(columns: Row, rows: Sequence[Row]) -> str:
    rule = ["---", *("---:" for _ in columns[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (columns, rule, *rows))
