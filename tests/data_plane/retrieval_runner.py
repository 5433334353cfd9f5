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


def answer(asked: dict[str, Any]) -> dict[str, Any]:
    if "look" in asked:
        store = Store(connect(Milvus(url=asked["milvus"])), asked["name"])
        try:
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
