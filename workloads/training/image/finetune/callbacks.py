"""What happens beside the steps: metrics, checkpoints, and the end before the node goes away."""

from __future__ import annotations

# ruff: noqa: ARG002 the trainer hands everything to every callback
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from . import say
from .checkpoints import Checkpoints
from .gauges import Gauges
from .pace import Pace
from .tracking import Run

_TOLD: Final = ("loss", "eval_loss", "learning_rate", "grad_norm", "epoch", "num_input_tokens_seen")
"""What the trainer says that is worth keeping; its own pace includes checkpoints."""


def gather(value: Any) -> Sequence[Any]:
    """Every process's value; all wait for all."""
    return gather_object([value])


class Notice:
    """The node's notice that it will go away: SIGTERM. Outside of training it ends the program at once."""

    def __init__(self) -> None:
        self.given = False
        self.training = False

    def listen(self) -> None:
        """Take the signal from now on."""
        signal.signal(signal.SIGTERM, self._told)

    def _told(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.given = True
        if not self.training:
            raise SystemExit(128 + number)


class Saving(TrainerCallback):
    """Checkpoints by time, by steps and on notice; all processes decide together and save the same step."""

    def __init__(self, store: Checkpoints, notice: Notice, *, every_minutes: float, pace: Pace) -> None:
        self._store, self._notice, self._pace = store, notice, pace
        self._seconds = every_minutes * 60
        self._saved = time.monotonic()
        self.interrupted = False

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Count time from here."""
        self._saved = time.monotonic()
        self._notice.training = True
        self._pace.resume(state.num_input_tokens_seen)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Look whether it is time. One node's notice is everybody's: the others cannot go on without it."""
        self._pace.seen(int(state.num_input_tokens_seen))
        due = bool(self._seconds) and time.monotonic() - self._saved >= self._seconds
        asked = torch.tensor([float(self._notice.given), float(due)], device=args.device)
        if PartialState().num_processes > 1:
            torch.distributed.all_reduce(asked, op=torch.distributed.ReduceOp.MAX)
        stop, save = (bool(one) for one in asked.tolist())
        if stop:
            self.interrupted = not state.global_step >= state.max_steps
            control.should_training_stop = True
            control.should_evaluate = False
        if stop or save:
            control.should_save = True
            control.should_log = True  # the average of the loss begins anew with every line, here and after a restart

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Bring the folder that the trainer wrote to the object store."""
        self._pace.pause()
        process = PartialState()
        folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        self._store.save(
            folder,
            state.global_step,
            uploads=process.is_local_main_process,
            first=process.is_main_process,
            gather=gather,
        )
        if process.is_local_main_process:
            shutil.rmtree(folder, ignore_errors=True)
        self._saved = time.monotonic()
        self._pace.resume(int(state.num_input_tokens_seen))

    def on_prediction_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Measuring is no standstill."""
        self._pace.pause()

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Go on."""
        self._pace.resume(int(state.num_input_tokens_seen))

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """What follows counts no tokens."""
        self._pace.pause()
        self._notice.training = False


class Telling(TrainerCallback):
    """Metrics to the log, to ``/metrics`` and to the registry."""

    def __init__(self, gauges: Gauges, run: Run | None, pace: Pace) -> None:
        self._gauges, self._run, self._pace = gauges, run, pace

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Tell one line of metrics."""
        values = {name: float(value) for name, value in (logs or {}).items() if name in _TOLD}
        self._gauges.show(loss=values.get("loss"), learning_rate=values.get("learning_rate"))
        if not state.is_world_process_zero:
            return
        pace = self._pace()
        told = {**values, **({"tokens_per_second": pace} if pace > 0 else {})}
        say.info("step", step=state.global_step, of=state.max_steps, **told)
        if self._run is not None and told:
            self._run.metrics(state.global_step, int(time.time() * 1000), told)
