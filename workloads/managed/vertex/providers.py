"""The dynamic providers of a model, an endpoint, and what is deployed on it.

Each can be run again after it was killed at any point: names follow from the declaration, so what an interrupted run
made is found, checked to be ours by its label, and taken over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

from pulumi.dynamic import (
    CheckFailure,
    CheckResult,
    CreateResult,
    DiffResult,
    ReadResult,
    ResourceProvider,
    UpdateResult,
)

from workloads.managed.vertex import api
from workloads.managed.vertex.deployment import Deployment

_PROVIDER_KEY: Final = "__provider"  # Pulumi's own; it holds the name of the provider's class

UPLOAD_SECONDS: Final = 1800
DEPLOY_SECONDS: Final = 5400  # a node, an image of 15 GB, the weights

Props = dict[str, Any]


class VertexProvider(ResourceProvider):
    """What the three have in common.

    Attributes:
        required: Inputs that must be there.
        replacing: Inputs that make another thing of it.
    """

    # The class holds no secret and captures none: its name in the state may be read.
    serialize_as_secret_always = False
    required: tuple[str, ...] = ()
    replacing: tuple[str, ...] = ()

    def check(self, _olds: Props, news: Props) -> CheckResult:
        """Refuse what cannot work before anything is done."""
        failures = [CheckFailure(name, "must be set") for name in self.required if not news.get(name)]
        if not api.is_installed():
            reason = "backend vertex needs google-cloud-aiplatform: pip install -r requirements-vertex.txt"
            failures.append(CheckFailure("", reason))
        return CheckResult(news, [*failures, *self.refused(news)])

    def refused(self, news: Props) -> Iterable[CheckFailure]:
        """What this kind refuses more."""
        del news
        return ()

    def diff(self, _id: str, _olds: Props, _news: Props) -> DiffResult:
        """Compare inputs with what they were; outputs are nobody's wish."""
        changed = [key for key in _news if key != _PROVIDER_KEY and _news[key] != _olds.get(key)]
        replaces = [key for key in changed if key in self.replacing]
        # The new one has another name, so it can be made before the old one goes.
        return DiffResult(changes=bool(changed), replaces=replaces, delete_before_replace=False)


class ModelProvider(VertexProvider):
    """A container with the weights that it reads, in Vertex AI's registry of models."""

    required = ("project", "location", "modelId", "owner", "image", "artifactUri", "port", "healthPath")
    replacing = ("project", "location", "modelId", "image", "artifactUri", "port", "healthPath", "environment")

    def create(self, props: Props) -> CreateResult:
        """Upload the model, or take over what an interrupted run uploaded."""
        client = api.client("model_service", props["location"])
        name = _name(props, "models", props["modelId"])
        present = api.found(lambda: client.get_model(name=name))
        if present is None:
            present = self._upload(client, name, props)
        api.check_owner(present, props["owner"], name)
        return CreateResult(name, {**props, "name": name})

    def _upload(self, client: Any, name: str, props: Props) -> Any:
        types = api.types()
        request = types.UploadModelRequest(
            parent=_parent(props),
            model_id=props["modelId"],
            model=types.Model(
                display_name=props["modelId"],
                labels={api.OWNER_LABEL: props["owner"]},
                artifact_uri=props["artifactUri"],
                container_spec=types.ModelContainerSpec(
                    image_uri=props["image"],
                    ports=[types.Port(container_port=int(props["port"]))],
                    health_route=props["healthPath"],
                    # Paths of the container are called as they are: the OpenAI API stays the OpenAI API.
                    invoke_route_prefix="/*",
                    env=[types.EnvVar(name=key, value=value) for key, value in sorted(props["environment"].items())],
                ),
            ),
        )
        try:
            api.wait(client.upload_model(request=request), f"upload of {name}", UPLOAD_SECONDS)
        except Exception as error:
            if not api.is_taken(error):
                raise
        return api.wait_until(
            lambda: api.found(lambda: client.get_model(name=name)), f"upload of {name}", UPLOAD_SECONDS
        )

    def read(self, id_: str, props: Props) -> ReadResult:
        """Say whether it is still there, and what it holds."""
        client = api.client("model_service", _location(id_))
        present = api.found(lambda: client.get_model(name=id_))
        if present is None:
            return ReadResult("")
        spec = present.container_spec
        live = {
            "image": spec.image_uri,
            "artifactUri": present.artifact_uri,
            "environment": {one.name: one.value for one in spec.env},
        }
        return ReadResult(id_, {**props, **live}, {**_inputs(props), **live})

    def update(self, _id: str, _olds: Props, _news: Props) -> UpdateResult:
        """Change what may change: whose it is."""
        client, types = api.client("model_service", _news["location"]), api.types()
        model = types.Model(name=_id, labels={api.OWNER_LABEL: _news["owner"]})
        client.update_model(request={"model": model, "update_mask": {"paths": ["labels"]}})
        return UpdateResult({**_news, "name": _id})

    def delete(self, _id: str, _props: Props) -> None:
        """Delete it; nothing is deployed of it any more, by the order of the program."""
        client = api.client("model_service", _props["location"])
        operation = api.found(lambda: client.delete_model(name=_id))
        if operation is not None:
            api.wait(operation, f"deletion of {_id}", UPLOAD_SECONDS)


class EndpointProvider(VertexProvider):
    """An address that models answer at."""

    required = ("project", "location", "endpointId", "owner")
    replacing = ("project", "location", "endpointId", "projects")

    def create(self, props: Props) -> CreateResult:
        """Make the endpoint, or take over what an interrupted run made."""
        client = api.client("endpoint_service", props["location"])
        name = _name(props, "endpoints", props["endpointId"])
        present = api.found(lambda: client.get_endpoint(name=name))
        if present is None:
            present = self._make(client, name, props)
        api.check_owner(present, props["owner"], name)
        return CreateResult(name, {**props, "name": name, "host": present.dedicated_endpoint_dns})

    def _make(self, client: Any, name: str, props: Props) -> Any:
        types = api.types()
        endpoint = types.Endpoint(
            display_name=props["endpointId"],
            labels={api.OWNER_LABEL: props["owner"]},
            # Paths of the container can be called on an endpoint with an address of its own only.
            dedicated_endpoint_enabled=not props["projects"],
        )
        if props["projects"]:
            endpoint.private_service_connect_config = types.PrivateServiceConnectConfig(
                enable_private_service_connect=True, project_allowlist=list(props["projects"])
            )
        request = types.CreateEndpointRequest(parent=_parent(props), endpoint_id=props["endpointId"], endpoint=endpoint)
        try:
            api.wait(client.create_endpoint(request=request), f"creation of {name}", UPLOAD_SECONDS)
        except Exception as error:
            if not api.is_taken(error):
                raise
        return api.wait_until(
            lambda: api.found(lambda: client.get_endpoint(name=name)), f"creation of {name}", UPLOAD_SECONDS
        )

    def read(self, id_: str, props: Props) -> ReadResult:
        """Say whether it is still there."""
        client = api.client("endpoint_service", _location(id_))
        present = api.found(lambda: client.get_endpoint(name=id_))
        if present is None:
            return ReadResult("")
        live = {"projects": list(present.private_service_connect_config.project_allowlist)}
        return ReadResult(id_, {**props, **live, "host": present.dedicated_endpoint_dns}, {**_inputs(props), **live})

    def update(self, _id: str, _olds: Props, _news: Props) -> UpdateResult:
        """Change what may change: whose it is."""
        client, types = api.client("endpoint_service", _news["location"]), api.types()
        endpoint = types.Endpoint(name=_id, labels={api.OWNER_LABEL: _news["owner"]})
        present = client.update_endpoint(request={"endpoint": endpoint, "update_mask": {"paths": ["labels"]}})
        return UpdateResult({**_news, "name": _id, "host": present.dedicated_endpoint_dns})

    def delete(self, _id: str, _props: Props) -> None:
        """Take down what is deployed, which costs money, and then the endpoint.

        By the order of the program nothing is deployed any more, unless a deployment was interrupted.
        """
        client = api.client("endpoint_service", _props["location"])
        if api.found(lambda: client.get_endpoint(name=_id)) is None:
            return
        Deployment(client, _id, DEPLOY_SECONDS).take_down()
        operation = api.found(lambda: client.delete_endpoint(name=_id))
        if operation is not None:
            api.wait(operation, f"deletion of {_id}", UPLOAD_SECONDS)


class DeploymentProvider(VertexProvider):
    """Models on an endpoint, with their machines and shares of the requests."""

    required = ("location", "endpoint", "models", "machineType", "serviceAccount", "minReplicas", "maxReplicas")
    replacing = ("endpoint",)

    def refused(self, news: Props) -> Iterable[CheckFailure]:
        """Shares must be whole, and somebody must answer."""
        models: Any = news.get("models")
        if not isinstance(models, list):  # not known yet
            return
        shares = [model["percent"] for model in cast("list[Props]", models)]
        if sum(shares) != 100:
            yield CheckFailure("models", f"shares of the requests must be 100 together; got {sum(shares):g}")

    def create(self, props: Props) -> CreateResult:
        """Deploy; what an interrupted run deployed stays."""
        return CreateResult(f"{props['endpoint']}/deployment", self._apply(props))

    def update(self, _id: str, _olds: Props, _news: Props) -> UpdateResult:
        """Deploy what is new, hand the requests over, take down what is old."""
        return UpdateResult(self._apply(_news))

    def _apply(self, props: Props) -> Props:
        client = api.client("endpoint_service", props["location"])
        deployment = Deployment(client, props["endpoint"], DEPLOY_SECONDS)
        deployment.check_host(props["host"])
        return {**props, "deployed": deployment.apply(props)}

    def read(self, id_: str, props: Props) -> ReadResult:
        """Say what is deployed; what differs from the state is drift."""
        endpoint = props["endpoint"]
        client = api.client("endpoint_service", props["location"])
        if api.found(lambda: client.get_endpoint(name=endpoint)) is None:
            return ReadResult("")
        live = Deployment(client, endpoint, DEPLOY_SECONDS).live()
        if not live["models"]:
            return ReadResult("")
        return ReadResult(id_, {**props, **live}, {**_inputs(props), **live})

    def delete(self, _id: str, _props: Props) -> None:
        """Take everything down."""
        client = api.client("endpoint_service", _props["location"])
        endpoint = _props["endpoint"]
        if api.found(lambda: client.get_endpoint(name=endpoint)) is not None:
            Deployment(client, endpoint, DEPLOY_SECONDS).take_down()


_OUTPUTS: Final = ("name", "deployed", _PROVIDER_KEY)


def _inputs(props: Mapping[str, Any]) -> Props:
    return {key: value for key, value in props.items() if key not in _OUTPUTS}


def _parent(props: Mapping[str, Any]) -> str:
    return f"projects/{props['project']}/locations/{props['location']}"


def _name(props: Mapping[str, Any], collection: str, identifier: str) -> str:
    return f"{_parent(props)}/{collection}/{identifier}"


def _location(name: str) -> str:
    return name.split("/")[3]
