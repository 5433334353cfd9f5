"""Which foundation a stack stands on."""

from __future__ import annotations

import pulumi

from components.aws.foundation import AwsFoundation, AwsFoundationArgs
from components.contract import Foundation
from components.settings import Settings


def build_foundation(settings: Settings) -> Foundation:
    """Build the foundation that ``cloud`` names."""
    args = AwsFoundationArgs(settings=settings, project=pulumi.get_project(), stack=pulumi.get_stack())
    return AwsFoundation("foundation", args).result
