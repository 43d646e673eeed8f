"""The alerts: Prometheus takes them, they fire when they should and else not, and each has its page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.metrics import MetricWrapperBase

from cluster import metrics
from cluster.gpu import Gpus
from gateway.metrics import Metrics
from tests.helm.chart import CHART, objects, of_kind, rendered, with_values
from tests.support.prometheus import promtool

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
RULES = CHART / "files" / "rules" / "alerts.yaml"
GROUPS = yaml.safe_load(RULES.read_text())["groups"]
ALERTS = {rule["alert"]: rule for group in GROUPS for rule in group["rules"]}
PAGES = {path.stem: path.read_text() for path in (ROOT / "docs" / "runbooks").glob("*.md")}
LOGGED = re.compile(r"log(?:ger)?\.\w+\(\s*\"(\w+)\"")


class Case(NamedTuple):
    """Series in promtool's notation, and whether the alert fires half an hour later."""

    alert: str
    fires: bool
    series: dict[str, str]


STEADY = "+0x60"
MODEL = 'model="m"'
WAITS, FRAMES = f"llc_encoder_waits_total{{{MODEL}}}", f"llc_frames_total{{{MODEL}}}"
FAILED = f'llc_sessions_lost_total{{{MODEL},reason="generation failed"}}'
NOT_LOADED, RETRIES = f"llc_worker_load_failures_total{{{MODEL}}}", f"llc_store_retries_total{{{MODEL}}}"
TASKS = 'llc_task_failures_total{owner="session"}'
LOST, SENT = "llc_rtp_packets_lost_total", "llc_rtp_packets_total"
MOVED = f'llc_sessions_moved_total{{{MODEL},cause="worker_lost"}}'
LATE, CHUNKS = f"llc_chunk_deadline_missed_total{{{MODEL}}}", f'llc_chunk_seconds_count{{{MODEL},stage="total"}}'


def _states(**workers: int) -> dict[str, str]:
    return {f'llc_workers{{{MODEL},state="{state}"}}': f"{count}{STEADY}" for state, count in workers.items()}


def _waiting(numbers: str) -> dict[str, str]:
    return {
        f'llc_queue_waiting{{{MODEL},class="normal"}}': numbers,
        f'llc_queue_waiting{{{MODEL},class="moved"}}': f"0{STEADY}",
    }


def _status(code: int) -> str:
    return f'llc_gateway_requests_total{{status="{code}"}}'


def _violations(kind: str, count: int) -> dict[str, str]:
    return {f'llc_integrity_violations{{kind="{kind}"}}': f"{count}{STEADY}"}


def _disk(free: int) -> dict[str, str]:
    return {f'llc_disk_{what}_bytes{{use="recordings"}}': f"{n}{STEADY}" for what, n in (("free", free), ("size", 100))}


CASES = (
    Case("LongliveAllocatorAbsent", True, {"up": f"1{STEADY}"}),
    Case("LongliveAllocatorAbsent", False, _states(idle=0)),
    Case("LongliveWorkersMissing", True, _states(loading=1)),
    Case("LongliveWorkersMissing", False, {f'llc_workers{{{MODEL},state="loading"}}': "1 0 1 1 0 0 1+0x5 0+0x50"}),
    Case("LongliveWorkersFailToLoad", True, {NOT_LOADED: "0 0 1 2+0x60"}),
    Case("LongliveWorkersFailToLoad", False, {NOT_LOADED: f"3{STEADY}"}),
    Case("LongliveNoFreeWorkers", True, _waiting(f"1{STEADY}") | _states(idle=0, busy=2)),
    Case("LongliveNoFreeWorkers", False, _waiting(f"1{STEADY}") | _states(idle=1)),
    Case("LongliveNoFreeWorkers", False, _waiting(f"0{STEADY}") | _states(idle=0, busy=2)),
    Case("LongliveQueueGrows", True, _waiting("0+1x60")),
    Case("LongliveQueueGrows", False, _waiting(f"40{STEADY}")),
    Case("LongliveQueueGrows", False, _waiting("90-1x60")),
    Case("LongliveChunkDeadlinesMissed", True, {LATE: "0+2x60", CHUNKS: "0+50x60"}),
    Case("LongliveChunkDeadlinesMissed", False, {LATE: "0+2x60", CHUNKS: "0+500x60"}),
    Case("LongliveEncoderBehind", True, {WAITS: "0+100x60", FRAMES: "0+1440x60"}),
    Case("LongliveEncoderBehind", False, {WAITS: "0+10x60", FRAMES: "0+1440x60"}),
    Case("LonglivePacketLossHigh", True, {LOST: "0+1000x60", SENT: "0+12000x60"}),
    Case("LonglivePacketLossHigh", False, {LOST: "0+100x60", SENT: "0+12000x60"}),
    Case("LonglivePacketLossHigh", False, {LOST: "0+100x60", SENT: "0+200x60"}),
    Case("LongliveFailovers", True, {MOVED: "0+0x20 1 2 3 4 4+0x40"}),
    Case("LongliveFailovers", False, {MOVED: "0+0x25 1+0x40"}),
    Case("LongliveFailovers", False, {MOVED.replace("worker_lost", "planned"): "0+5x60"}),
    Case("LongliveSessionsLost", True, {FAILED: "0+0x25 1+0x40"}),
    Case("LongliveSessionsLost", False, {FAILED: f"7{STEADY}"}),
    Case("LongliveIntegrityViolated", True, _violations("two_workers", 1)),
    Case("LongliveIntegrityViolated", False, _violations("two_workers", 0) | _violations("left_over", 1)),
    Case("LongliveThingsLeaked", True, _violations("left_over", 3)),
    Case("LongliveThingsLeaked", False, _violations("left_over", 0) | _violations("two_workers", 1)),
    Case("LongliveSnapshotWritesFail", True, {RETRIES: "0+3x60"}),
    Case("LongliveSnapshotWritesFail", False, {RETRIES: "0+3x10 30+0x50"}),
    Case("LongliveRedisDown", True, {"llc_redis_up": f"0{STEADY}"}),
    Case("LongliveRedisDown", False, {"llc_redis_up": f"1{STEADY}"}),
    Case("LongliveDiskFull", True, _disk(4)),
    Case("LongliveDiskFull", False, _disk(6)),
    Case("LongliveTasksFail", True, {TASKS: "0+0x25 1+0x40"}),
    Case("LongliveTasksFail", False, {TASKS: f"1{STEADY}"}),
    Case("LongliveGatewayErrors", True, {_status(503): "0+5x60", _status(200): "0+95x60"}),
    Case("LongliveGatewayErrors", False, {_status(503): "0+1x60", _status(200): "0+99x60"}),
    Case("LongliveGatewayErrors", False, {_status(404): "0+50x60", _status(200): "0+50x60"}),
)


def _asked(case: Case) -> dict[str, Any]:
    firing = f'ALERTS{{alertname="{case.alert}",alertstate="firing"}}'
    return {
        "name": f"{case.alert}, fires: {case.fires}",
        "interval": "1m",
        "input_series": [{"series": series, "values": values} for series, values in case.series.items()],
        "promql_expr_test": [
            {
                "expr": f"count({firing})",
                "eval_time": "30m",
                "exp_samples": [{"labels": "{}", "value": 1}] if case.fires else [],
            }
        ],
    }


def test_names_of_series_follow_prometheus_conventions():
    """As promtool's linter has them."""
    gateway = Metrics().registry
    ours = [each for each in vars(metrics).values() if isinstance(each, MetricWrapperBase)]
    for each in (*ours, Gpus(None)):
        gateway.register(each)
    text = generate_latest(gateway).decode()
    assert len(re.findall("^# TYPE llc_", text, re.MULTILINE)) > 45
    promtool("check", "metrics", told=text)


def test_prometheus_takes_them():
    promtool("check", "rules", str(RULES))


def test_they_fire_when_they_should_and_else_not(tmp_path: Path):
    for fires in (True, False):
        assert {case.alert for case in CASES if case.fires is fires} == set(ALERTS)
    asked = tmp_path / "alerts.yaml"
    tests = [_asked(case) for case in CASES]
    asked.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}))
    promtool("test", "rules", str(asked))


def test_each_has_a_page_and_each_page_an_alert():
    assert set(PAGES) == set(ALERTS)
    for name, rule in ALERTS.items():
        assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{name}.md"
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert PAGES[name].startswith(f"# {name}\n")


def test_pages_name_log_lines_and_pages_that_are_there():
    sources = [*ROOT.glob("cluster/**/*.py"), *ROOT.glob("gateway/*.py")]
    logged = {event for path in sources for event in LOGGED.findall(path.read_text())}
    for name, page in PAGES.items():
        lines = [line for line in page.splitlines() if line.startswith("Log: ")]
        said = [event for line in lines for event in re.findall(r"`([a-z]+(?:_[a-z]+)+)`", line)]
        assert not set(said) - logged, name
        linked = re.findall(r"\]\((?!https?:)([^)#]+)", page)
        assert [link for link in linked if not (ROOT / "docs" / "runbooks" / link).exists()] == [], name


def test_the_chart_wraps_them_unchanged():
    values = {"monitoring": {"rules": {"enabled": True}}}
    (rule,) = of_kind(objects(with_values(values)), "PrometheusRule")
    assert rule["spec"]["groups"] == GROUPS
    assert not of_kind(objects(rendered(None)), "PrometheusRule")


def test_the_chart_says_where_the_pages_are():
    values = {"monitoring": {"rules": {"enabled": True, "runbooks": "https://docs.example.org/runbooks/"}}}
    (rule,) = of_kind(objects(with_values(values)), "PrometheusRule")
    said = {each["annotations"]["runbook_url"] for group in rule["spec"]["groups"] for each in group["rules"]}
    assert said == {f"https://docs.example.org/runbooks/{name}.md" for name in ALERTS}
