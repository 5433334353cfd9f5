"""Stores in the cluster are watched: each is found, read, and may be read; a stack on a cloud has nothing of it."""

from __future__ import annotations

from typing import Any

import onprem_stack
import pulumi
import pytest
from conftest import Recorder
from platform_site import site as place
from platform_stores import STORES

from components.contract import Foundation, StorePods
from components.onprem.cluster import networks
from components.onprem.names import STORES as NAMESPACE
from components.onprem.rooms import RoomsArgs, policies_of
from components.platform.network_policies import manifests, network_policies
from components.platform.observability.monitors import monitors, scraped_here
from components.platform.observability.monitors.stores import job
from components.platform.observability.rules import SiteFacts, groups
from components.platform.openings import SCRAPER
from components.platform.reach import Pod, allowed
from components.settings.platform import PlatformSettings
from components.versions import IMAGES

pytestmark = pytest.mark.unit

READER = Pod(namespace=SCRAPER.namespace, labels=SCRAPER.labels)
NEIGHBOUR = Pod(namespace=SCRAPER.namespace, labels={"app.kubernetes.io/name": "grafana"})
_PDB = "kubernetes:policy/v1:PodDisruptionBudget"


@pytest.fixture
def site(recorded: Recorder) -> Recorder:
    recorded.outputs.update(
        {
            "tls:index/selfSignedCert:SelfSignedCert": {"certPem": "AUTHORITY"},
            "tls:index/locallySignedCert:LocallySignedCert": {"certPem": "SERVER"},
            "tls:index/privateKey:PrivateKey": {"privateKeyPem": "KEY"},
            "tls:index/certRequest:CertRequest": {"certRequestPem": "REQUEST"},
        }
    )
    return recorded


def built(site: Recorder, **onprem: Any) -> Foundation:
    found: list[Foundation] = []
    site.run(lambda: found.append(onprem_stack.build(onprem_stack.settings(**onprem)).result))
    return found[0]


def policies() -> list[dict[str, Any]]:
    """Both halves: what lets the reader out of its namespace, and into that of the stores."""
    around = networks(onprem_stack.settings().onprem)
    args = RoomsArgs(
        networks=around,
        owner="x",
        cost_center="x",
        balancers=False,
        kubernetes_version="1.35",
        outside=(),
        metrics_server=True,
    )
    inside = [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": spec,
        }
        for name, spec in policies_of(NAMESPACE, args).items()
    ]
    ways = [way for way in scraped_here(place(stores=STORES)) if way.target == "stores"]
    return [*inside, *manifests(network_policies(ways, around, ["monitoring"], []))]


def holds(source: Pod, target: Pod, port: int, written: list[dict[str, Any]]) -> bool:
    ends = ((source, target, "egress"), (target, source, "ingress"))
    return all(
        any(protocol == "TCP" and first <= port <= last for protocol, first, last in allowed(written, *end))  # type: ignore[arg-type] # the two directions
        for end in ends
    )


def test_the_reader_and_nobody_beside_it_reaches_the_metrics_of_every_store(site: Recorder):
    written: list[dict[str, Any]] = []
    site.run(lambda: written.extend(policies()))
    for one in STORES:
        pod = Pod(namespace=one.namespace, labels=one.labels)
        assert holds(READER, pod, one.port, written), job(one)
        assert not holds(NEIGHBOUR, pod, one.port, written), job(one)


def test_every_part_of_every_store_is_read_as_a_job_of_its_own(site: Recorder):
    jobs: dict[str, Any] = {}
    site.run(lambda: jobs.update({one.name: one for one in monitors(place(stores=STORES))}))
    assert {job(one) for one in STORES} <= jobs.keys()
    for one in STORES:
        assert (jobs[job(one)].port, dict(jobs[job(one)].labels)) == (one.port, dict(one.labels))


def test_a_cloud_that_runs_its_stores_is_not_asked_about_them(site: Recorder):
    kinds = {one.software for one in STORES}
    found: list[str] = []

    def program() -> None:
        found.extend(one.name for one in monitors(place()))
        found.extend(way.why for way in scraped_here(place()) if way.target == "stores")

    site.run(program)
    assert not [name for name in found if name.startswith(tuple(kinds)) or "stores" in name]
    told = {alert.page for group in groups(SiteFacts(settings=PlatformSettings())) for alert in group.alerts}
    assert "stores" not in told


def alerts(*stores: StorePods) -> set[str]:
    facts = SiteFacts(settings=PlatformSettings(), stores=stores)
    return {alert.name for group in groups(facts) for alert in group.alerts if alert.page == "stores"}


def test_alerts_are_about_the_stores_that_there_are(site: Recorder):
    pulumi.runtime.set_config("onprem:objectKeys", '{"accessKey": "ours", "secretKey": "hidden"}')
    here = built(site, objects={"kind": "existing", "endpoint": "s3.dc1.internal"})
    found = alerts(*here.store_pods)
    assert "DatabaseBackupMissed" in found
    assert not [name for name in found if name.startswith("ObjectStore")]


def test_what_needs_several_servers_is_not_asked_of_one(site: Recorder):
    several = alerts(*built(site).store_pods)
    one = alerts(*(store for store in STORES if store.servers == 1 and store.software == "valkey"))
    assert {"DatabaseReplicaMissing", "ObjectStoreCopiesMissing", "ObjectStoreServerMissing"} <= several
    assert {name for name in one if name != "StoreVolumeFull"} == {"CacheDown", "CacheEvicting", "CacheFull"}


def test_a_single_object_store_is_read_at_the_port_that_its_chart_gives_it(site: Recorder):
    (one,) = (part for part in built(site, objects={"servers": 1}).store_pods if part.software == "seaweedfs")
    assert one.labels["app.kubernetes.io/component"] == "seaweedfs-all-in-one"
    assert alerts(one) == {"ObjectStoreDriveFailing", "ObjectStoreFailing", "ObjectStoreReadOnly", "StoreVolumeFull"}


def test_the_labels_by_which_the_cache_is_found_and_its_port_are_those_of_its_pods(site: Recorder):
    (one,) = (part for part in built(site).store_pods if part.software == "valkey")
    pod = site.one("kubernetes:apps/v1:StatefulSet", "foundation-cache-server").inputs["spec"]["template"]
    assert one.labels.items() <= pod["metadata"]["labels"].items()
    ports = [port["containerPort"] for container in pod["spec"]["containers"] for port in container.get("ports", [])]
    assert one.port in ports


def test_the_exporter_asks_with_tls_and_the_token_and_neither_is_in_its_specification(site: Recorder):
    built(site)
    inputs = site.one("kubernetes:apps/v1:StatefulSet", "foundation-cache-server").inputs
    (exporter,) = (
        one for one in inputs["spec"]["template"]["spec"]["containers"] if one["image"] == IMAGES["redis-exporter"]
    )
    variables = {one["name"]: one for one in exporter["env"]}
    assert variables["REDIS_ADDR"]["value"].startswith("rediss://localhost:")
    reference = variables["REDIS_PASSWORD"]["valueFrom"]["secretKeyRef"]
    secret = onprem_stack.opened(site.one("kubernetes:core/v1:Secret", "foundation-cache-auth").inputs)
    assert secret["metadata"]["name"] == reference["name"]
    assert secret["stringData"][reference["key"]] in secret["stringData"]["valkey.conf"]
    names = site.one("tls:index/certRequest:CertRequest", "foundation-cache-request").inputs["dnsNames"]
    assert "localhost" in names, "the name that the exporter asks by"


def test_a_drain_takes_one_of_several_servers_and_is_never_held_up_by_one(site: Recorder):
    here = built(site)
    budgets = {one.inputs["metadata"]["name"]: one.inputs["spec"] for one in site.of(_PDB).values()}
    of_several = [one for one in here.store_pods if one.software == "seaweedfs" and one.servers > 1]
    assert budgets.keys() == {f"objects-{one.part}" for one in of_several}
    for one in of_several:
        budget = budgets[f"objects-{one.part}"]
        assert (budget["maxUnavailable"], budget["selector"]["matchLabels"]) == (1, dict(one.labels))


def test_a_single_object_store_has_no_budget(site: Recorder):
    built(site, objects={"servers": 1})
    assert not site.of(_PDB)


def test_a_copy_that_a_lost_server_held_is_made_again(site: Recorder):
    built(site)
    values = site.one("kubernetes:helm.sh/v3:Release", "foundation-objects-release").inputs["values"]
    script = values["master"]["extraEnvironmentVars"]["WEED_MASTER_MAINTENANCE_SCRIPTS"]
    assert values["global"]["seaweedfs"]["replicationPlacement"] == "001"
    assert "volume.fix.replication -apply" in script.splitlines()


def test_the_database_is_known_by_its_cluster_s_name_and_by_being_a_server_and_no_job(site: Recorder):
    (one,) = (part for part in built(site).store_pods if part.software == "cloudnative-pg")
    cluster = site.one("kubernetes:postgresql.cnpg.io/v1:Cluster").inputs
    assert one.labels == {"cnpg.io/cluster": cluster["metadata"]["name"], "cnpg.io/podRole": "instance"}
    assert one.servers == cluster["spec"]["instances"]
