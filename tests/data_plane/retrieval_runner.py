"""The programs of the retrieval image in one process, asked line by line: importing them takes longer than they do."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import traceback
from typing import Any

from retrieval import ingest  # pyright: ignore[reportMissingImports] in the image's environment
from retrieval.config import Milvus  # pyright: ignore[reportMissingImports]
from retrieval.store import Store, connect  # pyright: ignore[reportMissingImports]

_ATTEMPTS = 4


def _connected(url: str) -> Any:
    """A client; on a busy machine the server may not answer the first time."""
    for _ in range(_ATTEMPTS - 1):
        with contextlib.suppress(Exception):
            return connect(Milvus(url=url))
    return connect(Milvus(url=url))


def answer(asked: dict[str, Any]) -> dict[str, Any]:
    if "look" in asked:
        try:
            store = Store(_connected(asked["milvus"]), asked["name"])
            return {"found": eval(asked["look"], {"store": store})}
        except Exception:
            return {"failed": traceback.format_exc()}
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            status = ingest.main(["--config", json.dumps(asked["ingest"])])
        except SystemExit as error:
            status = error.code
        except Exception:
            traceback.print_exc()
            status = 1
    return {"status": status, "said": said.getvalue()}


for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
