import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.support.golden import read_golden
from wan.prompt import HashTokenizer, clean
from wan.umt5 import buckets

pytestmark = pytest.mark.fast


def test_buckets_match() -> None:
    assert torch.equal(buckets(160, 32, 128), read_golden("text_encoder")["probe/buckets"])


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("  a\n\tfox  runs ", "a fox runs"),
        ("fish &amp;amp; chips", "fish & chips"),
        ("it’s cafÃ© time", "it's café time"),
        ("", ""),
    ],
)
def test_prompts_are_cleaned(raw: str, cleaned: str) -> None:
    assert clean(raw) == cleaned


@given(st.text(max_size=400))
def test_tokens_fit_the_vocabulary_and_the_length(text: str) -> None:
    ids = HashTokenizer(vocab=64, length=16).encode(text)
    assert 1 <= len(ids) <= 16
    assert ids[-1] == 1
    assert all(3 <= token < 64 for token in ids[:-1])
