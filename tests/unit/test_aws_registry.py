"""Images: tags that never move, scans, an end for old ones, and copies of upstream images."""

from __future__ import annotations

import json

import pulumi
import pytest
from aws_stack import HERE, KEY, PREFIX, rendered, run, statements
from conftest import ACCOUNT, REGION, Recorder

from components.aws.registry import (
    UPSTREAMS,
    Registry,
    RegistryArgs,
    cache_prefix,
    lifecycle_policy,
    mirrored,
    pull_through_permissions,
)

pytestmark = pytest.mark.unit
ANONYMOUS = dict.fromkeys(("public.ecr.aws", "registry.k8s.io", "quay.io"))
DOCKER_HUB_SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:ecr-pullthroughcache/hub-AbCdEf"


def registry(*, upstreams=ANONYMOUS, owns_account_settings=False):
    return Registry(
        "registry",
        RegistryArgs(
            prefix=PREFIX,
            account=HERE,
            kms_key_arn=KEY,
            tags={"stack": PREFIX},
            repositories=("trainer", "gateway"),
            keep_images=20,
            force_delete=True,
            upstreams=upstreams,
            owns_account_settings=owns_account_settings,
        ),
    )


def test_our_images_have_tags_that_never_move_and_are_scanned_and_encrypted(recorded: Recorder):
    run(registry)
    made = recorded.of("aws:ecr/repository:Repository")
    assert {repository.inputs["name"] for repository in made.values()} == {f"{PREFIX}/trainer", f"{PREFIX}/gateway"}
    for repository in made.values():
        assert repository.inputs["imageTagMutability"] == "IMMUTABLE"
        assert repository.inputs["imageScanningConfiguration"] == {"scanOnPush": True}
        assert repository.inputs["encryptionConfigurations"] == [{"encryptionType": "KMS", "kmsKey": KEY}]


def test_untagged_images_and_the_oldest_expire_in_the_order_that_ecr_demands():
    """ECR wants the rule for any tag last."""
    rules = json.loads(lifecycle_policy(20))["rules"]
    assert [(rule["rulePriority"], rule["selection"]["tagStatus"]) for rule in rules] == [(1, "untagged"), (2, "any")]
    assert rules[1]["selection"]["countNumber"] == 20


def test_each_mirror_stands_for_its_upstream_below_the_prefix_of_the_stack(recorded: Recorder):
    run(lambda: registry(upstreams={**ANONYMOUS, "docker.io": DOCKER_HUB_SECRET}))
    host = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
    assert recorded.component_outputs["registry"]["mirrors"] == {
        "public.ecr.aws": f"{host}/{PREFIX}/public",
        "registry.k8s.io": f"{host}/{PREFIX}/k8s",
        "quay.io": f"{host}/{PREFIX}/quay",
        "docker.io": f"{host}/{PREFIX}/hub",
    }


def test_a_mirror_of_a_registry_with_a_login_pulls_with_the_secret_of_the_operator(recorded: Recorder):
    run(lambda: registry(upstreams={"docker.io": DOCKER_HUB_SECRET}))
    rule = recorded.one("aws:ecr/pullThroughCacheRule:PullThroughCacheRule").inputs
    assert rule["upstreamRegistryUrl"] == "registry-1.docker.io"
    assert rule["credentialArn"] == DOCKER_HUB_SECRET


def test_copies_expire_like_our_own_images_and_can_be_read_when_the_keys_of_the_stack_are_gone(recorded: Recorder):
    """ECR makes their repositories, so that a destroy leaves them behind and the next stack of the name finds them."""
    run(registry)
    templates = recorded.of("aws:ecr/repositoryCreationTemplate:RepositoryCreationTemplate")
    rules = recorded.of("aws:ecr/pullThroughCacheRule:PullThroughCacheRule")
    assert {template.inputs["prefix"] for template in templates.values()} == {
        rule.inputs["ecrRepositoryPrefix"] for rule in rules.values()
    }
    for template in templates.values():
        assert template.inputs["encryptionConfigurations"] == [{"encryptionType": "AES256"}]
        assert template.inputs["resourceTags"] == {"stack": PREFIX}, "the budget counts what carries the tag"
        assert template.inputs["lifecyclePolicy"] == lifecycle_policy(20)
        assert "registry-templates" in template.depends_on


def test_what_ecr_and_nodes_may_make_stays_below_the_prefix_of_the_stack(recorded: Recorder):
    run(registry)
    below = [f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{PREFIX}/*"]
    makes = statements(recorded, "aws:iam/rolePolicy:RolePolicy", "registry-templates")["MakeRepositories"]
    assert makes["Resource"] == below
    assert rendered(pull_through_permissions(PREFIX, HERE))["PullThrough"]["Resource"] == below


@pytest.mark.parametrize("owns", [True, False])
def test_only_the_stack_that_owns_them_touches_settings_of_the_whole_account(owns, recorded: Recorder):
    run(lambda: registry(owns_account_settings=owns))
    scanning = "aws:ecr/registryScanningConfiguration:RegistryScanningConfiguration"
    assert len(recorded.of(scanning)) == int(owns)


def test_mirrors_that_ecr_would_refuse_are_refused_all_at_once():
    with pytest.raises(pulumi.RunError) as refused:
        mirrored({"quay.io": "arn", "ghcr.io": None, "example.com": None, "registry.k8s.io": None})
    assert str(refused.value).splitlines() == [
        "image mirror quay.io: takes no credentials",
        "image mirror ghcr.io: needs the ARN of a secret with credentials",
        "image mirror example.com: must be one of public.ecr.aws, registry.k8s.io, quay.io, docker.io, ghcr.io",
    ]


def test_a_prefix_that_ecr_would_refuse_is_refused_with_the_remedy():
    with pytest.raises(pulumi.RunError, match=r"has 31 characters, ECR allows 30: shorten .* by 1$"):
        cache_prefix("a" * 24, next(upstream for upstream in UPSTREAMS if upstream.path == "public"))
