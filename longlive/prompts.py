"""Prompts encoded once: text to the keys and values of every block's cross-attention."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict

import torch

from wan.attention import KeysValues
from wan.dit import DiT
from wan.prompt import Tokenizer, clean
from wan.umt5 import UMT5

TRANSITION = "The scene transitions. "
"""What the model was trained to read at the start of the prompt of a new shot's first chunk."""


class PromptCache:
    """The most recently used prompts of all streams of a replica, by hash; at most `size` of them."""

    def __init__(self, text_encoder: UMT5, tokenizer: Tokenizer, dit: DiT, size: int) -> None:
        self._text_encoder = text_encoder
        self._tokenizer = tokenizer
        self._dit = dit
        self._size = size
        self._entries: OrderedDict[bytes, list[KeysValues]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, prompt: str) -> list[KeysValues]:
        """Keys and values per block for a prompt, in any spelling that cleans to the same text."""
        text = clean(prompt)
        key = hashlib.sha256(text.encode()).digest()
        with self._lock:
            if key not in self._entries:
                self._entries[key] = self._encode(text)
            self._entries.move_to_end(key)
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)
            return self._entries[key]

    @torch.inference_mode()
    def _encode(self, text: str) -> list[KeysValues]:
        device = self._text_encoder.token_embedding.weight.device
        ids = torch.tensor(self._tokenizer.encode(text), device=device)
        return self._dit.encode_text(self._text_encoder(ids))
