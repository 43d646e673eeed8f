import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import oracle
import pytest
import torch
from oracle import CUT, Clip
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from typer.testing import CliRunner, Result

from longlive.parity.__main__ import app
from tests.support.golden import golden_path

pytestmark = pytest.mark.slow

SHORT = Clip(prompts=("a", "a", CUT + "b"), local=6, sampling_steps=2)
"""Three chunks, of which the last is the first to push one out."""

Tensors = dict[str, Tensor]
Change = Callable[[Tensors, dict[str, Any]], object]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small file of each kind."""
    folder = tmp_path_factory.mktemp("small")
    paths = {name: folder / f"{name}.safetensors" for name in ("clip", "dit", "vae", "text")}
    oracle.rollout(paths["clip"], SHORT)
    oracle.dit(paths["dit"], Clip(), 3, (800.0, 0.0))
    oracle.vae(paths["vae"])
    oracle.text(paths["text"])
    return paths | {"sampler": golden_path("sampler")}


@pytest.fixture(scope="module")
def guided(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip that uses everything."""
    path = tmp_path_factory.mktemp("guided") / "clip.safetensors"
    oracle.rollout(path, Clip(cfg=1.5, i2v=True, local=9))
    return path


def parity(*paths: Path) -> Result:
    result = CliRunner().invoke(app, [str(path) for path in paths])
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result


def changed(path: Path, folder: Path, change: Change) -> Path:
    """A copy of a file after `change(tensors, config)`."""
    with safe_open(path, "pt") as file:
        config = json.loads(file.metadata()["config"])
    tensors = load_file(path)
    change(tensors, config)
    oracle.write(folder / "changed.safetensors", tensors, config)
    return folder / "changed.safetensors"


def nudge(tensor: Tensor, by: float) -> None:
    tensor.view(-1)[tensor.numel() // 2] += by


@pytest.mark.parametrize("name", ["sampler", "dit", "rollout", "vae", "text_encoder"])
def test_golden_files_pass(name: str) -> None:
    result = parity(golden_path(name))
    assert result.exit_code == 0, result.output
    assert f"PASS {golden_path(name)} ({name.replace('_', ' ')})" in result.output


@pytest.mark.parametrize(
    "clip",
    [
        pytest.param(Clip(), id="other sizes"),
        pytest.param(Clip(sampling_steps=2, phi=2.7, local=9), id="two steps, fractional jumps, three slots"),
        pytest.param(Clip(sampling_steps=1, phi=0, local=15), id="one step, no jumps, five slots"),
        pytest.param(Clip(multi_shot=False), id="nothing pinned"),
        pytest.param(Clip(local=6), id="two slots: no room for a pin"),
        pytest.param(Clip(prompts=("a", "a", "a"), local=-3 + 12, sink=0), id="a window that never overflows"),
        pytest.param(replace(SHORT, i2v=True), id="image"),
        pytest.param(replace(SHORT, i2v=True, image_shape=(1, 5, 1, 6, 2)), id="image, time after channels"),
        pytest.param(replace(SHORT, i2v=True, image_shape=(1, 5, 6, 2)), id="image without time"),
        pytest.param(Clip(cfg=3.5, i2v=True, local=9), id="guidance and image"),
        pytest.param(replace(SHORT, cfg=0.0, negative_key="in/prompt_embed/2"), id="guidance from an unused prompt"),
        pytest.param(replace(SHORT, batch=2, cfg=2.0, i2v=True), id="two entries"),
    ],
)
def test_other_rollouts_pass(clip: Clip, tmp_path: Path) -> None:
    oracle.rollout(tmp_path / "clip.safetensors", clip)
    result = parity(tmp_path / "clip.safetensors")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    "change", [{"phi": 3}, {"multi_shot": False}, {"cfg": 2.0}, {"i2v": False}, {"sampling_steps": 4}, {"local": 15}]
)
def test_each_setting_of_a_rollout_matters(change: dict[str, Any], guided: Path, tmp_path: Path) -> None:
    def alter(tensors: Tensors, config: dict[str, Any]) -> None:
        for key in [key for key in tensors if key.startswith("call/")]:
            del tensors[key]
        config.update(change, calls=[])

    result = parity(changed(guided, tmp_path, alter))
    assert result.exit_code == 1, result.output
    assert "above 1e-04: out/latents" in result.output


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda path: oracle.sampler(path, 1, 5, 20, 100), id="sampler"),
        pytest.param(lambda path: oracle.dit(path, Clip(batch=2), 6, (999.0, 437.5)), id="dit"),
        pytest.param(lambda path: oracle.dit(path, Clip(H=2, W=10, local=9), 5, (0.0,)), id="dit, other grid"),
        pytest.param(oracle.vae, id="vae"),
        pytest.param(oracle.text, id="text encoder"),
    ],
)
def test_other_sizes_of_the_other_kinds_pass(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "any.safetensors")
    result = parity(tmp_path / "any.safetensors")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("source", "change", "named"),
    [
        ("sampler", lambda tensors, _: nudge(tensors["out/50/x7"], 2e-4), "out/50/x7"),
        ("sampler", lambda _, config: config["3"]["timesteps"].__setitem__(1, 909), "config/3/timesteps"),
        ("sampler", lambda tensors, _: tensors.pop("out/4/x1"), "out/4/x1"),
        ("dit", lambda tensors, _: nudge(tensors["out/004/flow"], -2e-4), "out/004/flow"),
        ("dit", lambda tensors, _: tensors["out/003/flow"].fill_(torch.nan), "out/003/flow"),
        ("dit", lambda tensors, _: nudge(tensors["w/model.blocks.1.ffn.2.bias"], 0.01), "out/000/flow"),
        ("clip", lambda tensors, _: nudge(tensors["out/latents"], 2e-4), "out/latents"),
        ("clip", lambda tensors, _: nudge(tensors["call/0002/flow"], 2e-4), "call/0002/flow"),
        ("clip", lambda tensors, _: tensors.pop("call/0005/flow"), "call/0005/flow"),
        ("clip", lambda tensors, _: tensors.pop("out/latents"), "out/latents"),
        ("clip", lambda tensors, _: tensors.update({"out/latents": tensors["out/latents"][:, 1:]}), "out/latents"),
        ("vae", lambda tensors, _: nudge(tensors["out/stream/3"], 2e-4), "out/stream/3"),
        ("vae", lambda tensors, _: tensors.update({"out/stream/3": tensors["out/stream/3"][:, :, 1:]}), "out/stream/3"),
        ("vae", lambda tensors, _: nudge(tensors["w/encoder.head.2.bias"], 0.01), "out/encode"),
        ("text", lambda tensors, _: nudge(tensors["out/prompt_embeds"], torch.inf), "out/prompt_embeds"),
    ],
)
def test_a_wrong_output_fails_by_name(
    source: str, change: Change, named: str, files: dict[str, Path], tmp_path: Path
) -> None:
    result = parity(changed(files[source], tmp_path, change))
    assert result.exit_code == 1, result.output
    *lines, verdict = result.output.splitlines()
    assert verdict.startswith("FAIL")
    assert named in verdict
    assert any(line.startswith("  FAIL") and f" {named} " in f"{line} " for line in lines)


def test_parts_of_a_vae_file_pass(files: dict[str, Path], tmp_path: Path) -> None:
    def alter(tensors: Tensors, _: dict[str, Any]) -> None:
        for key in ("out/stream/0", "out/fresh/2", "out/encode", "in/pixels"):
            del tensors[key]

    result = parity(changed(files["vae"], tmp_path, alter))
    assert result.exit_code == 0, result.output
    assert "out/stream/3" in result.output


@pytest.mark.parametrize(
    ("source", "change", "said"),
    [
        ("clip", lambda _, config: config.update(relative_rope=True), "relative_rope"),
        ("clip", lambda _, config: config.update(dtype="torch.bfloat16"), "bfloat16"),
        ("clip", lambda _, config: config.update(sink=1), "sink 1"),
        ("clip", lambda _, config: config.update(local=7), "local 7"),
        ("clip", lambda _, config: config.update(local=3), "local 3"),
        ("clip", lambda _, config: config.update(i2v=True), "i2v"),
        ("clip", lambda _, config: config.update(cfg=2.0), "cfg 2.0"),
        ("clip", lambda _, config: config["calls"].pop(), "8 calls"),
        ("clip", lambda _, config: config.update(H=5), "5 x 2"),
        ("clip", lambda _, config: config.update(ffn="20"), "ffn '20'"),
        ("clip", lambda _, config: config.pop("layers"), "layers"),
        ("clip", lambda _, config: config.update(layers=3), "weights"),
        ("clip", lambda tensors, _: tensors.update({"out/pictures": torch.zeros(2)}), "out/pictures"),
        ("clip", lambda tensors, _: tensors.pop("in/prompt_embed/1"), "in/prompt_embed/1"),
        ("dit", lambda tensors, _: tensors.pop("in/ctx"), "keys"),
        ("dit", lambda tensors, _: tensors.pop("in/005/x"), "inputs"),
        ("dit", lambda tensors, _: tensors.update({"in/001/t": torch.zeros(1, 7)}), "in/001/t"),
        ("sampler", lambda tensors, _: tensors.pop("in/8/flow6"), "8 steps"),
        ("vae", lambda _, config: config.update(dim_mult=[1, 2, 2]), "dim_mult"),
        ("vae", lambda tensors, _: tensors.update({"in/latents": tensors["in/latents"][:, :6]}), "out/stream/3"),
        ("text", lambda tensors, _: tensors["in/mask"].neg_().add_(1), "in/mask"),
        ("text", lambda tensors, _: tensors["in/ids"].add_(11), "in/ids"),
    ],
)
def test_what_cannot_be_checked_is_said(
    source: str, change: Change, said: str, files: dict[str, Path], tmp_path: Path
) -> None:
    path = changed(files[source], tmp_path, change)
    result = parity(path)
    assert result.exit_code == 2, result.output
    verdict = result.output.splitlines()[-1]
    assert verdict.startswith(f"CANNOT CHECK {path}")
    assert said in verdict


@pytest.mark.parametrize("content", [b"", b"not safetensors", None])
def test_unreadable_files_cannot_be_checked(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "any.safetensors"
    if content is not None:
        path.write_bytes(content)
    result = parity(path)
    assert result.exit_code == 2, result.output
    assert "not a readable safetensors file" in result.output


@pytest.mark.parametrize("metadata", [None, {"config": "{"}, {"config": "[]"}])
def test_a_file_without_a_config_cannot_be_checked(metadata: dict[str, str] | None, tmp_path: Path) -> None:
    save_file({"in/ids": torch.zeros(1, 1)}, tmp_path / "any.safetensors", metadata)
    result = parity(tmp_path / "any.safetensors")
    assert result.exit_code == 2, result.output
    assert "config" in result.output


def test_the_worst_file_decides(files: dict[str, Path], tmp_path: Path) -> None:
    wrong = changed(files["text"], tmp_path, lambda tensors, _: nudge(tensors["out/prompt_embeds"], 1))
    result = parity(files["sampler"], wrong, files["text"])
    assert result.exit_code == 1
    assert [line.split()[0] for line in result.output.splitlines() if line[0] != " "] == ["PASS", "FAIL", "PASS"]
    assert parity(wrong, tmp_path / "absent", files["text"]).exit_code == 2
