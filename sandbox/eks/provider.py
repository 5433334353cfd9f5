"""The ``eks`` provider: constructs pulumi-eks components out of ``aws`` and ``kubernetes`` resources.

The components belong to pulumi-eks 4.3.0; their children have its types, names, parents and inputs. What would reach
out to a real cluster is left out: waiting for its health, asking its OIDC endpoint for the certificate.
"""

from __future__ import annotations

import asyncio
import contextvars
import importlib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, cast

import pulumi
import pulumi_eks
from pulumi.provider import ConstructResult
from pulumi.provider import Provider as ComponentProvider
from pulumi.provider.server import ProviderServicer
from pulumi.runtime.proto import provider_pb2
from pulumi.runtime.rpc_manager import RPCManager
from pulumi.runtime.settings import SETTINGS
from pulumi.runtime.stack import wait_for_rpcs

from sandbox.eks import addons, cluster, nodes
from sandbox.eks.arguments import refused
from sandbox.eks.inputs import Inputs
from sandbox.eks.security_groups import NodeGroupSecurityGroup
from sandbox.provider import CheckFailure, Provider, ProviderError
from sandbox.values import Properties, from_struct

# A call that fails while its answer is read leaves outputs that nobody resolves; who awaits them needs to be told.
_SECONDS_BETWEEN_LOOKS = 1

_NO_CONTEXT: Any = (
    None  # Pulumi's server only takes the gRPC context to report invalid properties, which none here raises
)

# A child occupies a thread from its registration until it exists. A cluster has about 25 children.
_THREADS_PER_COMPONENT = 64


class _Constructed(Protocol):
    """What a component class gives."""

    @property
    def urn(self) -> pulumi.Output[str]: ...

    def state(self) -> Inputs: ...


@dataclass(frozen=True)
class _Component:
    """One component that the provider constructs.

    Attributes:
        construct: Its class.
        arguments: The SDK's class of its arguments.
        failures: Refuses arguments that do not go together.
    """

    construct: Callable[[str, Inputs, pulumi.ResourceOptions], _Constructed]
    arguments: type
    failures: Callable[[Mapping[str, Any]], Iterable[CheckFailure]]


def _vpc_cni_failures(inputs: Mapping[str, Any]) -> Iterable[CheckFailure]:
    return (*addons.cni_failures(inputs), *addons.version_failures(inputs))


def _nothing(inputs: Mapping[str, Any]) -> Iterable[CheckFailure]:
    del inputs
    return ()


_COMPONENTS = {
    "eks:index:Cluster": _Component(cluster.Cluster, pulumi_eks.ClusterArgs, cluster.failures),
    "eks:index:ManagedNodeGroup": _Component(nodes.ManagedNodeGroup, pulumi_eks.ManagedNodeGroupArgs, nodes.failures),
    "eks:index:Addon": _Component(addons.Addon, pulumi_eks.AddonArgs, _nothing),
    "eks:index:VpcCniAddon": _Component(addons.VpcCniAddon, pulumi_eks.VpcCniAddonArgs, _vpc_cni_failures),
    "eks:index:NodeGroupSecurityGroup": _Component(
        NodeGroupSecurityGroup, pulumi_eks.NodeGroupSecurityGroupArgs, _nothing
    ),
}

# The SDKs load these when first touched. From many threads at once that is not safe before Python 3.11.8 and 3.12.2
# (CPython issue 114763): one thread then misses classes that another is still defining.
_LAZY_MODULES = (
    "pulumi_aws.ec2",
    "pulumi_aws.eks",
    "pulumi_aws.iam",
    "pulumi_aws.ssm",
    "pulumi_kubernetes.apps.v1",
    "pulumi_kubernetes.core.v1",
    "pulumi_kubernetes.meta.v1",
    "pulumi_kubernetes.storage.v1",
)
for _name in _LAZY_MODULES:
    hasattr(importlib.import_module(_name), "__all__")  # any look at it loads it


class EksProvider(Provider):
    """Answers for ``eks``; components only, it keeps no resources of its own."""

    name = "eks"
    components = True

    def construct(self, request: provider_pb2.ConstructRequest) -> provider_pb2.ConstructResponse:
        """Construct one component; calls may come at the same time.

        Pulumi's runtime keeps its settings (monitor, stack, dry run, open calls) in context variables, so each call
        gets an empty context, an event loop and threads of its own, and sees nothing of the others.
        """
        component = _COMPONENTS.get(request.type)
        if component is None:
            raise ProviderError(f"the sandbox does not emulate {request.type}; it has {', '.join(_COMPONENTS)}")
        _require_valid(request, component)
        return contextvars.Context().run(_run, request, component)


def _require_valid(request: provider_pb2.ConstructRequest, component: _Component) -> None:
    inputs: Properties = from_struct(request.inputs)
    wrong = [*refused(component.arguments, inputs), *component.failures(inputs)]
    if wrong:
        lines = "".join(f"\n  {failure.property}: {failure.reason}" for failure in wrong)
        raise ProviderError(f'{request.type} "{request.name}" is refused:{lines}')


def _run(request: provider_pb2.ConstructRequest, component: _Component) -> provider_pb2.ConstructResponse:
    with asyncio.Runner() as runner:
        runner.get_loop().set_default_executor(ThreadPoolExecutor(_THREADS_PER_COMPONENT, thread_name_prefix="eks"))
        return runner.run(_construct(request, component))


async def _construct(request: provider_pb2.ConstructRequest, component: _Component) -> provider_pb2.ConstructResponse:
    async def construct() -> provider_pb2.ConstructResponse:
        servicer = ProviderServicer(_OneComponent(component), args=[], engine_address="")
        response = await servicer.Construct(request, _NO_CONTEXT)
        await wait_for_rpcs()  # checks whose result no resource takes
        return response

    context = contextvars.copy_context()
    task = asyncio.create_task(construct(), context=context)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=_SECONDS_BETWEEN_LOOKS)
            failure = context.run(_failed_call)
            if failure is not None and not task.done():
                raise failure
        return task.result()
    except pulumi.RunError as error:
        raise ProviderError(f'{request.type} "{request.name}": {error}') from error


def _failed_call() -> Exception | None:
    calls = cast("RPCManager", SETTINGS.rpc_manager)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType] made by a decorator that type checkers do not see through
    return calls.unhandled_exception


class _OneComponent(ComponentProvider):
    """Pulumi's own component server calls this back, with inputs and options already rebuilt."""

    def __init__(self, component: _Component) -> None:
        super().__init__(version=None)
        self._component = component

    def construct(
        self, name: str, resource_type: str, inputs: pulumi.Inputs, options: pulumi.ResourceOptions | None = None
    ) -> ConstructResult:
        """Declare the component and return its outputs, without those that do not apply."""
        del resource_type
        built = self._component.construct(name, dict(inputs), options or pulumi.ResourceOptions())
        return ConstructResult(built.urn, {key: value for key, value in built.state().items() if value is not None})
