"""Triton on KServe: the objects of one version, and the loader beside its server."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.core import v1 as core
from pulumi_kubernetes.meta import v1 as meta

from components.contract import Grant, ObjectGrant
from components.platform import inference
from components.platform.cold_start import PROBE_SECONDS
from components.platform.inference import ModelServer, declare
from components.platform.mesh import SECURITY_API
from components.platform.model_gateway import Served
from components.platform.names import name_of
from components.platform.runtimes import CACHE, SECURITY, TRITON_CACHE, TRITON_CONTROL_PORTS
from components.settings.model_backends import TritonSettings
from components.versions import IMAGES
from workloads.models.backends import Deployed, VersionArgs
from workloads.models.in_cluster import objects_of, surroundings
from workloads.models.plan import Plan
from workloads.models.spec import ModelSpec, Version
from workloads.triton import balancing, rules
from workloads.triton.release import release_of

TOLD_ANNOTATION: Final = "llmops/told"
"""Of a server's pods: digest of everything that they are told and cannot follow while they run. Another one means other
pods."""

LOADER: Final = "loader"

_HERE: Final = Path(__file__).parent
_CODE: Final = ("sync.py", "loader.py")
_FOLDER: Final = "/etc/triton"
_TOLD: Final = "told"
_WEIGHTS: Final = "weights"
_LABEL_OF_APP: Final = "app"
_DEFAULT_TOKENS: Final = 1024


class Triton:
    """Implements :class:`workloads.models.backends.ModelBackend`."""

    def target(self, spec: ModelSpec, version: Version) -> Served:
        """Its OpenAI frontend; while there is no server, the activator under the model's name."""
        url = inference.url_of(version.name, spec.namespace, held=not version.fewest)
        return Served(url=url, model=version.name, api="openai")

    def declare(self, args: VersionArgs) -> Deployed:
        """Account, volume where there is one, what the loader is told, servers, and who may command them: nobody."""
        spec, version, plan = args.spec, args.version, args.plan
        wanted = server(spec, version, plan)
        if args.weights.volume is not None:
            wanted = replace(wanted, claim=version.name)
        engine = rules.engine_of(spec.settings, version.source)
        release = args.weights.uri.apply(lambda uri: release_of(spec, version, plan, engine, uri=uri))
        in_place = rules.in_place(spec.settings)
        title = f"{version.name}-triton"
        told = core.ConfigMap(
            f"{args.name}-release",
            metadata=meta.ObjectMetaArgs(
                # Servers of the release before still read theirs while these start; only in place is it exchanged.
                name=title if in_place else release.apply(lambda one: f"{title}-{_digest(one.document)}"),
                namespace=spec.namespace,
                labels=dict(args.labels),
            ),
            immutable=not in_place,
            data={"release.json": release.apply(lambda one: one.document), **code()},
            opts=pulumi.ResourceOptions(parent=args.parent, depends_on=list(args.after)),
        )
        objects = objects_of(args, wanted)
        predictor = with_loader(
            objects.service["predictor"],
            wanted,
            told=name_of(told),
            digest=_digest("") if in_place else release.apply(lambda one: _digest(one.document)),
            tokenizer=release.apply(lambda one: f"{TRITON_CACHE}/releases/{one.name}/tokenizer"),
        )
        made = declare(
            wanted,
            replace(objects, service={**objects.service, "predictor": predictor}),
            parent=args.parent,
            after=[*surroundings(args, listing(args.weights.grants)), told, *self._guards(args, wanted)],
        )
        return Deployed(url=objects.url, ready=made, outputs={"release": release.apply(lambda one: one.name)})

    def _guards(self, args: VersionArgs, wanted: ModelServer) -> tuple[pulumi.Resource, ...]:
        """Nobody but the pod itself reaches the ports with which models are loaded and unloaded.

        No network policy opens them, but between pods of the mesh everything arrives in one tunnel, into which network
        policies cannot look; the mesh can.
        """
        spread = (
            balancing.balanced(args.name, wanted, site=args.site, parent=args.parent, after=args.after)
            if balancing.USED in wanted.labels
            else ()
        )
        if not args.site.settings.mesh.enabled:
            return spread
        return (
            CustomResource(
                f"{args.name}-control",
                api_version=SECURITY_API,
                kind="AuthorizationPolicy",
                metadata=meta.ObjectMetaArgs(
                    name=f"{wanted.name}-control", namespace=wanted.namespace, labels=dict(wanted.labels)
                ),
                spec=guard_of(wanted),
                opts=pulumi.ResourceOptions(parent=args.parent, depends_on=list(args.after)),
            ),
            *spread,
        )


def guard_of(wanted: ModelServer) -> dict[str, Any]:
    """Specification of the policy that closes the ports of control."""
    return {
        "selector": {"matchLabels": {_LABEL_OF_APP: f"isvc.{wanted.target}"}},
        "action": "DENY",
        "rules": [{"to": [{"operation": {"ports": [str(port) for port in TRITON_CONTROL_PORTS]}}]}],
    }


def listing(grants: Sequence[Grant]) -> tuple[Grant, ...]:
    """The same, with the right to list the bucket: KServe's reader asks first whether it is there."""
    return tuple(replace(one, lists_bucket=True) if isinstance(one, ObjectGrant) else one for one in grants)


def code() -> Mapping[str, str]:
    """What runs beside the server."""
    return {file: (_HERE / file).read_text() for file in _CODE}


def _digest(document: str) -> str:
    """Of a release's document and of the code that reads it."""
    return hashlib.sha256("\n".join([document, *code().values()]).encode()).hexdigest()[:10]


def server(spec: ModelSpec, version: Version, plan: Plan) -> ModelServer:
    """What the servers of one version need; the loader is added to what follows from it."""
    return ModelServer(
        name=version.name,
        namespace=spec.namespace,
        runtime="triton",
        waits=plan.waits,
        service_account=version.name,
        cpu_millicores=plan.cpu_millicores,
        memory_mib=plan.memory_mib,
        gpus=plan.gpus,
        gpu_model=plan.gpu_model,
        # What a client that names no limit gets; the frontend's own are 16. KV cache is set aside for that many.
        arguments=(f"--default-max-tokens={min(_DEFAULT_TOKENS, spec.settings.context // 2)}",),
        fewest=version.fewest,
        most=version.most,
        concurrency=spec.settings.concurrency,
        shared_memory_mib=plan.shared_memory_mib,
        disk_gib=plan.disk_gib * (2 if rules.in_place(spec.settings) else 1),
        labels={**spec.labels(version), **_balanced(spec, version)},
        annotations=plan.said(spec.settings),
    )


def _balanced(spec: ModelSpec, version: Version) -> Mapping[str, str]:
    """The label that puts a waypoint in front of several servers; one has nothing to share."""
    wanted = (spec.settings.triton or TritonSettings()).balance == "requests" and version.most > 1
    return {balancing.USED: balancing.waypoint_of(version.name)} if wanted else {}


def with_loader(
    predictor: Mapping[str, Any],
    wanted: ModelServer,
    *,
    told: pulumi.Input[str],
    digest: pulumi.Input[str],
    tokenizer: pulumi.Input[str],
) -> dict[str, Any]:
    """The predictor with what brings releases to its server.

    Args:
        predictor: The predictor.
        wanted: The server.
        told: Name of the ConfigMap with the release and the loader's code.
        digest: Of what the pods cannot follow while they run.
        tokenizer: Folder of the tokenizer, whose chat template the frontend uses.
    """
    model = dict(predictor["model"])
    model["args"] = [*model["args"], pulumi.Output.concat("--tokenizer=", tokenizer)]
    model["volumeMounts"] = [*model.get("volumeMounts", ()), _shared_cache()]
    weights = [{"name": _WEIGHTS, "mountPath": "/mnt/models", "readOnly": True}] if wanted.claim else []
    return {
        **predictor,
        "annotations": {TOLD_ANNOTATION: digest},
        "volumes": [*predictor["volumes"], {"name": _TOLD, "configMap": {"name": told, "items": _files()}}],
        "initContainers": [
            {
                **_container("fetch", "sync", weights),
                # It has the pod to itself, and checks every byte.
                "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "4Gi"}},
            }
        ],
        "containers": [
            {
                **_container(LOADER, "loader", weights),
                "resources": {"requests": {"cpu": "20m", "memory": "128Mi"}, "limits": {"memory": "2Gi"}},
                # The pod is ready when the model has answered: KServe counts every container's readiness.
                "readinessProbe": {**_serving(), "failureThreshold": 3},
                "startupProbe": {**_serving(), "failureThreshold": wanted.waits.startup_failures},
            }
        ],
        "model": model,
    }


def _container(name: str, module: str, weights: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "name": name,
        "image": IMAGES["kserve-storage"],
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-m", f"workloads.triton.{module}"],
        "workingDir": _FOLDER,
        "env": [
            {"name": "CACHE", "value": TRITON_CACHE},
            {"name": "CONTROL", "value": f"http://127.0.0.1:{TRITON_CONTROL_PORTS[0]}"},
            {"name": "FRONTEND", "value": "http://127.0.0.1:8000"},
            {"name": "HOME", "value": "/tmp"},
            {"name": "PYTHONDONTWRITEBYTECODE", "value": "1"},
            {"name": "RELEASE", "value": f"{_FOLDER}/release.json"},
        ],
        "securityContext": {**SECURITY, "readOnlyRootFilesystem": True},
        "volumeMounts": [
            _shared_cache(),
            {"name": CACHE, "mountPath": "/tmp", "subPath": f"tmp-{name}"},
            {"name": _TOLD, "mountPath": _FOLDER, "readOnly": True},
            *weights,
        ],
    }


def _shared_cache() -> dict[str, Any]:
    return {"name": CACHE, "mountPath": TRITON_CACHE, "subPath": "triton"}


def _files() -> list[dict[str, str]]:
    """Where the files of the ConfigMap are, so that Python finds the modules under their names."""
    return [
        {"key": "release.json", "path": "release.json"},
        *({"key": file, "path": f"workloads/triton/{file}"} for file in _CODE),
    ]


def _serving() -> dict[str, Any]:
    return {"exec": {"command": ["test", "-e", f"{TRITON_CACHE}/serving"]}, "periodSeconds": PROBE_SECONDS}
