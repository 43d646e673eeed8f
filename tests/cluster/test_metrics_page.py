"""docs/metrics.md and what the processes export agree: every series, its type, labels, unit and meaning."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import pytest
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric

from cluster import metrics
from cluster.endings import OUR_FAULT
from cluster.gpu import Gpus
from gateway.metrics import Metrics

pytestmark = pytest.mark.fast

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "metrics.md").read_text()
ROW = re.compile(r"^\| `(llc_\w+)` \| (\w+) \| (.*?) \| (\S+) \| (.*) \|$", re.MULTILINE)
UNITS = {"seconds": "seconds", "bytes": "bytes", "ratio": "ratio", "load": "ratio"}


class Series(NamedTuple):
    name: str
    kind: str
    labels: tuple[str, ...]
    unit: str
    meaning: str


def written() -> set[Series]:
    rows = ROW.findall(PAGE)
    assert len({name for name, *_ in rows}) == len(rows), "a series is there twice"
    return {Series(name, kind, tuple(re.findall(r"`(\w+)`", of)), unit, said) for name, kind, of, unit, said in rows}


def exported() -> set[Series]:
    wrapped = [each for each in vars(metrics).values() if isinstance(each, MetricWrapperBase)]
    wrapped += Metrics().registry._collector_to_names
    found = {_series(family, each._labelnames) for each in wrapped for family in each.describe()}
    return found | {_series(family, family._labelnames) for family in Gpus(None).describe()}


def _series(family: Metric, labels: tuple[str, ...]) -> Series:
    unit = next((unit for ending, unit in UNITS.items() if family.name.endswith(ending)), "count")
    name = f"{family.name}_total" if family.type == "counter" else family.name
    return Series(name, family.type, tuple(labels), unit, family.documentation)


def test_the_page_is_what_is_exported():
    assert written() - exported() == set(), "on the page alone"
    assert exported() - written() == set(), "exported alone"


def test_no_label_grows_with_sessions_or_accounts():
    labels = {label for series in exported() for label in series.labels}
    assert labels <= {
        *("model", "stage", "codec", "reason", "outcome", "kind", "owner", "state", "class", "cause", "way", "use"),
        *("gpu", "method", "route", "status", "process"),
    }


def test_nothing_is_made_elsewhere():
    """A series of another module would be on no page."""
    makers = re.compile(r"\b(?:Counter|Gauge|Histogram|Summary|GaugeMetricFamily|CounterMetricFamily)\(\s*\"llc_")
    sources = chain.from_iterable((ROOT / room).rglob("*.py") for room in ("cluster", "gateway", "longlive", "models"))
    found = {str(path.relative_to(ROOT)) for path in sources if makers.search(path.read_text())}
    assert found == {"cluster/metrics.py", "cluster/gpu.py", "gateway/metrics.py"}


def test_what_alerts_count_is_there_from_the_start():
    """So that the first failure of all is an increase."""
    metrics.begin_worker("begins", OUR_FAULT)
    metrics.begin_allocator(["begins"])
    for name, more in {
        "sessions_lost": {"reason": "generation failed"},
        "store_retries": {},
        "chunk_deadline_missed": {},
        "sessions_moved": {"cause": "worker_lost"},
        "worker_load_failures": {},
    }.items():
        assert REGISTRY.get_sample_value(f"llc_{name}_total", {"model": "begins", **more}) == 0, name
