import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.support.golden import BOUND, Golden, difference
from wan.configs import UMT5Config
from wan.prompt import HashTokenizer, clean
from wan.umt5 import UMT5, buckets

pytestmark = pytest.mark.fast


@pytest.fixture(scope="module")
def golden() -> Golden:
    return Golden("text_encoder")


@torch.inference_mode()
def test_embeddings_match_at_their_real_length(golden: Golden) -> None:
    config = golden.config
    with torch.device("meta"):
        encoder = UMT5(
            UMT5Config(
                vocab=config["vocab"],
                dim=config["dim"],
                attn_dim=config["dim_attn"],
                ffn_dim=config["dim_ffn"],
                heads=config["num_heads"],
                layers=config["num_layers"],
                buckets=config["num_buckets"],
                max_distance=config["max_dist"],
            )
        )
    encoder.load_state_dict(golden.weights(), strict=True, assign=True)
    for ids, mask, expected in zip(golden["in/ids"], golden["in/mask"], golden["out/prompt_embeds"], strict=True):
        length = int(mask.sum())
        assert difference(encoder(ids[:length]), expected[:length]) < BOUND
        assert not expected[length:].any()


def test_buckets_match(golden: Golden) -> None:
    assert torch.equal(buckets(160, 32, 128), golden["probe/buckets"])


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
