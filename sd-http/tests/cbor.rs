//! rpc-v2-cbor without a socket: the operations of `json.rs`, and rules of CBOR.

#![allow(clippy::unwrap_used, reason = "a test ends at what it does not expect")]

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use minicbor::{Decoder, Encoder, data::Type};
use sd_backend_memory::MemoryRegistry;
use sd_core::{CloudMap, ManualClock};
use sd_http::{BODY_LIMIT, CloudMapService};
use serde_json::{Value, json};
use tower_service::Service;

const PATH: &str = "/service/Route53AutoNaming_v20170314/operation";

struct Door(CloudMapService);

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn value(&self) -> Value {
        let mut decoder = Decoder::new(&self.body);
        let value = value(&mut decoder, "");
        assert_eq!(decoder.position(), self.body.len());
        value
    }

    /// The error's name in the service model and its text.
    fn error(&self) -> (String, String) {
        let value = self.value();
        assert_eq!(value["message"], value["Message"]);
        let shape = value["__type"].as_str().unwrap();
        let name = shape.strip_prefix("com.amazonaws.servicediscovery#").unwrap();
        (name.to_owned(), value["message"].as_str().unwrap().to_owned())
    }
}

/// The item as JSON. Timestamps, and nothing else, have tag 1.
fn value(decoder: &mut Decoder<'_>, member: &str) -> Value {
    if member.ends_with("Date") {
        assert_eq!(decoder.tag().unwrap().as_u64(), 1, "{member}");
        return decoder.f64().unwrap().into();
    }
    match decoder.datatype().unwrap() {
        Type::String => decoder.str().unwrap().into(),
        Type::Array => {
            let length = decoder.array().unwrap().unwrap();
            (0..length).map(|_| value(decoder, "")).collect()
        }
        Type::Map => {
            let length = decoder.map().unwrap().unwrap();
            let entry = |_| {
                let key = decoder.str().unwrap().to_owned();
                let value = value(decoder, &key);
                (key, value)
            };
            Value::Object((0..length).map(entry).collect())
        }
        _ => i64::try_from(decoder.int().unwrap()).unwrap().into(),
    }
}

fn cbor(operation: &str) -> http::request::Builder {
    Request::post(format!("{PATH}/{operation}"))
        .header("Smithy-Protocol", "rpc-v2-cbor")
        .header("Accept", "application/cbor")
        .header("Content-Type", "application/cbor")
}

impl Door {
    fn new() -> Self {
        let cloud_map = CloudMap::builder(MemoryRegistry::new()).clock(ManualClock::default()).build();
        Self(CloudMapService::new(cloud_map))
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Answer {
        let (parts, body) = self.0.call(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    async fn raw(&mut self, operation: &str, body: impl Into<Bytes>) -> Answer {
        let answer = self.send(cbor(operation).body(Full::new(body.into())).unwrap()).await;
        assert_eq!(answer.headers["smithy-protocol"], "rpc-v2-cbor");
        assert_eq!(answer.headers["x-amzn-requestid"].len(), 36);
        answer
    }

    async fn call(&mut self, operation: &str, body: &Value) -> Answer {
        self.raw(operation, minicbor_serde::to_vec(body).unwrap()).await
    }

    async fn ok(&mut self, operation: &str, body: Value) -> Value {
        let answer = self.call(operation, &body).await;
        assert_eq!(answer.status, StatusCode::OK, "{operation}: {}", answer.value());
        assert_eq!(answer.headers["content-type"], "application/cbor");
        answer.value()
    }

    async fn refused(&mut self, body: &[u8]) -> String {
        let answer = self.raw("CreateHttpNamespace", body.to_vec()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body:02x?}");
        assert_eq!(answer.headers["content-type"], "application/cbor");
        let (code, message) = answer.error();
        assert_eq!(code, "SerializationException", "{body:02x?}");
        message
    }

    async fn json(&mut self, operation: &str, body: &Value) -> Answer {
        let request = Request::post("/")
            .header("X-Amz-Target", format!("Route53AutoNaming_v20170314.{operation}"))
            .body(Full::new(body.to_string().into()))
            .unwrap();
        self.send(request).await
    }

    /// A namespace, a service and two instances; the namespace's id, the service's and that of the last operation.
    async fn web(&mut self) -> (Value, Value, Value) {
        self.ok(
            "CreatePrivateDnsNamespace",
            json!({"Name": "app.local", "Vpc": "vpc-1", "Description": "d"}),
        )
        .await;
        let listed = self.ok("ListNamespaces", json!({})).await;
        let namespace = &listed["Namespaces"][0]["Id"];
        let service = json!({
            "Name": "web", "NamespaceId": namespace, "CreatorRequestId": "t", "Description": "d",
            "DnsConfig": {"DnsRecords": [{"Type": "A", "TTL": 60}]}, "HealthCheckCustomConfig": {"FailureThreshold": 1},
            "Tags": [{"Key": "k", "Value": "v"}],
        });
        let service = self.ok("CreateService", service).await["Service"]["Id"].clone();
        let mut operation = Value::Null;
        for id in ["i-1", "i-2"] {
            let attributes =
                json!({"AWS_INSTANCE_IPV4": "10.0.0.1", "of": id, "note": "a \"quoted\" \\ note"});
            let request = json!({
                "ServiceId": service, "InstanceId": id, "CreatorRequestId": "t", "Attributes": attributes,
            });
            operation = self.ok("RegisterInstance", request).await["OperationId"].clone();
        }
        (namespace.clone(), service, operation)
    }
}

#[tokio::test]
async fn every_read_answers_alike_in_both_protocols() {
    let mut door = Door::new();
    let (namespace, service, operation) = door.web().await;
    door.ok("CreateHttpNamespace", json!({"Name": "http"})).await;
    let names = json!({"NamespaceName": "app.local", "ServiceName": "web", "QueryParameters": {"of": "i-1"}});
    for (name, request) in [
        ("DiscoverInstances", names),
        ("GetInstance", json!({"ServiceId": service, "InstanceId": "i-1"})),
        ("GetInstancesHealthStatus", json!({"ServiceId": service, "MaxResults": 1})),
        ("GetNamespace", json!({"Id": namespace})),
        ("GetOperation", json!({"OperationId": operation})),
        ("GetService", json!({"Id": service})),
        ("ListInstances", json!({"ServiceId": service, "MaxResults": 1})),
        ("ListNamespaces", json!({"MaxResults": 1})),
        ("ListNamespaces", json!({"Filters": [{"Name": "TYPE", "Values": ["HTTP"]}]})),
        ("ListOperations", json!({"MaxResults": 2})),
        ("ListServices", json!({})),
    ] {
        let json = door.json(name, &request).await;
        let json: Value = serde_json::from_slice(&json.body).unwrap();
        assert_eq!(door.ok(name, request).await, json, "{name}");
    }
}

#[tokio::test]
async fn writes_do_the_same_in_both_protocols() {
    let mut door = Door::new();
    let (_, service, _) = door.web().await;
    let instance = json!({"ServiceId": service, "InstanceId": "i-1"});
    for id in ["i-1", "i-2"] {
        door.ok("DeregisterInstance", json!({"ServiceId": service, "InstanceId": id})).await;
    }
    let gone = door.call("GetInstance", &instance).await;
    assert_eq!(gone.error().0, "InstanceNotFound");
    let deleted = door.call("DeleteService", &json!({"Id": service})).await;
    assert_eq!((deleted.status, &*deleted.body), (StatusCode::OK, &[0xa0][..]), "an empty structure");
}

#[tokio::test]
async fn an_operation_without_an_output_shape_has_no_body() {
    let mut door = Door::new();
    let (_, service, _) = door.web().await;
    let report = json!({"ServiceId": service, "InstanceId": "i-1", "Status": "UNHEALTHY"});
    let answer = door.call("UpdateInstanceCustomHealthStatus", &report).await;
    assert_eq!((answer.status, answer.body.len()), (StatusCode::OK, 0));
    assert!(!answer.headers.contains_key("content-type"));
}

#[tokio::test]
async fn errors_have_their_shape_their_members_and_the_status_of_the_model() {
    let mut door = Door::new();
    let (namespace, service, _) = door.web().await;
    let request = json!({
        "Name": "web", "NamespaceId": namespace, "CreatorRequestId": "other",
        "DnsConfig": {"DnsRecords": [{"Type": "A", "TTL": 60}]},
    });
    let answer = door.call("CreateService", &request).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        answer.value(),
        json!({
            "__type": "com.amazonaws.servicediscovery#ServiceAlreadyExists", "Message": "Service already exists.",
            "message": "Service already exists.", "ServiceId": service, "CreatorRequestId": "t",
            "ServiceArn": format!("arn:aws:servicediscovery:us-east-1:123456789012:service/{}", service.as_str().unwrap()),
        })
    );
    for (name, request, status, code) in [
        ("DeleteNamespace", json!({"Id": namespace}), 409, "ResourceInUse"),
        ("GetNamespace", json!({"Id": "ns-none"}), 404, "NamespaceNotFound"),
        ("GetService", json!({"Id": "srv-none"}), 404, "ServiceNotFound"),
        ("GetOperation", json!({"OperationId": "none"}), 404, "OperationNotFound"),
        ("GetInstance", json!({"ServiceId": service, "InstanceId": "none"}), 404, "InstanceNotFound"),
        ("GetNamespace", json!({}), 400, "InvalidInput"),
    ] {
        let answer = door.call(name, &request).await;
        let json = door.json(name, &request).await;
        assert_eq!((answer.status.as_u16(), json.status.as_u16()), (status, 400), "{code}");
        let json: Value = serde_json::from_slice(&json.body).unwrap();
        assert_eq!(answer.error(), (code.to_owned(), json["Message"].as_str().unwrap().to_owned()));
    }
}

#[tokio::test]
async fn indefinite_lengths_null_and_unknown_members_are_read() {
    let mut door = Door::new();
    let mut body = Encoder::new(Vec::new());
    body.begin_map().unwrap();
    body.begin_str().unwrap().str("Na").unwrap().str("me").unwrap().end().unwrap();
    body.begin_str().unwrap().str("").unwrap().str("ap").unwrap().str("p").unwrap().end().unwrap();
    body.str("Description").unwrap().null().unwrap();
    body.str("CreatorRequestId").unwrap().undefined().unwrap();
    body.str("Tags").unwrap().begin_array().unwrap();
    body.begin_map().unwrap().str("Key").unwrap().str("k").unwrap().str("Value").unwrap().str("").unwrap();
    body.end().unwrap().end().unwrap();
    body.str("Unknown").unwrap().begin_array().unwrap();
    body.writer_mut().extend(b"\xf9\x3c\x00");
    body.f64(0.5).unwrap().bytes(&[0xff]).unwrap().bool(true).unwrap().simple(99).unwrap();
    body.tag(minicbor::data::Tag::new(55799))
        .unwrap()
        .tag(minicbor::data::Tag::new(1))
        .unwrap()
        .u32(1)
        .unwrap();
    body.begin_map().unwrap().u8(1).unwrap().begin_bytes().unwrap().end().unwrap().end().unwrap();
    body.map(1).unwrap().array(1).unwrap().null().unwrap().i64(i64::MIN).unwrap();
    body.end().unwrap().end().unwrap();
    let answer = door.raw("CreateHttpNamespace", body.into_writer()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.value());
    assert_eq!(door.ok("ListNamespaces", json!({})).await["Namespaces"][0]["Name"], "app");
    // An empty body is an empty request.
    assert_eq!(door.raw("ListNamespaces", "").await.status, StatusCode::OK);
    // The last value of a member counts, as in JSON.
    let twice = b"\xa2\x64Name\x61a\x64Name\x61b";
    assert_eq!(door.raw("CreateHttpNamespace", &twice[..]).await.status, StatusCode::OK);
    assert_eq!(door.ok("ListNamespaces", json!({})).await["Namespaces"][1]["Name"], "b");
}

#[tokio::test]
async fn a_malformed_body_is_refused_with_a_reason() {
    let mut door = Door::new();
    for (body, reason) in [
        (&b"\xa1"[..], "end of input"),
        (b"\xbf", "end of input"),
        (b"\xa1\x64Name", "end of input"),
        (b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff", "end of input"),
        (b"\xa1\x64Name\x7b\xff\xff\xff\xff\xff\xff\xff\xff", "end of input"),
        (b"\x80", "invalid type: sequence, expected a structure CreateHttpNamespace"),
        (b"\xf6", "invalid type: null, expected a structure"),
        (b"\xff", "invalid type: break, expected a structure"),
        (b"\x1c", "invalid type: 0x1c"),
        (b"\xa0\xa0", "trailing octets, at octet 1"),
        (b"\xa1\x64Name\x01", "invalid type: integer `1`, expected a string"),
        (b"\xa1\x64Name\x41a", "invalid type: bytes, expected a string"),
        (b"\xa1\x64Name\x61\xff", "utf-8"),
        (b"\xa1\x64Name\xc1\x61a", "invalid type: tag, expected a string"),
        (b"\xbf\x64Name\xff", "invalid type: break, expected a string"),
        (b"\xbf\x61X\xff", "invalid type: break"),
        (b"\xa1\x61X\x9f\x82\xff\x00\xff", "invalid type: break"),
        (b"\xa1\x00\x00", "invalid type: integer `0`, expected the name of a member"),
        (b"\xa1\x64Tags\xa0", "invalid type: map, expected a sequence"),
        (b"\xa1\x64Tags\x81\xf6", "invalid type: null, expected a structure Tag"),
        (b"\xa1\x64Tags\x81\x82\x61k\x61v", "invalid type: sequence, expected a structure Tag"),
    ] {
        let message = door.refused(body).await;
        assert!(message.contains(reason), "{body:02x?}: {message}");
    }
    // An integer is of major type 0 or 1 and in range. A float without a fraction is not one.
    for (value, reason) in [
        (&b"\xf9\x3c\x00"[..], "f16"),
        (b"\xfb\x3f\xf0\x00\x00\x00\x00\x00\x00", "f64"),
        (b"\x1b\xff\xff\xff\xff\xff\xff\xff\xff", "18446744073709551615"),
        (b"\x3b\xff\xff\xff\xff\xff\xff\xff\xff", "-18446744073709551616"),
        (b"\xc2\x41\x01", "tag"),
    ] {
        let answer = door.raw("ListNamespaces", [&b"\xa1\x6aMaxResults"[..], value].concat()).await;
        let (code, message) = answer.error();
        assert_eq!(code, "SerializationException");
        assert!(message.contains(reason) && message.contains("expected i64"), "{message}");
    }
    assert_eq!(door.ok("ListNamespaces", json!({})).await, json!({"Namespaces": []}));
}

#[tokio::test]
async fn deep_nesting_does_not_overflow_the_stack() {
    let mut door = Door::new();
    let nested = |opening: &[u8], depth: usize| {
        let mut body = b"\xa1\x61X".to_vec();
        body.extend(opening.repeat(depth));
        body.push(0x00);
        body
    };
    for opening in [&[0x81][..], &[0x9f], &[0xa1, 0x00], &[0xbf, 0x00], &[0xa1]] {
        let message = door.refused(&nested(opening, BODY_LIMIT / 4)).await;
        assert!(message.contains("recursion limit exceeded"), "{message}");
    }
    // A thousand tags are not nested lists or maps.
    let answer = door.raw("ListNamespaces", nested(&[0xc1], BODY_LIMIT / 4)).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(door.raw("ListNamespaces", nested(&[0x81], 100)).await.status, StatusCode::OK);
    let answer = door.raw("ListNamespaces", vec![0xa0; BODY_LIMIT + 1]).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(answer.error().0, "RequestEntityTooLargeException");
}

#[tokio::test]
async fn a_request_is_of_one_protocol_and_answered_in_it() {
    let mut door = Door::new();
    let target = ("x-amz-target", "Route53AutoNaming_v20170314.ListNamespaces");
    // The path is enough, with any prefix.
    let request = Request::post(format!("/prefix{PATH}/ListNamespaces")).body(Full::default()).unwrap();
    assert_eq!(door.send(request).await.value(), json!({"Namespaces": []}));
    // The target takes precedence over the path.
    let request = Request::post(format!("{PATH}/ListServices")).header(target.0, target.1);
    let answer = door.send(request.body(Full::default()).unwrap()).await;
    assert_eq!(answer.body, r#"{"Namespaces":[]}"#);
    let answer =
        door.send(cbor("ListNamespaces").header(target.0, target.1).body(Full::default()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.error().0, "MalformedHttpRequestException");
    for operation in ["CreateEverything", "ListServices/x", ""] {
        let answer = door.raw(operation, vec![0xa0]).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        let (code, message) = answer.error();
        assert_eq!(code, "UnknownOperationException");
        assert!(message.contains("no operation"), "{message}");
    }
}
