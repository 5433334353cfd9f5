"""The model itself: answers and losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from .sequences import Held

_IGNORED = -100


class Weights:
    """A model on the GPUs of this machine, or on its CPU where there are none."""

    def __init__(self, folder: Path) -> None:
        cuda = torch.cuda.is_available()
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, padding_side="left")
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        self._model: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=torch.bfloat16 if cuda else torch.float32,
            device_map="auto" if cuda else None,
            use_safetensors=True,  # weights of another form can run code when they are read
        ).eval()

    @torch.inference_mode()
    def answers(self, conversations: Sequence[Sequence[Mapping[str, str]]], most: int) -> list[str]:
        """One answer to each, the likeliest token each time."""
        texts = [self._text(one) for one in conversations]
        # A template writes its own first token.
        special = self._tokenizer.chat_template is None
        given = self._tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=special)
        given = given.to(self._model.device)
        made = self._model.generate(
            **given, max_new_tokens=most, do_sample=False, pad_token_id=self._tokenizer.pad_token_id
        )
        new = made[:, given["input_ids"].shape[1] :]
        return [text.strip() for text in self._tokenizer.batch_decode(new, skip_special_tokens=True)]

    def _text(self, conversation: Sequence[Mapping[str, str]]) -> str:
        if self._tokenizer.chat_template is None:
            return "\n\n".join(one["content"] for one in conversation) + "\n"
        return self._tokenizer.apply_chat_template(list(conversation), tokenize=False, add_generation_prompt=True)

    @torch.inference_mode()
    def losses(self, batch: Sequence[Held]) -> list[tuple[float, int]]:
        """For each sequence the mean loss of its tokens that count, in nats, and how many do."""
        width = max(len(one.tokens) for one in batch)
        device = self._model.device
        # Filled up on the right: what comes later does not change what was before.
        tokens = torch.tensor([_filled(one.tokens, width, 0) for one in batch], device=device)
        mask = torch.tensor([_filled([1] * len(one.tokens), width, 0) for one in batch], device=device)
        labels = torch.tensor([_filled(one.labels, width, _IGNORED) for one in batch], device=device)[:, 1:]
        logits = self._model(input_ids=tokens, attention_mask=mask).logits[:, :-1].float()
        each = torch.nn.functional.cross_entropy(
            logits.transpose(1, 2), labels, ignore_index=_IGNORED, reduction="none"
        )
        counts = (labels != _IGNORED).sum(dim=1)
        found = zip(each.sum(dim=1).tolist(), counts.tolist(), strict=True)
        return [(total / count, count) for total, count in found]  # who has none was left out before


def _filled(values: Sequence[int], width: int, value: int) -> list[int]:
    return [*values, *[value] * (width - len(values))]
