import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import Unigram
from tokenizers.pre_tokenizers import Metaspace
from tokenizers.processors import TemplateProcessing

from longlive.tokenizer import UMT5Tokenizer

pytestmark = pytest.mark.fast

WORDS = ["<pad>", "</s>", "<unk>", "▁a", "▁fox", "▁in", "▁snow", "▁"]


def written(folder: Path, words: list[str] = WORDS) -> Path:
    """A tokenizer.json as UMT5's: it adds the end itself, and pads and truncates if asked."""
    tokenizer = Tokenizer(Unigram([(word, -1.0) for word in words], unk_id=2))
    tokenizer.pre_tokenizer = Metaspace()
    if "</s>" in words:
        tokenizer.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", words.index("</s>"))])
    tokenizer.enable_padding(length=12)
    tokenizer.enable_truncation(3)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("a fox in snow", [3, 4, 5, 6, 1]),
        ("fox", [4, 1]),
        ("", [1]),
        ("a a a a a a a a a", [3, 3, 3, 3, 3, 3, 3, 1]),
    ],
)
def test_ids_end_once_and_keep_the_end_when_cut(tmp_path: Path, text: str, ids: list[int]):
    assert UMT5Tokenizer(written(tmp_path), vocab=8, length=8).encode(text) == ids


def test_words_that_are_not_known(tmp_path: Path):
    assert UMT5Tokenizer(written(tmp_path), vocab=8, length=8).encode("a wolf") == [3, 7, 2, 1]


def test_a_tokenizer_with_another_end(tmp_path: Path):
    with pytest.raises(ValueError, match=r"tokenizer\.json: the id of </s> is 0, expected 1"):
        UMT5Tokenizer(written(tmp_path, ["</s>", "<pad>", "<unk>"]), vocab=8, length=8)


def test_more_ids_than_the_encoder_has(tmp_path: Path):
    with pytest.raises(ValueError, match="8 tokens, more than the 7"):
        UMT5Tokenizer(written(tmp_path), vocab=7, length=8)


@pytest.mark.parametrize("content", ["{", "[]", json.dumps({"version": "1.0"})])
def test_a_file_that_is_no_tokenizer(tmp_path: Path, content: str):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ValueError, match=r"tokenizer\.json: "):
        UMT5Tokenizer(tmp_path / "tokenizer.json", vocab=8, length=8)
