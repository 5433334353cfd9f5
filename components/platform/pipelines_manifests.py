"""What Kubeflow Pipelines publishes, and what we change in it: fewer parts, our database, objects and limits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

import pulumi

from components.contract import ObjectStore
from components.platform.kustomize import Patch, Source, definition, deployment, removed
from components.platform.openings import Namespace
from components.platform.placement import spread
from components.platform.site import Site
from components.platform.workflows import KEY_FORMAT
from components.versions import TREES

NAMESPACE: Final[Namespace] = "kubeflow"

API_SERVER: Final = "ml-pipeline"
"""Service of the API; 8888 for HTTP, 8887 for gRPC."""

USER_INTERFACE: Final = "ml-pipeline-ui"
"""Service of the user interface, which passes on calls of the API; port 80."""

DATABASE: Final = "mysql"
"""Service of the database; port 3306."""

DATABASE_SECRET: Final = "mysql-secret"
INSTALLATION: Final = "pipeline-install-config"
SERVER_CONFIGURATION: Final = "ml-pipeline-config"
LAUNCHER: Final = "kfp-launcher"
RUNNER: Final = "pipeline-runner"
"""Service account of the steps of pipelines, in every namespace where they run."""

AGENT: Final = "ml-pipeline-persistenceagent"
"""Deployment and service account of what writes the state of runs into the database."""

SCHEDULER: Final = "ml-pipeline-scheduledworkflow"
"""Deployment and service account of what starts recurring runs."""

DEFINITIONS: Final = ("scheduledworkflows.kubeflow.org",)
KINDS: Final = (("apps", "Deployment"), ("", "Service"), ("", "ConfigMap"))

PREFIX: Final = f"{NAMESPACE}/"
"""Where all objects of pipelines are in their bucket; :data:`KEY_FORMAT` puts the logs there too."""

SHARED_DEFINITIONS: Final = "definitions/"
"""Where, with several users, the definitions of all of them are: no step reads or writes there."""

NO_HEADER: Final = "(tokens only)"
"""Name of the header in which a proxy would say who calls. Nobody can send one that is called so, by any protocol."""

_RBAC: Final = "rbac.authorization.k8s.io"
_KFP_IMAGES: Final = "ghcr.io/kubeflow/kfp"
_STEP_USER: Final = "1000"
_PIPELINE_DATABASE: Final = "mlpipeline"
_METADATA_DATABASE: Final = "metadb"
DATABASES: Final = (_PIPELINE_DATABASE, _METADATA_DATABASE)


def sources(site: Site) -> tuple[Source, ...]:
    """Folders of the repository, with our changes."""
    base = "manifests/kustomize/base"
    return (
        Source(
            path=f"{base}/pipeline/cluster-scoped",
            patches=(
                *(definition(name) for name in DEFINITIONS),
                *_without_definition("viewers.kubeflow.org"),
            ),
        ),
        Source(path=f"{base}/metadata/base", patches=_metadata(site)),
        Source(path=f"{base}/pipeline", patches=_pipeline(site)),
    )


def _without_definition(name: str) -> tuple[Patch, ...]:
    return removed("CustomResourceDefinition", name, group="apiextensions.k8s.io")


def _metadata(site: Site) -> tuple[Patch, ...]:
    """The store of lineage and, where there is a user interface, the proxy through which it reads it."""
    if site.settings.pipelines.multi_user:
        proxy: tuple[Patch, ...] = (
            *removed("Deployment", "metadata-envoy-deployment", group="apps"),
            *removed("Service", "metadata-envoy-service"),
            *removed("ConfigMap", "metadata-envoy-configmap"),
        )
    else:
        proxy = (_metadata_proxy(site),)
    return (
        *removed("ServiceAccount"),
        deployment(
            "metadata-grpc-deployment",
            wave=0,
            spec={
                **_common(site),
                "containers": [{"name": "container", **_resources("20m", "64Mi", limit="512Mi")}],
            },
        ),
        *proxy,
    )


def _metadata_proxy(site: Site) -> Patch:
    return deployment(
        "metadata-envoy-deployment",
        wave=1,
        spec={
            **_common(site),
            "automountServiceAccountToken": False,
            "containers": [
                {
                    "name": "container",
                    **_resources("10m", "48Mi", limit="256Mi"),
                    "readinessProbe": {"tcpSocket": {"port": "md-envoy"}},
                    "livenessProbe": {"tcpSocket": {"port": "md-envoy"}},
                }
            ],
        },
    )


def _pipeline(site: Site) -> tuple[Patch, ...]:
    """The API, the user interface, and the two controllers that carry runs and schedules."""
    return (
        # Declared by this program, with less.
        *removed("ServiceAccount"),
        *removed("Role", group=_RBAC),
        *removed("RoleBinding", group=_RBAC),
        *removed("ConfigMap", LAUNCHER),
        # For pipelines of the first version, which are switched off, and for TensorBoard.
        *removed(
            "Deployment",
            "metadata-writer",
            "ml-pipeline-viewer-crd",
            "ml-pipeline-visualizationserver",
            group="apps",
        ),
        *removed("Service", "ml-pipeline-visualizationserver"),
        _api_server(site),
        *_user_interface(site),
        deployment(
            AGENT,
            wave=2,
            spec={
                **_common(site),
                "containers": [
                    {
                        "name": AGENT,
                        "env": [
                            {
                                "name": "TTL_SECONDS_AFTER_WORKFLOW_FINISH",
                                "value": str(site.settings.pipelines.keep_hours * 3600),
                            },
                            *_watched(site),
                        ],
                        **_resources("20m", "64Mi", limit="512Mi"),
                    }
                ],
            },
        ),
        deployment(
            SCHEDULER,
            wave=2,
            spec={
                **_common(site),
                "containers": [
                    {
                        "name": SCHEDULER,
                        **({"env": watched} if (watched := _watched(site)) else {}),
                        **_resources("20m", "64Mi", limit="512Mi"),
                    }
                ],
            },
        ),
    )


def _watched(site: Site) -> list[dict[str, Any]]:
    """With several users the controllers look into every namespace."""
    return _values({"NAMESPACE": ""}) if site.settings.pipelines.multi_user else []


MULTI_USER: Final[Mapping[str, str]] = {
    "MULTIUSER": "true",
    # Who calls is proven by a token alone. A header is a claim of whoever reaches the port: steps, and people with a
    # port forward. Left unset, the header of Google's proxy would be believed.
    "KUBEFLOW_USERID_HEADER": NO_HEADER,
    "KUBEFLOW_USERID_PREFIX": "",
    # A pipeline without a namespace could be read by all.
    "REQUIRE_NAMESPACE_FOR_PIPELINES": "true",
}
"""What makes the API server ask who calls, and Kubernetes what they may."""


def _api_server(site: Site) -> Patch:
    objects = site.foundation.objects
    environment = {
        "OBJECTSTORECONFIG_HOST": objects.endpoint,
        "OBJECTSTORECONFIG_PORT": "443",
        "OBJECTSTORECONFIG_SECURE": "true",
        "OBJECTSTORECONFIG_REGION": objects.region,
        # Empty, not absent: only then it asks the pod's own identity instead of its built-in default.
        "OBJECTSTORECONFIG_ACCESSKEY": "",
        "OBJECTSTORECONFIG_SECRETACCESSKEY": "",
        # It does not start without an address, although nobody is asked there.
        "ML_PIPELINE_VISUALIZATIONSERVER_SERVICE_HOST": "localhost",
        "ML_PIPELINE_VISUALIZATIONSERVER_SERVICE_PORT": "8888",
        # Images of the pods that it starts. They are published in variables too, where no mirror would replace them:
        # Kustomize looks at images of containers only.
        "V2_DRIVER_IMAGE": f"{_KFP_IMAGES}-driver:{TREES['kubeflow-pipelines'].version}",
        "V2_LAUNCHER_IMAGE": f"{_KFP_IMAGES}-launcher:{TREES['kubeflow-pipelines'].version}",
        **(MULTI_USER if site.settings.pipelines.multi_user else {}),
    }
    return deployment(
        API_SERVER,
        wave=1,
        replicas=site.replicas,
        spec={
            "metadata": {"annotations": {"llmops/configuration": _digest(site)}},
            **_common(site),
            **_spread(site, {"app": API_SERVER}),
            "containers": [
                {
                    "name": "ml-pipeline-api-server",
                    "env": _values(environment),
                    **_resources("100m", "192Mi", limit="1Gi"),
                    "volumeMounts": [{"name": "configuration", "mountPath": "/config", "readOnly": True}],
                }
            ],
            "volumes": [{"name": "configuration", "configMap": {"name": SERVER_CONFIGURATION}}],
        },
    )


def _user_interface(site: Site) -> tuple[Patch, ...]:
    """The page in the browser; for a single user alone.

    With several it learns who looks, and at which namespace, from Kubeflow's central dashboard, which is not here; and
    its server would read every team's artifacts and logs.
    """
    if site.settings.pipelines.multi_user:
        return (
            *removed("Deployment", USER_INTERFACE, group="apps"),
            *removed("Service", USER_INTERFACE),
            *removed("ConfigMap", f"{USER_INTERFACE}-configmap"),
        )
    objects = site.foundation.objects
    environment = {
        "ML_PIPELINE_SERVICE_HOST": API_SERVER,
        "ML_PIPELINE_SERVICE_PORT": "8888",
        "METADATA_ENVOY_SERVICE_SERVICE_HOST": "metadata-envoy-service",
        "METADATA_ENVOY_SERVICE_SERVICE_PORT": "9090",
        "MINIO_ACCESS_KEY": "",
        "MINIO_SECRET_KEY": "",
        "AWS_REGION": objects.region,
        "AWS_S3_ENDPOINT": objects.endpoint,
        "ARGO_ARCHIVE_ARTIFACTORY": "s3",
        "ARGO_KEYFORMAT": KEY_FORMAT,
        "ALLOW_CUSTOM_VISUALIZATIONS": "false",  # they run code of whoever calls
    }
    bucket = {"configMapKeyRef": {"name": INSTALLATION, "key": "bucketName"}}
    container = {
        "name": USER_INTERFACE,
        "env": [
            *_values(environment),
            {"name": "ARGO_ARCHIVE_BUCKETNAME", "valueFrom": bucket},
            # Signs paths to TensorBoards, of which there are none; by default with the key above.
            {
                "name": "TENSORBOARD_PROXY_SIGNING_SECRET",
                "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}},
            },
        ],
        **_resources("10m", "96Mi", limit="512Mi"),
    }
    spec = {**_common(site), **_spread(site, {"app": USER_INTERFACE}), "containers": [container]}
    return (deployment(USER_INTERFACE, wave=2, replicas=site.replicas, spec=spec),)


def _common(site: Site) -> dict[str, Any]:
    # Without links of services: what a pod would be told of them depends on what was there when it started.
    return {"nodeSelector": site.system_nodes, "enableServiceLinks": False}


def _spread(site: Site, labels: Mapping[str, str]) -> dict[str, Any]:
    if not site.highly_available:
        return {}
    return {"topologySpreadConstraints": spread(labels)}


def _values(environment: Mapping[str, str]) -> list[dict[str, Any]]:
    """Variables with these values, wherever the published ones come from."""
    return [{"name": name, "value": value, "valueFrom": None} for name, value in environment.items()]


def _resources(cpu: str, memory: str, *, limit: str) -> dict[str, Any]:
    """Requests and the memory limit; without a CPU limit, which would slow down while the node is idle."""
    return {"resources": {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": limit}}}


def installation() -> dict[str, str]:
    """What the published objects read from their ConfigMap, but the name of the bucket."""
    return {
        "dbType": "mysql",
        "mysqlHost": DATABASE,
        "mysqlPort": "3306",
        "pipelineDb": _PIPELINE_DATABASE,
        "mlmdDb": _METADATA_DATABASE,
        "ConMaxLifeTime": "120s",
        "autoUpdatePipelineDefaultVersion": "true",
        "cronScheduleTimezone": "UTC",
        # Steps come with any image; the namespace admits them only as somebody other than root.
        "defaultSecurityContextRunAsUser": _STEP_USER,
        "defaultSecurityContextRunAsGroup": _STEP_USER,
        "defaultSecurityContextRunAsNonRoot": "true",
        "defaultSecurityContextHostUsers": "",  # needs a runtime with user namespaces on every node
        # Pipelines of the first version need a webhook that changes every pod, and rights to sign its certificate.
        "BLOCK_V1_PIPELINES": "true",
        "ARTIFACTS_PROXY_ENABLED": "false",
        "LOG_LEVEL": "info",
    }


def server_configuration(*, multi_user: bool) -> dict[str, str]:
    """Files of the API server: its own defaults hold keys of a store that is not ours, and load samples."""
    definitions = SHARED_DEFINITIONS.rstrip("/") if multi_user else f"{PREFIX}definitions"
    return {
        "config.json": json.dumps(
            {
                "DBConfig": {
                    "MySQLConfig": {"DBName": _PIPELINE_DATABASE, "GroupConcatMaxLen": "4194304"},
                    "ConMaxLifeTime": "120s",
                },
                "DBDriverName": "mysql",
                "ObjectStoreConfig": {"PipelinePath": definitions},
                "ARCHIVE_CONFIG_LOG_FILE_NAME": "main.log",
                "ARCHIVE_CONFIG_LOG_PATH_PREFIX": f"/{NAMESPACE}",
                "InitConnectionTimeout": "6m",
                "DEFAULTPIPELINERUNNERSERVICEACCOUNT": RUNNER,
                "CacheEnabled": "true",
                "CRON_SCHEDULE_TIMEZONE": "UTC",
            },
            indent=2,
        ),
        "sample_config.json": json.dumps({"loadSamplesOnRestart": False, "pipelines": []}, indent=2),
    }


def launcher(objects: ObjectStore, *, prefix: str) -> dict[str, pulumi.Input[str]]:
    """What steps read in their own namespace: where artifacts go, below ``prefix`` of the bucket, and how."""
    return {
        "defaultPipelineRoot": pulumi.Output.concat(objects.buckets["pipelines"].url, f"/{prefix}artifacts"),
        "providers": providers(objects),
    }


def providers(objects: ObjectStore) -> str:
    """Where steps find their artifacts, and with whose credentials: their pod's own."""
    store = {"endpoint": objects.endpoint, "region": objects.region, "credentials": {"fromEnv": True}}
    return json.dumps({"s3": {"default": {**store, "disableSSL": False}}}, indent=2)


def _digest(site: Site) -> str:
    """Changes when the configuration does, so that pods which read it only once are replaced."""
    whole = [installation(), server_configuration(multi_user=site.settings.pipelines.multi_user)]
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:12]
