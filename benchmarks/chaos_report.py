"""What `benchmarks.chaos` has found, as a page."""

from __future__ import annotations

import os
from dataclasses import dataclass

from benchmarks.chaos_players import CONNECT_S, REASON, Account


@dataclass(frozen=True)
class Report:
    """Of one run. `took_s` has the settling at its end in it; loads are of one minute, before and after."""

    seed: int
    seconds: float
    sessions_at_a_time: int
    every_s: float
    took_s: float
    loads: tuple[float, float]
    kills: dict[str, int]
    ended: dict[str, int]
    """Sessions by the reason for which they ended."""
    no_networks: str
    """Why no client could lose its network; empty if they could."""
    account: Account

    @property
    def lost(self) -> int:
        """Sessions that were ended by anybody but their client."""
        return sum(count for reason, count in self.ended.items() if reason != REASON)

    @property
    def survival(self) -> float:
        """Share of the sessions that were not lost."""
        return 1 - self.lost / max(1, self.account.sessions)


def markdown(report: Report) -> str:
    """The page."""
    found = report.account
    before, after = report.loads
    command = (
        f"python -m benchmarks.chaos --minutes {report.seconds / 60:g} --sessions {report.sessions_at_a_time} "
        f"--every {report.every_s:g} --seed {report.seed}"
    )
    lines = [
        "# Chaos",
        "",
        f"`{command}` on {os.cpu_count()} cores; load {before:.1f} before and {after:.1f} after. Cluster and clients "
        "share the machine.",
        "",
        "| death | times |",
        "|---|---:|",
        *(f"| {way} | {count} |" for way, count in sorted(report.kills.items(), key=lambda each: -each[1])),
        f"| **all** | **{sum(report.kills.values())}** |",
        "",
        "| what was seen | |",
        "|---|---:|",
        f"| violations | {len(found.violations)} |",
        f"| sessions | {found.sessions} |",
        f"| of these ended by anybody but their client | {report.lost} ({report.survival:.1%} went on) |",
        f"| played to their planned end, with all that it took to be connected again | {found.went_on} |",
        f"| not to be connected to for {CONNECT_S:g} s | {found.stranded} |",
        f"| moves to another worker, as clients were told | {found.moves} |",
        f"| commands answered | {found.commands} |",
        f"| chunks | {found.chunks} |",
        f"| chunks announced again after a death | {found.repeated} |",
        f"| attempts of a stranger | {found.strangers} |",
        f"| brief losses of a client's network, and connections that outlasted them | {found.brief}, "
        f"{found.outlasted} |",
        "",
        "Reasons for which sessions ended, by the registry: "
        + ", ".join(f"{reason} ({count})" for reason, count in sorted(report.ended.items()))
        + ".",
        "",
    ]
    if report.no_networks:
        lines += [f"No client has lost its network: none can be made here ({report.no_networks}).", ""]
    lines += [f"- violated: {each}" for each in found.violations]
    return "\n".join(lines) + "\n"
