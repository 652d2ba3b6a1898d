//! awsJson1.1 without a socket: how requests are decoded, responses encoded, and malformed requests refused.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use sd_backend_memory::MemoryRegistry;
use sd_core::{CloudMap, ManualClock, Quotas, settings::Quota};
use sd_http::{BODY_LIMIT, CloudMapService};
use serde_json::{Value, json};
use tower_service::Service;

struct Door(CloudMapService);

struct Answer {
    status: StatusCode,
    headers: http::HeaderMap,
    body: Value,
}

impl Door {
    fn new() -> Self {
        let cloud_map = CloudMap::builder(MemoryRegistry::new()).clock(ManualClock::default()).build();
        Self(CloudMapService::new(cloud_map))
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Answer {
        let response = self.0.call(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Answer { status: parts.status, headers: parts.headers, body }
    }

    async fn raw(&mut self, operation: &str, body: impl Into<Bytes>) -> Answer {
        self.send(
            Request::post("http://localhost:5373/")
                .header("Content-Type", "application/x-amz-json-1.1")
                .header("X-Amz-Target", format!("Route53AutoNaming_v20170314.{operation}"))
                .body(Full::new(body.into()))
                .unwrap(),
        )
        .await
    }

    async fn ok(&mut self, operation: &str, body: Value) -> Value {
        let answer = self.raw(operation, body.to_string()).await;
        assert_eq!(answer.status, StatusCode::OK, "{operation}: {}", answer.body);
        answer.body
    }

    async fn refused(&mut self, operation: &str, body: Value) -> (String, String) {
        let answer = self.raw(operation, body.to_string()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{operation}: {}", answer.body);
        error(&answer)
    }

    /// Creates the namespace `app.local` with the service `web`. Returns the service's id.
    async fn web(&mut self) -> String {
        self.ok("CreatePrivateDnsNamespace", json!({"Name": "app.local", "Vpc": "vpc-1"})).await;
        let listed = self.ok("ListNamespaces", json!({})).await;
        let namespace = listed["Namespaces"][0]["Id"].as_str().unwrap().to_owned();
        let created = self
            .ok(
                "CreateService",
                json!({
                    "Name": "web", "NamespaceId": namespace, "CreatorRequestId": "t",
                    "DnsConfig": {"DnsRecords": [{"Type": "A", "TTL": 60}]},
                    "HealthCheckConfig": {"Type": "HTTP", "ResourcePath": "/health", "FailureThreshold": 3},
                }),
            )
            .await;
        created["Service"]["Id"].as_str().unwrap().to_owned()
    }
}

fn error(answer: &Answer) -> (String, String) {
    let text = |member: &str| answer.body[member].as_str().unwrap_or_default().to_owned();
    (text("__type"), text("Message"))
}

#[tokio::test]
async fn responses_have_the_shapes_of_the_api() {
    let mut door = Door::new();
    let service = door.web().await;
    let listed = door.ok("ListNamespaces", json!({"MaxResults": 1})).await;
    let namespace = &listed["Namespaces"][0];
    let id = namespace["Id"].as_str().unwrap();
    let arn = format!("arn:aws:servicediscovery:us-east-1:123456789012:namespace/{id}");
    let zone = namespace["Properties"]["DnsProperties"]["HostedZoneId"].as_str().unwrap();
    assert_eq!(
        *namespace,
        json!({
            "Id": id, "Arn": arn, "ResourceOwner": "123456789012", "Name": "app.local", "Type": "DNS_PRIVATE",
            "ServiceCount": 1, "CreateDate": 1_600_000_000.0,
            "Properties": {
                "DnsProperties": {"HostedZoneId": zone, "SOA": {"TTL": 15}},
                "HttpProperties": {"HttpName": "app.local"},
            },
        })
    );
    assert_eq!(
        door.ok("GetService", json!({"Id": service})).await,
        json!({"Service": {
            "Id": service, "Arn": format!("arn:aws:servicediscovery:us-east-1:123456789012:service/{service}"),
            "ResourceOwner": "123456789012", "Name": "web", "NamespaceId": id, "InstanceCount": 0,
            "DnsConfig": {"NamespaceId": id, "RoutingPolicy": "MULTIVALUE", "DnsRecords": [{"Type": "A", "TTL": 60}]},
            "Type": "DNS_HTTP", "HealthCheckConfig": {"Type": "HTTP", "ResourcePath": "/health", "FailureThreshold": 3},
            "CreateDate": 1_600_000_000.0, "CreatorRequestId": "t", "CreatedByAccount": "123456789012",
        }})
    );
    let attributes =
        json!({"AWS_INSTANCE_IPV4": "10.0.0.1", "AWS_INSTANCE_PORT": "80", "note": "a \"quoted\" \\ note"});
    let started = door
        .ok("RegisterInstance", json!({"ServiceId": service, "InstanceId": "i-1", "Attributes": attributes}))
        .await;
    let operation = door.ok("GetOperation", json!({"OperationId": started["OperationId"]})).await;
    assert_eq!(
        operation,
        json!({"Operation": {
            "Id": started["OperationId"], "OwnerAccount": "123456789012", "Type": "REGISTER_INSTANCE",
            "Status": "SUCCESS", "CreateDate": 1_600_000_000.0, "UpdateDate": 1_600_000_000.0,
            "Targets": {"INSTANCE": "i-1", "SERVICE": service},
        }})
    );
    assert_eq!(
        door.ok("DiscoverInstances", json!({"NamespaceName": "app.local", "ServiceName": "web"})).await,
        json!({"Instances": [{
            "InstanceId": "i-1", "NamespaceName": "app.local", "ServiceName": "web", "HealthStatus": "HEALTHY",
            "Attributes": attributes,
        }], "InstancesRevision": 1_600_000_000_001_u64})
    );
    assert_eq!(
        door.ok("ListInstances", json!({"ServiceId": service})).await,
        json!({"ResourceOwner": "123456789012", "Instances": [
            {"Id": "i-1", "Attributes": attributes, "CreatedByAccount": "123456789012"},
        ]})
    );
    assert_eq!(
        door.ok("GetInstance", json!({"ServiceId": service, "InstanceId": "i-1"})).await,
        json!({"ResourceOwner": "123456789012", "Instance":
            {"Id": "i-1", "Attributes": attributes, "CreatedByAccount": "123456789012"}})
    );
    let summary = &door.ok("ListServices", json!({})).await["Services"][0];
    assert_eq!(summary["InstanceCount"], 1);
    assert_eq!(
        summary["DnsConfig"],
        json!({"RoutingPolicy": "MULTIVALUE", "DnsRecords": [{"Type": "A", "TTL": 60}]})
    );
    assert!(summary.get("NamespaceId").is_none() && summary.get("CreatorRequestId").is_none());
    door.ok("DeregisterInstance", json!({"ServiceId": service, "InstanceId": "i-1"})).await;
    assert_eq!(door.ok("DeleteService", json!({"Id": service})).await, json!({}));
}

#[tokio::test]
async fn http_namespaces_and_services_have_empty_dns_members() {
    let mut door = Door::new();
    door.ok("CreateHttpNamespace", json!({"Name": "app"})).await;
    let listed = door.ok("ListNamespaces", json!({})).await;
    let namespace = &listed["Namespaces"][0];
    assert_eq!(
        namespace["Properties"],
        json!({"DnsProperties": {"SOA": {}}, "HttpProperties": {"HttpName": "app"}})
    );
    let service = door.ok("CreateService", json!({"Name": "web", "NamespaceId": namespace["Id"]})).await;
    assert_eq!(service["Service"]["DnsConfig"], json!({}));
    assert_eq!(service["Service"]["Type"], "HTTP");
}

#[tokio::test]
async fn health_and_operations_have_the_shapes_of_the_api() {
    let mut door = Door::new();
    let service = door.web().await;
    let attributes = json!({"AWS_INSTANCE_IPV4": "10.0.0.1", "AWS_INSTANCE_PORT": "80"});
    for id in ["b", "a"] {
        door.ok(
            "RegisterInstance",
            json!({"ServiceId": service, "InstanceId": id, "Attributes": attributes}),
        )
        .await;
    }
    let health = door.ok("GetInstancesHealthStatus", json!({"ServiceId": service, "MaxResults": 1})).await;
    assert_eq!(health["Status"], json!({"b": "HEALTHY"}));
    let next = json!({"ServiceId": service, "NextToken": health["NextToken"]});
    assert_eq!(door.ok("GetInstancesHealthStatus", next).await, json!({"Status": {"a": "HEALTHY"}}));
    let one = json!({"ServiceId": service, "Instances": ["a"]});
    assert_eq!(door.ok("GetInstancesHealthStatus", one).await, json!({"Status": {"a": "HEALTHY"}}));
    let report = json!({"ServiceId": service, "InstanceId": "a", "Status": "UNHEALTHY"});
    assert_eq!(door.refused("UpdateInstanceCustomHealthStatus", report).await.0, "CustomHealthNotFound");
    let filters = json!({"Filters": [{"Name": "TYPE", "Values": ["REGISTER_INSTANCE"]}]});
    let listed = door.ok("ListOperations", filters).await;
    let operations = listed["Operations"].as_array().unwrap();
    assert_eq!(operations.len(), 2);
    for operation in operations {
        assert_eq!(*operation, json!({"Id": operation["Id"], "Status": "SUCCESS"}));
    }
}

#[tokio::test]
async fn updates_have_the_shapes_of_the_api() {
    let mut door = Door::new();
    let service = door.web().await;
    let zone = door.ok("ListNamespaces", json!({})).await["Namespaces"][0]["Id"].clone();
    door.ok("CreateHttpNamespace", json!({"Name": "app"})).await;
    let created = json!({
        "Name": "example.com", "CreatorRequestId": "t", "Description": "d", "Tags": [{"Key": "k", "Value": "v"}],
        "Properties": {"DnsProperties": {"SOA": {"TTL": 5}}},
    });
    let started = door.ok("CreatePublicDnsNamespace", created).await;
    assert_eq!(started.as_object().unwrap().keys().collect::<Vec<_>>(), ["OperationId"]);
    let listed = door.ok("ListNamespaces", json!({})).await;
    let (plain, public) = (&listed["Namespaces"][1], &listed["Namespaces"][2]);
    assert_eq!((&public["Type"], &public["Description"]), (&json!("DNS_PUBLIC"), &json!("d")));
    assert_eq!(public["Properties"]["DnsProperties"]["SOA"], json!({"TTL": 5}));

    let change = json!({"Description": "new", "Properties": {"DnsProperties": {"SOA": {"TTL": 7}}}});
    for (operation, id, change) in [
        ("UpdateHttpNamespace", &plain["Id"], json!({"Description": "new"})),
        ("UpdatePrivateDnsNamespace", &zone, change.clone()),
        ("UpdatePublicDnsNamespace", &public["Id"], change),
    ] {
        let request = json!({"Id": id, "UpdaterRequestId": "u", "Namespace": change});
        let started = door.ok(operation, request.clone()).await;
        assert_eq!(door.ok(operation, request).await, started, "a repeated request");
        let told = door.ok("GetOperation", json!({"OperationId": started["OperationId"]})).await;
        assert_eq!(told["Operation"]["Type"], "UPDATE_NAMESPACE");
        assert_eq!(told["Operation"]["Targets"], json!({"NAMESPACE": id}));
        let namespace = &door.ok("GetNamespace", json!({"Id": id})).await["Namespace"];
        assert_eq!(namespace["Description"], "new");
        let soa = &namespace["Properties"]["DnsProperties"]["SOA"];
        assert_eq!(*soa, if operation == "UpdateHttpNamespace" { json!({}) } else { json!({"TTL": 7}) });
        assert!(namespace.get("UpdaterRequestId").is_none());
    }
    let (code, message) =
        door.refused("UpdateHttpNamespace", json!({"Id": plain["Id"], "Namespace": {}})).await;
    assert_eq!(code, "InvalidInput");
    assert!(message.contains("Value null at 'namespace.description'"), "{message}");
    let deep = json!({"Id": zone, "Namespace": {"Properties": {"DnsProperties": {"SOA": {"TTL": -1}}}}});
    let (_, message) = door.refused("UpdatePrivateDnsNamespace", deep).await;
    assert!(message.contains("'-1' at 'namespace.properties.dnsProperties.sOA.tTL'"), "{message}");

    let change = json!({
        "Description": "new", "DnsConfig": {"DnsRecords": [{"Type": "A", "TTL": 5}]},
        "HealthCheckConfig": {"Type": "HTTP", "ResourcePath": "/ready", "FailureThreshold": 2},
    });
    let started = door.ok("UpdateService", json!({"Id": service, "Service": change})).await;
    let told = door.ok("GetOperation", json!({"OperationId": started["OperationId"]})).await;
    assert_eq!(told["Operation"]["Type"], "UPDATE_SERVICE");
    assert_eq!(told["Operation"]["Targets"], json!({"SERVICE": service}));
    let found = &door.ok("GetService", json!({"Id": service})).await["Service"];
    assert_eq!(found["Description"], "new");
    assert_eq!(found["HealthCheckConfig"], change["HealthCheckConfig"]);
    assert_eq!(
        found["DnsConfig"],
        json!({"NamespaceId": zone, "RoutingPolicy": "MULTIVALUE", "DnsRecords": [{"Type": "A", "TTL": 5}]})
    );
    // UpdateService deletes what the request omits.
    door.ok("UpdateService", json!({"Id": service, "Service": {}})).await;
    let found = &door.ok("GetService", json!({"Id": service})).await["Service"];
    assert_eq!((&found["DnsConfig"], &found["Type"]), (&json!({}), &json!("HTTP")));
    assert!(found.get("HealthCheckConfig").is_none());
}

#[tokio::test]
async fn an_instances_revision_is_a_number() {
    let mut door = Door::new();
    door.web().await;
    let names = json!({"NamespaceName": "app.local", "ServiceName": "web"});
    assert_eq!(
        door.ok("DiscoverInstancesRevision", names).await,
        json!({"InstancesRevision": 1_600_000_000_000_u64})
    );
    let names = json!({"NamespaceName": "app.local", "ServiceName": "none", "OwnerAccount": "123456789012"});
    assert_eq!(door.refused("DiscoverInstancesRevision", names).await.0, "ServiceNotFound");
}

#[tokio::test]
async fn a_health_report_is_answered_with_an_empty_structure() {
    let mut door = Door::new();
    door.ok("CreateHttpNamespace", json!({"Name": "app"})).await;
    let namespace = door.ok("ListNamespaces", json!({})).await["Namespaces"][0]["Id"].clone();
    let request =
        json!({"Name": "web", "NamespaceId": namespace, "HealthCheckCustomConfig": {"FailureThreshold": 5}});
    let created = door.ok("CreateService", request).await;
    assert_eq!(created["Service"]["HealthCheckCustomConfig"], json!({"FailureThreshold": 1}));
    let service = &created["Service"]["Id"];
    door.ok("RegisterInstance", json!({"ServiceId": service, "InstanceId": "a", "Attributes": {}})).await;
    let report = json!({"ServiceId": service, "InstanceId": "a", "Status": "UNHEALTHY"});
    assert_eq!(door.ok("UpdateInstanceCustomHealthStatus", report).await, json!({}));
    let names = json!({"NamespaceName": "app", "ServiceName": "web", "HealthStatus": "ALL"});
    assert_eq!(door.ok("DiscoverInstances", names).await["Instances"][0]["HealthStatus"], "UNHEALTHY");
}

#[tokio::test]
async fn tags_have_the_shapes_of_the_api() {
    let mut door = Door::new();
    door.ok("CreateHttpNamespace", json!({"Name": "app", "Tags": [{"Key": "b", "Value": ""}]})).await;
    let arn = door.ok("ListNamespaces", json!({})).await["Namespaces"][0]["Arn"].clone();
    let list = json!({"ResourceARN": arn});
    assert_eq!(
        door.ok("ListTagsForResource", list.clone()).await,
        json!({"Tags": [{"Key": "b", "Value": ""}]})
    );
    let tags = json!([{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]);
    assert_eq!(door.ok("TagResource", json!({"ResourceARN": arn, "Tags": tags})).await, json!({}));
    assert_eq!(door.ok("ListTagsForResource", list.clone()).await, json!({"Tags": tags}));
    let untag = json!({"ResourceARN": arn, "TagKeys": ["a", "b"]});
    assert_eq!(door.ok("UntagResource", untag).await, json!({}));
    assert_eq!(door.ok("ListTagsForResource", list).await, json!({"Tags": []}));

    let many: Vec<_> = (0..51).map(|i| json!({"Key": i.to_string(), "Value": "v"})).collect();
    let answer = door.raw("TagResource", json!({"ResourceARN": arn, "Tags": many}).to_string()).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.body["__type"], "TooManyTagsException");
    assert_eq!(answer.body["ResourceName"], arn);
    let nothing = json!({"ResourceARN": "arn:aws:servicediscovery:us-east-1:123456789012:service/srv-none"});
    assert_eq!(door.refused("ListTagsForResource", nothing).await.0, "ResourceNotFoundException");
    let (code, message) = door.refused("TagResource", json!({})).await;
    assert_eq!(code, "InvalidInput");
    assert!(message.contains("Value null at 'resourceARN'") && message.contains("Value null at 'tags'"));
}

#[tokio::test]
async fn service_attributes_have_the_shapes_of_the_api() {
    let mut door = Door::new();
    let service = door.web().await;
    let arn = format!("arn:aws:servicediscovery:us-east-1:123456789012:service/{service}");
    let described = |attributes: Value| {
        json!({"ServiceAttributes":
            {"ServiceArn": arn, "ResourceOwner": "123456789012", "Attributes": attributes}})
    };
    let get = json!({"ServiceId": service});
    assert_eq!(door.ok("GetServiceAttributes", get.clone()).await, described(json!({})));
    let update = json!({"ServiceId": service, "Attributes": {"a": "1", "b": ""}});
    assert_eq!(door.ok("UpdateServiceAttributes", update).await, json!({}));
    assert_eq!(door.ok("GetServiceAttributes", get.clone()).await, described(json!({"a": "1", "b": ""})));
    let delete = json!({"ServiceId": arn, "Attributes": ["a", "none"]});
    assert_eq!(door.ok("DeleteServiceAttributes", delete).await, json!({}));
    assert_eq!(door.ok("GetServiceAttributes", get).await, described(json!({"b": ""})));

    let many: serde_json::Map<_, _> = (0..30).map(|i| (i.to_string(), "v".into())).collect();
    let update = json!({"ServiceId": service, "Attributes": many});
    let (code, _) = door.refused("UpdateServiceAttributes", update).await;
    assert_eq!(code, "ServiceAttributesLimitExceededException");
    let missing = json!({"ServiceId": "srv-none"});
    assert_eq!(door.refused("GetServiceAttributes", missing).await.0, "ServiceNotFound");
}

#[tokio::test]
async fn exceeded_quotas_have_the_codes_of_the_api() {
    let quotas = Quotas::aws().with(Quota::Namespaces, 1);
    let cloud_map =
        CloudMap::builder(MemoryRegistry::new()).clock(ManualClock::default()).quotas(quotas).build();
    let mut door = Door(CloudMapService::new(cloud_map));
    door.ok("CreateHttpNamespace", json!({"Name": "app"})).await;
    let (code, message) = door.refused("CreateHttpNamespace", json!({"Name": "more"})).await;
    assert_eq!(code, "ResourceLimitExceeded");
    assert_eq!(message, "the quota of 1 namespaces in an account and Region is reached");
    let request = json!({"NamespaceName": "app", "ServiceName": "web"});
    for _ in 0..2000 {
        door.ok("DiscoverInstances", request.clone()).await;
    }
    assert_eq!(door.refused("DiscoverInstances", request).await.0, "RequestLimitExceeded");
}

#[tokio::test]
async fn errors_have_a_code_a_message_and_their_members() {
    let mut door = Door::new();
    let service = door.web().await;
    let namespace = door.ok("ListNamespaces", json!({})).await["Namespaces"][0]["Id"].clone();
    let request = json!({
        "Name": "web", "NamespaceId": namespace, "CreatorRequestId": "other",
        "DnsConfig": {"DnsRecords": [{"Type": "A", "TTL": 60}]},
    });
    let answer = door.raw("CreateService", request.to_string()).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.headers["content-type"], "application/x-amz-json-1.1");
    assert_eq!(answer.headers["x-amzn-requestid"].len(), 36);
    assert_eq!(
        answer.body,
        json!({
            "__type": "ServiceAlreadyExists", "Message": "Service already exists.", "ServiceId": service,
            "ServiceArn": format!("arn:aws:servicediscovery:us-east-1:123456789012:service/{service}"),
            "CreatorRequestId": "t",
        })
    );
    let (code, message) = door.refused("DeleteNamespace", json!({"Id": namespace})).await;
    assert_eq!(code, "ResourceInUse");
    assert_eq!(
        message,
        "Namespace has associated services; delete the services before deleting the namespace"
    );
}

#[tokio::test]
async fn a_missing_member_is_named() {
    let mut door = Door::new();
    let (code, message) = door.refused("GetNamespace", json!({})).await;
    assert_eq!(code, "InvalidInput");
    assert_eq!(
        message,
        "1 validation error detected: Value null at 'id' failed to satisfy constraint: Member must not be null"
    );
    let (_, message) = door.refused("RegisterInstance", json!({"ServiceId": null})).await;
    for member in ["serviceId", "instanceId", "attributes"] {
        assert!(message.contains(&format!("Value null at '{member}'")), "{message}");
    }
}

#[tokio::test]
async fn bad_attributes_change_nothing() {
    let mut door = Door::new();
    let service = door.web().await;
    let good = json!({"AWS_INSTANCE_IPV4": "10.0.0.1", "AWS_INSTANCE_PORT": "80"});
    door.ok("RegisterInstance", json!({"ServiceId": service, "InstanceId": "i", "Attributes": good})).await;
    for (key, value) in [
        ("AWS_INSTANCE_IPV4", "10.0.0.256"),
        ("AWS_INSTANCE_IPV4", "host"),
        ("AWS_INSTANCE_PORT", "0"),
        ("AWS_INSTANCE_PORT", "65536"),
        ("AWS_INSTANCE_PORT", "+80"),
        ("key with blank", "x"),
        ("key", " leading blank"),
        ("key", "ünïcode"),
    ] {
        let mut attributes = good.clone();
        attributes[key] = value.into();
        let request = json!({"ServiceId": service, "InstanceId": "i", "Attributes": attributes});
        let (code, message) = door.refused("RegisterInstance", request).await;
        assert_eq!(code, "InvalidInput", "{key}={value}");
        let expected = match key {
            "AWS_INSTANCE_PORT" => "A valid port number must",
            "AWS_INSTANCE_IPV4" => "must be an IPv4 address",
            _ => "Member must",
        };
        assert!(message.contains(expected), "{key}={value}: {message}");
        assert!(key == "AWS_INSTANCE_PORT" || message.contains(key), "{key}={value}: {message}");
    }
    let found = door.ok("GetInstance", json!({"ServiceId": service, "InstanceId": "i"})).await;
    assert_eq!(found["Instance"]["Attributes"], good);
}

#[tokio::test]
async fn malformed_bodies_are_refused_with_a_reason() {
    let mut door = Door::new();
    for body in
        ["{", "[]", "\"x\"", r#"{"Name": 1}"#, r#"{"Name": "a"} trailing"#, "\u{0}", r#"{"Tags": {}}"#]
    {
        let answer = door.raw("CreateHttpNamespace", body.to_owned()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        let (code, message) = error(&answer);
        assert_eq!(code, "SerializationException", "{body}");
        assert!(message.len() > 20, "{message}");
    }
    let answer = door.raw("CreateHttpNamespace", vec![0xff; 10]).await;
    assert_eq!(error(&answer).0, "SerializationException");
    let answer = door.raw("CreateHttpNamespace", vec![b' '; BODY_LIMIT + 1]).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(error(&answer).0, "RequestEntityTooLargeException");
    // The deepest nesting that the limit allows does not overflow the stack.
    let answer = door.raw("CreateHttpNamespace", format!("{{\"X\":{}", "[".repeat(500_000))).await;
    assert_eq!(error(&answer).0, "SerializationException");
    assert_eq!(door.ok("ListNamespaces", json!({})).await, json!({"Namespaces": []}));
}

#[tokio::test]
async fn unknown_operations_are_refused() {
    let mut door = Door::new();
    let answer = door.raw("CreateEverything", "{}").await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(error(&answer).0, "UnknownOperationException");
    let answer = door.send(Request::get("/").body(Full::default()).unwrap()).await;
    assert_eq!(error(&answer).0, "UnknownOperationException");
}

#[tokio::test]
async fn a_request_in_an_unknown_protocol_is_told_both_protocols() {
    let mut door = Door::new();
    let request = Request::post("/service/Route53AutoNaming_v20170314/operation/ListNamespaces")
        .header("smithy-protocol", "rpc-v2-json")
        .body(Full::from("{}"))
        .unwrap();
    for request in [request, Request::get("/").body(Full::default()).unwrap()] {
        let answer = door.send(request).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        let (code, message) = error(&answer);
        assert_eq!(code, "UnknownOperationException");
        assert!(message.contains("awsJson1.1") && message.contains("rpc-v2-cbor"), "{message}");
    }
}

#[tokio::test]
async fn the_service_claims_only_cloud_map_requests() {
    let claims = |name: &str, value: &str, path: &str| {
        CloudMapService::claims(&Request::post(path).header(name, value).body(()).unwrap())
    };
    assert!(claims("x-amz-target", "Route53AutoNaming_v20170314.ListServices", "/"));
    assert!(!claims("x-amz-target", "AmazonEC2ContainerServiceV20141113.ListServices", "/"));
    let signed = "AWS4-HMAC-SHA256 Credential=a/20200913/us-east-1/servicediscovery/aws4_request";
    assert!(claims("authorization", signed, "/"));
    assert!(!claims("authorization", &signed.replace("servicediscovery", "ecs"), "/"));
    assert!(claims(
        "smithy-protocol",
        "rpc-v2-cbor",
        "/service/Route53AutoNaming_v20170314/operation/GetService"
    ));
    assert!(!claims("accept", "*/*", "/"));
}
