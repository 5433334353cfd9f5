"""Keep the span of a request out of the key of its cached answer.

LiteLLM 1.108 counts every argument that it does not know as its own into the key, so that parameters of one provider
are told apart; the span of the tracer is one of them. Without this, no answer is ever found again while requests are
traced. The process loads it as a callback, which does nothing.
"""

# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# LiteLLM is in the pod's image only.

from litellm.integrations.custom_logger import CustomLogger
from litellm.types import utils

SPAN = "parent_otel_span"

if SPAN not in utils.all_litellm_params:
    utils.all_litellm_params.append(SPAN)

callback = CustomLogger()
