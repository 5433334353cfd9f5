"""A tiny random model with a tokenizer, and data to learn; run by the interpreter of the training image.

``python finetune_material.py <folder>`` writes ``base/`` (a Llama of 60,000 parameters, as a hub has it),
``data/<key>/`` (a dataset as preprocessing publishes it) and ``try.jsonl`` (lines of a person).
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from workloads.artifacts import key_of, publish

WORDS = (
    *("the", "a", "cat", "dog", "bird", "sees", "eats", "likes"),
    *("small", "big", "red", "old", "fish", "tree", "house", "and"),
)
LENGTH = 24
ROPE_THETA = 500_000.0  # not what a release that does not find it would take


def sentence(random_words: random.Random) -> str:
    """Something that can be learned: a word mostly decides the next one."""
    at = random_words.randrange(len(WORDS))
    found = []
    for _ in range(LENGTH - 2):
        found.append(WORDS[at])
        at = (3 * at + 1 if random_words.random() < 0.9 else random_words.randrange(len(WORDS))) % len(WORDS)
    return " ".join(found)


def main(folder: Path) -> None:
    """Write everything."""
    vocabulary = {word: index for index, word in enumerate(["<s>", "</s>", "<unk>", *WORDS])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>", model_max_length=64
    )
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=32,
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
        bos_token_id=0,
        eos_token_id=1,
        tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")

    chosen = random.Random(1)
    prepared = folder / "prepared"
    for split, count in (("train", 96), ("evaluation", 16)):
        rows = [[0, *tokenizer(sentence(chosen))["input_ids"], 1] for _ in range(count)]
        table = pa.table({"input_ids": rows, "attention_mask": [[1] * len(row) for row in rows], "labels": rows})
        (prepared / split).mkdir(parents=True)
        for part in range(2):
            pq.write_table(table.slice(part * count // 2, count // 2), prepared / split / f"part-{part:05d}.parquet")
    key = key_of({"made": "for a test"})
    made = publish(prepared, (folder / "data").as_uri(), key, kind="dataset", parents={}, facts={"records": 112})
    (folder / "try.jsonl").write_text(
        "".join(json.dumps({"prompt": sentence(chosen), "completion": sentence(chosen)}) + "\n" for _ in range(12))
    )
    print(json.dumps({"base": (folder / "base").as_uri(), "data": made.url, "key": key}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
