"""A local server that speaks Vertex AI's API over HTTP: models, endpoints, deployments, long-running operations.

It keeps the rules that matter here: ids are taken once, a model that is deployed cannot be deleted, neither can an
endpoint with something on it, what has a share of the requests cannot be taken down, ids of deployments are ten digits
at most, and a container's own paths need an endpoint with an address of its own. Work goes on at the server when
whoever asked is gone.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

NUMBER = "210987654321"
_TYPES = "type.googleapis.com/google.cloud.aiplatform.v1."
_STATUS = {
    400: "INVALID_ARGUMENT",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    412: "FAILED_PRECONDITION",
    429: "RESOURCE_EXHAUSTED",
}
_CODE = {400: 3, 403: 7, 404: 5, 409: 6, 412: 9, 429: 8}

Json = dict[str, Any]


class RefusedError(Exception):
    """What the server answers instead."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class Vertex(ThreadingHTTPServer):
    """The service.

    Attributes:
        number: Number of the project that it serves, as in the addresses of its endpoints.
        models: Uploaded models by name.
        endpoints: Endpoints by name.
        seconds: How long an operation takes.
        failing: Methods whose operations fail, with what they say: ``{"deployModel": (429, "no quota")}``.
        calls: Methods that were called, in order.
        headers_seen: Headers of every request.
    """

    daemon_threads = True

    def __init__(self, number: str = NUMBER) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.number = number
        self.models: dict[str, Json] = {}
        self.endpoints: dict[str, Json] = {}
        self.operations: dict[str, Json] = {}
        self.seconds = 0.2
        self.failing: dict[str, tuple[int, str]] = {}
        self.calls: list[str] = []
        self.headers_seen: list[dict[str, str]] = []
        self.lock = threading.RLock()
        self._making: set[str] = set()
        self._due: list[tuple[float, str, Callable[[], Json], str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def settle(self) -> None:
        """Finish what is due."""
        now = time.monotonic()
        for one in [entry for entry in self._due if entry[0] <= now]:
            self._due.remove(one)
            _, name, work, makes = one
            self._making.discard(makes)
            try:
                self.operations[name] |= {"done": True, "response": work()}
            except RefusedError as refused:
                error = {"code": _CODE[refused.code], "message": refused.message}
                self.operations[name] |= {"done": True, "error": error}

    def begin(self, parent: str, method: str, work: Callable[[], Json], *, makes: str = "") -> Json:
        """Start an operation; what it makes is taken from now on."""
        if makes in self._making:
            raise RefusedError(409, f"{makes} is being made")
        if makes:
            self._making.add(makes)
        name = f"{parent}/operations/{len(self.operations) + 1}"
        self.operations[name] = {"name": name, "done": False}
        if method in self.failing:
            refused = RefusedError(*self.failing[method])

            def work() -> Json:
                raise refused

        self._due.append((time.monotonic() + self.seconds, name, work, makes))
        return self.operations[name]


class Handler(BaseHTTPRequestHandler):
    server: Vertex
    protocol_version = "HTTP/1.1"

    def _route(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        where = urlsplit(self.path)
        path = re.sub(r"^/(v1|ui)/", "", where.path)
        query = {key: values[0] for key, values in parse_qs(where.query).items()}
        server = self.server
        with server.lock:
            server.settle()
            server.headers_seen.append(dict(self.headers.items()))
            try:
                status, answer = 200, self._answer(path, query, json.loads(body or b"{}"))
            except RefusedError as refused:
                status = 400 if refused.code == 412 else refused.code
                answer = {"error": {"code": status, "message": refused.message, "status": _STATUS[refused.code]}}
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json; charset=utf-8")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PATCH = do_DELETE = _route  # noqa: N815 the base class names them so

    def _answer(self, path: str, query: dict[str, str], body: Json) -> Json:
        server = self.server
        resource, _, verb = path.partition(":")
        parts = resource.split("/")
        parent = "/".join(parts[:4])
        if parts[-2] == "operations":
            return _there(server.operations, resource)
        kind = parts[4]
        method = f"{self.command} {kind}{':' + verb if verb else ''}"
        server.calls.append(method)
        if method == "POST models:upload":
            return self._upload(parent, body)
        if method == "POST endpoints":
            return self._create_endpoint(parent, query, body)
        things = server.models if kind == "models" else server.endpoints
        if self.command == "GET":
            return _there(things, resource)
        if self.command == "DELETE":
            return self._delete(parent, kind, things, resource)
        if self.command == "PATCH":
            thing = _there(things, resource)
            for name in query["updateMask"].split(","):
                thing[name] = body.get(name, {})
            return thing
        endpoint = _there(server.endpoints, resource)
        return {"deployModel": self._deploy, "undeployModel": self._undeploy, "mutateDeployedModel": self._resize}[
            verb
        ](parent, endpoint, body)

    def _upload(self, parent: str, body: Json) -> Json:
        name = f"{parent}/models/{body['modelId']}"
        if name in self.server.models:
            raise RefusedError(409, f"{name} exists")
        model = {**body["model"], "name": name, "versionId": "1"}

        def work() -> Json:
            self.server.models[name] = model
            return {"@type": f"{_TYPES}UploadModelResponse", "model": name, "modelVersionId": "1"}

        return self.server.begin(parent, "upload", work, makes=name)

    def _create_endpoint(self, parent: str, query: dict[str, str], body: Json) -> Json:
        identifier, location = query["endpointId"], parent.rsplit("/", 1)[1]
        if not re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?|[1-9]\d{0,8}", identifier):
            raise RefusedError(400, f"{identifier} is no id of an endpoint")
        name = f"{parent}/endpoints/{identifier}"
        if name in self.server.endpoints:
            raise RefusedError(409, f"{name} exists")
        endpoint = {**body, "name": name, "deployedModels": [], "trafficSplit": {}}
        if body.get("dedicatedEndpointEnabled"):
            endpoint["dedicatedEndpointDns"] = (
                f"https://{identifier}.{location}-{self.server.number}.prediction.vertexai.goog"
            )

        def work() -> Json:
            self.server.endpoints[name] = endpoint
            return {"@type": f"{_TYPES}Endpoint", **endpoint}

        return self.server.begin(parent, "createEndpoint", work, makes=name)

    def _delete(self, parent: str, kind: str, things: dict[str, Json], name: str) -> Json:
        _there(things, name)
        for one in self.server.endpoints.values():
            if kind == "models" and name in [used["model"] for used in one["deployedModels"]]:
                raise RefusedError(412, f"{name} is deployed to {one['name']}")
        if kind == "endpoints" and things[name]["deployedModels"]:
            raise RefusedError(412, f"{name} has deployed models")

        def work() -> Json:
            del things[name]
            return {"@type": "type.googleapis.com/google.protobuf.Empty"}

        return self.server.begin(parent, f"delete {kind}", work)

    def _deploy(self, parent: str, endpoint: Json, body: Json) -> Json:
        deployed = body["deployedModel"]
        model = _there(self.server.models, deployed["model"])
        if not re.fullmatch(r"\d{1,10}", deployed["id"]):
            raise RefusedError(400, f"{deployed['id']} is no id of a deployment")
        if any(one["id"] == deployed["id"] for one in endpoint["deployedModels"]):
            raise RefusedError(409, f"{deployed['id']} exists")
        if int(deployed["dedicatedResources"]["minReplicaCount"]) < 1:
            raise RefusedError(400, "minReplicaCount must be 1 or more")
        own_address = endpoint.get("dedicatedEndpointEnabled") or endpoint.get("privateServiceConnectConfig")
        if model["containerSpec"].get("invokeRoutePrefix") and not own_address:
            raise RefusedError(400, "models with invokeRoutePrefix need a dedicated endpoint")

        def work() -> Json:
            endpoint["deployedModels"].append(deployed)
            return {"@type": f"{_TYPES}DeployModelResponse", "deployedModel": deployed}

        return self.server.begin(parent, "deployModel", work, makes=deployed["id"])

    def _undeploy(self, parent: str, endpoint: Json, body: Json) -> Json:
        identifier = body["deployedModelId"]
        present = {one["id"] for one in endpoint["deployedModels"]}
        if identifier not in present:
            raise RefusedError(404, f"{identifier} is not deployed")
        split = body.get("trafficSplit") or endpoint["trafficSplit"]
        if split.get(identifier) and len(present) > 1:
            raise RefusedError(412, f"{identifier} has a share of the requests")

        def work() -> Json:
            endpoint["deployedModels"] = [one for one in endpoint["deployedModels"] if one["id"] != identifier]
            endpoint["trafficSplit"] = {key: share for key, share in split.items() if key != identifier}
            return {"@type": f"{_TYPES}UndeployModelResponse"}

        return self.server.begin(parent, "undeployModel", work)

    def _resize(self, parent: str, endpoint: Json, body: Json) -> Json:
        asked = body["deployedModel"]
        (present,) = [one for one in endpoint["deployedModels"] if one["id"] == asked["id"]]

        def work() -> Json:
            present["dedicatedResources"] |= asked["dedicatedResources"]
            return {"@type": f"{_TYPES}MutateDeployedModelResponse", "deployedModel": present}

        return self.server.begin(parent, "mutateDeployedModel", work)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _there(things: dict[str, Json], name: str) -> Json:
    if name not in things:
        raise RefusedError(404, f"{name} is not found")
    return things[name]


@contextmanager
def running(number: str = NUMBER) -> Iterator[Vertex]:
    server = Vertex(number)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
