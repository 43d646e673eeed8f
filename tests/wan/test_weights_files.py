import json
import os
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from wan.weights.errors import UnreadableFile, UnsafeFile
from wan.weights.files import open_checkpoint

pytestmark = pytest.mark.fast

VALUES = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(4, dtype=torch.bfloat16), "c": torch.zeros(2)}


def saved(path: Path, content: object) -> Path:
    if path.suffix == ".safetensors":
        save_file(content, path)
    else:
        torch.save(content, path)
    return path


def sharded(folder: Path, suffix: str = ".safetensors") -> Path:
    shards = [folder / f"model-0000{number}-of-00002{suffix}" for number in (1, 2)]
    saved(shards[0], {"a": VALUES["a"]})
    saved(shards[1], {"b": VALUES["b"], "c": VALUES["c"]})
    return shards[0]


def indexed(folder: Path) -> Path:
    sharded(folder)
    path = folder / "model.safetensors.index.json"
    map_ = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    path.write_text(json.dumps({"metadata": {}, "weight_map": {**map_, "c": map_["b"]}}))
    return path


def read(path: Path, section: str | None = None) -> dict[str, Tensor]:
    checkpoint = open_checkpoint(path, section)
    return {name: checkpoint.tensor(name) for name in checkpoint.tensors}


def same(found: dict[str, Tensor]) -> bool:
    return found.keys() == VALUES.keys() and all(
        found[name].dtype == value.dtype and torch.equal(found[name], value) for name, value in VALUES.items()
    )


@pytest.mark.parametrize("name", ["x.safetensors", "x.pt", "x.pth", "x.bin"])
def test_one_file(tmp_path: Path, name: str):
    path = saved(tmp_path / name, VALUES)
    checkpoint = open_checkpoint(path)
    assert {key: (stored.shape, stored.dtype) for key, stored in checkpoint.tensors.items()} == {
        key: (tuple(value.shape), value.dtype) for key, value in VALUES.items()
    }
    assert (checkpoint.count, checkpoint.nbytes, len(checkpoint.dtypes)) == (12, 40, 2)
    assert same(read(path))
    assert same(read(tmp_path))


def test_shards_by_index_and_by_number(tmp_path: Path):
    assert same(read(sharded(tmp_path)))
    assert same(read(tmp_path))
    assert same(read(indexed(tmp_path)))
    assert same(read(tmp_path))
    assert open_checkpoint(tmp_path).tensors["b"].file.name == "model-00002-of-00002.safetensors"


def test_sharded_pickles(tmp_path: Path):
    assert same(read(sharded(tmp_path, ".bin")))


@pytest.mark.parametrize(
    ("content", "section"),
    [
        ({"generator": VALUES, "checkpoint_format": "merged"}, "generator"),
        ({"generator_ema": VALUES, "step": 3}, "generator_ema"),
        ({"generator": VALUES, "generator_ema": {"z": torch.ones(1)}}, "generator"),
        ({"model": VALUES}, "model"),
        ({"state_dict": {"gen_model": VALUES}}, "state_dict.gen_model"),
        ({"generator_lora": VALUES, "critic_lora": {"z": torch.ones(1)}}, "generator_lora"),
        ({**VALUES, "step": 3}, None),
    ],
)
def test_wrappers_of_pickles(tmp_path: Path, content: dict[str, object], section: str | None):
    path = saved(tmp_path / "x.pt", content)
    assert same(read(path))
    assert open_checkpoint(path).section == section


def test_a_section_by_name(tmp_path: Path):
    path = saved(tmp_path / "x.pt", {"generator": {"z": torch.ones(1)}, "generator_ema": VALUES})
    assert same(read(path, "generator_ema"))
    with pytest.raises(UnreadableFile, match="no section 'critic'"):
        open_checkpoint(path, "critic")


def test_weights_beside_a_lora_must_be_chosen(tmp_path: Path):
    path = saved(tmp_path / "x.pt", {"generator": {"z": torch.ones(1)}, "generator_lora": VALUES})
    with pytest.raises(UnreadableFile, match="generator and generator_lora: say which"):
        open_checkpoint(path)
    assert same(read(path, "generator_lora"))


def test_remarks_are_kept(tmp_path: Path):
    path = saved(tmp_path / "x.pt", {"generator": VALUES, "merged_lora": True, "dtype": "bf16"})
    assert open_checkpoint(path).notes == {"merged_lora": "True", "dtype": "bf16"}


@pytest.mark.parametrize("name", ["x.safetensors", "x.pt"])
@pytest.mark.parametrize("part", [0.0, 0.05, 0.5, 0.9, 0.999])
def test_a_truncated_file(tmp_path: Path, name: str, part: float):
    path = saved(tmp_path / name, VALUES)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(UnreadableFile, match=re.escape(str(path)) + ": not a whole"):
        open_checkpoint(path)


def test_a_damaged_pickle(tmp_path: Path):
    path = saved(tmp_path / "x.pt", VALUES)
    whole = path.read_bytes()
    start = whole.index(b"\x80\x02")
    path.write_bytes(whole[:start] + b"\x80\x02" + b"\xff" * 20 + whole[start + 22 :])
    with pytest.raises(UnreadableFile, match="not a whole torch checkpoint"):
        open_checkpoint(path)


class Touch:
    """Unpickled without care, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_asks_for_code_is_refused_and_not_executed(tmp_path: Path):
    path = saved(tmp_path / "x.pt", {**VALUES, "z": Touch(tmp_path / "made")})
    with pytest.raises(UnsafeFile, match=r"x\.pt: it asks for posix\.mkdir.*nothing was run"):
        open_checkpoint(path)
    assert not (tmp_path / "made").exists()


def test_a_pickled_module_is_refused(tmp_path: Path):
    with pytest.raises(UnsafeFile, match=r"torch\.nn\.modules\.linear\.Linear"):
        open_checkpoint(saved(tmp_path / "x.pt", nn.Linear(1, 1)))


@pytest.mark.parametrize(
    ("content", "reason"),
    [([1], "it holds a list"), ({"step": 3}, "no tensors"), ({"a": torch.eye(2).to_sparse()}, "expected a dense one")],
)
def test_a_pickle_of_something_else(tmp_path: Path, content: object, reason: str):
    with pytest.raises(UnreadableFile, match=reason):
        open_checkpoint(saved(tmp_path / "x.pt", content))


def test_an_index_that_names_a_missing_shard(tmp_path: Path):
    path = indexed(tmp_path)
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(UnreadableFile, match=r"index\.json: it names the shard model-00002-of-00002\.safetensors"):
        open_checkpoint(path)
    path.unlink()
    with pytest.raises(UnreadableFile, match="sister shard model-00002-of-00002"):
        open_checkpoint(tmp_path)


def test_an_index_that_is_wrong_about_a_shard(tmp_path: Path):
    path = indexed(tmp_path)
    content = json.loads(path.read_text())
    content["weight_map"]["c"] = "model-00001-of-00002.safetensors"
    path.write_text(json.dumps(content))
    with pytest.raises(UnreadableFile, match="puts c into model-00001-of-00002"):
        open_checkpoint(path)


@pytest.mark.parametrize("content", ["{", "[]", '{"weight_map": {}}', '{"weight_map": {"a": 1}}'])
def test_an_index_that_is_none(tmp_path: Path, content: str):
    (tmp_path / "x.index.json").write_text(content)
    with pytest.raises(UnreadableFile, match=r"x\.index\.json"):
        open_checkpoint(tmp_path)


def test_shards_with_a_tensor_in_common(tmp_path: Path):
    saved(tmp_path / "x-00001-of-00002.pt", VALUES)
    saved(tmp_path / "x-00002-of-00002.pt", VALUES)
    with pytest.raises(UnreadableFile, match=r"00002\.pt: a is also in x-00001"):
        open_checkpoint(tmp_path)


def test_folders_and_paths_that_hold_none(tmp_path: Path):
    with pytest.raises(UnreadableFile, match="the folder holds no checkpoint"):
        open_checkpoint(tmp_path)
    with pytest.raises(UnreadableFile, match="no such file"):
        open_checkpoint(tmp_path / "x.pt")
    (tmp_path / "x.txt").touch()
    with pytest.raises(UnreadableFile, match=r"not a checkpoint: expected \.safetensors"):
        open_checkpoint(tmp_path / "x.txt")
    saved(tmp_path / "x.pt", VALUES)
    saved(tmp_path / "y.pt", VALUES)
    with pytest.raises(UnreadableFile, match=r"several checkpoints: x\.pt, y\.pt"):
        open_checkpoint(tmp_path)
