"""The way of one fine-tune: look, fetch, train, write, register."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from datasets import disable_progress_bars
from transformers import (
    DataCollatorForSeq2Seq,
    PrinterCallback,
    Trainer,
    TrainingArguments,
    set_seed,
)
from transformers.utils import logging as transformers_logging

from workloads import compatibility
from workloads.artifacts import Manifest, find, publish

from . import data, models, say, sources, tracking
from .callbacks import Notice, Saving, Telling
from .checkpoints import Checkpoints, facts_of
from .config import FineTuneConfig, model_key
from .gauges import Gauges
from .pace import Pace
from .zero import deepspeed_config

KIND: Final = "model"
"""Kind of the artifact that comes out."""

_WAIT_SECONDS: Final = 7200  # one process fetches or writes while the others wait: 100 GB at 15 MB/s
_NEVER: Final = 2**31 - 1


class InterruptedRunError(Exception):
    """The node goes away; everything that is needed to go on is saved."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """A fine-tune on this machine.

    Attributes:
        config: What is done.
        folder: Where this node may write.
        source: What is learned from.
        key: Key of what comes out.
        notice: Of the node's end.
    """

    config: FineTuneConfig
    folder: Path
    source: sources.DataSource
    key: str
    notice: Notice

    @property
    def checkpoints(self) -> Checkpoints:
        """The run's checkpoints."""
        return Checkpoints(self.config.output.checkpoints, self.key, keep=self.config.checkpoints.keep)


def finetune(config: FineTuneConfig, folder: Path) -> Manifest:
    """Tune the model, unless the same was done before; every process calls this.

    Raises:
        InterruptedRunError: The node's end was announced; the same call goes on from the last checkpoint.
        SourceError: The base model or the data cannot be used.
    """
    notice = Notice()
    notice.listen()
    arguments = training_arguments(config, folder)  # joins the other processes
    process = PartialState()
    say.start(rank=process.process_index)
    disable_progress_bars()
    transformers_logging.disable_progress_bar()
    source = sources.data_source(config)
    key = model_key(config, data_key=source.key, processes=process.num_processes)
    work = Work(config=config, folder=folder, source=source, key=key, notice=notice)
    run = tracking.begun(config, source, key, artifacts=config.output.models) if process.is_main_process else None
    run_id = from_first(run.id if run else key)
    done = from_first(find(config.output.models, key) if process.is_main_process else None)
    with _ended(run):
        if done is None:
            done = _trained(work, arguments, run, run_id)
        else:
            say.info("this model was made before", url=done.url)
        if process.is_main_process:
            _registered(work, run, done)
            work.checkpoints.clear()
        process.wait_for_everyone()
    return done


@contextlib.contextmanager
def _ended(run: tracking.Run | None) -> Iterator[None]:
    try:
        yield
    except (InterruptedRunError, SystemExit):
        if run is not None:
            run.end("KILLED")
        raise
    except BaseException:
        if run is not None:
            run.end("FAILED")
        raise
    if run is not None:
        run.end("FINISHED")


def from_first(value: Any) -> Any:
    """What the first process has, for all."""
    box = [value]
    broadcast_object_list(box, from_process=0)
    return box[0]


def training_arguments(config: FineTuneConfig, folder: Path) -> TrainingArguments:
    """The trainer's arguments; making them joins the other processes."""
    wanted, gpu = config.optimization, torch.cuda.is_available()
    dtype = models.precision(config)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    zero = config.zero and deepspeed_config(config.zero, wanted, processes=processes, precision=dtype, accelerator=gpu)
    return TrainingArguments(
        output_dir=str(folder / "checkpoints"),
        num_train_epochs=wanted.epochs,
        max_steps=wanted.max_steps or -1,
        learning_rate=wanted.learning_rate,
        lr_scheduler_type=wanted.scheduler,
        warmup_steps=wanted.warmup_share,
        weight_decay=wanted.weight_decay,
        max_grad_norm=wanted.max_gradient_norm,
        per_device_train_batch_size=wanted.batch_size,
        per_device_eval_batch_size=wanted.batch_size,
        gradient_accumulation_steps=wanted.accumulation,
        activation_checkpointing=wanted.recompute,
        activation_checkpointing_kwargs={"use_reentrant": False},
        optim="adamw_torch",  # also in the host's memory, where ZeRO offloads to it
        bf16=gpu and dtype == "bfloat16",
        fp16=gpu and dtype == "float16",
        use_cpu=not gpu,
        ddp_backend="gloo" if processes > 1 and not gpu else None,
        ddp_timeout=_WAIT_SECONDS,
        ddp_find_unused_parameters=False,
        deepspeed=zero,
        seed=wanted.seed,
        data_seed=wanted.seed,
        logging_steps=config.log_every_steps,
        logging_nan_inf_filter=False,  # a loss that is not a number must be seen
        include_num_input_tokens_seen="non_padding",
        save_strategy="steps",
        save_steps=config.checkpoints.every_steps or _NEVER,
        eval_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_num_workers=0 if not gpu else 2,
        remove_unused_columns=True,
    )


def _trained(work: Work, arguments: TrainingArguments, run: tracking.Run | None, run_id: str) -> Manifest:
    """Train, write the model, and publish it."""
    process, config = PartialState(), work.config
    with arguments.main_process_first(local=True):
        base = sources.fetched_base(config.base, work.folder / "base")
        files = sources.fetched_data(config, work.source, work.folder / "data")
    say.info("fetched", base=config.base, data=work.source.url, key=work.key[:12])
    tokenizer = models.tokenizer_of(base)
    with arguments.main_process_first(local=True):
        prepared = data.prepared(
            files, tokenizer, longest=config.optimization.sequence_length, cache=work.folder / "cache"
        )
    set_seed(config.optimization.seed)
    model = models.for_training(config, base, local_rank=process.local_process_index)
    pace = Pace()
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    gauges = Gauges(job_name=config.name, run_id=run_id, share=local / process.num_processes, pace=pace)
    if config.metrics_port and process.is_local_main_process:
        gauges.serve(config.metrics_port)
    saving = Saving(work.checkpoints, work.notice, every_minutes=config.checkpoints.every_minutes, pace=pace)
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=prepared.training,
        eval_dataset=prepared.validation,
        processing_class=tokenizer,
        data_collator=DataCollatorForSeq2Seq(tokenizer, pad_to_multiple_of=8, label_pad_token_id=data.IGNORED),
        callbacks=[saving, Telling(gauges, run, pace)],
    )
    trainer.remove_callback(PrinterCallback)
    facts = _size_facts(trainer, prepared)
    if run is not None:
        run.parameters(config, facts)
    say.info("training", **facts)
    learned = trainer.train(resume_from_checkpoint=_restored(work))
    if saving.interrupted:
        raise InterruptedRunError(f"stopped at step {trainer.state.global_step} of {trainer.state.max_steps}")
    numbers = _numbers(trainer, learned.metrics)
    if run is not None:
        run.metrics(trainer.state.global_step, _now(), numbers)
    target, adapters = work.folder / "model", work.folder / "adapter"
    _written(work, trainer, base, target, adapters)
    del trainer, model
    gc.collect()
    done: Manifest | None = None
    if process.is_main_process:
        if config.adapters and config.output.merge:
            models.merged(base, adapters, target)
            tokenizer.save_pretrained(target)
        if run is not None and config.adapters:
            run.folder(adapters, "adapter")
        compatibility.for_older(target)
        done = publish(
            target,
            config.output.models,
            work.key,
            kind=KIND,
            parents={"data": work.source.key, "base": config.base},
            facts={
                "name": config.name,
                "method": config.method,
                "merged": not config.adapters or config.output.merge,
                "image": config.image,
                "run": run_id,
                **numbers,
            },
        )
        say.info("published", url=done.url, mib=done.size_bytes >> 20)
    found: Manifest = from_first(done)
    return found


def _restored(work: Work) -> str | None:
    """The newest checkpoint, on every node; none where the run begins."""
    process = PartialState()
    found: Manifest | None = from_first(work.checkpoints.latest() if process.is_main_process else None)
    if found is None:
        return None
    folder = work.folder / "resumed"
    if process.is_local_main_process:
        work.checkpoints.restore(found, folder)
    process.wait_for_everyone()
    say.info("goes on", **facts_of(found))
    return str(folder)


def _written(work: Work, trainer: Trainer, base: Path, target: Path, adapters: Path) -> None:
    """Write what was learned; where parameters are shared out every process has a part in it."""
    config = work.config
    for folder in (target, adapters):
        if PartialState().is_local_main_process:
            shutil.rmtree(folder, ignore_errors=True)
    PartialState().wait_for_everyone()
    place = adapters if config.adapters else target
    if config.adapters or config.zero is not None:
        trainer.save_model(str(place))
    elif trainer.is_world_process_zero():
        models.written(trainer.accelerator.unwrap_model(trainer.model), base, target, models.published_dtype(base))
        assert trainer.processing_class is not None
        trainer.processing_class.save_pretrained(target)
    for name in ("training_args.bin",):
        (place / name).unlink(missing_ok=True)  # a pickle that nobody needs
    if config.adapters and not config.output.merge and trainer.is_world_process_zero():
        shutil.copytree(adapters, target)


def _registered(work: Work, run: tracking.Run | None, done: Manifest) -> None:
    if run is None:
        return
    config = work.config
    run.tag(model=done.url)
    if not config.output.registered_model:
        return
    tags = {
        tracking.KEY_TAG: done.key,
        "llmops.fine-tune": config.name,
        "llmops.base": config.base,
        "llmops.data": work.source.url,
        "llmops.data.key": work.source.key,
        "llmops.image": config.image,
        "llmops.method": config.method,
    }
    version = run.register(config.output.registered_model, done.url, tags)
    say.info("registered", model=config.output.registered_model, version=version.version)


def _size_facts(trainer: Trainer, prepared: data.Prepared) -> Mapping[str, Any]:
    assert trainer.model is not None
    parameters = [(one.numel() or getattr(one, "ds_numel", 0), one.requires_grad) for one in trainer.model.parameters()]
    return {
        "sequences": len(prepared.training),
        "sequences_shortened": prepared.shortened,
        "validation_sequences": 0 if prepared.validation is None else len(prepared.validation),
        "parameters": sum(count for count, _ in parameters),
        "parameters_learned": sum(count for count, learned in parameters if learned),
        "processes": PartialState().num_processes,
    }


def _numbers(trainer: Trainer, learned: Mapping[str, float]) -> dict[str, float]:
    """What the run is judged by."""
    measured = trainer.evaluate() if trainer.eval_dataset is not None else {}
    found = {"train_loss": learned.get("train_loss"), "eval_loss": measured.get("eval_loss")}
    steps = float(trainer.state.global_step)
    tokens = float(trainer.state.num_input_tokens_seen)
    return {"steps": steps, "tokens": tokens, **{name: float(one) for name, one in found.items() if one is not None}}


def _now() -> int:
    return int(time.time() * 1000)
