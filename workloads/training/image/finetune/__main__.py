"""``python -m finetune --config <JSON>``, or the same under ``torchrun -m``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from .config import FineTuneConfig

DONE: Final = 0
FAILED: Final = 1
BAD_CONFIGURATION: Final = 2
INTERRUPTED: Final = 143
"""128 + SIGTERM: what a program that was asked to end says. Operators start the job again."""

_HELP: Final = """exit codes:
  0    the model is finished, or was before
  1    something failed; starting again goes on from the last checkpoint
  2    the configuration, the base model or the data cannot be used
  143  the node goes away; a checkpoint is saved, starting again goes on from it"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Tune a model."""
    parser = argparse.ArgumentParser(
        prog="finetune", description=__doc__, epilog=_HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", required=True, help="the configuration as JSON, or the path of a file with it")
    given: str = parser.parse_args(arguments).config
    try:
        text = given if given.lstrip().startswith("{") else Path(given).read_text()
        config = FineTuneConfig.model_validate_json(text)
    except (OSError, ValidationError) as error:
        print(_told(error), file=sys.stderr)
        return BAD_CONFIGURATION
    return _run(config)


def _run(config: FineTuneConfig) -> int:
    from . import say  # noqa: PLC0415 a wrong configuration is told at once, without half a minute of loading
    from .program import InterruptedRunError, finetune  # noqa: PLC0415
    from .sources import SourceError  # noqa: PLC0415

    folder = Path(os.environ.get("FINETUNE_FOLDER") or Path.home() / "finetune" / config.name)
    try:
        finetune(config, folder)
    except InterruptedRunError as error:
        say.warning(str(error))
        return INTERRUPTED
    except SourceError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_CONFIGURATION
    except Exception:
        say.failed("the run failed")
        return FAILED
    return DONE


def _told(error: Exception) -> str:
    """One line for each thing that is wrong."""
    if not isinstance(error, ValidationError):
        return f"error: --config: {error}"
    return "\n".join(
        f"error: {'.'.join(map(str, one['loc'])) or 'config'}: {one['msg'].removeprefix('Value error, ')}"
        for one in error.errors(include_url=False)
    )


if __name__ == "__main__":
    sys.exit(main())
