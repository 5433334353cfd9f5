"""The ``kubernetes`` stand-in on a real API server: it judges, schedules and remembers; we only ask."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from sandbox.provider import PartialFailure, ProviderError
from sandbox.values import UNKNOWN, Secret
from tests.control_plane.conftest import GROUPS, Stack
from tests.control_plane.declared import Declared

pytestmark = pytest.mark.control_plane

GPU_TOLERATION = {"key": "nvidia.com/gpu", "operator": "Exists"}


def _config_map(name: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default"}, "data": data}


def _deployment(name: str, container: dict[str, Any], **pod: Any) -> dict[str, Any]:
    labels = {"app": name}
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "main", "image": "example", **container}], **pod},
            },
        },
    }


def test_an_object_is_stored_read_back_unchanged_and_deleted(stack: Stack):
    declared = Declared(stack, "core/v1:ConfigMap", _config_map("plain", key="1")).create()
    live = stack.client.request("GET", "/api/v1/namespaces/default/configmaps/plain")
    assert live["data"] == {"key": "1"}
    assert declared.read() == (declared.inputs, declared.outputs)
    declared.delete()
    assert declared.read() is None


def test_drift_is_shown_in_the_inputs_so_that_the_next_update_mends_it(stack: Stack):
    declared = Declared(stack, "core/v1:ConfigMap", _config_map("drifting", key="1", kept="2")).create()
    path = "/api/v1/namespaces/default/configmaps/drifting"
    stack.client.request("PATCH", path, body={"data": {"key": "changed", "foreign": "x"}}, patch="merge")
    found = declared.read()
    assert found is not None
    assert found[0]["data"] == {"key": "changed", "kept": "2"}
    declared.delete()


def test_a_preview_stores_nothing_and_shows_the_api_servers_own_words(stack: Stack):
    good = Declared(stack, "core/v1:ConfigMap", _config_map("previewed", key="1"))
    assert good.preview()["status"] is UNKNOWN
    assert stack.client.items("/api/v1/namespaces/default/configmaps", fieldSelector="metadata.name=previewed") == []
    unknown_field = _deployment("bad", {"imagePullPolice": "Always"})
    with pytest.raises(ProviderError, match="imagePullPolice"):
        Declared(stack, "apps/v1:Deployment", unknown_field).preview()
    with pytest.raises(ProviderError, match="a lowercase RFC 1123 subdomain must consist of"):
        Declared(stack, "core/v1:ConfigMap", _config_map("Not_Valid")).preview()


def test_values_that_come_later_hide_no_mistake_in_the_rest(stack: Stack):
    container = {"env": [{"name": "LATER", "value": UNKNOWN}]}
    Declared(stack, "apps/v1:Deployment", _deployment("later", container)).preview()
    wrong = _deployment("later", container, restartPolicy="Sometimes")
    with pytest.raises(ProviderError, match="Sometimes"):
        Declared(stack, "apps/v1:Deployment", wrong).preview()


def test_an_object_of_a_namespace_that_the_same_update_creates_is_judged_too(stack: Stack):
    fine = _config_map("in-new-namespace", key="1")
    fine["metadata"]["namespace"] = "not-there-yet"
    Declared(stack, "core/v1:ConfigMap", fine).preview()
    with pytest.raises(ProviderError, match="dataa"):
        Declared(stack, "core/v1:ConfigMap", {**fine, "dataa": {}}).preview()


def test_another_managers_field_is_not_overwritten_in_silence(stack: Stack):
    declared = Declared(stack, "core/v1:ConfigMap", _config_map("contested", key="1")).create()
    path = "/api/v1/namespaces/default/configmaps/contested"
    query = {"fieldManager": "someone-else"}
    stack.client.request("PATCH", path, query=query, body={"data": {"key": "theirs"}}, patch="merge")
    with pytest.raises(ProviderError, match=r'conflict with "someone-else".*patchForce'):
        declared.create()
    declared.inputs["metadata"]["annotations"] = {"pulumi.com/patchForce": "true"}
    assert declared.create().outputs["data"] == {"key": "1"}
    declared.delete()


def test_what_the_api_server_calls_immutable_is_replaced_although_no_list_names_it(stack: Stack):
    """A PriorityClass's description changes in place; a headless Service cannot get an address."""
    inputs = {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"clusterIP": "None", "ports": [{"port": 80}]},
    }
    declared = Declared(stack, "core/v1:Service", inputs).create()
    new = {**declared.inputs, "spec": {**inputs["spec"], "clusterIP": "10.0.0.77"}}
    diff = stack.provider.diff(declared.resource, declared.id, declared.inputs, new, declared.outputs)
    assert [(d.path, d.replaces) for d in diff.differences] == [("spec.clusterIP", True)]
    assert diff.delete_before_replace
    declared.delete()


def test_a_job_completes_and_its_template_replaces(stack: Stack):
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "example"}]}
    inputs = {"metadata": {"name": "once", "namespace": "default"}, "spec": {"template": {"spec": pod}}}
    declared = Declared(stack, "batch/v1:Job", inputs).create()
    assert declared.outputs["status"]["succeeded"] == 1
    changed = {"template": {"spec": {**pod, "containers": [{"name": "main", "image": "other"}]}}}
    new = {**declared.inputs, "spec": changed}
    diff = stack.provider.diff(declared.resource, declared.id, declared.inputs, new, declared.outputs)
    assert all(difference.replaces for difference in diff.differences)
    declared.delete()


def test_a_stateful_set_gets_its_volume_where_its_pod_runs(stack: Stack):
    """Kubernetes binds the claim; only the driver's part is simulated."""
    name = {"name": "fast"}
    storage = Declared(
        stack,
        "storage.k8s.io/v1:StorageClass",
        {"metadata": name, "provisioner": "ebs.csi.aws.com", "volumeBindingMode": "WaitForFirstConsumer"},
    ).create()
    inputs = _deployment("db", {"volumeMounts": [{"name": "data", "mountPath": "/data"}]})
    inputs["spec"]["serviceName"] = "db"
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "fast",
        "resources": {"requests": {"storage": "1Gi"}},
    }
    inputs["spec"]["volumeClaimTemplates"] = [{"metadata": {"name": "data"}, "spec": claim}]
    database = Declared(stack, "apps/v1:StatefulSet", inputs).create()
    assert database.outputs["status"]["readyReplicas"] == 1
    volumes = [v for v in stack.client.items("/api/v1/persistentvolumes") if v["spec"]["storageClassName"] == "fast"]
    assert volumes[0]["status"]["phase"] == "Bound"
    terms = volumes[0]["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert terms[0]["matchExpressions"][0]["values"] == ["us-east-1a"]
    database.delete()
    storage.delete()


def test_a_load_balancer_gets_an_address_once_its_pods_are_ready(stack: Stack):
    web = Declared(stack, "apps/v1:Deployment", _deployment("balanced", {})).create()
    inputs = {
        "metadata": {"name": "balanced", "namespace": "default"},
        "spec": {"type": "LoadBalancer", "selector": {"app": "balanced"}, "ports": [{"port": 80}]},
    }
    service = Declared(stack, "core/v1:Service", inputs).create()
    assert service.outputs["status"]["loadBalancer"]["ingress"][0]["hostname"].endswith(".elb.sandbox.invalid")
    service.delete()
    web.delete()


def test_a_gpu_node_comes_for_a_pod_that_the_scheduler_puts_on_it(stack: Stack):
    limits = {"nvidia.com/gpu": "1", "cpu": "2", "memory": "8Gi"}
    model = _deployment("model", {"resources": {"limits": limits}}, tolerations=[GPU_TOLERATION])
    declared = Declared(stack, "apps/v1:Deployment", model).create()
    pods = stack.client.items("/api/v1/namespaces/default/pods", labelSelector="app=model")
    assert pods[0]["spec"]["nodeName"] == "gpu-0"
    # The node was on trial until the pod was there; the autoscaler ends that right after.
    deadline = time.monotonic() + 60
    while (taints := stack.client.request("GET", "/api/v1/nodes/gpu-0")["spec"]["taints"]) != list(GROUPS[1].taints):
        assert time.monotonic() < deadline, taints
        time.sleep(0.1)
    declared.delete()


def test_a_serving_pod_that_no_group_can_hold_stays_pending_in_the_schedulers_words(stack: Stack):
    """4 vCPU and 24 GiB with one A10G do not fit a g5.xlarge, whatever a plan says."""
    limits = {"nvidia.com/gpu": "1", "cpu": "4", "memory": "24Gi"}
    pod = {
        "metadata": {
            "name": "serving",
            "namespace": "default",
            "annotations": {"pulumi.com/timeoutSeconds": "3"},
        },
        "spec": {
            "containers": [{"name": "main", "image": "example", "resources": {"limits": limits}}],
            "tolerations": [GPU_TOLERATION],
        },
    }
    declared = Declared(stack, "core/v1:Pod", pod)
    with pytest.raises(PartialFailure, match="Insufficient memory") as failure:
        declared.create()
    assert failure.value.resource_id == "default/serving"
    assert any("default/serving" in line and "Insufficient cpu" in line for line in stack.nodes.explain(GROUPS))
    declared.outputs = failure.value.outputs
    declared.id = failure.value.resource_id
    declared.delete()


def test_the_content_of_a_secret_stays_marked(stack: Stack):
    inputs = {"metadata": {"name": "token", "namespace": "default"}, "stringData": {"key": "value"}}
    declared = Declared(stack, "core/v1:Secret", inputs).create()
    assert isinstance(declared.inputs["stringData"], Secret)
    assert declared.outputs["data"] == Secret({"key": "dmFsdWU="})
    found = declared.read()
    assert found is not None
    assert found[0]["stringData"] == Secret({"key": "value"})
    declared.delete()


def test_a_kind_without_a_definition_gets_an_open_one_and_a_warning_that_names_it(stack: Stack):
    widget = {
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "metadata": {"name": "a", "namespace": "default"},
        "spec": {"anything": [1]},
    }
    declared = Declared(stack, "example.com/v1:Widget", widget).create()
    assert declared.outputs["spec"] == {"anything": [1]}
    assert any("example.com/v1 Widget" in line for line in stack.reports)
    declared.delete()


def test_a_misspelt_kind_of_kubernetes_own_is_refused(stack: Stack):
    pod = {"metadata": {"name": "a", "namespace": "default"}}
    with pytest.raises(ProviderError, match="no kind Deploymant in apps/v1"):
        Declared(stack, "apps/v1:Deploymant", pod).preview()


def test_a_definition_is_loaded_from_the_configured_folder_and_judges(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from sandbox.kubernetes.crds import Definitions

    folder = tmp_path / "gadgets"
    folder.mkdir()
    (folder / "gadgets.example.org.yaml").write_text(_GADGETS)
    definitions = Definitions(stack.client, stack.reports.append, tmp_path)
    assert definitions.resource_type("example.org/v1", "Gadget", namespaced=True) is not None
    gadget = {
        "apiVersion": "example.org/v1",
        "kind": "Gadget",
        "metadata": {"name": "a", "namespace": "default"},
        "spec": {"size": "large"},
    }
    with pytest.raises(ProviderError, match=r"spec\.size"):
        Declared(stack, "example.org/v1:Gadget", gadget).preview()
    definition = stack.client.request(
        "GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gadgets.example.org"
    )
    assert definition["spec"]["conversion"]["strategy"] == "None"


def test_webhooks_are_stored_and_do_not_block_what_nobody_here_would_answer(stack: Stack):
    inputs = {
        "metadata": {"name": "strict"},
        "webhooks": [
            {
                "name": "strict.example.com",
                "clientConfig": {"service": {"namespace": "default", "name": "nobody"}},
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]}],
                "failurePolicy": "Fail",
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
            }
        ],
    }
    token = "admissionregistration.k8s.io/v1:ValidatingWebhookConfiguration"
    webhook = Declared(stack, token, inputs).create()
    assert webhook.outputs["webhooks"][0]["failurePolicy"] == "Fail"
    Declared(stack, "core/v1:ConfigMap", _config_map("unblocked")).create().delete()
    webhook.delete()


def test_a_patch_changes_an_object_of_others_and_gives_its_fields_back(stack: Stack):
    owned = Declared(stack, "core/v1:ConfigMap", _config_map("shared", mine="1")).create()
    patch = Declared(stack, "core/v1:ConfigMapPatch", _config_map("shared", theirs="2")).create()
    assert patch.outputs["data"] == {"mine": "1", "theirs": "2"}
    patch.delete()
    found = owned.read()
    assert found is not None
    assert found[1]["data"] == {"mine": "1"}
    owned.delete()


_GADGETS = """\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: gadgets.example.org
spec:
  group: example.org
  scope: Namespaced
  names:
    plural: gadgets
    singular: gadget
    kind: Gadget
    listKind: GadgetList
  conversion:
    strategy: Webhook
    webhook:
      conversionReviewVersions: [v1]
      clientConfig:
        service: {namespace: default, name: nobody}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties:
              size: {type: integer, description: =}
"""
