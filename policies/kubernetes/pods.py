"""Pods: resources, images, privileges, probes. Custom resources with pod templates in them are judged too.

Pods of Helm charts are not objects of the stack; :mod:`policies.kubernetes.releases` judges what their values say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from pulumi_policy import Severity
from pydantic import Field

from policies.objects import Container, Pod, completed_elsewhere, namespaced_name, pods, quantity
from policies.registry import Context, PolicyConfig, Rule, pod_security
from policies.view import UNKNOWN, Resource, at, listed, mapping
from workloads.images import NAMES, TAG_DIGITS

GPU: Final = "nvidia.com/gpu"
_TYPES: Final = ("kubernetes:",)
_DIGEST: Final = re.compile(r"@sha256:[0-9a-f]{64}$")


def _each(resource: Resource) -> Iterator[tuple[Pod, Container, str]]:
    """Every container of every pod of an object, with words that name it."""
    for pod in pods(resource):
        for container in pod.containers:
            yield pod, container, f"container {container.name}" + (f" of {pod.where}" if pod.where else "")


def _resources(resource: Resource, _context: Context) -> Iterator[str]:
    if completed_elsewhere(resource):
        return
    for pod, container, where in _each(resource):
        whole = mapping(pod.spec, "resources")  # of the pod as a whole, Kubernetes 1.34
        own = mapping(container.spec, "resources")
        missing = [
            f"{kind}.{what}"
            for kind, what in (("requests", "cpu"), ("requests", "memory"), ("limits", "memory"))
            if at(own, kind, what) is None and at(whole, kind, what) is None
        ]
        if missing:
            yield f"{where} lacks {', '.join(missing)}: the scheduler and the namespace's quota reckon with them"


def _gpus(resource: Resource, _context: Context) -> Iterator[str]:
    for _, container, where in _each(resource):
        limit, request = (at(container.spec, "resources", kind, GPU) for kind in ("limits", "requests"))
        if limit is None and request is None:
            continue
        if limit is None or (request is not None and quantity(limit) != quantity(request)):
            asked = f"{request or 'unset'} in requests and {limit or 'unset'} in limits"
            yield f"{where} has {GPU} {asked}; they must be equal"
        elif (amount := quantity(limit)) is not None and amount % 1:
            yield f"{where} asks for {limit} GPUs; a GPU cannot be divided here"


class ImageConfig(PolicyConfig):
    """Images.

    Attributes:
        digest: Images must be named by digest, not by tag alone.
        registries: Images must come from one of these; empty for any.
        own: Names of repositories for images of our own. Their tags never move (``images-immutable``) and are hashes of
            what an image is made of, so that such a tag says as much as a digest.
        tagged: Reason by name of each image that may be named by a fixed tag all the same.
    """

    digest: bool = True
    registries: tuple[str, ...] = Field(default=())
    own: tuple[str, ...] = Field(default=tuple[str, ...](NAMES))
    tagged: dict[str, str] = Field(default_factory=dict[str, str])


# Registries that a foundation makes, and in them ``<project>-<stack>``: ECR, and Google's Artifact Registry.
_OWN_REGISTRY: Final = re.compile(
    r"(\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(\.cn)?/|[a-z0-9-]+-docker\.pkg\.dev/[a-z0-9-]+/)[a-z][a-z0-9-]*"
)
_CONTENT_TAG: Final = re.compile(rf"[0-9a-f]{{{TAG_DIGITS}}}")


def _is_content(name: str, tag: str, own: tuple[str, ...]) -> bool:
    """Whether a tag is the hash of an image's content, in a repository of our own."""
    place, _, repository = name.removesuffix(f":{tag}").rpartition("/")
    known = repository in own and _OWN_REGISTRY.fullmatch(place) is not None
    return known and _CONTENT_TAG.fullmatch(tag) is not None


def image_problem(image: Any, config: ImageConfig) -> str:
    """What is wrong with the name of an image; empty where nothing is, or where it is known only later."""
    if image is UNKNOWN or image is None:
        return ""
    name, _, digest = str(image).partition("@")
    tag = name.rpartition(":")[2] if ":" in name.rpartition("/")[2] else ""
    if config.registries and not str(image).startswith(config.registries):
        return f"comes from none of {', '.join(config.registries)}"
    if digest:
        return "" if _DIGEST.search(str(image)) else "has a digest that is none"
    if not tag or tag == "latest":
        return "has no fixed tag"
    if not config.digest or name.removesuffix(f":{tag}") in config.tagged or _is_content(name, tag, config.own):
        return ""
    return "must be named by digest (@sha256:…)"


def _images(resource: Resource, context: Context) -> Iterator[str]:
    for _, container, where in _each(resource):
        if container.spec.get("image") is None:
            continue  # the runtime's, which is judged by itself
        if problem := image_problem(container.spec["image"], context.config):
            yield f"image {container.spec['image']} of {where} {problem}"


class PrivilegeConfig(PolicyConfig):
    """Pods that may ask for more of their node.

    Attributes:
        allowed: Reason by ``namespace/name`` of the object; ``*`` is not a wildcard here.
    """

    allowed: dict[str, str] = Field(default_factory=dict[str, str])


def _privileges(resource: Resource, context: Context) -> Iterator[str]:
    if namespaced_name(resource) in context.config.allowed:
        return
    for pod in pods(resource):
        for key in ("hostNetwork", "hostPID", "hostIPC"):
            if pod.spec.get(key):
                yield f"{key} must not be set"
        for volume in listed(pod.spec, "volumes"):
            if at(volume, "hostPath") is not None:
                yield f"volume {at(volume, 'name')} must not be a hostPath: {at(volume, 'hostPath', 'path')}"
    for _, container, where in _each(resource):
        if at(container.spec, "securityContext", "privileged"):
            yield f"{where} must not be privileged"
        for port in listed(container.spec, "ports"):
            if at(port, "hostPort"):
                yield f"{where} must not take port {at(port, 'hostPort')} of the node"


# Who the pods of a runtime run as is said by each model or run.
_LEFT_TO_OTHERS: Final = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def _not_root(resource: Resource, context: Context) -> Iterator[str]:
    if namespaced_name(resource) in context.config.allowed:
        return
    if resource.type.endswith(":TrainJob"):
        return  # its runtime says all of it, and is judged by itself
    for pod, container, where in _each(resource):
        own, whole = mapping(container.spec, "securityContext"), mapping(pod.spec, "securityContext")
        lacks: list[str] = []
        completes = container.spec.get("image") is None
        if completed_elsewhere(resource) and not whole:
            whole = _LEFT_TO_OTHERS
        if not at(own, "runAsNonRoot") and not (at(own, "runAsNonRoot") is None and at(whole, "runAsNonRoot")):
            lacks.append("runAsNonRoot: true")
        if at(own, "runAsUser") == 0 or (at(own, "runAsUser") is None and at(whole, "runAsUser") == 0):
            lacks.append("a runAsUser other than 0")
        if not completes and at(own, "allowPrivilegeEscalation") is not False:
            lacks.append("allowPrivilegeEscalation: false")
        if not completes and "ALL" not in listed(own, "capabilities", "drop"):
            lacks.append("capabilities.drop: [ALL]")
        profile = at(own, "seccompProfile", "type") or at(whole, "seccompProfile", "type")
        if profile not in ("RuntimeDefault", "Localhost", UNKNOWN):
            lacks.append("seccompProfile.type: RuntimeDefault")
        if lacks:
            yield f"the securityContext of {where} lacks {', '.join(lacks)}"


_SERVING: Final = (
    "kubernetes:apps/v1:Deployment",
    "kubernetes:apps/v1:StatefulSet",
    "kubernetes:apps/v1:DaemonSet",
)


def _probes(resource: Resource, _context: Context) -> Iterator[str]:
    for _, container, where in _each(resource):
        if container.starts_first:
            continue
        if missing := [probe for probe in ("readinessProbe", "livenessProbe") if container.spec.get(probe) is None]:
            yield f"{where} lacks {' and '.join(missing)}"


RULES: Final = (
    Rule(
        name="pod-resources", group="kubernetes", severity=Severity.HIGH, types=_TYPES, resource=_resources,
        description="Every container asks for CPU and memory, and has a limit of memory.",
    ),
    Rule(
        name="gpu-limits", group="kubernetes", severity=Severity.HIGH, types=_TYPES, resource=_gpus,
        description="Limits of GPUs equal their requests.",
    ),
    Rule(
        name="images-pinned", group="kubernetes", severity=Severity.HIGH, types=_TYPES, resource=_images,
        config=ImageConfig,
        description="Every image is pinned.",
    ),
    Rule(
        name="pod-privileges", group="kubernetes", severity=Severity.CRITICAL, types=_TYPES, resource=_privileges,
        config=PrivilegeConfig, control=pod_security("Baseline: Host Namespaces, Privileged, HostPath"),
        description="No pod is privileged, shares the node's namespaces or mounts its files, outside a named list.",
    ),
    Rule(
        name="pods-not-root", group="kubernetes", severity=Severity.HIGH, types=_TYPES, resource=_not_root,
        config=PrivilegeConfig, control=pod_security("Restricted: Running as Non-root, Privilege Escalation, Seccomp"),
        description="No container runs as root or can become root, outside a named list.",
    ),
    Rule(
        name="probes", group="kubernetes", severity=Severity.MEDIUM, types=_SERVING, resource=_probes,
        description="What serves says when it is ready and whether it lives.",
    ),
)  # fmt: skip
