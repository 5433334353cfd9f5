"""Pods of recovery drills: one container restores beside what lives, the next compares, cleans up and tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pulumi
from pulumi_kubernetes import core

from components.contract import ROLE_LABEL
from components.platform.confinement import (
    config_files,
    container_security,
    from_secret,
    mount,
    plain,
    resources,
    scratch,
    secret_files,
)
from components.platform.databases import CA_KEY, DatabaseAccess, client_environment
from components.platform.drill_names import DATABASE, RECORDS, RECORDS_NAMESPACE, SUFFIX
from components.platform.experiments.component import CLIENT_SECRET
from components.platform.experiments.names import EVERYWHERE, JOBS_SECRET, TRACKING_URI, storage_environment
from components.platform.jobs import errand
from components.platform.site import Site
from components.platform.vectors_values import RELEASE, ROOT_SECRET
from components.settings.platform.drills import RecoveryObjective
from components.versions import IMAGES

USER: Final = 65532
"""Of the drills' pods: their images need none of their own."""

PROGRAMS: Final = "recovery-drill-programs"
"""ConfigMap with the programs, in each namespace where one runs."""

_FOLDER: Final = Path(__file__).parent / "pods"
_PROGRAMS_FOLDER: Final = "/opt/drill"
_WORK: Final = "/work"
_CA: Final = "/etc/database-ca"
_BACKUP_CONFIGURATION: Final = "/etc/milvus-backup"
_MILVUS_PORT: Final = 19530
_ENDING_SECONDS: Final = 120
_RECORDS_URL: Final = f"https://kubernetes.default.svc/api/v1/namespaces/{RECORDS_NAMESPACE}/configmaps/{RECORDS}"


def programs(*names: str) -> dict[str, str]:
    """Files of programs by name."""
    return {name: (_FOLDER / name).read_text() for name in names}


def registry_pod(
    site: Site, scratch_database: DatabaseAccess, *, source: str, account: str, deadline_seconds: int
) -> core.v1.PodSpecArgs:
    """Dumps the registry, restores it into the scratch database, and compares.

    Args:
        site: Where the platform is installed.
        scratch_database: Where it is restored; its user may read the source.
        source: Database of the living registry, on the same server.
        account: Service account.
        deadline_seconds: How long a drill may take.
    """
    settings = site.settings.drills.registry
    address = [
        *client_environment(scratch_database, ca_path=f"{_CA}/{CA_KEY}"),
        *plain({**EVERYWHERE, "WORK": _WORK}),
    ]
    mounts = [mount("work", _WORK), mount("tmp", "/tmp"), mount("ca", _CA, read_only=True)]
    restore = core.v1.ContainerArgs(
        name="restore",
        image=IMAGES["postgres-client"],
        command=["/bin/sh", "-c", REGISTRY_SCRIPT],
        env=[*address, *plain({"SOURCE": source, "ONLY_CLEAN": "false"})],
        resources=resources("100m", "64Mi", "512Mi"),
        security_context=container_security(),
        volume_mounts=mounts,
    )
    program = ["python", f"{_PROGRAMS_FOLDER}/drill_registry.py"]
    with_program = [*mounts, mount("programs", _PROGRAMS_FOLDER, read_only=True)]
    claim = core.v1.ContainerArgs(
        name="claim",
        image=IMAGES["mlflow"],  # for its Python; nothing of MLflow is loaded
        command=program,
        env=plain(
            {
                "STEP": "claim",
                "WORK": _WORK,
                "DEADLINE_SECONDS": _deadline(deadline_seconds),
                **_objective(settings.objective),
            }
        ),
        resources=resources("10m", "32Mi", "128Mi"),
        security_context=container_security(),
        volume_mounts=with_program,
    )
    uri = pulumi.Output.format("postgresql://{0}:{1}/{2}", scratch_database.host, scratch_database.port, DATABASE)
    compare = core.v1.ContainerArgs(
        name="compare",
        image=IMAGES["mlflow"],
        command=program,
        working_dir="/tmp",
        env=[
            *address,
            *plain(
                {
                    **storage_environment(site),
                    **_objective(settings.objective),
                    "STEP": "compare",
                    "ONLY_CLEAN": "false",
                    "RESTORED_URI": uri,
                    "MODELS": str(settings.models),
                    "MODEL_BYTES": str(settings.model_mib * 1024 * 1024),
                    "LOAD_ALIAS": settings.load_alias,
                    "LOAD_BYTES": str(settings.load_gib * 1024**3),
                    "MLFLOW_TRACKING_URI": TRACKING_URI,
                }
            ),
            from_secret("MLFLOW_TRACKING_USERNAME", JOBS_SECRET, "username"),
            from_secret("MLFLOW_TRACKING_PASSWORD", JOBS_SECRET, "password"),
        ],
        # MLflow's modules, and a tokenizer that is parsed; of other files of a model one piece at a time.
        resources=resources("100m", "256Mi", "1Gi"),
        security_context=container_security(),
        volume_mounts=with_program,
    )
    return _pod(
        [claim, restore],
        compare,
        nodes=site.system_nodes,
        account=account,
        volumes=[
            scratch("work", f"{settings.dump_gib}Gi"),
            scratch("tmp", "512Mi"),
            secret_files("ca", scratch_database.ca_secret_name),
        ],
    )


def vectors_pod(site: Site, *, account: str, deadline_seconds: int) -> core.v1.PodSpecArgs:
    """Restores the last backup of Milvus under other names, and compares."""
    settings = site.settings.drills.vectors
    password = from_secret("MILVUS_PASSWORD", ROOT_SECRET, "password")
    common = {"WORK": _WORK, "SUFFIX": SUFFIX, "FILTER": ",".join(settings.collections)}
    compare_environment = [
        password,
        *plain(
            {
                **common,
                **_objective(settings.objective),
                "DEADLINE_SECONDS": _deadline(deadline_seconds),
                "MILVUS_URL": f"http://{RELEASE}:{_MILVUS_PORT}",
                "QUESTIONS": str(settings.questions),
                "LEAST_OVERLAP": str(settings.least_overlap),
                "DRIFT_SHARE": str(settings.drift_share),
            }
        ),
        *_of_mlflow(site),
    ]
    program = ["python", f"{_PROGRAMS_FOLDER}/drill_vectors.py"]
    mounts = [mount("work", _WORK), mount("tmp", "/tmp")]
    with_program = [*mounts, mount("programs", _PROGRAMS_FOLDER, read_only=True)]

    def compare(name: str, *, step: str) -> core.v1.ContainerArgs:
        return core.v1.ContainerArgs(
            name=name,
            image=IMAGES["mlflow"],  # for its Python; nothing of MLflow is loaded
            command=program,
            env=[*compare_environment, *plain({"STEP": step, "ONLY_CLEAN": "false", "KEEP": ""})],
            resources=resources("50m", "64Mi", "512Mi"),
            security_context=container_security(),
            volume_mounts=with_program,
        )

    restore = core.v1.ContainerArgs(
        name="restore",
        image=IMAGES["milvus-backup"],
        command=["/bin/sh", "-c", VECTORS_SCRIPT],
        env=[
            password,
            *plain(
                {
                    **common,
                    "CONFIGURATION": f"{_BACKUP_CONFIGURATION}/backup.yaml",
                    "BACKUP": "",  # the last one of the daily job
                    "ONLY_CLEAN": "false",
                }
            ),
        ],
        resources=resources("100m", "256Mi", "1Gi"),  # as the job that restores
        security_context=container_security(),
        volume_mounts=[*mounts, mount("configuration", _BACKUP_CONFIGURATION, read_only=True)],
    )
    return _pod(
        [compare("clean", step="begin"), restore],
        compare("compare", step="compare"),
        nodes={ROLE_LABEL: "cpu"},
        account=account,
        volumes=[
            scratch("work", "64Mi"),
            scratch("tmp", "1Gi"),
            config_files("configuration", "milvus-backup"),
        ],
    )


def _deadline(seconds: int) -> str:
    """How long a claim is good: a pod whose time is over still has that of its end."""
    return str(seconds + _ENDING_SECONDS)


def _objective(objective: RecoveryObjective) -> dict[str, str]:
    return {
        "TIME_OBJECTIVE_SECONDS": str(objective.time_minutes * 60),
        "POINT_OBJECTIVE_SECONDS": str(objective.point_minutes * 60),
        "RECORDS_URL": _RECORDS_URL,
    }


def _of_mlflow(site: Site) -> Sequence[core.v1.EnvVarArgs]:
    """How MLflow is told, from a namespace of its clients."""
    if not site.settings.experiments.enabled:
        return ()
    names = ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
    return [from_secret(name, CLIENT_SECRET, name) for name in names]


def _pod(
    before: Sequence[core.v1.ContainerArgs],
    compare: core.v1.ContainerArgs,
    *,
    nodes: Mapping[str, str],
    account: str,
    volumes: Sequence[core.v1.VolumeArgs],
) -> core.v1.PodSpecArgs:
    pod = errand(
        compare,
        user=USER,
        nodes=nodes,
        volumes=[*volumes, config_files("programs", PROGRAMS)],
        service_account=account,
    )
    pod.init_containers = list(before)
    pod.automount_service_account_token = True  # it writes what it found into one ConfigMap
    pod.termination_grace_period_seconds = _ENDING_SECONDS  # to drop what it restored
    return pod


# What fails is written down, and the next container tells of it: one that failed would end the pod without a word.
# Counts and hashes are taken in the snapshot that the dump is taken in: the registry goes on living meanwhile. A sum of
# hashes does not depend on the order of rows. Both databases are on one server, so a row is written alike in both.
REGISTRY_SCRIPT: Final = r"""
set -u
[ "$ONLY_CLEAN" = true ] && exit 0
rm -f "$WORK"/failed "$WORK"/dump "$WORK"/steps
failed() { { echo "$1"; tail -n 5 "$WORK/said"; } > "$WORK/failed"; cat "$WORK/said"; exit 0; }
# Hundredths of a second since the machine's start: a clock that is set does not change them.
now() { read -r up _ < /proc/uptime; echo "${up%.*}${up#*.}"; }
took() { printf '%d.%02d\n' $((($2 - $1) / 100)) $((($2 - $1) % 100)); }
run() {
  psql --no-psqlrc --quiet --tuples-only --no-align --field-separator="$(printf '\t')" --set=ON_ERROR_STOP=1 "$@"
}

cat > "$WORK/count.sql" <<'SQL'
SELECT format('SELECT %L, count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) FROM public.%I AS t',
    tablename, tablename) FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename \gexec
SQL
cat > "$WORK/empty.sql" <<'SQL'
SET client_min_messages = warning;
DROP SCHEMA IF EXISTS public CASCADE;
CREATE SCHEMA public;
SQL
cat > "$WORK/dump.sql" <<'SQL'
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT pg_export_snapshot() AS snapshot \gset
\setenv SNAPSHOT :snapshot
\o :work/living
\i :work/count.sql
\o :work/registry.json
SELECT json_build_object(
  'models', (SELECT coalesce(json_agg(name ORDER BY name), '[]') FROM registered_models),
  'versions', (SELECT coalesce(json_agg(json_build_array(name, version, status, source)), '[]')
    FROM model_versions WHERE current_stage IS DISTINCT FROM 'Deleted_Internal'),
  'aliases', (SELECT coalesce(json_agg(json_build_array(name, alias, version)), '[]') FROM registered_model_aliases));
\o
\! pg_dump -Fc --no-owner --no-privileges --snapshot="$SNAPSHOT" -f "$WORK/dump" "$SOURCE" || rm -f "$WORK/dump"
COMMIT;
SQL

SIZE="SELECT coalesce(sum(pg_total_relation_size(format('public.%I', tablename)::regclass)), 0)
  FROM pg_tables WHERE schemaname = 'public'"
run --file="$WORK/empty.sql" > "$WORK/said" 2>&1 || failed "the scratch database could not be emptied"
began=$(now)
run --set=work="$WORK" --dbname="$SOURCE" --file="$WORK/dump.sql" > "$WORK/said" 2>&1 ||
  failed "the registry could not be read"
[ -s "$WORK/dump" ] || failed "the registry could not be dumped"
echo "dump $(took "$began" "$(now)")" >> "$WORK/steps"
wc -c < "$WORK/dump" > "$WORK/dump-bytes"
began=$(now)
pg_restore --exit-on-error --no-owner --no-privileges --dbname="$PGDATABASE" "$WORK/dump" > "$WORK/said" 2>&1 ||
  failed "the dump could not be restored"
took "$began" "$(now)" > "$WORK/seconds"
echo "restore $(cat "$WORK/seconds")" >> "$WORK/steps"
rm -f "$WORK/dump"
began=$(now)
run --file="$WORK/count.sql" > "$WORK/restored" 2> "$WORK/said" || failed "the restored registry could not be read"
run --command="$SIZE" > "$WORK/restored-bytes" 2> "$WORK/said" || failed "the restored registry could not be measured"
echo "compare $(took "$began" "$(now)")" >> "$WORK/steps"
"""

# The tool writes its answers to standard error. Names of daily backups sort by time.
VECTORS_SCRIPT: Final = r"""
set -u
PATH="/app:$PATH"
[ "$ONLY_CLEAN" = true ] && exit 0
rm -f "$WORK/failed" "$WORK/steps"
failed() { { echo "$1"; tail -n 5 "$WORK/said"; } > "$WORK/failed"; cat "$WORK/said"; exit 0; }
# Hundredths of a second since the machine's start: a clock that is set does not change them.
now() { read -r up _ < /proc/uptime; echo "${up%.*}${up#*.}"; }
took() { printf '%d.%02d\n' $((($2 - $1) / 100)) $((($2 - $1) % 100)); }
if [ -z "$BACKUP" ]; then
  milvus-backup --config "$CONFIGURATION" list > "$WORK/said" 2>&1 || failed "backups could not be listed"
  BACKUP="$(grep -x 'daily_[0-9]\{8\}_[0-9]\{6\}' "$WORK/said" | sort | tail -n 1)"
  [ -n "$BACKUP" ] || failed "there is no backup"
fi
echo "$BACKUP" > "$WORK/backup"
set -- restore --name "$BACKUP" --suffix "$SUFFIX" --rebuild_index
if [ -n "$FILTER" ]; then set -- "$@" --filter "$FILTER"; fi
began=$(now)
milvus-backup --config "$CONFIGURATION" "$@" > "$WORK/said" 2>&1 || failed "$BACKUP could not be restored"
took "$began" "$(now)" > "$WORK/seconds"
echo "restore $(cat "$WORK/seconds")" > "$WORK/steps"
cat "$WORK/said"
"""
