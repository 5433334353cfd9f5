"""The stand-in for the pulumi-eks component package."""

from sandbox.eks.provider import EksProvider

__all__ = ["EksProvider"]
