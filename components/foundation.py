"""Which foundation a stack stands on."""

from __future__ import annotations

import pulumi

from components.contract import Foundation
from components.settings import Settings

# ruff: noqa: PLC0415  each cloud's SDK takes a second or more to load, so only the one that is needed is imported


def build_foundation(settings: Settings) -> Foundation:
    """Build the foundation that ``cloud`` names."""
    project, stack = pulumi.get_project(), pulumi.get_stack()
    match settings.cloud:
        case "aws":
            from components.aws.foundation import AwsFoundation, AwsFoundationArgs

            aws = AwsFoundationArgs(settings=settings, project=project, stack=stack)
            return AwsFoundation("foundation", aws).result
        case "gcp":
            from components.gcp.foundation import GcpFoundation, GcpFoundationArgs

            gcp = GcpFoundationArgs(settings=settings, project=project, stack=stack)
            return GcpFoundation("foundation", gcp).result
        case "onprem":
            from components.onprem.foundation import OnPremFoundation, OnPremFoundationArgs

            onprem = OnPremFoundationArgs(settings=settings, project=project, stack=stack)
            return OnPremFoundation("foundation", onprem).result
