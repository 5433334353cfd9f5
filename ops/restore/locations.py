"""``ops restore locations``: a restored database names the lost stack's buckets; now it names the new stack's."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, cast

import typer

from ops import console
from ops.progress import Progress
from ops.refusals import RefusedError
from ops.restore.clients import explained
from ops.restore.contents import asked
from ops.stack import AsJson, Confirmed, InSandbox, Stack, StackName

_Of = Annotated[str, typer.Option("--replica-of", help="The stack in the lost region, whose buckets are named.")]
_Database = Annotated[
    str, typer.Option("--database", help="postgresql://… of one database, as the user that owns it (PGPASSWORD).")
]
_BUCKET: Final = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")  # S3 user guide; safe in SQL, too
# Texts, and documents that hold texts. Counted by one statement: query_to_xml runs a query that format() has written.
_NAMING: Final = """
select coalesce(json_agg(json_build_object(
  'schema', table_schema, 'table', table_name, 'column', column_name, 'type', data_type, 'rows', rows
) order by table_schema, table_name, column_name), '[]') from (
  select c.table_schema, c.table_name, c.column_name, c.data_type,
    (xpath('/row/rows/text()', query_to_xml(format(
      'select count(*) as rows from %I.%I where position(%L in %I::text) > 0',
      c.table_schema, c.table_name, '{old}', c.column_name
    ), false, true, '')))[1]::text::bigint as rows
  from information_schema.columns c join information_schema.tables t using (table_schema, table_name)
  where t.table_type = 'BASE TABLE' and c.table_schema not in ('pg_catalog', 'information_schema')
    and c.data_type in ('text', 'character varying', 'json', 'jsonb') and c.is_generated = 'NEVER'
) named where rows > 0
"""


@dataclass(frozen=True)
class Naming:
    """A column in which a bucket of the lost stack is named.

    Attributes:
        schema: Schema of the table.
        table: The table.
        column: The column.
        type: Its type, as PostgreSQL calls it.
        rows: Rows that name the bucket.
        old: The bucket's URL.
        new: That of the new stack's bucket of the same role.
    """

    schema: str
    table: str
    column: str
    type: str
    rows: int
    old: str
    new: str

    @property
    def statement(self) -> str:
        """What makes each of these rows name the new bucket."""
        table, column = f"{_quoted(self.schema)}.{_quoted(self.table)}", _quoted(self.column)
        return (
            f"update {table} set {column} = replace({column}::text, '{self.old}', '{self.new}')::{self.type} "
            f"where position('{self.old}' in {column}::text) > 0;"
        )


def moves(lost: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    """From each bucket of the lost stack to that of the new one with the same role, by URL.

    Raises:
        RefusedError: They are the same, or no URLs of S3.
    """
    found = {lost[role]: new[role] for role in lost if role in new}
    for old, other in found.items():
        if old == other or not _BUCKET.fullmatch(old) or not _BUCKET.fullmatch(other):
            raise RefusedError(f"{old} cannot become {other}: two buckets of S3 are needed, of two stacks")
    return found


def naming(url: str, moved: Mapping[str, str]) -> list[Naming]:
    """Every column of a database in which a bucket is named that has moved."""
    found: list[Naming] = []
    for old, new in moved.items():
        told = cast("list[dict[str, Any]]", json.loads(asked(url, _NAMING.format(old=old))))
        found += [Naming(**one, old=old, new=new) for one in told]
    return found


def rewrite(url: str, found: Iterable[Naming]) -> None:
    """Rewrite all of them, or none: PostgreSQL runs what comes in one command as one transaction."""
    asked(url, "\n".join(one.statement for one in found))


def locations_command(
    replica_of: _Of,
    database: _Database,
    stack: StackName = "",
    sandbox: InSandbox = False,
    json_output: AsJson = False,
    yes: Confirmed = False,
) -> None:
    """Where a restored database says that objects are: in the new stack's buckets, not in those of the lost region.

    MLflow writes down the whole address of each artifact. Without --yes the columns are shown and nothing is written.
    """
    with explained("restore locations"):
        lost, new = (Stack.read(name, sandbox=sandbox) for name in (replica_of, stack))
        moved = moves(_buckets(lost), _buckets(new))
        found = naming(database, moved)
        if yes and found:
            progress = Progress()
            progress.say(f"rewriting {sum(one.rows for one in found)} rows")
            rewrite(database, found)
            if left := naming(database, moved):
                raise RefusedError(
                    f"{left[0].table}.{left[0].column} still names {left[0].old}: something writes there"
                )
        _show(found, done=yes, json_output=json_output)


def _buckets(stack: Stack) -> Mapping[str, str]:
    return cast("Mapping[str, str]", stack.output("buckets"))


def _show(found: Sequence[Naming], *, done: bool, json_output: bool) -> None:
    if json_output:
        columns = [
            {
                "table": f"{one.schema}.{one.table}",
                "column": one.column,
                "rows": one.rows,
                "from": one.old,
                "to": one.new,
            }
            for one in found
        ]
        console.print_json({"rewritten": done, "columns": columns})
        return
    out = console.output()
    for one in found:
        line = f"{one.table}.{one.column}: {one.rows} rows, {one.old} → {one.new}"
        out.print(line, markup=False, soft_wrap=True)
    rows = sum(one.rows for one in found)
    out.print(f"{rows} rows are rewritten" if done else f"{rows} rows would be rewritten. --yes does it")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
