"""Systems that are published only as Kustomize files: Argo CD applies them from a pinned commit, with our changes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pulumi
import yaml
from pulumi_kubernetes import rbac
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.meta import v1 as meta

from components.platform import gitops
from components.platform.delivery import WAVE
from components.platform.names import name_of
from components.platform.openings import Namespace
from components.platform.projects import IN_CLUSTER
from components.platform.site import Site
from components.versions import TREES, TreeName

_RBAC: Final = "rbac.authorization.k8s.io"
_DEFINITIONS: Final = {"group": "apiextensions.k8s.io", "kind": "CustomResourceDefinition"}
_READY_SECONDS: Final = 900  # to fetch the repository and the images, and for the last wave to be healthy


@dataclass(frozen=True, kw_only=True)
class Target:
    """Which objects a patch changes.

    Attributes:
        kind: Kind of the objects.
        name: Their name; empty for every object of the kind.
        group: API group; empty for the core.
        version: API version.
    """

    kind: str
    name: str = ""
    group: str = ""
    version: str = "v1"

    @property
    def selector(self) -> dict[str, str]:
        """As Kustomize takes it. Its fields are regular expressions, which it anchors itself."""
        named = {"name": re.escape(self.name).replace(r"\-", "-")} if self.name else {}
        return {**({"group": self.group} if self.group else {}), "version": self.version, "kind": self.kind, **named}

    @property
    def manifest(self) -> dict[str, Any]:
        """The beginning of a patch for it; where it has no name, Kustomize wants some name all the same."""
        api = f"{self.group}/{self.version}" if self.group else self.version
        return {"apiVersion": api, "kind": self.kind, "metadata": {"name": self.name or "every"}}


@dataclass(frozen=True, kw_only=True)
class Patch:
    """One change of what is published.

    Attributes:
        target: What it changes; one that names an object which is no longer there fails the rendering.
        body: A strategic merge patch; ``None`` removes a field, ``$patch: delete`` an element of a list.
    """

    target: Target
    body: Mapping[str, Any]

    @property
    def manifest(self) -> dict[str, Any]:
        """As Argo CD takes it."""
        whole = {**self.target.manifest, **self.body}
        if "metadata" in self.body:
            whole["metadata"] = {**self.target.manifest["metadata"], **self.body["metadata"]}
        return {"target": self.target.selector, "patch": yaml.safe_dump(whole, sort_keys=False, width=120)}


def removed(kind: str, *names: str, group: str = "", version: str = "v1") -> tuple[Patch, ...]:
    """Leave out the named objects of a kind, or, without a name, all of them."""
    return tuple(
        Patch(target=Target(kind=kind, name=name, group=group, version=version), body={"$patch": "delete"})
        for name in names or ("",)
    )


def deployment(name: str, *, wave: int, spec: Mapping[str, Any], replicas: int = 1) -> Patch:
    """Change a Deployment.

    Args:
        name: Its name.
        wave: It comes after all that have a lower number are healthy.
        spec: Changes of the specification of its pods, and of their ``metadata`` under that key.
        replicas: How many pods.
    """
    pods = {key: value for key, value in spec.items() if key != "metadata"}
    template = {**({"metadata": spec["metadata"]} if "metadata" in spec else {}), "spec": pods}
    return Patch(
        target=Target(kind="Deployment", name=name, group="apps"),
        body={
            "metadata": {"annotations": {WAVE: str(wave)}},
            "spec": {"replicas": replicas, "template": template},
        },
    )


def definition(name: str) -> Patch:
    """Make a definition come first; and stay when a later version leaves it out, because its objects go with it."""
    annotations = {WAVE: "-1", "argocd.argoproj.io/sync-options": "Prune=false"}
    target = Target(kind=_DEFINITIONS["kind"], name=name, group=_DEFINITIONS["group"])
    return Patch(target=target, body={"metadata": {"annotations": annotations}})


@dataclass(frozen=True, kw_only=True)
class Source:
    """One folder of a repository.

    Attributes:
        path: The folder.
        patches: What is changed in it.
    """

    path: str
    patches: tuple[Patch, ...]


@dataclass(frozen=True, kw_only=True)
class KustomizedArgs:
    """What is applied, and what for.

    Attributes:
        site: Where the platform is installed.
        tree: Which repository, at which commit.
        namespace: Where its objects go.
        sources: Folders of the repository.
        kinds: Kinds that may come out of them, as ``(group, kind)``. Everything else is refused by Argo CD: accounts,
            rights and credentials are this program's.
        definitions: Names of the definitions of custom resources that may come out of them.
        after: What must be there first: ``GitOps.ready``; accounts, configuration and credentials of the pods.
    """

    site: Site
    tree: TreeName
    namespace: Namespace
    sources: Sequence[Source]
    kinds: Sequence[tuple[str, str]]
    definitions: Sequence[str]
    after: Sequence[pulumi.Resource]


class Kustomized(pulumi.ComponentResource):
    """An application of Argo CD, its project, and the right to write its definitions."""

    ready: tuple[pulumi.Resource, ...]
    """The application; the update waits until its objects are in the cluster and healthy."""

    def __init__(self, name: str, args: KustomizedArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:platform:Kustomized", name, None, opts)
        project = CustomResource(
            f"{name}-project",
            api_version=gitops.API,
            kind="AppProject",
            metadata=meta.ObjectMetaArgs(name=args.tree, namespace=gitops.NAMESPACE),
            spec=project_spec(args),
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(args.after)),
        )
        rights = self._may_write_definitions(name, args) if args.definitions else ()
        application = CustomResource(
            f"{name}-application",
            api_version=gitops.API,
            kind="Application",
            metadata=meta.ObjectMetaArgs(
                name=args.tree,
                namespace=gitops.NAMESPACE,
                finalizers=[gitops.FINALIZER],
                annotations={
                    "pulumi.com/waitFor": _synced(TREES[args.tree].commit),
                    "pulumi.com/timeoutSeconds": str(_READY_SECONDS),
                },
            ),
            spec=application_spec(args),
            # On destroy it goes while its controller, its project and its rights are there: they remove its objects.
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=[*args.site.namespaces[args.namespace], *args.after, project, *rights]
            ),
        )
        self.ready = (application,)
        self.register_outputs({})

    def _may_write_definitions(self, name: str, args: KustomizedArgs) -> tuple[pulumi.Resource, ...]:
        """Let Argo CD write these definitions. It applies on the server's side, where even creating knows the name."""
        title = f"argocd-{args.tree}"
        child = pulumi.ResourceOptions(parent=self, depends_on=list(args.after))
        role = rbac.v1.ClusterRole(
            f"{name}-definitions",
            metadata=meta.ObjectMetaArgs(name=title),
            rules=[
                rbac.v1.PolicyRuleArgs(
                    api_groups=[_DEFINITIONS["group"]],
                    resources=["customresourcedefinitions"],
                    resource_names=list(args.definitions),
                    verbs=["create", "patch", "update", "delete"],
                )
            ],
            opts=child,
        )
        binding = rbac.v1.ClusterRoleBinding(
            f"{name}-definitions",
            metadata=meta.ObjectMetaArgs(name=title),
            role_ref=rbac.v1.RoleRefArgs(api_group=_RBAC, kind="ClusterRole", name=name_of(role)),
            subjects=[
                rbac.v1.SubjectArgs(kind="ServiceAccount", name=gitops.CONTROLLER_ACCOUNT, namespace=gitops.NAMESPACE)
            ],
            opts=child,
        )
        return (role, binding)


def project_spec(args: KustomizedArgs) -> dict[str, Any]:
    """Specification of the project: this repository, this namespace, these kinds."""
    return {
        "description": f"{args.tree} {TREES[args.tree].version}, applied for this program.",
        "sourceRepos": [TREES[args.tree].repository],
        "destinations": [{"server": IN_CLUSTER, "namespace": args.namespace}],
        "clusterResourceWhitelist": [_DEFINITIONS] if args.definitions else [],
        "namespaceResourceWhitelist": [{"group": group, "kind": kind} for group, kind in args.kinds],
    }


def application_spec(args: KustomizedArgs) -> dict[str, Any]:
    """Specification of the application; all of it is known at preview."""
    tree = TREES[args.tree]
    return {
        "project": args.tree,
        "sources": [
            {
                "repoURL": tree.repository,
                "targetRevision": tree.commit,
                "path": source.path,
                "kustomize": {
                    "namespace": args.namespace,
                    "patches": [patch.manifest for patch in source.patches],
                },
            }
            for source in args.sources
        ],
        "destination": {"server": IN_CLUSTER, "namespace": args.namespace},
        "syncPolicy": gitops.sync_policy(args.site.settings.delivery),
        "ignoreDifferences": list(gitops.IGNORED_DIFFERENCES),
    }


def _synced(commit: str) -> str:
    """What the update waits for; with the commit, because for some seconds after a change the old state still shows."""
    paths = {
        "{.status.sync.revisions[0]}": commit,
        "{.status.sync.status}": "Synced",
        "{.status.health.status}": "Healthy",
    }
    return "[" + ", ".join(f'"jsonpath={path}={value}"' for path, value in paths.items()) + "]"
