"""SageMaker and Vertex AI as backends of a declared model."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi

from components.aws.model_endpoints import AwsModelHosting
from components.platform.model_gateway import Hosted
from components.versions import IMAGES
from workloads.managed import planning
from workloads.managed.machines import Machine
from workloads.managed.names import MANAGED_IMAGE
from workloads.managed.sagemaker import SageMakerEndpoint, SageMakerEndpointArgs, Variant
from workloads.managed.vertex.endpoint import Place, Share, VertexEndpoint, VertexEndpointArgs
from workloads.models.backends import Deployed, VersionArgs
from workloads.models.plan import Plan
from workloads.models.spec import ModelSpec, Version

IMAGE_REPOSITORY = MANAGED_IMAGE


class SageMaker:
    """Implements :class:`workloads.models.backends.ModelBackend` with a SageMaker endpoint for each version."""

    def target(self, spec: ModelSpec, version: Version) -> Hosted:
        """The endpoint, or its inference component where it scales to zero."""
        from workloads.managed.sagemaker_parts import component_name  # noqa: PLC0415 it stands with the component

        endpoint = planning.name_of(spec, version)
        component = "" if version.fewest else component_name(endpoint)
        return Hosted(provider="sagemaker", model=endpoint, region=spec.region, component=component)

    def declare(self, args: VersionArgs) -> Deployed:
        """Declare the endpoint of one version."""
        spec, version, plan = args.spec, args.version, args.plan
        hosting = args.site.foundation.model_hosting
        if not isinstance(hosting, AwsModelHosting):
            raise pulumi.RunError(f"models.{spec.name}: backend sagemaker needs a stack on AWS")
        settings, managed = spec.settings, planning.managed_of(spec.settings)
        machine = _machine(spec, plan)
        endpoint = planning.name_of(spec, version)
        made = SageMakerEndpoint(
            args.name,
            SageMakerEndpointArgs(
                hosting=hosting,
                endpoint=endpoint,
                image=managed.image or _own_image(hosting, spec.name),
                variants=(Variant(name=version.role, model_url=args.weights.uri),),
                grants=args.weights.grants,
                environment=_environment(spec),
                machine=machine,
                fewest=version.fewest,
                most=version.most,
                concurrency=settings.concurrency,
                p99_seconds=settings.objective.p99_seconds,
                error_percent=settings.objective.error_percent,
                start_seconds=plan.cold_start.total_seconds,
                update=managed.update,
                capture_percent=managed.capture_percent,
                tags=dict(args.labels),
            ),
            pulumi.ResourceOptions(parent=args.parent),
        )
        return Deployed(url="", ready=made.ready, outputs={"endpoint": made.endpoint_name, "machine": machine.name})


class VertexAi:
    """Implements :class:`workloads.models.backends.ModelBackend` with a Vertex AI endpoint for each version."""

    def target(self, spec: ModelSpec, version: Version) -> Hosted:
        """The endpoint, called by its own address."""
        vertex = planning.managed_of(spec.settings).vertex
        endpoint = planning.name_of(spec, version)
        if vertex is None:  # refused with the settings
            return Hosted(provider="vertex", model=endpoint, region="")
        place = Place(project=vertex.project, project_number=vertex.project_number, location=vertex.location)
        return Hosted(
            provider="vertex",
            model=endpoint,
            region=vertex.location,
            url=place.url(endpoint, vertex.address),
            project=vertex.project,
            sign_in=planning.federated(vertex, spec.region),
        )

    def declare(self, args: VersionArgs) -> Deployed:
        """Declare the endpoint of one version."""
        spec, version, plan = args.spec, args.version, args.plan
        managed = planning.managed_of(spec.settings)
        vertex = managed.vertex
        if vertex is None:
            raise pulumi.RunError(f"models.{spec.name}: backend vertex needs managed.vertex")
        machine = _machine(spec, plan)
        endpoint = planning.name_of(spec, version)
        made = VertexEndpoint(
            args.name,
            VertexEndpointArgs(
                place=Place(project=vertex.project, project_number=vertex.project_number, location=vertex.location),
                endpoint=endpoint,
                owner=spec.prefix,
                image=managed.image,
                shares=(Share(name=version.role, artifact_uri=args.weights.uri),),
                environment={**_environment(spec), "MODEL_REPOSITORY": "/tmp/models"},
                machine=machine,
                fewest=version.fewest,
                most=version.most,
                service_account=vertex.service_account,
                projects=vertex.private_service_connect,
                address=vertex.address,
            ),
            pulumi.ResourceOptions(parent=args.parent),
        )
        return Deployed(url="", ready=made.ready, outputs={"endpoint": made.endpoint_name, "machine": machine.name})


def _machine(spec: ModelSpec, plan: Plan) -> Machine:
    found = planning.machine_of(spec, plan)
    if found is None:
        raise pulumi.RunError(f"models.{spec.name}: no machine of {spec.backend} holds it")
    return found


def _environment(spec: ModelSpec) -> Mapping[str, str]:
    """Variables of the container: which model of the repository is asked, the one with the model's own name."""
    return {"MODEL_NAME": spec.name}


def _own_image(hosting: AwsModelHosting, model: str) -> pulumi.Input[str]:
    if IMAGE_REPOSITORY not in hosting.repositories:
        raise pulumi.RunError(
            f"models.{model}: set managed.image, or add {IMAGE_REPOSITORY} to registry.repositories and push it there"
        )
    _, _, tag = IMAGES["triton"].rpartition(":")
    return pulumi.Output.concat(hosting.repositories[IMAGE_REPOSITORY], ":", tag)
