"""Milvus' REST interface in front of Milvus Lite, which has none, and a stand-in for the backup tool on the same.

The answers are the engine's; this only carries them, as Milvus' proxy does. It runs in Milvus' own environment:
``serve <address> <token>``, ``copy <address> <file>``, ``restore <address> <file> <suffix>``.
"""

# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# pymilvus is in that environment only.

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pymilvus import DataType, MilvusClient, MilvusException

_TYPES = {DataType.VARCHAR: "VarChar", DataType.INT64: "Int64", DataType.FLOAT_VECTOR: "FloatVector"}


def plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return float(value) if hasattr(value, "dtype") else value


def answer(client: MilvusClient, path: str, body: dict[str, Any]) -> Any:
    name = body.get("collectionName", "")
    if path == "databases/list":
        return ["default"]
    if path == "collections/list":
        return client.list_collections()
    if path == "collections/describe":
        fields = client.describe_collection(name)["fields"]
        return {
            "fields": [
                {
                    "name": one["name"],
                    "primaryKey": bool(one.get("is_primary")),
                    "type": _TYPES.get(DataType(one["type"]), "Other"),
                    "params": [{"key": key, "value": str(value)} for key, value in one.get("params", {}).items()],
                }
                for one in fields
            ]
        }
    if path == "collections/load":
        client.load_collection(name)
        return {}
    if path == "collections/get_load_state":
        return {"loadState": f"LoadState{client.get_load_state(name)['state'].name}"}
    if path == "collections/drop":
        client.drop_collection(name)
        return {}
    if path == "entities/query":
        more = {"limit": body["limit"]} if "limit" in body else {}
        return list(client.query(name, filter=body["filter"], output_fields=body["outputFields"], **more))
    if path == "entities/search":
        (hits,) = client.search(
            name,
            data=body["data"],
            anns_field=body["annsField"],
            limit=body["limit"],
            output_fields=body["outputFields"],
        )
        return [{**hit["entity"], "id": hit["id"], "distance": hit["distance"]} for hit in hits]
    raise LookupError(path)


def serve(address: str, token: str) -> None:
    client = MilvusClient(address)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            said: dict[str, Any]
            if self.headers["Authorization"] != f"Bearer {token}":
                said = {"code": 1800, "message": "user hasn't authenticated"}
            else:
                try:
                    path = self.path.removeprefix("/v2/vectordb/")
                    said = {"code": 0, "data": plain(answer(client, path, body))}
                except MilvusException as error:
                    said = {"code": error.code or 65535, "message": str(error)}
            text = json.dumps(said).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


def copied(client: MilvusClient) -> dict[str, list[dict[str, Any]]]:
    """Every entity of every collection."""
    found: dict[str, list[dict[str, Any]]] = {}
    for name in client.list_collections():
        client.load_collection(name)
        found[name] = [plain(dict(row)) for row in client.query(name, filter="", output_fields=["*"], limit=16000)]
    return found


def restored(client: MilvusClient, kept: dict[str, list[dict[str, Any]]], suffix: str) -> None:
    """Collections from a copy: the same schema and index, under other names."""
    for name, rows in kept.items():
        shape = client.describe_collection(name)
        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False, description=shape["description"])
        index = MilvusClient.prepare_index_params()
        for one in shape["fields"]:
            key = {"is_primary": True} if one.get("is_primary") else {}
            schema.add_field(one["name"], DataType(one["type"]), **key, **one.get("params", {}))
            if DataType(one["type"]) == DataType.FLOAT_VECTOR:
                index.add_index(one["name"], index_type="FLAT", metric_type="COSINE")
        client.create_collection(f"{name}{suffix}", schema=schema, index_params=index)
        if rows:
            client.insert(f"{name}{suffix}", rows)


if __name__ == "__main__":
    what, address, *rest = sys.argv[1:]
    if what == "serve":
        serve(address, rest[0])
    elif what == "copy":
        Path(rest[0]).write_text(json.dumps(copied(MilvusClient(address))))
    else:
        restored(MilvusClient(address), json.loads(Path(rest[0]).read_text()), rest[1])
