"""Who sees which folder of Grafana: a job sets it, for no file that Grafana reads can say it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pulumi
from pulumi_kubernetes import batch, core
from pulumi_kubernetes.meta import v1 as meta

from components.platform.observability.dashboards import folders_of
from components.platform.observability.grafana_values import NAME, NAMESPACE, SECRET, SERVICE_PORT
from components.platform.openings import Pods
from components.platform.site import Site
from components.settings.platform.grafana import GrafanaRole
from components.versions import IMAGES

_LABELS: Final[dict[str, str]] = {"app.kubernetes.io/name": "grafana-permissions"}
JOB: Final = Pods(namespace=NAMESPACE, labels=_LABELS)

_DEADLINE_SECONDS: Final = 600


def readers(site: Site) -> dict[str, GrafanaRole]:
    """Least role that sees each folder; nobody but administrators changes what is in one."""
    return {
        folder: site.settings.grafana.money_readers if folder == "money" else "Viewer"
        for folder in sorted(set(folders_of(site).values()))
    }


def permissions(name: str, site: Site, opts: pulumi.ResourceOptions) -> batch.v1.Job:
    """The job; another wish makes another one."""
    return batch.v1.Job(
        f"{name}-permissions",
        metadata=meta.ObjectMetaArgs(
            # Without a name of ours the provider gives each version of the job a new one. One that failed is made anew
            # by the next `up`, instead of being waited for.
            namespace=NAMESPACE,
            labels=_LABELS,
            annotations={"pulumi.com/replaceUnready": "true"},
        ),
        spec=_specification(site, readers(site)),
        opts=pulumi.ResourceOptions.merge(
            opts,
            pulumi.ResourceOptions(
                custom_timeouts=pulumi.CustomTimeouts(
                    create=f"{_DEADLINE_SECONDS + 60}s", update=f"{_DEADLINE_SECONDS + 60}s"
                )
            ),
        ),
    )


def _specification(site: Site, wanted: Mapping[str, GrafanaRole]) -> batch.v1.JobSpecArgs:
    environment = {
        "GRAFANA": f"http://{NAME}.{NAMESPACE}.svc.cluster.local:{SERVICE_PORT}",
        "FOLDERS": " ".join(f"{folder}={role}" for folder, role in wanted.items()),
        "TRIES": "30",
    }
    return batch.v1.JobSpecArgs(
        backoff_limit=2,
        active_deadline_seconds=_DEADLINE_SECONDS,
        template=core.v1.PodTemplateSpecArgs(
            metadata=meta.ObjectMetaArgs(labels=_LABELS),
            spec=core.v1.PodSpecArgs(
                restart_policy="Never",  # a pod for each try, so that the log of each is there to read
                automount_service_account_token=False,
                enable_service_links=False,
                node_selector=site.system_nodes,
                security_context=core.v1.PodSecurityContextArgs(
                    run_as_non_root=True,
                    run_as_user=65534,
                    run_as_group=65534,
                    seccomp_profile=core.v1.SeccompProfileArgs(type="RuntimeDefault"),
                ),
                containers=[
                    core.v1.ContainerArgs(
                        name="permissions",
                        image=IMAGES["alpine"],
                        command=["/bin/sh", "-c", SCRIPT],
                        env=[
                            *(core.v1.EnvVarArgs(name=key, value=value) for key, value in environment.items()),
                            *(
                                core.v1.EnvVarArgs(
                                    name=variable,
                                    value_from=core.v1.EnvVarSourceArgs(
                                        secret_key_ref=core.v1.SecretKeySelectorArgs(name=SECRET, key=key)
                                    ),
                                )
                                for variable, key in (("ADMIN", "admin-user"), ("PASSWORD", "admin-password"))
                            ),
                        ],
                        resources=core.v1.ResourceRequirementsArgs(
                            requests={"cpu": "10m", "memory": "16Mi"}, limits={"memory": "64Mi"}
                        ),
                        security_context=core.v1.SecurityContextArgs(
                            allow_privilege_escalation=False,
                            read_only_root_filesystem=True,
                            capabilities=core.v1.CapabilitiesArgs(drop=["ALL"]),
                        ),
                    )
                ],
            ),
        ),
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
