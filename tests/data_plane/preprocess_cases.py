"""What preprocessing does with small data, in the environment of its image; prints a JSON object of what was seen.

``python preprocess_cases.py <folder>`` runs in the image's packages, where pytest is not.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from preprocess import __main__ as program
from preprocess import near, pipeline, tokens
from preprocess.config import Config, TokenizerSource
from preprocess.errors import ConfigurationError, RefusedError
from preprocess.reading import ChangedFileError, Partition, lines
from preprocess.sequences import SIDES
from preprocess_material import TOKENIZER, lines_of, rows, run, said, settings, states, texts, tokenizer, write

from workloads.artifacts import current
from workloads.artifacts.objects import local_path


def bad_records(home: Path) -> dict[str, Any]:
    """One of each kind that is set aside, between good ones."""
    good = [{"text": text} for text in texts(1, 40)]
    bad = ["{broken", {"text": 5}, {"title": "x"}, [1], {"text": "  "}, '{"text": "\\ud800"}', {"text": "a" * 900}]
    write(home / "raw" / "a.jsonl", [*good[:10], *bad, "", *good[10:]])
    (home / "raw" / "b.txt").write_bytes("\n".join(texts(2, 5)).encode() + b"\nlatin \xe9 one\n")
    found, _ = run(home, cleaning={"minCharacters": 2, "maxCharacters": 800})
    before = states(home)
    again, stages = run(home, cleaning={"minCharacters": 2, "maxCharacters": 800})
    return {
        "counts": found.facts["counts"],
        "sides": found.facts["sides"],
        "setAside": lines_of(found, "set-aside.jsonl"),
        "sources": lines_of(found, "sources.jsonl"),
        "same": again == found and states(home) == before,
        "stages": sorted(stages),
        "current": current((home / "out").as_uri()) == found,
        "rows": {side: len(rows(found, side)) for side in SIDES},
    }


def cleaning(home: Path) -> dict[str, Any]:
    write(
        home / "raw" / "a.jsonl",
        [{"text": "\ufeffCafe\u0301\r\nis\x00 open\u2028now  "}, *({"text": t} for t in texts(3, 30))],
    )
    found, _ = run(home, pack=False)
    return {"found": [one for side in SIDES for one in said(found, side) if "Caf" in one]}


def duplicates(home: Path) -> dict[str, Any]:
    """Equal in another file, in capitals and with other spaces; nearly equal; and merely alike."""
    some = texts(4, 30, words=60)
    words = some[3].split()
    nearly = " ".join([*words[:30], "changed", *words[31:]])  # 5 of 61 groups of five words
    alike = " ".join([*words[:30], *texts(5, 1, words=30)[0].split()])
    write(home / "raw" / "a.jsonl", [{"text": one} for one in some])
    extra = [some[0], some[1].upper(), some[2].replace(" ", "\n "), nearly, alike]
    write(home / "raw" / "b.jsonl.gz", [{"text": one} for one in extra])
    exact, _ = run(home, pack=False, maxTokens=512)
    found, _ = run(home, pack=False, maxTokens=512, nearDuplicates={"threshold": 0.8})
    left = set().union(*(said(found, side) for side in SIDES))
    return {
        "exact": exact.facts["counts"],
        "near": found.facts["counts"],
        "kept": [one in left for one in (some[0], some[3], nearly, alike)],
    }


def similarity(_: Path) -> dict[str, Any]:
    """How far signatures are from the truth, for pairs of every similarity, and who is found at the threshold."""
    errors: list[float] = []
    found = {"above": [0, 0], "below": [0, 0]}
    count, _rows = near.bands(128, 0.8)
    for seed in range(60):
        words = texts(seed, 1, words=200)[0].split()
        changed = list(words)
        for at in random.Random(seed).sample(range(200), seed % 12):
            changed[at] = "other"
        groups = [{tuple(one[at : at + 5]) for at in range(196)} for one in (words, changed)]
        truth = len(groups[0] & groups[1]) / len(groups[0] | groups[1])
        pair = np.stack([near.signature(" ".join(one), permutations=128, words=5) for one in (words, changed)])
        errors.append(abs(float((pair[0] == pair[1]).mean()) - truth))
        hashes = near.band_hashes(pair, count)
        candidate = bool((hashes[0] == hashes[1]).any())
        if truth > 0.9 or truth < 0.6:
            kind = found["above" if truth > 0.9 else "below"]
            kind[0] += 1
            kind[1] += candidate and len(near.similar_pairs(np.arange(2), pair, 0.8))
    return {"worst": max(errors), "mean": sum(errors) / len(errors), "found": found}


def grown(home: Path) -> dict[str, Any]:
    """Another file comes, and one goes: nobody changes sides, and only what is new is made."""
    write(home / "raw" / "b.jsonl", [{"text": one} for one in texts(6, 60)])
    write(home / "raw" / "c.jsonl", [{"text": one} for one in texts(7, 20)])
    first, _ = run(home, pack=False, maxTokens=512)
    write(home / "raw" / "a.jsonl", [{"text": one} for one in texts(8, 30)])
    (home / "raw" / "c.jsonl").unlink()
    second, stages = run(home, pack=False, maxTokens=512)
    kept = set(texts(6, 60))
    return {
        "seen": [len(said(first, side) & kept) for side in SIDES],
        "moved": [side for side in SIDES if said(first, side) & kept != said(second, side) & kept],
        "other": first.key != second.key,
        "first": Path(local_path(first.url)).is_dir(),
        "current": current((home / "out").as_uri()) == second,
        "records": stages["records"],
        "sequences": stages["sequences"],
        "work": sorted({path.parent.parent.name for path in (home / "work").rglob("manifest.json")}),
    }


def killed(home: Path) -> dict[str, Any]:
    """The process dies after three of six files are read, and after two of them are tokens."""
    for place in ("one", "two"):
        for number in range(6):
            write(home / place / "raw" / f"{number}.jsonl", [{"text": one} for one in texts(20 + number, 15)])
    undisturbed, _ = run(home / "one")
    seen: list[dict[str, Any]] = []
    for stage, after in (("records", 3), ("sequences", 2)):
        died = subprocess.run(
            [sys.executable, __file__, "die", stage, str(after), json.dumps(settings(home / "two"))], check=False
        )
        out = home / "two" / "out"
        seen.append({"signal": died.returncode, "left": [str(one) for one in out.rglob("*") if one.is_file()]})
    made = states(home / "two" / "work")
    found, stages = run(home / "two")
    now = states(home / "two" / "work")
    return {
        "died": seen,
        "same": found.files == undisturbed.files and found.key == undisturbed.key,
        "records": stages["records"],
        "sequences": stages["sequences"],
        "touched": [path for path, state in made.items() if path in now and now[path] != state],
    }


def die(stage: str, after: int, config: str) -> None:
    """A run that is killed as a spot node kills it: without a word."""

    def dying(name: str, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        done = []
        for item in items:
            if name == stage and len(done) == after:
                os.kill(os.getpid(), signal.SIGKILL)
            done.append(function(item))
        return done

    pipeline.run(Config.model_validate_json(config), dying)


def partitioned(home: Path) -> dict[str, Any]:
    """A file in parts has the records, and the lines, that it has as a whole."""
    write(
        home / "raw" / "a.jsonl", [*({"text": one} for one in texts(9, 50)), "{bad", "", {"text": "ü" * 70}, "{worse"]
    )
    whole, _ = run(home, pack=False)
    parts, stages = run(home, pack=False, partitionMib=0.001)
    path = home / "raw" / "a.jsonl"
    size, drawn = path.stat().st_size, random.Random(1)
    expected = path.read_bytes().splitlines(keepends=True)
    wrong = 0
    for _ in range(200):
        cuts = sorted({0, size, *(drawn.randrange(size) for _ in range(drawn.randrange(6)))})
        found = [
            line
            for start, end in itertools.pairwise(cuts)
            for _, line in lines(Partition("a", path.as_uri(), "", start=start, end=end), longest_bytes=1 << 20)
        ]
        wrong += found != expected
    short = [line for _, line in lines(Partition("a", path.as_uri(), ""), longest_bytes=100)]
    return {
        "parts": stages["records"]["parts"],
        "texts": all(said(whole, side) == said(parts, side) for side in SIDES),
        "lines": [
            sorted((one["line"], one["reason"]) for one in lines_of(found, "set-aside.jsonl"))
            for found in (whole, parts)
        ],
        "wrong": wrong,
        "short": [
            len(short) == len(expected),
            all((line is None) == (len(e) > 100) for line, e in zip(short, expected, strict=True)),
        ],
    }


def packed(home: Path) -> dict[str, Any]:
    """Running text without gaps: every token of every record is there once, in order."""
    some = texts(10, 40)
    write(home / "raw" / "a.jsonl", [{"text": one} for one in some])
    found, _ = run(home, split={"evaluationPercent": 0})
    inner = tokens.load(TokenizerSource(**TOKENIZER))
    expected = [token for one in inner.texts(some) for token in one.ids]
    made = rows(found, "train")
    return {
        "lengths": sorted({len(row["input_ids"]) for row in made[:-1]}),
        "same": [token for row in made for token in row["input_ids"]] == expected,
        "labels": all(row["labels"] == row["input_ids"] for row in made),
        "ends": expected.count(inner.end),
        "restarts": sum(position == 0 for row in made for position in row["position_ids"]),
        "columns": sorted(made[0]),
        "tokens": [found.facts["sides"]["train"]["tokens"], len(expected)],
    }


def conversations(home: Path) -> dict[str, Any]:
    """Only the assistant's words are in the loss; a conversation is never cut."""
    drawn = texts(11, 40, words=6)
    chats = [
        [
            {"role": "system", "content": "be kind"},
            {"role": "user", "content": one},
            {"role": "assistant", "content": one.upper()},
            {"role": "user", "content": "more"},
            {"role": "assistant", "content": "no"},
        ]
        for one in drawn
    ]
    bad = [
        [{"role": "user", "content": "nobody answers"}],
        [{"role": "owner", "content": "x"}],
        [{"role": "assistant", "content": "x", "tool_calls": []}],
        [{"role": "tool", "content": "x"}, {"role": "assistant", "content": "y"}],
        [{"role": "user", "content": "x"}, {"role": "assistant", "content": " ".join(texts(12, 1, words=300))}],
        "no list",
    ]
    write(home / "raw" / "a.jsonl", [{"messages": one} for one in [*chats, *bad]])
    found, _ = run(
        home, kind="chat", field="messages", trainOn="assistant", maxTokens=256, split={"evaluationPercent": 0}
    )
    inner = tokens.load(TokenizerSource(**TOKENIZER))._inner
    trained: set[str] = set()
    for row in rows(found, "train"):
        spoken = [label for label in row["labels"] if label != tokens.IGNORED]
        trained |= set(inner.decode(spoken).split("</s>"))
    made = rows(found, "train")
    return {
        "counts": found.facts["counts"],
        "trained": trained == {"", "no", *(one.upper() for one in drawn)},
        "several": len(made) < len(chats),
        "whole": [sum(position == 0 for row in made for position in row["position_ids"]), len(chats)],
        "longest": max(len(row["input_ids"]) for row in made),
    }


def refusals(home: Path) -> Iterator[tuple[str, str]]:
    """Why runs were refused, by what was wrong."""
    good = [{"text": one} for one in texts(13, 20)]

    def why(name: str, prepare: Callable[[Path], object], **changed: Any) -> tuple[str, str]:
        prepare(home / name)
        try:
            run(home / name, **changed)
        except RefusedError as error:
            left = (home / name / "out").exists()
            return name, f"{error}{' BUT SOMETHING IS LEFT' if left else ''}"
        return name, ""

    def damaged(place: Path) -> None:
        path = write(place / "raw" / "a.jsonl.gz", good)
        path.write_bytes(path.read_bytes()[:-20])
        (place / "raw" / "b.txt.gz").write_bytes(b"no archive\n")

    yield why("damaged", damaged)
    yield why("bad", lambda place: write(place / "raw" / "a.jsonl", [*good, "{", "{", {"text": 1}]), maxBadRecords=0.1)
    yield why("strange", lambda place: [write(place / "raw" / one, good) for one in ("a.jsonl", "b.csv")])
    yield why("nothing", lambda place: (place / "raw").mkdir(parents=True))
    yield why("untrained", lambda place: write(place / "raw" / "a.jsonl", ["{", "{"]), maxBadRecords=1)


def overwritten(home: Path) -> dict[str, Any]:
    """Somebody writes a file anew between its hash and its records."""
    path = write(home / "raw" / "a.jsonl", [{"text": one} for one in texts(16, 20)])
    other = [{"text": one} for one in texts(17, 20)]

    def late(name: str, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        if name == "records":
            write(path, other)
        return [function(item) for item in items]

    try:
        pipeline.run(Config.model_validate(settings(home)), late)
        said_so = ""
    except ChangedFileError as error:
        said_so = str(error)
    kept = [str(one) for one in (home / "work" / "records").rglob("*")]
    found, _ = run(home, pack=False, maxTokens=512)
    every = set().union(*(said(found, side) for side in SIDES))
    return {"why": said_so, "kept": kept, "right": bool(every & {one["text"] for one in other})}


def text_files(home: Path) -> dict[str, Any]:
    """A file is one record where the dataset says so."""
    for number, one in enumerate(texts(14, 12)):
        write(home / "raw" / "books" / f"{number}.txt", [one[:50], one[50:]])
    found, _ = run(home, textRecord="file", pack=False)
    return {"counts": found.facts["counts"], "sources": [one["records"] for one in lines_of(found, "sources.jsonl")]}


def mirrored(home: Path) -> dict[str, Any]:
    """A tokenizer of the hub in a mirror, where each commit lies in a folder of its name."""
    commit, found = "0123456789" * 4, {}
    for name in (commit, "main"):
        place = home / "hub" / name
        shutil.copytree(local_path(TOKENIZER["url"]), place)
        try:
            found[name] = tokens.load(TokenizerSource(url=place.as_uri(), revision=commit)).facts
        except ConfigurationError as error:
            found[name] = str(error)
    return {"same": found[commit] == tokens.load(TokenizerSource(**TOKENIZER)).facts, "other": found["main"]}


def exits(home: Path) -> dict[str, Any]:
    """How the program ends, and what it says, when it cannot do what it is told."""
    write(home / "raw" / "a.jsonl", [{"text": one} for one in texts(15, 30)])

    def ended(**changed: Any) -> dict[str, Any]:
        heard, before = io.StringIO(), list(logging.root.handlers)
        with contextlib.redirect_stderr(heard):
            code = program.main(["--config", json.dumps(settings(home, **changed))])
        logging.root.handlers = before
        return {"code": code, "said": heard.getvalue()}

    return {
        "tokenizer": ended(tokenizer=TOKENIZER | {"revision": "0" * 64}),
        "refused": ended(cleaning={"maxCharacters": 10}),
    }


CASES: dict[str, Callable[[Path], Any]] = {
    "bad_records": bad_records,
    "cleaning": cleaning,
    "duplicates": duplicates,
    "similarity": similarity,
    "grown": grown,
    "killed": killed,
    "partitioned": partitioned,
    "packed": packed,
    "conversations": conversations,
    "refusals": lambda home: dict(refusals(home)),
    "overwritten": overwritten,
    "text_files": text_files,
    "mirrored": mirrored,
    "exits": exits,
}


def main(home: Path) -> None:
    TOKENIZER.update(tokenizer(home / "tokenizer"))
    seen = {}
    for name, case in CASES.items():
        (home / name).mkdir()
        seen[name] = case(home / name)
    write(home / "cli" / "raw" / "a.jsonl", [{"text": one} for one in texts(15, 30)])
    seen["cli"] = settings(home / "cli", nearDuplicates={})
    print(json.dumps(seen))


if __name__ == "__main__":
    if sys.argv[1] == "die":
        die(sys.argv[2], int(sys.argv[3]), sys.argv[4])
    else:
        main(Path(sys.argv[1]))
