"""``ops restore region``: a lost region, from the copies of its buckets in the other one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, cast

import typer
import yaml

from ops import console
from ops.cli import EXIT_REFUSED
from ops.progress import Progress
from ops.refusals import RefusedError
from ops.restore.clients import aws, explained
from ops.restore.copying import Tally, copy_bucket, differences, gib, surveyed
from ops.restore.moving import moved
from ops.restore.replica import Copies, copies_of, window_words
from ops.stack import AsJson, Confirmed, InSandbox, Stack, StackName

_To = Annotated[str, typer.Option("--to", help="The region that has the copies.")]
_Into = Annotated[str, typer.Option("--into", help="The stack in that region, once it is up; its buckets are filled.")]
_Write = Annotated[Path | None, typer.Option("--settings", help="Write the new stack's file there.")]
_Only = Annotated[list[str] | None, typer.Option("--only", help="Only these buckets, by role; may be repeated.")]


@dataclass(frozen=True)
class Replica:
    """A bucket's copy in the other region.

    Attributes:
        role: What the bucket is for.
        bucket: Name of the copy.
    """

    role: str
    bucket: str


def replicas(stack: Stack, to: str, exists: Callable[[str], bool], database: Copies | None = None) -> list[Replica]:
    """The copies that there are of a stack's buckets.

    Their names follow from those of the buckets, which end in the region; so they are known even where nothing of the
    lost region answers.

    Args:
        stack: The stack in the lost region.
        to: The other one.
        exists: Whether there is a bucket of a name.
        database: Copies of the database's backups; where there are any, buckets may be without.

    Raises:
        RefusedError: There are none.
    """
    region = str(stack.output("region"))
    if to == region:
        raise RefusedError(f"{stack.name} is in {region} itself; --to names the region that has the copies")
    if stack.output("cloud") == "gcp":
        raise RefusedError(
            "on Google Cloud buckets lie in two regions at once (objects.replicate) or in one: nothing is copied. "
            "docs/recovery.md says how a stack in the other region comes to use them"
        )
    buckets = cast("Mapping[str, str]", stack.output("buckets"))
    named = {role: url.removeprefix("s3://") for role, url in buckets.items()}
    found = [
        Replica(role, copied)
        for role, name in named.items()
        if name.endswith(f"-{region}") and exists(copied := f"{name.removesuffix(region)}{to}")
    ]
    if not found and database is None:
        raise RefusedError(f"no bucket of {stack.name} has a copy in {to}: objects.replicate was off, or --to is wrong")
    return found


def database_copies(stack: Stack, to: str, rds: Callable[[], Any]) -> Copies | None:
    """Copies of the database's backups in the other region; by the server's name, which begins its address."""
    region = str(stack.output("region"))
    if stack.output("cloud") != "aws" or to == region:
        return None
    return copies_of(rds(), str(stack.output("databaseHost")).partition(".")[0], region)


def targets(into: Stack, to: str, found: list[Replica]) -> dict[str, str]:
    """The bucket of the new stack for each role.

    Raises:
        RefusedError: The stack is in another region, or has the copies themselves for buckets.
    """
    if into.output("region") != to:
        raise RefusedError(f"{into.name} is in {into.output('region')}; copies are filled in within {to}")
    buckets = cast("Mapping[str, str]", into.output("buckets"))
    named = {one.role: buckets[one.role].removeprefix("s3://") for one in found if one.role in buckets}
    if same := sorted({one.bucket for one in found} & set(named.values())):
        raise RefusedError(f"{', '.join(same)}: a stack cannot be filled from its own buckets")
    return named


def region_command(
    to: _To,
    stack: StackName = "",
    into: _Into = "",
    settings: _Write = None,
    only: _Only = None,
    sandbox: InSandbox = False,
    json_output: AsJson = False,
    yes: Confirmed = False,
) -> None:
    """A lost region. Without --into: what the copies hold, and the settings that a stack beside them needs.

    With --into, and --yes: fill the buckets of that stack from the copies, and compare. What is there already is left
    out, so a run that was cut off is repeated.
    """
    with explained("restore region"):
        lost = Stack.read(stack, sandbox=sandbox)
        s3 = aws("s3", to)
        database = None if into else database_copies(lost, to, lambda: aws("rds", to))
        there = replicas(lost, to, lambda name: _exists(s3, name), database)
        found = [one for one in there if not only or one.role in only]
        if not into:
            _plan(lost, to, found, s3, settings, database, json_output=json_output)
            return
        filled = targets(Stack.read(into, sandbox=sandbox), to, found)
        if not yes:
            _show_work(found, filled, s3, json_output=json_output)
            return
        progress = Progress()
        results = [fill(s3, one, filled[one.role], progress) for one in found if one.role in filled]
        _show_results(results, progress, json_output=json_output)
        if any(one["failed"] or one["different"] for one in results):
            raise typer.Exit(EXIT_REFUSED)


def fill(s3: Any, replica: Replica, target: str, progress: Progress) -> dict[str, Any]:
    """Copy one bucket and compare both sides; what was done, as JSON has it."""
    done = copy_bucket(s3, replica.bucket, target, progress, label=replica.role)
    progress.say(f"{replica.role}: comparing")
    compared, wrong = differences(s3, replica.bucket, target)
    return {
        "bucket": replica.role,
        "from": replica.bucket,
        "into": target,
        **_facts(compared),
        "copied": done.copied,
        "copiedBytes": done.copied_size,
        "failed": done.failures,
        "failures": done.failed,
        "different": compared.failures,
        "differences": wrong,
    }


def _facts(tally: Tally) -> dict[str, Any]:
    newest = tally.newest.isoformat() if tally.newest else None
    return {"objects": tally.objects, "bytes": tally.size, "newest": newest}


def _exists(s3: Any, bucket: str) -> bool:
    try:
        s3.head_bucket(Bucket=bucket)
    except s3.exceptions.ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchBucket"):
            return False
        raise
    return True


_STEPS: Final = """\
1. pulumi stack init {new}, with a secrets provider that is not in {region}; write Pulumi.{new}.yaml (--settings)
2. python -m ops preflight --stack {new}    quotas and offers of {to}
3. pulumi up --stack {new}
4. build and push the images of this checkout: registries are not copied
5. python -m ops restore region --stack {stack} --to {to} --into {new} --yes
6. {database}
7. the vector store: docs/recovery.md#a-lost-region"""
_DATABASE: Final = """\
python -m ops restore database --stack {new} --replica-of {stack} --yes
   then what it prints: the restored server into the place of the empty one; and then, through a tunnel,
   python -m ops restore locations --stack {new} --replica-of {stack} --database postgresql://…/mlflow --yes"""
_NO_DATABASE: Final = "the database: there are no copies of its backups; docs/recovery.md#a-lost-region"


def _plan(
    lost: Stack,
    to: str,
    found: list[Replica],
    s3: Any,
    settings: Path | None,
    database: Copies | None,
    *,
    json_output: bool,
) -> None:
    region, name = str(lost.output("region")), lost.name.rpartition("/")[2]
    file = Path(f"Pulumi.{name}.yaml")
    config: dict[str, Any] | None = None
    left: list[str] = []
    if file.is_file():
        content = cast("dict[str, Any]", yaml.safe_load(file.read_text()))
        config, left = moved(cast("dict[str, Any]", content.get("config", {})), region, to)
    if settings:
        if config is None:
            raise RefusedError(f"{file} is not here; run this in the checkout that has it")
        if settings.exists():
            raise RefusedError(f"{settings} is there already, and may be another stack's")
        settings.write_text(yaml.safe_dump({"config": config}, sort_keys=False))
    copies: list[dict[str, Any]] = [
        {"bucket": one.role, "from": one.bucket, **_facts(surveyed(s3, one.bucket))} for one in found
    ]
    if json_output:
        backups = database.facts() if database else None
        told = {"from": region, "to": to, "copies": copies, "database": backups, "settings": config, "lookAt": left}
        console.print_json(told)
        return
    out = console.output()
    out.print(f"{lost.name} is in {region}; in {to} there are copies of")
    for one in copies:
        out.print(f"  {one['bucket']:8} {one['objects']:>9} objects {gib(one['bytes']):>12}  newest {one['newest']}")
    if database:
        out.print(f"  database {database.source}: {window_words(database)}", markup=False, soft_wrap=True)
    new = f"{name}-{to}"
    sixth = (_DATABASE if database else _NO_DATABASE).format(new=new, stack=lost.name)
    out.print(_STEPS.format(new=new, region=region, to=to, stack=lost.name, database=sixth), markup=False)
    if config is None:
        out.print(f"{file} is not here, so nothing is said of settings", markup=False)
    elif settings:
        out.print(f"{settings} is written", markup=False)
    for path in left:
        out.print(f"  {path} still names {region}: change it by hand", markup=False)


def _show_work(found: list[Replica], filled: Mapping[str, str], s3: Any, *, json_output: bool) -> None:
    work: list[dict[str, Any]] = [
        {"bucket": one.role, "from": one.bucket, "into": filled.get(one.role), **_facts(surveyed(s3, one.bucket))}
        for one in found
    ]
    if json_output:
        console.print_json(work)
        return
    out = console.output()
    for one in work:
        out.print(f"{one['from']} → {one['into']}: {one['objects']} objects, {gib(one['bytes'])}", markup=False)
    out.print("--yes copies what is not there yet")


def _show_results(results: list[dict[str, Any]], progress: Progress, *, json_output: bool) -> None:
    if json_output:
        console.print_json({"seconds": round(progress.seconds), "buckets": results})
        return
    out = console.output()
    for one in results:
        whole = f"{one['objects']} objects, {gib(one['bytes'])}"
        verdict = "the same on both sides" if not one["different"] else f"{one['different']} differ"
        out.print(f"{one['bucket']}: {whole}: {verdict}; {one['copied']} copied now", markup=False)
        for line in (*one["failures"], *one["differences"]):
            out.print(f"  {line}", markup=False)
    out.print(f"{progress.seconds / 60:.0f} minutes")
