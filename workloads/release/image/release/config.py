"""What each step is told: the ``--config`` of the pod. One kind for each ``task``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from workloads.artifacts.configuration import Key, Part, Url, parsed

Alias = Annotated[str, Field(pattern=r"^([A-Za-z][A-Za-z0-9_-]{0,49})?$")]
Version = Annotated[str, Field(pattern=r"^[1-9]\d*$")]


class Look(Part):
    """Whether the raw data has to be prepared again.

    Results: ``preprocess`` (``run`` or ``skip``) and ``record``, the key of what was looked at.

    Attributes:
        task: Which step.
        alias: An alias of the registry asks for the release: its version is there, so nothing is prepared.
        sources: Folders of raw files.
        decides: What else decides the prepared data: the settings of the dataset, and the tag of its image.
        records: Folder of what was prepared from which state of the raw files.
    """

    task: Literal["look"]
    alias: Alias = ""
    sources: Sequence[Url] = ()
    decides: dict[str, Any]
    records: Url


class Plan(Part):
    """Whether the model has to be trained.

    Results: ``train`` (``run`` or ``skip``), ``dataset``, the URL of the data, and ``model``, that of what comes of it.

    Attributes:
        task: Which step.
        alias: As of :class:`Look`.
        look: What the first step looked at: asked again, because raw files may have changed meanwhile.
        record: What it answered.
        dataset: Folder of the prepared datasets, with a pointer to the current one; or one dataset.
        training: What the training is told, without the URL of its data.
        processes: GPUs that train together: the batch is so many times as large.
    """

    task: Literal["plan"]
    alias: Alias = ""
    look: Look
    record: Key
    dataset: Url
    training: dict[str, Any]
    processes: Annotated[int, Field(ge=1)]


class Engine(Part):
    """What decides an engine, besides the model.

    Attributes:
        decides: Its settings, the tag of the image that builds it, what it is asked when it is tried.
        checkpoints: Folder of converted checkpoints.
        engines: Folder of built engines.
        repository: Folder of releases that Triton reads.
        trials: Folder of what was tried and worked.
    """

    decides: dict[str, Any]
    checkpoints: Url
    engines: Url
    repository: Url
    trials: Url


class Find(Part):
    """Which version of the registry it is, and what of its engine is there.

    Results: ``version``, ``source`` (URL of its files), ``evaluate``, and with an engine ``convert``, ``build``,
    ``sync``, ``trial`` (each ``run`` or ``skip``) and ``key``, ``source``, ``release`` of the engine.

    Attributes:
        task: Which step.
        alias: The version that bears it is released; empty for the one that was trained.
        registered_model: Name in the registry.
        model: URL of the trained model.
        engine: Its engine; none where there is none to build.
    """

    task: Literal["find"]
    alias: Alias = ""
    registered_model: Annotated[str, Field(min_length=1)]
    model: str
    engine: Engine | None = None


class Start(Part):
    """Create an object of Kubernetes, or find it, and wait for its end.

    Attributes:
        task: Which step.
        manifest: The object.
        run: What names the run of the flow, and is the same for each try: the object's name follows from it.
        success: Condition that means success.
        failure: Condition that means failure.
        seconds: After so long it is deleted, and the step has failed.
        gives: Results of a workflow's steps that are handed on, where the object is one.
        every_seconds: How often it is looked at.
    """

    task: Literal["start"]
    manifest: dict[str, Any]
    run: Annotated[str, Field(min_length=1)]
    success: str
    failure: str
    seconds: Annotated[int, Field(ge=1)]
    gives: Sequence[str] = ()
    every_seconds: Annotated[float, Field(gt=0)] = 15


class Sync(Part):
    """Copy a built engine into the model repository, in the layout that Triton's loader reads.

    Attributes:
        task: Which step.
        engine: URL of the built engine.
        release: URL of its folder in the repository.
    """

    task: Literal["sync"]
    engine: Url
    release: Url


class Promote(Part):
    """Give a version an alias, if it may have it.

    Attributes:
        task: Which step.
        registered_model: Name in the registry.
        version: The version.
        alias: The alias.
        by: Who does it, such as the name of a workflow.
        unevaluated: Why a version may have it that was never evaluated; empty refuses those.
    """

    task: Literal["promote"]
    registered_model: Annotated[str, Field(min_length=1)]
    version: Version
    alias: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,49}$")]
    by: str
    unevaluated: str = ""


Config = Look | Plan | Find | Start | Sync | Promote

_ADAPTER: TypeAdapter[Config] = TypeAdapter(Annotated[Config, Field(discriminator="task")])


def parse(text: str) -> Config:
    """Read ``--config``.

    Raises:
        ConfigError: It cannot be used.
    """
    return parsed(_ADAPTER.validate_json, text)
