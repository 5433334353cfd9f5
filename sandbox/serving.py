"""Serving providers over gRPC: the engine's calls, turned into those of :class:`~sandbox.provider.Provider`."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterable
from concurrent import futures
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import any_pb2, empty_pb2
from pulumi.runtime.proto import (
    engine_pb2,
    engine_pb2_grpc,
    plugin_pb2,
    provider_pb2,
    provider_pb2_grpc,
    status_pb2,
)

from sandbox.provider import CheckFailure, PartialFailure, Provider, ProviderError, Resource
from sandbox.values import from_struct, to_struct

# The engine refuses nothing below 400 MiB; kubeconfigs and CRDs exceed gRPC's default of 4 MiB.
_MAX_MESSAGE_BYTES = 400 * 1024 * 1024

_KINDS = {
    ("add", False): provider_pb2.PropertyDiff.ADD,
    ("add", True): provider_pb2.PropertyDiff.ADD_REPLACE,
    ("delete", False): provider_pb2.PropertyDiff.DELETE,
    ("delete", True): provider_pb2.PropertyDiff.DELETE_REPLACE,
    ("update", False): provider_pb2.PropertyDiff.UPDATE,
    ("update", True): provider_pb2.PropertyDiff.UPDATE_REPLACE,
}


def _failures(failures: Iterable[CheckFailure]) -> list[provider_pb2.CheckFailure]:
    return [provider_pb2.CheckFailure(property=f.property, reason=f.reason) for f in failures]


class _Instances:
    """One :class:`Provider` a connection.

    The engine attaches every provider resource of a package (say, one for each region) to the same port, and its calls
    do not name the instance; but each instance has a connection of its own.
    """

    def __init__(self, create: Callable[[], Provider]) -> None:
        self._create = create
        self._by_peer: dict[str, Provider] = {}
        self._lock = threading.Lock()

    def of(self, context: grpc.ServicerContext) -> Provider:
        """Return the instance that this call's connection belongs to."""
        with self._lock:
            peer: str = context.peer()
            if peer not in self._by_peer:
                self._by_peer[peer] = self._create()
            return self._by_peer[peer]


def _engine_log(address: str) -> Callable[[str, str, str], None]:
    """Return a function that writes to the log of the engine at ``address``."""
    engine: Any = engine_pb2_grpc.EngineStub(grpc.insecure_channel(address))

    def log(severity: str, urn: str, message: str) -> None:
        engine.Log(
            engine_pb2.LogRequest(severity=engine_pb2.LogSeverity.Value(severity.upper()), urn=urn, message=message)
        )

    return log


class _Servicer(provider_pb2_grpc.ResourceProviderServicer):
    """Adapts :class:`Provider` to the wire; the method names are the protocol's."""

    def __init__(self, create: Callable[[], Provider]) -> None:
        self._instances = _Instances(create)

    def Handshake(self, request: Any, context: Any) -> Any:
        provider = self._instances.of(context)
        provider.log = _engine_log(request.engine_address)
        accepts = provider.components
        return provider_pb2.ProviderHandshakeResponse(
            accept_secrets=accepts, accept_resources=accepts, accept_outputs=accepts
        )

    def Attach(self, request: Any, context: Any) -> Any:
        self._instances.of(context).log = _engine_log(request.address)
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version=self._instances.of(context).version)

    def GetSchema(self, request: Any, context: Any) -> Any:
        return provider_pb2.GetSchemaResponse(schema="{}")

    def Cancel(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()

    def CheckConfig(self, request: Any, context: Any) -> Any:
        failures = self._instances.of(context).check_config(from_struct(request.news))
        return provider_pb2.CheckResponse(inputs=request.news, failures=_failures(failures))

    def DiffConfig(self, request: Any, context: Any) -> Any:
        changed = request.old_inputs != request.news
        some, none = provider_pb2.DiffResponse.DIFF_SOME, provider_pb2.DiffResponse.DIFF_NONE
        return provider_pb2.DiffResponse(changes=some if changed else none)

    def Configure(self, request: Any, context: Any) -> Any:
        self._instances.of(context).configure(from_struct(request.args))
        components = self._instances.of(context).components
        return provider_pb2.ConfigureResponse(
            acceptSecrets=components,  # without, the engine marks outputs by the secretness of the inputs
            supportsPreview=True,
            acceptResources=components,
            acceptOutputs=components,
        )

    def Check(self, request: Any, context: Any) -> Any:
        inputs, failures = self._instances.of(context).check(
            Resource(request.urn), from_struct(request.olds), from_struct(request.news), request.randomSeed
        )
        return provider_pb2.CheckResponse(inputs=to_struct(inputs), failures=_failures(failures))

    def Diff(self, request: Any, context: Any) -> Any:
        diff = self._instances.of(context).diff(
            Resource(request.urn),
            request.id,
            from_struct(request.old_inputs),
            from_struct(request.news),
            from_struct(request.olds),
        )
        ignored = tuple(request.ignoreChanges)
        differences = [d for d in diff.differences if not any(_below(d.path, path) for path in ignored)]
        response = provider_pb2.DiffResponse(
            changes=provider_pb2.DiffResponse.DIFF_SOME if differences else provider_pb2.DiffResponse.DIFF_NONE,
            diffs=sorted({d.path.split(".")[0].split("[")[0] for d in differences}),
            replaces=[d.path for d in differences if d.replaces],
            deleteBeforeReplace=diff.delete_before_replace,
            hasDetailedDiff=True,
        )
        for difference in differences:
            response.detailedDiff[difference.path].CopyFrom(
                provider_pb2.PropertyDiff(kind=_KINDS[difference.kind, difference.replaces], inputDiff=True)
            )
        return response

    def Create(self, request: Any, context: Any) -> Any:
        resource_id, outputs = self._instances.of(context).create(
            Resource(request.urn), from_struct(request.properties), request.timeout, preview=request.preview
        )
        return provider_pb2.CreateResponse(id=resource_id, properties=to_struct(outputs))

    def Read(self, request: Any, context: Any) -> Any:
        found = self._instances.of(context).read(
            Resource(request.urn), request.id, from_struct(request.inputs), from_struct(request.properties)
        )
        if found is None:
            return provider_pb2.ReadResponse()
        inputs, outputs = found
        return provider_pb2.ReadResponse(id=request.id, inputs=to_struct(inputs), properties=to_struct(outputs))

    def Update(self, request: Any, context: Any) -> Any:
        outputs = self._instances.of(context).update(
            Resource(request.urn),
            request.id,
            from_struct(request.old_inputs),
            from_struct(request.news),
            from_struct(request.olds),
            request.timeout,
            preview=request.preview,
        )
        return provider_pb2.UpdateResponse(properties=to_struct(outputs))

    def Delete(self, request: Any, context: Any) -> Any:
        self._instances.of(context).delete(
            Resource(request.urn),
            request.id,
            from_struct(request.old_inputs),
            from_struct(request.properties),
            request.timeout,
        )
        return empty_pb2.Empty()

    def Invoke(self, request: Any, context: Any) -> Any:
        result, failures = self._instances.of(context).invoke(request.tok, from_struct(request.args))
        return provider_pb2.InvokeResponse(**{"return": to_struct(result)}, failures=_failures(failures))

    def Construct(self, request: Any, context: Any) -> Any:
        return self._instances.of(context).construct(request)


def _below(path: str, ignored: str) -> bool:
    return path == ignored or path.startswith((f"{ignored}.", f"{ignored}["))


class _Errors(grpc.ServerInterceptor):
    """Turns exceptions into gRPC errors: refusals word for word, defects of ours with their traceback."""

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        handler = continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler

        def call(request: Any, context: grpc.ServicerContext) -> Any:
            try:
                return handler.unary_unary(request, context)
            except PartialFailure as failure:
                _abort_partial(context, failure)
            except ProviderError as error:
                context.abort(grpc.StatusCode.UNKNOWN, str(error))
            except Exception:
                context.abort(grpc.StatusCode.INTERNAL, f"defect in the sandbox:\n{traceback.format_exc()}")

        return grpc.unary_unary_rpc_method_handler(
            call, request_deserializer=handler.request_deserializer, response_serializer=handler.response_serializer
        )


def _abort_partial(context: grpc.ServicerContext, failure: PartialFailure) -> None:
    """Report ``ErrorResourceInitFailed``, the protocol's way to say "created, but not ready"."""
    detail = any_pb2.Any()
    detail.Pack(
        provider_pb2.ErrorResourceInitFailed(
            id=failure.resource_id, properties=to_struct(failure.outputs), reasons=[str(failure)]
        )
    )
    status = status_pb2.Status(code=2, message=str(failure), details=[detail])  # 2 = UNKNOWN
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(grpc.StatusCode.UNKNOWN, str(failure))


@dataclass(frozen=True)
class Served:
    """A provider that listens on loopback."""

    port: int
    stop: Callable[[], None]


def serve(name: str, create: Callable[[], Provider], workers: int = 64) -> Served:
    """Serve a provider on a free loopback port.

    Args:
        name: Package name, for thread names.
        create: Makes an instance; called once for each of the engine's connections.
        workers: Concurrent calls at most.
    """
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=workers, thread_name_prefix=name),
        interceptors=[_Errors()],
        options=[
            ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
        ],
    )
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(_Servicer(create), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()

    def stop() -> None:
        server.stop(grace=1).wait()

    return Served(port=port, stop=stop)
