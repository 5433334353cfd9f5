"""What libraries must not do: report usage, look for updates, fetch models. Imported before any of them."""

from __future__ import annotations

import os

_OFF = {
    "RAGAS_DO_NOT_TRACK": "true",
    "DEEPEVAL_TELEMETRY_OPT_OUT": "1",
    "DEEPEVAL_UPDATE_WARNING_OPT_IN": "0",
    "DEEPEVAL_DISABLE_DOTENV": "1",
    "DEEPEVAL_FILE_SYSTEM": "READ_ONLY",
    "CONFIDENT_TRACE_FLUSH": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "LANGSMITH_TRACING": "false",
    "LANGCHAIN_TRACING_V2": "false",
    "GIT_PYTHON_REFRESH": "quiet",  # MLflow looks for git, and the image has none
}
_KEYS_OF_OTHERS = ("CONFIDENT_API_KEY", "LANGSMITH_API_KEY", "LANGCHAIN_API_KEY")


def settle() -> None:
    """Set it, whatever the environment says."""
    os.environ.update(_OFF)
    for name in _KEYS_OF_OTHERS:
        os.environ.pop(name, None)
