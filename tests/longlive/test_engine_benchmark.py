import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from typer.testing import CliRunner, Result

from benchmarks.engine import main
from longlive.presets import TINY

pytestmark = pytest.mark.slow

CHUNKS = 2
DENOISE = [f"denoise {step}" for step in range(1, 5)]
PARTS = [*DENOISE, "sampler", "VAE decode", "commit"]

app = typer.Typer()
app.command()(main)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})


@pytest.fixture(scope="module", autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    path: Path = tmp_path_factory.mktemp("benchmark") / "figures.json"
    result = run("--preset", "tiny", "--chunks", str(CHUNKS), "--option", "prompts=3", "--json", str(path))
    assert result.exit_code == 0, result.output
    return result.output, json.loads(path.read_text())


def test_every_stage_is_reported(outputs: tuple[str, dict[str, Any]]) -> None:
    shown, figures = outputs
    names = [stage["name"] for stage in figures["stages"]]
    assert sorted(names) == sorted([*PARTS, "text", "host copy", "chunk"])
    assert all(f"| {name} |" in shown for name in names)
    assert all(0 <= stage["median_ms"] <= stage["p95_ms"] for stage in figures["stages"])


def test_the_stages_sum_up(outputs: tuple[str, dict[str, Any]]) -> None:
    stages = {stage["name"]: stage for stage in outputs[1]["stages"]}
    # Medians do not add up exactly, but with two chunks they are means, and those do.
    assert stages["chunk"]["median_ms"] == pytest.approx(sum(stages[name]["median_ms"] for name in PARTS))
    work = [stages[name]["tflop"] for name in (*DENOISE, "VAE decode", "commit")]
    assert stages["chunk"]["tflop"] == pytest.approx(sum(work))


def test_rates_follow_from_work_time_and_roofline(outputs: tuple[str, dict[str, Any]]) -> None:
    _, figures = outputs
    for stage in figures["stages"]:
        if stage["tflop"] is not None:
            assert stage["tflops"] == pytest.approx(stage["tflop"] / stage["median_ms"] * 1000)
            assert stage["of_roofline"] == pytest.approx(stage["tflops"] * 1e12 / figures["roofline"]["matmul"])


def test_the_whole_is_reported(outputs: tuple[str, dict[str, Any]]) -> None:
    _, figures = outputs
    assert (figures["preset"], figures["device"], figures["chunks"]) == ("tiny", "cpu", CHUNKS)
    assert figures["options"] == {**TINY.options.model_dump(mode="json"), "prompts": 3}
    assert figures["fps"] > 0
    assert figures["first_picture_ms"] > 0
    assert 0 < figures["budget_bytes"] < figures["peak_bytes"]  # a CPU's peak is the whole process
    assert figures["recompiles"] == 0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--preset", "huge"], "no preset"),
        (["--option", "steps"], "name=value"),
        (["--option", "steps=7"], "steps"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments: list[str], named: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert named in result.output
