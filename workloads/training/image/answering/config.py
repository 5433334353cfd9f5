"""What one run is told: the ``--config`` of the pod."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from workloads.artifacts.configuration import Part, Url, parsed


class Suite(Part):
    """Questions.

    Attributes:
        name: Of the suite.
        data: File of cases.
        sha256: Of the file; empty takes what is there.
        give_contexts: Put the contexts of a case into the question.
        max_cases: Cases that are taken; 0 for all.
        max_tokens: Tokens of one answer at most.
    """

    name: str
    data: Url
    sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    give_contexts: bool = True
    max_cases: Annotated[int, Field(ge=0)] = 0
    max_tokens: Annotated[int, Field(ge=1)] = 512


class HeldOut(Part):
    """Data that was not learned from.

    Attributes:
        data: A prepared dataset: its folder, or the one above with ``current.json``.
        split: The split.
        max_sequences: Sequences that are taken; 0 for all.
    """

    data: Url
    split: Literal["evaluation", "test"] = "evaluation"
    max_sequences: Annotated[int, Field(ge=0)] = 2000


class Config(Part):
    """One run.

    Attributes:
        model: Weights and tokenizer: a folder, or ``models:/name/version`` of the registry.
        output: Folder of the artifacts with answers.
        suites: Questions.
        held_out: Data for the loss; unset for none.
        batch_size: Questions, or sequences, in one pass.
        folder: Where the weights are put.
        results: Folder for what later steps read: ``answers``, the artifact's URL.
    """

    model: Annotated[str, Field(pattern=r"^((s3|gs|file)://|models:/)\S+$")]
    output: Url
    suites: tuple[Suite, ...] = ()
    held_out: HeldOut | None = None
    batch_size: Annotated[int, Field(ge=1)] = 8
    folder: str = "/work/model"
    results: str = "/tmp/results"


def parse(text: str) -> Config:
    """Read ``--config``.

    Raises:
        ConfigError: It cannot be used.
    """
    return parsed(Config.model_validate_json, text)
