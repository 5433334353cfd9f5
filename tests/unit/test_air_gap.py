"""A stack without a way to the internet: nothing that it sends to the cluster names a host outside of its mirrors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import onprem_stack
import pulumi
import pytest
from conftest import Recorder, recording
from pulumi.runtime.settings import get_root_resource
from pydantic import TypeAdapter

from components import contract, mirrors
from components.air_gap import close
from components.chart_images import CHART_IMAGES
from components.contract import ObjectGrant
from components.platform.platform import Platform, PlatformArgs
from components.platform.site import Site
from components.settings import Settings
from components.settings.air_gap import AirGapSettings
from components.settings.datasets import DatasetSettings
from components.settings.fine_tunes import FineTuneSettings
from components.settings.models import ModelSettings
from components.versions import CHARTS, IMAGES, TREES
from ops.mirror.collect import of_resources
from workloads.preprocess import job as preprocess
from workloads.training import jobs as training

pytestmark = pytest.mark.unit

COMMIT = "0123456789" * 4

MIRRORS = AirGapSettings.model_validate(
    {
        "registry": "registry.dc1.internal/mirror",
        "charts": "oci://registry.dc1.internal/charts",
        "git": "https://git.dc1.internal/mirror",
        "models": "s3://llmops-onprem-models/hub",
    }
)
_TLS = {
    "tls:index/selfSignedCert:SelfSignedCert": {"certPem": "AUTHORITY"},
    "tls:index/locallySignedCert:LocallySignedCert": {"certPem": "SERVER"},
    "tls:index/privateKey:PrivateKey": {"privateKeyPem": "KEY"},
    "tls:index/certRequest:CertRequest": {"certRequestPem": "REQUEST"},
}


def built(air_gap: AirGapSettings) -> Recorder:
    """The whole on-prem stack."""

    def program() -> None:
        settings = close(onprem_stack.settings(), air_gap)
        foundation = onprem_stack.build(settings).result
        Platform("platform", PlatformArgs(foundation=foundation, settings=settings))

    with recording() as recorder:
        recorder.outputs.update(_TLS)
        recorder.run(program)
        _open_again()
        return recorder


def _open_again() -> None:
    """The mocks keep one stack for all tests, and with it what is done to all that is declared."""
    root: Any = get_root_resource()
    if root is not None:  # a test that declared nothing has made none
        root._transformations = []


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:  # pyright: ignore[reportUnusedFunction] pytest calls it
    yield
    _open_again()


@pytest.fixture(scope="module")
def furnished() -> Iterator[None]:
    """Identities know the namespaces, until the platform itself tells them."""
    with pytest.MonkeyPatch.context() as patch:
        furnish = Platform._furnish  # pyright: ignore[reportPrivateUsage] the one place where namespaces are made

        def within(self: Platform, name: str, args: PlatformArgs) -> tuple[Site, Any]:
            site, namespaces = furnish(self, name, args)
            identity = site.foundation.identity
            if not isinstance(identity, contract.NamespacedIdentity) or getattr(identity, "namespaces", None):
                return site, namespaces
            there = {**site.namespaces, **{f"team-{t}": some for t, some in namespaces.team_resources.items()}}
            known = replace(site.foundation, identity=identity.within(there, parent=self))
            return replace(site, foundation=known), namespaces

        patch.setattr(Platform, "_furnish", within)
        yield


@pytest.fixture(scope="module")
def gapped(furnished: None) -> Recorder:
    return built(MIRRORS)


@pytest.fixture(scope="module")
def connected(furnished: None) -> Recorder:
    return built(AirGapSettings())


def resources(recorder: Recorder) -> list[dict[str, Any]]:
    """What was emitted, as a state has it."""
    return [{"type": one.type, "inputs": one.inputs} for one in recorder.resources]


def test_no_object_names_a_public_registry_a_public_chart_or_a_public_repository(gapped: Recorder):
    for one in gapped.resources:
        inputs: dict[str, Any] = one.inputs
        if inputs.get("kind") == "Application":
            # Kustomize's rules name what they replace, which nobody pulls.
            sources: list[dict[str, Any]] = [
                {**source, "kustomize": {**source.get("kustomize", {}), "images": []}}
                for source in inputs["spec"].get("sources", [])
            ]
            inputs = {**inputs, "spec": {**inputs["spec"], "sources": sources}}
        text = json.dumps(inputs, default=str)
        assert mirrors.images_in(text) == [], one.name
        for host in ("https://github.com", "https://charts.", ".github.io", "helm.ngc.nvidia.com"):
            assert host not in text.replace("https://git.dc1.internal/mirror/github.com", ""), one.name


def test_every_release_comes_from_the_mirror_of_charts(gapped: Recorder):
    charts = {one.inputs["chart"] for one in gapped.of("kubernetes:helm.sh/v3:Release").values()}
    assert charts
    assert all(chart.startswith("oci://registry.dc1.internal/charts/") for chart in charts)


def test_what_is_mirrored_is_exactly_what_the_connected_stack_would_pull(gapped: Recorder, connected: Recorder):
    without, behind = of_resources(resources(connected)), of_resources(resources(gapped), MIRRORS)
    assert without.images
    assert behind == without


def test_every_image_and_tree_of_the_versions_that_the_stack_uses_is_on_the_list(connected: Recorder):
    found = of_resources(resources(connected))
    names = {image.partition("@")[0] for image in found.images}
    used = {IMAGES[name] for name in ("alpine", "litellm", "mlflow", "postgres-client", "postgresql", "ray", "valkey")}
    assert used <= names
    assert {(tree.repository, tree.commit) for tree in TREES.values()} <= set(found.trees)


def test_images_of_kustomize_files_are_listed_with_their_tags_and_those_in_variables_are_behind_the_mirror(
    gapped: Recorder,
):
    found = of_resources(resources(gapped), MIRRORS)
    version = TREES["kubeflow-pipelines"].version
    pods = {f"ghcr.io/kubeflow/kfp-{part}:{version}" for part in ("api-server", "driver", "launcher")}
    assert pods | {"docker.io/alpine:3.23"} <= found.images
    patches = json.dumps([one.inputs["spec"] for one in gapped.resources if one.inputs.get("kind") == "Application"])
    assert f"{MIRRORS.registry}/ghcr.io/kubeflow/kfp-driver:{version}" in patches
    assert f"docker.io/alpine={MIRRORS.registry}/docker.io/alpine" in patches


def test_a_chart_that_brings_pods_has_its_images_in_the_table():
    empty = {name for name, images in CHART_IMAGES.items() if not images}
    assert set(CHART_IMAGES) == set(CHARTS)
    assert empty == {"gateway-crds", "istio-base", "istio-gateway", "kserve-crd"}


@pytest.mark.parametrize("name", sorted(CHART_IMAGES))
def test_values_that_name_an_image_of_their_own_keep_it(name: Any):
    for value in CHART_IMAGES[name]:
        own: dict[str, Any] = {}
        place = own
        keys = (*value.path, "repository") if value.form in ("whole", "split") else value.path
        for key in keys[:-1]:
            place = place.setdefault(key, {})
        place[keys[-1]] = "ours.internal/image"
        filled = mirrors.chart_values(MIRRORS, name, own)
        for key in keys:
            filled = filled[key]
        assert filled == "ours.internal/image"


def test_a_name_behind_the_mirror_is_not_moved_again():
    once = mirrors.rewritten(MIRRORS, "quay.io/argoproj/argocd:v3")
    assert once == "registry.dc1.internal/mirror/quay.io/argoproj/argocd:v3"
    assert mirrors.rewritten(MIRRORS, once) == once


def test_an_image_inside_a_longer_text_is_found_and_its_tag_stays():
    text = "command:\n  image: docker.io/library/alpine:3.23\n  args: [x]"
    assert "image: registry.dc1.internal/mirror/docker.io/library/alpine:3.23\n" in mirrors.rewritten(MIRRORS, text)


@pytest.mark.parametrize(
    ("source", "behind"),
    [
        ("hf://org/name@0123abc", "s3://llmops-onprem-models/hub/org/name/0123abc"),
        ("hf://org/name", "s3://llmops-onprem-models/hub/org/name/main"),
        ("s3://models/llama", "s3://models/llama"),
    ],
)
def test_a_model_of_the_public_hub_is_read_from_the_bucket(source: str, behind: str):
    assert mirrors.model(MIRRORS, source) == behind


HUB = {
    "models": [{"name": "chat", "source": "hf://org/chat@main", "gpu": {"type": "l40s"}}],
    "fineTunes": [
        {"name": "support", "base": {"source": f"hf://org/base@{COMMIT}"}, "data": "s3://data/processed/x",
         "gpu": {"type": "h100"}},
    ],
    "datasets": [
        {"name": "wiki", "sources": ["raw/wiki/"], "tokenizer": {"source": "hf://org/base", "revision": COMMIT}},
    ],
}  # fmt: skip


def closed(prefix: str) -> Settings:
    """Settings that name the hub everywhere, behind the mirror; buckets have that prefix."""
    given = onprem_stack.settings(objects={"bucketPrefix": prefix})
    hub = {
        "models": TypeAdapter(tuple[ModelSettings, ...]).validate_python(HUB["models"]),
        "fine_tunes": TypeAdapter(tuple[FineTuneSettings, ...]).validate_python(HUB["fineTunes"]),
        "datasets": TypeAdapter(tuple[DatasetSettings, ...]).validate_python(HUB["datasets"]),
    }
    found: list[Settings] = []
    with recording() as recorder:
        recorder.run(lambda: found.append(close(given.model_copy(update=hub), MIRRORS)))
        _open_again()
    return found[0]


def test_nothing_of_the_public_hub_is_left_in_the_settings_and_the_stack_s_own_bucket_is_known_by_its_role():
    """By its role: else no pod would get the right to read it."""
    own = closed("llmops-onprem")
    (model,), (tune,), (dataset,) = own.models, own.fine_tunes, own.datasets

    assert (model.source, model.architecture) == ("s3://models/hub/org/chat/main", "org/chat")
    assert (tune.base.source, tune.base.architecture) == (f"s3://models/hub/org/base/{COMMIT}", "org/base")
    assert dataset.tokenizer.source == f"models/hub/org/base/{COMMIT}"
    assert ObjectGrant(bucket="models", access="read", prefix=f"hub/org/base/{COMMIT}/") in preprocess.grants(dataset)
    assert ObjectGrant(bucket="models", access="read", prefix=f"hub/org/base/{COMMIT}/") in training.grants(tune)


def test_a_mirror_in_a_bucket_of_somebody_else_is_named_as_it_is():
    others = closed("other")
    (dataset,) = others.datasets
    where = f"s3://llmops-onprem-models/hub/org/base/{COMMIT}"

    assert others.fine_tunes[0].base.source == where
    told = preprocess.configuration(dataset, {"data": "s3://other-data", "models": "s3://other-models"})
    assert told["tokenizer"] == {"url": where, "revision": COMMIT}
    assert not any(one.bucket == "models" for one in preprocess.grants(dataset) if isinstance(one, ObjectGrant))


def test_half_an_air_gap_is_refused():
    with pytest.raises(ValueError, match="must name every mirror or none; charts, git, models missing"):
        AirGapSettings.model_validate({"registry": "registry.dc1.internal"})


def test_a_chart_that_nobody_mirrors_is_refused_at_preview(recorded: Recorder):
    from pulumi_kubernetes.helm import v3 as helm

    def program() -> None:
        close(onprem_stack.settings(), MIRRORS)
        helm.Release("other", chart="other", repository_opts=helm.RepositoryOptsArgs(repo="https://charts.test"))

    with pytest.raises(pulumi.RunError, match=r"chart other: not in components/versions\.py"):
        recorded.run(program)
