import pytest
import torch

from longlive.parity.transformer import load
from tests.support.golden import read_golden
from wan.dit import DiT

pytestmark = pytest.mark.fast


@torch.inference_mode()
def test_text_padding_is_attended() -> None:
    golden = read_golden("dit")
    dit = load(golden, DiT)
    embedding = golden["in/ctx"][0].clone()
    embedding[3:] = 0
    for short, padded in zip(dit.encode_text(embedding[:3]), dit.encode_text(embedding), strict=True):
        assert short[0].shape[0] == dit.config.text_len
        assert torch.equal(short[0], padded[0])
        assert short[1][3:].abs().max() > 0
