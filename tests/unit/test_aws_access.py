"""Security groups of the stores: EC2 must take them, and they must open nothing by themselves."""

from __future__ import annotations

import re

import pytest
from aws_stack import run
from conftest import Recorder
from test_aws_cache import cache
from test_aws_database import database
from test_aws_files import files
from test_network import ARGS

from components.aws.network import Network

pytestmark = pytest.mark.unit


def test_ec2_takes_every_description(recorded: Recorder):
    """Its set of signs has no apostrophe; neither the provider's schema nor a preview knows that."""
    run(lambda: [cache(), database(), files(), Network("network", ARGS)])

    groups = recorded.of("aws:ec2/securityGroup:SecurityGroup").values()
    rules = recorded.of("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule").values()
    texts = [made.inputs["description"] for made in (*groups, *rules)]
    texts += [rule["description"] for group in groups for rule in group.inputs.get("ingress", ())]
    assert len(texts) >= 8
    refused = [text for text in texts if not re.fullmatch(r"[A-Za-z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{1,255}", text)]
    assert refused == []
