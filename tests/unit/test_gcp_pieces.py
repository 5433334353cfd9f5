"""Pieces of the Google Cloud foundation, each by itself: identities, nodes, keys, addresses, sizes."""

from __future__ import annotations

import ipaddress
import json
import re
from typing import Any, get_args

import pulumi
import pytest
from conftest import Recorder
from gcp_stack import PREFIX, PROJECT, prepare, settings
from hypothesis import given
from hypothesis import strategies as st

from components.buckets import Lifecycle
from components.capacity.gce import CATALOGUE, REGIONS, gpu_zones_of, shape_of, zones_of
from components.contract import (
    GPU_TAINT,
    DnsGrant,
    DnsZone,
    EndpointGrant,
    HostedModelGrant,
    ObjectGrant,
    SecretGrant,
    SecretRef,
)
from components.gcp.addresses import METADATA, networks
from components.gcp.bucket import bucket_name, lifecycle_rules
from components.gcp.budget import alerts
from components.gcp.cluster import access_groups, kubeconfig, team_groups
from components.gcp.database import edition
from components.gcp.identity import ANNOTATION, CustomRoles, GcpIdentity, below
from components.gcp.keys import USERS, multi_region
from components.gcp.network import plan
from components.gcp.nodes import pool_of
from components.gcp.project import AGENT_SERVICES, account_id
from components.gcp.registry import PATHS, cleanup
from components.settings.account import Upstream

pytestmark = pytest.mark.unit


def identity(*, dns: bool = True) -> GcpIdentity:
    """An identity maker over one bucket and one secret; call it inside the program under test."""
    zone = DnsZone(kind="cloud-dns", id="projects/llmops-example/managedZones/llm", region="us-central1")
    return GcpIdentity(
        prefix=PREFIX,
        project=PROJECT,
        buckets={"models": "llmops-gcp-models-llmops-example"},
        bucket_names={"models": "llmops-gcp-models-llmops-example"},
        secrets={"grafana-admin": SecretRef(key=pulumi.Output.from_input("llmops-gcp-grafana-admin"), properties=())},
        roles=CustomRoles(
            predictor=pulumi.Output.from_input("projects/llmops-example/roles/llmops_gcp_predictor"),
            dns_prover=pulumi.Output.from_input("projects/llmops-example/roles/llmops_gcp_dns_prover") if dns else None,
        ),
        dns=zone if dns else None,
    )


def granted(recorded: Recorder, *grants: Any) -> None:
    def program() -> None:
        parent = pulumi.ComponentResource("test:index:Parent", "parent")
        identity().grant("loader", namespace="mlops-serving", service_account="llama", grants=grants, parent=parent)

    prepare(recorded).run(program)


def test_exactly_one_service_account_of_the_cluster_may_act_as_it(recorded: Recorder):
    granted(recorded)
    trust = recorded.one("gcp:serviceaccount/iAMMember:IAMMember").inputs
    assert trust["member"] == "serviceAccount:llmops-example.svc.id.goog[mlops-serving/llama]"
    assert trust["role"] == "roles/iam.workloadIdentityUser"


def test_the_pod_is_told_its_account_and_waits_for_what_it_may(recorded: Recorder):
    found: list[Any] = []

    def program() -> None:
        parent = pulumi.ComponentResource("test:index:Parent", "parent")
        made = identity().grant(
            "loader",
            namespace="n",
            service_account="s",
            grants=[ObjectGrant(bucket="models", access="read"), SecretGrant(entries=["grafana-admin"])],
            parent=parent,
        )
        found.extend([set(made.annotations), len(made.ready)])

    prepare(recorded).run(program)
    assert found == [{ANNOTATION}, 5]


def test_a_prefix_closes_the_rest_of_the_bucket(recorded: Recorder):
    granted(recorded, ObjectGrant(bucket="models", access="read", prefix="llama-3/"))
    binding = recorded.one("gcp:storage/bucketIAMMember:BucketIAMMember").inputs
    assert binding["role"] == "roles/storage.objectViewer"
    expression = binding["condition"]["expression"]
    assert (
        'resource.name.startsWith("projects/_/buckets/llmops-gcp-models-llmops-example/objects/llama-3/")' in expression
    )
    assert 'objectListPrefix", "").startsWith("llama-3/")' in expression


def test_names_beyond_the_prefix_are_listed_only_where_the_grant_says_so(recorded: Recorder):
    granted(recorded, ObjectGrant(bucket="models", access="read-write", prefix="a/", lists_bucket=True))
    roles = {
        one.inputs["role"]: one.inputs.get("condition")
        for one in recorded.of("gcp:storage/bucketIAMMember:BucketIAMMember").values()
    }
    assert roles["roles/storage.objectUser"] is not None
    assert roles["roles/storage.legacyBucketReader"] is None


@given(st.text(alphabet='ab/"\\\n', min_size=1, max_size=20))
def test_a_prefix_cannot_break_out_of_its_condition(prefix: str):
    """A quote in a prefix would end the text, and what follows would be an expression."""
    expression = below("bucket", prefix).expression
    outside = re.sub(r'"(?:[^"\\]|\\.)*"', "", expression)
    assert outside == "resource.name.startsWith() || api.getAttribute(, ).startsWith()"


def test_only_the_named_secret_can_be_read(recorded: Recorder):
    granted(recorded, SecretGrant(entries=["grafana-admin"]))
    binding = recorded.one("gcp:secretmanager/secretIamMember:SecretIamMember").inputs
    assert binding["secretId"] == "llmops-gcp-grafana-admin"
    assert binding["role"] == "roles/secretmanager.secretAccessor"


def test_an_entry_that_does_not_exist_is_refused_with_those_that_do(recorded: Recorder):
    with pytest.raises(pulumi.RunError, match="no secret entry nobody; there are grafana-admin"):
        granted(recorded, SecretGrant(entries=["nobody"]))


def test_the_zone_is_granted_and_no_other(recorded: Recorder):
    granted(recorded, DnsGrant())
    binding = recorded.one("gcp:dns/dnsManagedZoneIamMember:DnsManagedZoneIamMember").inputs
    assert binding["managedZone"] == "llm"
    assert binding["role"].endswith("dns_prover")


def test_a_dns_grant_without_a_zone_says_what_to_set(recorded: Recorder):
    def program() -> None:
        parent = pulumi.ComponentResource("test:index:Parent", "parent")
        identity(dns=False).grant("d", namespace="n", service_account="s", grants=[DnsGrant()], parent=parent)

    with pytest.raises(pulumi.RunError, match=r"set gcp\.dnsZone"):
        prepare(recorded).run(program)


def test_asking_models_of_vertex_is_all_that_a_model_s_grant_allows(recorded: Recorder):
    granted(
        recorded,
        HostedModelGrant(models=["gemini"], region="us-central1"),
        EndpointGrant(service="sagemaker", endpoints=["e"], region="us-east-1"),
    )
    bindings = recorded.of("gcp:projects/iAMMember:IAMMember")
    assert [one.inputs["role"] for one in bindings.values()] == ["projects/llmops-example/roles/llmops_gcp_predictor"]


def test_what_two_grants_ask_for_is_bound_once(recorded: Recorder):
    """Google keeps one of two equal members, and whoever takes away one of them takes away both."""
    granted(
        recorded,
        HostedModelGrant(models=["gemini"], region="us-central1"),
        EndpointGrant(service="vertex", endpoints=["e"], region="us-central1"),
        ObjectGrant(bucket="models", access="read", prefix="a/", lists_bucket=True),
        ObjectGrant(bucket="models", access="read", prefix="b/", lists_bucket=True),
        ObjectGrant(bucket="models", access="read", prefix="b/"),
        SecretGrant(entries=["grafana-admin"]),
        SecretGrant(entries=["grafana-admin"]),
    )
    members = [
        *recorded.of("gcp:projects/iAMMember:IAMMember").values(),
        *recorded.of("gcp:storage/bucketIAMMember:BucketIAMMember").values(),
        *recorded.of("gcp:secretmanager/secretIamMember:SecretIamMember").values(),
    ]
    assert len(members) == 1 + (2 + 1) + 1
    assert len({json.dumps(one.inputs, sort_keys=True) for one in members}) == len(members)


@given(st.from_regex(r"[a-z][a-z0-9]{0,12}(-[a-z0-9]{1,12}){0,2}", fullmatch=True), st.text(max_size=60))
def test_an_account_id_is_one_that_iam_takes(prefix: str, name: str):
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])", found := account_id(prefix, name))
    assert 6 <= len(found) <= 30


def test_accounts_of_different_pods_differ_however_long_their_names():
    assert account_id(PREFIX, f"{'a' * 80}-reader") != account_id(PREFIX, f"{'a' * 80}-writer")
    assert account_id("llmops-gcp-one", "velero") != account_id("llmops-gcp-two", "velero")


def test_every_service_that_stores_for_us_may_use_exactly_the_key_of_its_data():
    assert set(AGENT_SERVICES) <= {agent for agents in USERS.values() for agent in agents}
    assert USERS["secrets"] == ("secret-manager",), "nobody else reads credentials"
    assert USERS["objects"] == USERS["backups"] == ("storage",)
    assert multi_region("eu") == "europe"


@given(st.sampled_from(["10.0.0.0/16", "192.168.0.0/18", "172.16.16.0/20"]))
def test_the_ranges_of_a_network_lie_in_it_and_apart(cidr: str):
    whole, found = ipaddress.IPv4Network(cidr), plan(cidr)
    parts = [ipaddress.IPv4Network(one) for one in (found.nodes, found.private_services, found.control_plane)]
    assert all(part.subnet_of(whole) for part in parts)
    assert not any(one.overlaps(other) for one in parts for other in parts if one is not other)
    assert parts[1].prefixlen <= 24, "private services access takes a /24 at least"
    assert parts[2].prefixlen == 28, "the control plane takes a /28, no more and no less"


def test_policies_open_the_way_to_a_pod_s_token():
    found = networks(plan("10.0.0.0/16"), "172.20.0.0/16")
    metadata = next(one for one in found.cloud_apis if one.cidr == METADATA)
    assert metadata.https_port == 80
    assert "169.254.0.0/16" in found.internet[0].excluding, "and only as an API of the cloud"
    assert found.control_plane_pods[0].namespace == "kube-system"


def test_a_group_of_google_stands_for_a_role_where_there_is_one():
    groups = access_groups({"viewer": "all@example.com"})
    assert groups["viewer"] == "all@example.com"
    assert groups["platform-admin"] == "llmops:platform-admins"
    assert team_groups(["research"], {}) == {"research": "llmops:team-research"}


def test_a_kubeconfig_holds_no_credential():
    user = kubeconfig("c", "10.0.0.2", "Y2E=")["users"][0]["user"]
    assert set(user) == {"exec"}
    assert user["exec"]["command"] == "gke-gcloud-auth-plugin"


def test_gpu_nodes_keep_others_away_and_say_what_they_have():
    groups = {group.name: pool_of(group) for group in settings().node_groups}
    assert groups["gpu-inference"].taints == (GPU_TAINT,)
    assert groups["gpu-inference"].labels["llmops/gpu-model"] == "l4"
    assert groups["system"].taints == ()


def test_a_bucket_s_name_is_refused_before_google_does():
    with pytest.raises(pulumi.RunError, match="shorten the stack's name by"):
        bucket_name("a" * 50, "pipelines", PROJECT)
    with pytest.raises(pulumi.RunError, match="google"):
        bucket_name("llmops-google", "data", PROJECT)


def test_objects_are_kept_as_long_as_said_and_abandoned_uploads_never():
    rules = lifecycle_rules(Lifecycle(tier_after_days=30, expire_after_days=90, expire_noncurrent_after_days=7))
    found = [(rule["action"]["type"], rule["condition"]) for rule in rules]  # type: ignore[index]  # plain mappings
    assert ("AbortIncompleteMultipartUpload", {"age": 7}) in found
    assert ("Delete", {"age": 90}) in found
    assert ("Delete", {"days_since_noncurrent_time": 7, "with_state": "ARCHIVED"}) in found


def test_the_newest_images_stay_however_old():
    assert {"id": "newest", "action": "KEEP", "most_recent_versions": {"keep_count": 30}} in cleanup(30)


def test_every_upstream_of_the_settings_has_a_mirror():
    assert set(get_args(Upstream)) == set(PATHS)


def test_a_tier_tells_its_edition():
    assert edition("db-perf-optimized-N-2") == "ENTERPRISE_PLUS"
    assert edition("db-custom-2-8192") == "ENTERPRISE"


def test_the_budget_tells_of_the_forecast_only_at_its_limit():
    assert alerts([50, 80]) == [("CURRENT_SPEND", 50), ("CURRENT_SPEND", 80)]
    assert ("FORECASTED_SPEND", 100) in alerts([100])


@pytest.mark.parametrize("kind", sorted(CATALOGUE))
def test_a_node_offers_less_than_its_machine_has(kind: str):
    shape, machine = shape_of(kind, 100), CATALOGUE[kind]
    assert 0.6 * machine.memory_mib < shape.memory_mib < machine.memory_mib
    assert machine.vcpu * 900 < shape.cpu_millicores < machine.vcpu * 1000
    assert shape.gpus == machine.gpus
    assert shape.ephemeral_storage_gib > 0


@pytest.mark.parametrize(
    ("kind", "memory_mib"),
    # Worked by hand from the page's shares: 16 GiB keep back 1024 + 819.2 + 819.2 MiB, and 100 MiB to evict by.
    [("n2-standard-4", 16384 - 492 - 2663 - 100), ("n2-standard-2", 8192 - 246 - 1844 - 100)],
)
def test_memory_is_what_the_page_s_shares_leave(kind: str, memory_mib: int):
    assert shape_of(kind, 100).memory_mib == memory_mib


def test_a_boot_disk_keeps_back_what_the_page_says():
    """100 GiB: 10 for eviction, and 6 GiB plus 35 % for the system."""
    assert shape_of("n2-standard-4", 100).ephemeral_storage_gib == 49
    assert shape_of("g2-standard-4", 100).ephemeral_storage_gib == 287, "one local SSD of 375 GiB, less 10 % and 50"


def test_gpus_are_in_zones_that_the_region_has():
    for region in REGIONS:
        assert set(gpu_zones_of(region)) <= set(zones_of(region))
