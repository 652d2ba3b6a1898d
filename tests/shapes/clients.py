"""Two clients: boto3 in a chosen protocol, and one that sends bodies that no SDK would send."""

from __future__ import annotations

import datetime
import http.client
import json
from typing import Any

import boto3
import botocore.exceptions
import botocore.parsers
import botocore.session
from botocore.config import Config

SERVICE = "servicediscovery"
PROTOCOLS = ("json", "smithy-rpc-v2-cbor")
CONTENT_TYPES = {"json": "application/x-amz-json-1.1", "smithy-rpc-v2-cbor": "application/cbor"}
REGION = "us-east-1"


def service_model():
    return botocore.session.get_session().get_service_model(SERVICE)


def forced(protocol: str) -> botocore.session.Session:
    """A session whose service model has only this protocol. Otherwise botocore prefers JSON."""
    session = botocore.session.Session()
    loader = session.get_component("data_loader")
    load = loader.load_service_model

    def load_forced(service_name, type_name, api_version=None):
        loaded = load(service_name, type_name, api_version)
        if service_name == SERVICE and type_name == "service-2":
            metadata = {**loaded["metadata"], "protocol": protocol, "protocols": [protocol]}
            loaded = {**loaded, "metadata": metadata}
        return loaded

    loader.load_service_model = load_forced
    return session


class Client:
    """boto3 over one protocol. Compares answers with the service model, and records their members."""

    def __init__(self, address: tuple[str, int], protocol: str):
        self.address = address
        self.protocol = protocol
        self.complaints: list[str] = []
        self.seen: set[str] = set()
        self._client = boto3.Session(botocore_session=forced(protocol)).client(
            SERVICE,
            endpoint_url="http://%s:%d" % address,
            region_name=REGION,
            aws_access_key_id="123456789012",
            aws_secret_access_key="none",
            config=Config(inject_host_prefix=False, retries={"total_max_attempts": 1}),
        )
        self._errors = {shape.name: shape for shape in self._client.meta.service_model.error_shapes}
        self._client.meta.events.register(f"before-parse.{SERVICE}", self._look_at)

    def call(self, operation: str, **request: Any) -> dict[str, Any]:
        """The operation's response."""
        try:
            return self._client._make_api_call(operation, request)
        except botocore.exceptions.ClientError as error:
            self.complaints.append(f"{operation} {request}: {error}")
            return {}

    def code(self, operation: str, **request: Any) -> str:
        """The error code of the operation, or a description of its answer."""
        try:
            self._client._make_api_call(operation, request)
        except botocore.exceptions.ClientError as error:
            got = error.response["Error"]
            return got["Code"] if got["Message"] else f"{got['Code']} without a message"
        return "a response"

    def refused(self, code: str, operation: str, **request: Any) -> None:
        """Expects the operation to fail with this error."""
        if (got := self.code(operation, **request)) != code:
            self.complaints.append(f"{operation} {request}: expected {code}, got {got}")

    def _look_at(self, operation_model, response_dict, **_: Any) -> None:
        name, status, headers = operation_model.name, response_dict["status_code"], response_dict["headers"]
        void = status == 200 and operation_model.output_shape is None and self.protocol != "json"
        expected = None if void else CONTENT_TYPES[self.protocol]
        if headers.get("content-type") != expected:
            self.complaints.append(f"{name}: expected the content type {expected}, got {headers.get('content-type')}")
        if self.protocol != "json" and headers.get("smithy-protocol") != "rpc-v2-cbor":
            self.complaints.append(f"{name}: the header smithy-protocol is missing")
        if void:
            if response_dict["body"]:
                self.complaints.append(f"{name}: a body, although the operation has no output")
            self.seen.add(name)
            return
        body = self._decoded(response_dict["body"])
        if status == 200:
            self.seen.add(name)
            if operation_model.output_shape is None and body:
                self.complaints.append(f"{name}: {body}, although the operation has no output")
            self._walk(operation_model.output_shape, body, name)
            return
        shape = self._errors.get(body.pop("__type", "").rpartition("#")[2])
        if shape is None:
            self.complaints.append(f"{name}: not an error of the service model: {body}")
            return
        body.pop("message", None)  # the protocol's own message, beside the modeled Message
        modelled = 400 if self.protocol == "json" else shape.metadata["error"]["httpStatusCode"]
        if status != modelled:
            self.complaints.append(f"{shape.name}: expected the status {modelled}, got {status}")
        self.seen.add(shape.name)
        self._walk(shape, body, shape.name)

    def _decoded(self, body: bytes) -> Any:
        if self.protocol == "json":
            return json.loads(body)
        parser = botocore.parsers.RpcV2CBORParser()
        stream = parser.get_peekable_stream_from_bytes(body)
        item = parser.parse_data_item(stream)
        if stream.read():
            self.complaints.append(f"bytes after the body: {body!r}")
        return item

    def _walk(self, shape, value: Any, path: str) -> None:
        """Records the members that are set. Complains about unknown members and wrong types."""
        if shape is None:
            return
        moment = (int, float) if self.protocol == "json" else datetime.datetime
        types = {"structure": dict, "map": dict, "list": list, "string": str, "timestamp": moment}
        if not isinstance(value, types.get(shape.type_name, int)):
            self.complaints.append(f"{path}: {value!r} is not of type {shape.type_name}")
        elif shape.type_name == "structure":
            for name, member in value.items():
                if name in shape.members:
                    self.seen.add(f"{path}.{name}")
                    self._walk(shape.members[name], member, f"{path}.{name}")
                else:
                    self.complaints.append(f"{path}.{name} is not in the service model")
        elif shape.type_name == "list":
            for item in value:
                self._walk(shape.member, item, path)
        elif shape.type_name == "map":
            for item in value.values():
                self._walk(shape.value, item, path)


class Wire:
    """Sends a body unchanged. Returns the code of the error, or None for a response."""

    def __init__(self, address: tuple[str, int]):
        self._connection = http.client.HTTPConnection(*address)

    def code(self, protocol: str, operation: str, body: Any) -> str | None:
        name = "Route53AutoNaming_v20170314"
        if protocol == "json":
            headers = {"X-Amz-Target": f"{name}.{operation}"}
            self._connection.request("POST", "/", json.dumps(body), headers)
        else:
            headers = {"smithy-protocol": "rpc-v2-cbor"}
            self._connection.request("POST", f"/service/{name}/operation/{operation}", cbor(body), headers)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status == 200:
            return None
        parser = botocore.parsers.create_parser(protocol)
        parsed = parser.parse({"status_code": answer.status, "headers": answer.headers, "body": content}, None)
        return parsed["Error"]["Code"]


def cbor(value: Any) -> bytes:
    """Encodes strings, lists, maps and small integers. botocore's serializer takes only what fits the service model."""
    if isinstance(value, int):
        return bytes([value])  # less than 24
    if isinstance(value, str):
        return _head(0x60, value.encode()) + value.encode()
    if isinstance(value, list):
        return _head(0x80, value) + b"".join(map(cbor, value))
    return _head(0xA0, value) + b"".join(cbor(key) + cbor(item) for key, item in value.items())


def _head(major: int, items: Any) -> bytes:
    return bytes([major | 25]) + len(items).to_bytes(2, "big")
