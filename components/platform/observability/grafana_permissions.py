"""Who sees which folder of Grafana: a job sets it, for no file that Grafana reads can say it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pulumi
from pulumi_kubernetes import batch, core

from components.platform.confinement import container_security, from_secret, plain, resources
from components.platform.jobs import awaited_job, errand, job_spec
from components.platform.observability.dashboards import folders_of
from components.platform.observability.grafana_values import NAME, NAMESPACE, SECRET, SERVICE_PORT
from components.platform.openings import Pods
from components.platform.site import Site
from components.settings.platform.grafana import GrafanaRole
from components.versions import IMAGES

_LABELS: Final[dict[str, str]] = {"app.kubernetes.io/name": "grafana-permissions"}
JOB: Final = Pods(namespace=NAMESPACE, labels=_LABELS)

_DEADLINE_SECONDS: Final = 600
_NOBODY: Final = 65534


def readers(site: Site) -> dict[str, GrafanaRole]:
    """Least role that sees each folder; nobody but administrators changes what is in one."""
    return {
        folder: site.settings.grafana.money_readers if folder == "money" else "Viewer"
        for folder in sorted(set(folders_of(site).values()))
    }


def permissions(name: str, site: Site, opts: pulumi.ResourceOptions) -> batch.v1.Job:
    """The job; another wish makes another one."""
    return awaited_job(
        f"{name}-permissions",
        _specification(site, readers(site)),
        namespace=NAMESPACE,
        labels=_LABELS,
        deadline_seconds=_DEADLINE_SECONDS,
        opts=opts,
    )


def _specification(site: Site, wanted: Mapping[str, GrafanaRole]) -> batch.v1.JobSpecArgs:
    environment = {
        "GRAFANA": f"http://{NAME}.{NAMESPACE}.svc.cluster.local:{SERVICE_PORT}",
        "FOLDERS": " ".join(f"{folder}={role}" for folder, role in wanted.items()),
        "TRIES": "30",
    }
    container = core.v1.ContainerArgs(
        name="permissions",
        image=IMAGES["alpine"],
        command=["/bin/sh", "-c", SCRIPT],
        env=[
            *plain(environment),
            from_secret("ADMIN", SECRET, "admin-user"),
            from_secret("PASSWORD", SECRET, "admin-password"),
        ],
        resources=resources("10m", "16Mi", "64Mi"),
        security_context=container_security(),
    )
    return job_spec(
        errand(container, user=_NOBODY, nodes=site.system_nodes),
        labels=_LABELS,
        deadline_seconds=_DEADLINE_SECONDS,
        retries=2,
    )


# Administrators may do everything anyway. A folder is there when Grafana has read the first dashboard in it.
SCRIPT: Final = r"""
set -eu
sign="Authorization: Basic $(printf '%s:%s' "$ADMIN" "$PASSWORD" | base64 | tr -d '\n')"
for wish in $FOLDERS; do
  folder="${wish%%=*}"
  case "${wish#*=}" in
    Viewer) who='{"role":"Viewer","permission":1},{"role":"Editor","permission":1}' ;;
    Editor) who='{"role":"Editor","permission":1}' ;;
    Admin) who='' ;;
    *) echo "no such role: $wish"; exit 1 ;;
  esac
  left="$TRIES"
  until wget -q -O /dev/null --header "$sign" "$GRAFANA/api/folders/$folder"; do
    left=$((left - 1))
    if [ "$left" -le 0 ]; then
      echo "no folder $folder, or the password of $ADMIN is not that of the secret store's entry grafana-admin:"
      echo "see docs/observability.md, Dashboards"
      exit 1
    fi
    sleep "${PAUSE:-5}"
  done
  wget -q -O /dev/null --header "$sign" --header 'Content-Type: application/json' \
    --post-data "{\"items\":[$who]}" "$GRAFANA/api/folders/$folder/permissions"
  echo "folder $folder: ${wish#*=} and above"
done
"""
