"""What is deployed on an endpoint, brought to what is wanted in steps, each of which can be repeated."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from workloads.managed.vertex import api

_DUTY_CYCLE: Final = "aiplatform.googleapis.com/prediction/online/accelerator/duty_cycle"
_BUSY_PERCENT: Final = 70  # another machine is started above it


class Deployment:
    """The models on one endpoint."""

    def __init__(self, client: Any, endpoint: str, seconds: float) -> None:
        self._client, self._endpoint, self._seconds = client, endpoint, seconds

    def apply(self, wanted: Mapping[str, Any]) -> dict[str, str]:
        """Deploy what is missing, resize, hand over the requests, take down the rest; ids by model.

        Requests go over only when everything new is there: what fails before that changes nothing for callers.
        """
        identifiers = {model["name"]: deployed_id(wanted, model["name"]) for model in wanted["models"]}
        present = self._deployed()
        for model, identifier in identifiers.items():
            if identifier not in present:
                self._deploy(wanted, model, identifier)
            else:
                self._resize(wanted, present[identifier])
        shares = {identifiers[model["name"]]: int(model["percent"]) for model in wanted["models"]}
        self._share_out(shares)
        self._take_down(set(self._deployed()) - set(shares), shares)
        return identifiers

    def take_down(self) -> None:
        """Leave nothing deployed."""
        self._take_down(set(self._deployed()), {})

    def live(self) -> dict[str, Any]:
        """What is deployed, in the words of the inputs."""
        endpoint = self._client.get_endpoint(name=self._endpoint)
        split = dict(endpoint.traffic_split)
        models = [{"name": one.model, "percent": split.get(one.id, 0)} for one in endpoint.deployed_models]
        live: dict[str, Any] = {"models": sorted(models, key=lambda one: str(one["name"]))}
        for one in endpoint.deployed_models:
            machines = one.dedicated_resources
            live |= {
                "machineType": machines.machine_spec.machine_type,
                "minReplicas": machines.min_replica_count,
                "maxReplicas": machines.max_replica_count,
                "serviceAccount": one.service_account,
            }
        return live

    def check_host(self, expected: str) -> None:
        """Refuse an endpoint that answers elsewhere than the gateway calls."""
        host = self._client.get_endpoint(name=self._endpoint).dedicated_endpoint_dns.removeprefix("https://")
        if expected and host and host != expected:
            raise api.VertexError(
                f"{self._endpoint} answers at {host}, the model gateway calls {expected}: "
                f"set managed.vertex.address to {host}"
            )

    def _deployed(self) -> dict[str, Any]:
        return {one.id: one for one in self._client.get_endpoint(name=self._endpoint).deployed_models}

    def _deploy(self, wanted: Mapping[str, Any], model: str, identifier: str) -> None:
        types = api.types()
        what = f"deployment of {model}"
        deployed = types.DeployedModel(
            id=identifier,
            model=model,
            display_name=model.rsplit("/", 1)[-1],
            service_account=wanted["serviceAccount"],
            dedicated_resources=types.DedicatedResources(
                machine_spec=types.MachineSpec(
                    machine_type=wanted["machineType"],
                    accelerator_type=wanted["acceleratorType"],
                    accelerator_count=int(wanted["acceleratorCount"]),
                ),
                min_replica_count=int(wanted["minReplicas"]),
                max_replica_count=int(wanted["maxReplicas"]),
                autoscaling_metric_specs=[types.AutoscalingMetricSpec(metric_name=_DUTY_CYCLE, target=_BUSY_PERCENT)],
            ),
        )
        try:
            # Without a share: nobody is sent to it before it is there.
            operation = self._client.deploy_model(
                request=types.DeployModelRequest(endpoint=self._endpoint, deployed_model=deployed)
            )
            api.wait(operation, what, self._seconds)
        except Exception as error:
            if not api.is_taken(error):
                raise
        api.wait_until(lambda: self._deployed().get(identifier), what, self._seconds)

    def _resize(self, wanted: Mapping[str, Any], present: Any) -> None:
        least, most = int(wanted["minReplicas"]), int(wanted["maxReplicas"])
        machines = present.dedicated_resources
        if (machines.min_replica_count, machines.max_replica_count) == (least, most):
            return
        types = api.types()
        changed = types.DeployedModel(
            id=present.id,
            dedicated_resources=types.DedicatedResources(min_replica_count=least, max_replica_count=most),
        )
        paths = ["dedicated_resources.min_replica_count", "dedicated_resources.max_replica_count"]
        operation = self._client.mutate_deployed_model(
            request={"endpoint": self._endpoint, "deployed_model": changed, "update_mask": {"paths": paths}}
        )
        api.wait(operation, f"resizing of {present.model}", self._seconds)

    def _share_out(self, shares: Mapping[str, int]) -> None:
        if dict(self._client.get_endpoint(name=self._endpoint).traffic_split) == dict(shares):
            return
        endpoint = api.types().Endpoint(name=self._endpoint, traffic_split=dict(shares))
        self._client.update_endpoint(request={"endpoint": endpoint, "update_mask": {"paths": ["traffic_split"]}})

    def _take_down(self, identifiers: set[str], shares: Mapping[str, int]) -> None:
        for identifier in sorted(identifiers):
            # Google refuses to take down what has a share, unless the request takes it away.
            operation = api.found(
                lambda one=identifier: self._client.undeploy_model(
                    request={"endpoint": self._endpoint, "deployed_model_id": one, "traffic_split": dict(shares)}
                )
            )
            if operation is not None:
                api.wait(operation, f"taking down {identifier} of {self._endpoint}", self._seconds)


def deployed_id(wanted: Mapping[str, Any], model: str) -> str:
    """Id of a deployment: ten digits (Vertex AI's rule), others when anything differs but the number of machines."""
    machine = (wanted["machineType"], wanted["acceleratorType"], int(wanted["acceleratorCount"]))
    content = json.dumps([model, *machine, wanted["serviceAccount"]])
    number = int(hashlib.sha256(content.encode()).hexdigest(), 16)
    return str(10**9 + number % (9 * 10**9))
