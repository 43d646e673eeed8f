"""Files of the text encoder: token ids and a mask in, embeddings out."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from longlive.parity.difference import Difference, compare
from longlive.parity.golden import CannotCheck, Golden
from wan.configs import UMT5Config
from wan.umt5 import UMT5


def umt5_config(golden: Golden) -> UMT5Config:
    """The sizes of the encoder."""
    return UMT5Config(
        vocab=golden.size("vocab"),
        dim=golden.size("dim"),
        attn_dim=golden.size("dim_attn"),
        ffn_dim=golden.size("dim_ffn"),
        heads=golden.size("num_heads"),
        layers=golden.size("num_layers"),
        buckets=golden.size("num_buckets"),
        max_distance=golden.size("max_dist"),
    )


def differences(golden: Golden) -> Iterator[Difference]:
    """Of `out/prompt_embeds`, where padding is zero, and of `out/raw`, where it is whatever the encoder made of it."""
    config = umt5_config(golden)
    encoder = golden.build(lambda: UMT5(config))
    ids = golden.shaped("in/ids", None, None)
    if ids.is_floating_point() or not all(0 <= token < config.vocab for token in ids.flatten().tolist()):
        raise CannotCheck(f"in/ids holds what is not a token of a vocabulary of {config.vocab}")
    mask = golden.shaped("in/mask", *ids.shape).bool()
    ours = torch.stack([_encode(encoder, row, kept) for row, kept in zip(ids, mask, strict=True)])
    yield compare(golden, "out/prompt_embeds", ours)
    if "out/raw" in golden:
        yield compare(golden, "out/raw", ours, where=mask, remark="padding apart: this encoder never computes it")


def _encode(encoder: UMT5, ids: Tensor, mask: Tensor) -> Tensor:
    """One prompt at its real length, then zero rows up to the padded one."""
    length = int(mask.sum())
    if not mask[:length].all():
        raise CannotCheck("in/mask has padding before the end of a prompt")
    return F.pad(encoder(ids[:length]), (0, 0, 0, len(ids) - length))
