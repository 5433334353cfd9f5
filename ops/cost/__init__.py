"""The cost model: what a stack costs a month, from its resources alone. Nothing here imports Pulumi or a cloud SDK."""

from ops.cost.estimation import estimate
from ops.cost.model import Estimate, Line, Range, Resource, Unpriced

__all__ = ["Estimate", "Line", "Range", "Resource", "Unpriced", "estimate"]
