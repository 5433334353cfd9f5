"""The steps: what they fetch, run and publish. Each publishes whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Final

from engine import arguments
from engine.config import Build, Convert, Trial
from workloads import compatibility
from workloads.artifacts import JSON, fetch, find, publish
from workloads.artifacts.objects import objects
from workloads.models import smoke_pod
from workloads.triton import built, loader, sync

RELEASE: Final = "release"
"""Folder of the release in the engine's artifact: its own manifest has the same name as the artifact's."""

_TOKENIZER: Final = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
    "merges.txt",
    "tokenizer.model",
    "vocab.json",
)


class ToolError(RuntimeError):
    """A program failed; its own output says why."""


class TrialError(RuntimeError):
    """The engine does not load, or does not answer as it must."""


def run_tool(command: Sequence[str]) -> None:
    """Run one of TensorRT-LLM's programs; its lines go to the log.

    Raises:
        ToolError: It failed.
    """
    print(json.dumps({"message": "running", "command": list(command)}), flush=True)
    began = time.monotonic()
    done = subprocess.run(command, env=environment(), check=False)
    if done.returncode:
        raise ToolError(f"{command[0]} ended with {done.returncode}")
    print(json.dumps({"message": "done", "seconds": round(time.monotonic() - began)}), flush=True)


def environment(**more: str) -> dict[str, str]:
    """Variables of NVIDIA's programs: their own packages, and not those of this one."""
    return {**{name: value for name, value in os.environ.items() if name != "PYTHONPATH"}, **more}


def gpus() -> Sequence[str]:
    """Names of the GPUs that are there."""
    listed = subprocess.run(
        ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, check=False
    )
    return listed.stdout.split("\n")[:-1] if listed.returncode == 0 else []


def convert(config: Convert) -> Mapping[str, str]:
    """Make a checkpoint; nothing where it is there."""
    if known := find(config.checkpoints, config.key):
        return {"checkpoint": known.url}
    with _workspace() as place:
        model, output = place / "model", place / "checkpoint"
        source = fetch(config.source, model)
        described = compatibility.for_older(model)
        names: Sequence[str] = described.get("architectures") or [""]
        texts = _calibration(config, place) if config.calibrated else None
        run_tool(
            arguments.convert_command(config, architecture=names[0], model=model, output=output, calibration=texts)
        )
        facts: Mapping[str, JSON] = {"architecture": names[0], "quantization": config.quantization}
        made = publish(
            output, config.checkpoints, config.key, kind="checkpoint", parents={"model": source.key}, facts=facts
        )
    return {"checkpoint": made.url}


def _calibration(config: Convert, place: Path) -> Path:
    """A folder that Hugging Face's reader of data sets takes: the split ``train`` with the column ``text``."""
    folder = place / "calibration"
    folder.mkdir()
    fetched = place / "calibration.jsonl"
    objects(config.calibration).download(config.calibration, fetched)
    with fetched.open() as lines, (folder / "train.jsonl").open("w") as file:
        kept = 0
        for line in lines:
            text = json.loads(line).get("text") if line.strip() else None
            if text and kept < config.calibration_texts:
                file.write(json.dumps({"text": text}) + "\n")
                kept += 1
    if not kept:
        raise arguments.UnsupportedError(f"{config.calibration} has no line with a text")
    return folder


def build(config: Build) -> Mapping[str, str]:
    """Build an engine on the GPU that will serve it; nothing where it is there."""
    if known := find(config.engines, config.key):
        return {"engine": known.url}
    if problem := arguments.problem_of_gpu(config.gpu, gpus(), config.parallel.gpus):
        raise ToolError(problem)
    with _workspace() as place:
        checkpoint, artifact = place / "checkpoint", place / "artifact"
        parent = fetch(config.checkpoint, checkpoint)
        release = artifact / RELEASE
        run_tool(arguments.build_command(config, checkpoint=checkpoint, output=release / "engine"))
        shutil.rmtree(checkpoint)  # as large as the engine: its room is needed
        _tokenizer(config.source, release / "tokenizer")
        manifest = built.described(release, gpu=config.gpu, model=config.model)
        (release / built.FILE).write_text(built.text(manifest))
        facts: Mapping[str, JSON] = {key: value for key, value in manifest.items() if key != "files"}
        made = publish(
            artifact, config.engines, config.key, kind="engine", parents={"checkpoint": parent.key}, facts=facts
        )
    return {"engine": made.url}


def _tokenizer(source: str, target: Path) -> None:
    """The tokenizer's files alone; the weights are not fetched again."""
    target.mkdir(parents=True)
    store = objects(source)
    names = {url.rpartition("/")[2]: url for url in store.list(source)}
    for name in _TOKENIZER:
        if name in names:
            store.download(names[name], target / name)
    if not (target / "tokenizer_config.json").exists():
        raise arguments.UnsupportedError(f"{source} has no tokenizer_config.json")
    compatibility.tokenizer_for_older(target)


def trial(config: Trial) -> Mapping[str, str]:
    """Load the release as a server does, and ask it; nothing where that was done already.

    Raises:
        TrialError: It does not load, or does not answer.
    """
    if find(config.trials, config.key):
        return {"seconds": ""}
    cache = Path(config.cache)
    cache.mkdir(parents=True, exist_ok=True)
    key = sync.make_key(cache)
    server = loader.Server(control=config.server.control, frontend=config.server.frontend, key=key)
    wanted = loader.Release.of(json.dumps({**config.document, "source": config.release}))
    with _running(config, server):
        try:
            loader.Loader(server=server, cache=cache, download=_download).serve(wanted)
            endpoint = smoke_pod.Endpoint("trial", config.server.frontend, wanted.served)
            slowest = smoke_pod.judged(
                endpoint, config.question.prompt, config.question.expected, config.question.p99_seconds
            )
        except (loader.LoadError, sync.ReleaseError, smoke_pod.FailedError) as failed:
            raise TrialError(str(failed)) from None
    with _workspace() as place:
        (place / "trial.json").write_text(json.dumps({"slowestSeconds": round(slowest, 3)}) + "\n")
        publish(
            place,
            config.trials,
            config.key,
            kind="trial",
            parents={"release": config.release},
            facts={"slowestSeconds": round(slowest, 3)},
        )
    return {"seconds": f"{slowest:.2f}"}


def _download(source: str, folder: str) -> None:
    """Fetch everything below a release; the loader checks it against the release's manifest."""
    store = objects(source)
    for url in store.list(source):
        path = Path(folder) / url.removeprefix(source.rstrip("/")).lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        store.download(url, path)


@contextlib.contextmanager
def _running(config: Trial, server: loader.Server) -> Generator[None]:
    """Triton, as long as it is needed."""
    variables = environment(**{**config.server.environment, "CACHE": config.cache})
    process = subprocess.Popen(config.server.command, env=variables)
    try:
        end = time.monotonic() + config.server.start_seconds
        while not server.is_alive():
            if process.poll() is not None:
                raise TrialError(f"Triton ended with {process.returncode} before it answered")
            if time.monotonic() > end:
                raise TrialError(f"Triton did not answer within {config.server.start_seconds} s")
            time.sleep(1)
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def _workspace() -> Generator[Path]:
    """A folder on the pod's own disk, and not in the memory of ``/tmp``."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as place:
        yield Path(place)
