"""Where the weights of a version are, found: real buckets, volumes, pinned versions, and the right to read them."""

from __future__ import annotations

from typing import Final, cast

import pulumi

from components.contract import BucketRole, ObjectGrant
from components.platform.experiments.names import ARTIFACT_PREFIX
from components.platform.site import Site
from workloads.models.backends import Weights
from workloads.models.pinned import PinnedModel
from workloads.models.spec import IN_CLUSTER, Location, ModelSpec, Version, location

_SCHEMES: Final = {"s3": "s3", "gcs": "gs"}


def weights_of(name: str, *, spec: ModelSpec, version: Version, site: Site, parent: pulumi.Resource) -> Weights:
    """Find the weights of one version.

    Args:
        name: Prefix of the Pulumi resources.
        spec: The model.
        version: The version of it.
        site: Where its buckets and file systems are.
        parent: The model's component.
    """
    found = location(version.source)
    foundation = site.foundation
    match found.scheme:
        case "s3" | "gs":
            role = cast("BucketRole", found.place)
            # Servers of the cluster read the stack's own store, by whichever scheme its buckets are named.
            own = spec.backend in IN_CLUSTER or found.scheme == _SCHEMES[foundation.objects.protocol]
            if not own or role not in foundation.objects.buckets:
                # A bucket that is not the stack's, for a backend elsewhere: no identity of this stack reads it.
                return Weights(location=found, uri=pulumi.Output.from_input(version.source), grants=())
            bucket = foundation.objects.buckets[role]
            # The slash ends the name: `llama-3` does not open `llama-3-secret`.
            grant = ObjectGrant(bucket=role, access="read", prefix=f"{found.path}/")
            return Weights(location=found, uri=bucket.url.apply(lambda url: f"{url}/{found.path}"), grants=(grant,))
        case "file":
            volume = foundation.files.volumes[found.place]
            return Weights(location=found, uri=pulumi.Output.from_input(found.path), grants=(), volume=volume)
        case "models":
            return _registered(name, found, spec=spec, site=site, parent=parent)
        case "hf" | "hosted":
            return Weights(location=found, uri=pulumi.Output.from_input(f"{found.scheme}://{found.place}"), grants=())


def _registered(name: str, found: Location, *, spec: ModelSpec, site: Site, parent: pulumi.Resource) -> Weights:
    pinned = PinnedModel(
        f"{name}-pinned",
        registry=site.settings.serving.registry_url,
        model=found.place,
        revision=found.revision,
        refresh=spec.settings.refresh,
        opts=pulumi.ResourceOptions(parent=parent),
    )
    bucket = site.foundation.objects.buckets["mlflow"].url
    uri = pulumi.Output.all(pinned.source, bucket).apply(lambda known: _in_the_stack(found, known[0], known[1]))
    # Where below that prefix it lies is known only when it was looked up, and another version lies elsewhere.
    grant = ObjectGrant(bucket="mlflow", access="read", prefix=f"{ARTIFACT_PREFIX}/")
    return Weights(location=found, uri=uri, grants=(grant,), version=pinned.version)


def _in_the_stack(found: Location, source: str, bucket: str) -> str:
    """The source, which must lie in the bucket that the server may read."""
    if source.startswith(f"{bucket}/{ARTIFACT_PREFIX}/"):
        return source
    raise pulumi.RunError(
        f"{found.place} {found.revision} lies at {source}, and not in the stack's bucket of the model registry "
        f"({bucket}/{ARTIFACT_PREFIX}): register it from there, or copy it to the bucket models and name it as source"
    )
