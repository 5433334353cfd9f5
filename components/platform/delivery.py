"""A workload's Kubernetes objects, applied by this program or by Argo CD from Git: the same objects either way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.meta import v1 as meta

from components.platform import gitops
from components.platform.openings import Namespace
from components.platform.projects import IN_CLUSTER, PLATFORM_PROJECT, WORKLOAD_NAMESPACES
from components.platform.site import Site
from components.settings.platform.delivery import DeliveryMode, RepositorySettings

__all__ = ["Delivery", "DeliveryArgs", "DeliveryMode", "rendered_output", "wave_of"]

WAVE: Final = "argocd.argoproj.io/sync-wave"
"""Annotation of an object: those of a lower wave are there, and ready, before it. Without one the wave is 0."""


@dataclass(frozen=True, kw_only=True)
class DeliveryArgs:
    """What is delivered, how, and to where.

    Attributes:
        site: Where the platform is installed.
        workload: Name of the workload; unique in the stack, and the name of its folder in Git.
        namespace: Namespace of objects that name none.
        manifests: The objects, as their API takes them. Kind, names and annotations are plain; other values may come
            late. No Secret and no secret value may be among them: use an ExternalSecret.
        mode: Who applies them; none for the stack's default.
        after: What must be there first: the operators that know the objects' kinds.
        gitops: ``GitOps.ready``; only needed where the mode is ``argocd``.
    """

    site: Site
    workload: str
    namespace: Namespace
    manifests: Sequence[Mapping[str, Any]]
    mode: DeliveryMode | None = None
    after: Sequence[pulumi.Resource] = ()
    gitops: Sequence[pulumi.Resource] = ()


class Delivery(pulumi.ComponentResource):
    """One workload's objects.

    Attributes:
        workload: Its name.
        mode: Who applies them.
        ready: What must be there before something uses the workload. In mode ``argocd`` that is the application, not
            its objects: they come when the rendered folder is in Git.
        rendered: In mode ``argocd`` the objects, for :func:`rendered_output`; else none.
    """

    workload: str
    mode: DeliveryMode
    ready: tuple[pulumi.Resource, ...]
    rendered: pulumi.Output[list[Any]] | None

    def __init__(self, name: str, args: DeliveryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:platform:Delivery", name, None, opts)
        self.workload = args.workload
        self.mode = args.mode or args.site.settings.delivery.mode
        manifests = [placed(manifest, args.namespace) for manifest in args.manifests]
        check(args.workload, manifests)
        # In both modes, although only one shows them to Git: so that the mode can always be changed.
        whole = pulumi.Output.all(*(_without_secrets(manifest, args.workload) for manifest in manifests))
        if self.mode == "pulumi":
            self.rendered = None
            self.ready = self._applied(name, args, manifests)
        else:
            self.rendered = whole
            self.ready = (self._application(name, args),)
        self.register_outputs({})

    def _applied(
        self, name: str, args: DeliveryArgs, manifests: Sequence[Mapping[str, Any]]
    ) -> tuple[pulumi.Resource, ...]:
        """Make a resource of each object; a wave waits for the one before it, as Argo CD does."""
        before: list[pulumi.Resource] = [*args.site.namespaces[args.namespace], *args.after]
        made: list[pulumi.Resource] = []
        for wave in sorted({wave_of(manifest) for manifest in manifests}):
            before = [
                _Object(
                    f"{name}-{manifest['kind']}-{manifest['metadata']['name']}".lower(),
                    manifest,
                    pulumi.ResourceOptions(parent=self, depends_on=before),
                )
                for manifest in manifests
                if wave_of(manifest) == wave
            ]
            made += before
        return tuple(made)

    def _application(self, name: str, args: DeliveryArgs) -> pulumi.Resource:
        """Register the folder with Argo CD."""
        delivery = args.site.settings.delivery
        if not delivery.enabled or delivery.repository is None:
            raise pulumi.RunError(
                f"{args.workload}: delivery argocd needs platform.delivery.enabled and platform.delivery.repository"
            )
        return CustomResource(
            f"{name}-application",
            api_version=gitops.API,
            kind="Application",
            metadata=meta.ObjectMetaArgs(
                name=args.workload,
                namespace=gitops.NAMESPACE,
                finalizers=[gitops.FINALIZER],
            ),
            spec={
                "project": PLATFORM_PROJECT,
                "source": {
                    "repoURL": delivery.repository.url,
                    "targetRevision": delivery.repository.revision,
                    "path": f"{rendered_root(delivery.repository)}/{args.workload}",
                },
                "destination": {"server": IN_CLUSTER, "namespace": args.namespace},
                "syncPolicy": gitops.sync_policy(delivery),
                "ignoreDifferences": list(gitops.IGNORED_DIFFERENCES),
            },
            # On destroy the application goes while the controller, its project and the operators are still there:
            # they remove its objects.
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=[*args.site.namespaces[args.namespace], *args.after, *args.gitops]
            ),
        )


class _Object(pulumi.CustomResource):
    """Any Kubernetes object, field by field as it is written, under the type that the typed class would have."""

    def __init__(self, name: str, manifest: Mapping[str, Any], opts: pulumi.ResourceOptions) -> None:
        version = str(manifest["apiVersion"])
        group_version = version if "/" in version else f"core/{version}"
        super().__init__(f"kubernetes:{group_version}:{manifest['kind']}", name, dict(manifest), opts)


def wave_of(manifest: Mapping[str, Any]) -> int:
    """The wave of an object."""
    annotations: Mapping[str, str] = manifest["metadata"].get("annotations") or {}
    return int(annotations.get(WAVE, "0"))


def placed(manifest: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    """The object with its namespace written out, so that it lands in the same place whoever applies it."""
    metadata: Mapping[str, Any] = manifest["metadata"]
    if "namespace" in metadata or manifest["kind"] in _CLUSTER_KINDS:
        return dict(manifest)
    return {**manifest, "metadata": {**metadata, "namespace": namespace}}


# What the platform's project lets a workload bring besides objects of its namespaces.
_CLUSTER_KINDS: Final = (
    "PersistentVolume",
    "ClusterServingRuntime",
    "ClusterStorageContainer",
    "ClusterTrainingRuntime",
)


def check(workload: str, manifests: Iterable[Mapping[str, Any]]) -> None:
    """Refuse at preview what one of the two ways could not deliver, so that the mode can always be changed.

    Raises:
        pulumi.RunError: A Secret, an object twice, or one outside the namespaces of workloads.
    """
    seen: set[tuple[str, str, str]] = set()
    for manifest in manifests:
        kind, metadata = str(manifest["kind"]), manifest["metadata"]
        name, namespace = str(metadata["name"]), str(metadata.get("namespace", ""))
        title = f"{workload}: {kind} {namespace}/{name}".replace(" /", " ")
        if kind == "Secret":
            raise pulumi.RunError(f"{title}: a Secret must not be in a workload's manifests; use an ExternalSecret")
        if (identity := (kind, namespace, name)) in seen:
            raise pulumi.RunError(f"{title}: is there twice")
        seen.add(identity)
        if kind not in _CLUSTER_KINDS and namespace not in WORKLOAD_NAMESPACES:
            allowed = ", ".join(WORKLOAD_NAMESPACES)
            raise pulumi.RunError(f"{title}: workloads go to {allowed}")


def _without_secrets(manifest: Mapping[str, Any], workload: str) -> pulumi.Output[Mapping[str, Any]]:
    """The object, once all its values are there; it fails the update if one of them is a secret."""
    whole: pulumi.Output[Mapping[str, Any]] = pulumi.Output.from_input(manifest)

    async def refuse() -> None:
        if await whole.is_secret():
            name = f"{manifest['kind']} {manifest['metadata']['name']}"
            raise pulumi.RunError(f"{workload}: {name} holds a secret value; use an ExternalSecret")

    return pulumi.Output.all(whole, pulumi.Output.from_input(refuse())).apply(lambda both: both[0])


def rendered_root(repository: RepositorySettings) -> str:
    """Folder of the repository that holds the stack's rendered workloads."""
    return f"{repository.path}/{pulumi.get_stack()}"


def rendered_output(site: Site, deliveries: Iterable[Delivery]) -> dict[str, Any]:
    """What ``make render`` writes; to be exported as stack output ``rendered``."""
    repository = site.settings.delivery.repository
    if repository is None:
        return {}
    workloads = {one.workload: one.rendered for one in deliveries if one.rendered is not None}
    return {"root": rendered_root(repository), "workloads": workloads}
