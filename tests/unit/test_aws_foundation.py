"""The foundation as a whole: what is decided before its first component."""

from __future__ import annotations

import pulumi
import pytest

from components.aws.foundation import AwsFoundationArgs, default_tags
from components.settings import parse

pytestmark = pytest.mark.unit
SETTINGS = parse({"owner": "ml-platform", "costCenter": "ml", "tags": {"team": "search"}})


@pytest.mark.parametrize("stack", ["Prod", "dev_1", "dev.1", "dev-", "dev--1"])
def test_a_stack_name_that_some_service_would_refuse_is_refused_at_once(stack: str):
    """Otherwise half of the stack is up before S3, RDS or ECR says so."""
    with pytest.raises(pulumi.RunError, match=f"llmops-{stack} begins AWS names"):
        AwsFoundationArgs(settings=SETTINGS, project="llmops", stack=stack)


def test_everything_says_whose_it_is_who_pays_and_what_made_it():
    tags = default_tags(AwsFoundationArgs(settings=SETTINGS, project="llmops", stack="dev-2"))
    assert tags == {
        "team": "search",
        "project": "llmops",
        "stack": "llmops-dev-2",
        "owner": "ml-platform",
        "cost-center": "ml",
        "managed-by": "pulumi",
    }
