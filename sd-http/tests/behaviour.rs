//! docs/behaviour.md agrees with the code: it lists every operation, difference, time and quota, and no other.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use sd_backend_memory::MemoryRegistry;
use sd_core::{
    Action, CloudMap, CloudMapBuilder, ManualClock, Quotas, Timing,
    request::*,
    settings::{DIFFERENCES, Quota, RATES, RESOURCES},
};
use sd_http::CloudMapService;
use serde_json::{Value, json};
use tower_service::Service;

const PAGE: &str = include_str!("../docs/behaviour.md");

/// The rows of all tables whose header starts with `head`.
fn rows(head: &str) -> Vec<Vec<&'static str>> {
    let mut rows = Vec::new();
    let mut lines = PAGE.lines();
    while let Some(line) = lines.next() {
        if line.starts_with(head) {
            let table = lines.by_ref().skip(1).take_while(|line| line.starts_with('|'));
            rows.extend(table.map(|row| {
                let cells = row.trim_start_matches("| ").trim_end_matches('|').trim_end();
                cells.split(" | ").map(str::trim).collect::<Vec<_>>()
            }));
        }
    }
    rows
}

type Names = BTreeSet<String>;

/// The row of an operation.
struct Described {
    takes: Names,
    requires: Names,
    answers: Names,
    errors: Names,
}

fn operations() -> BTreeMap<Action, Described> {
    let mut operations = BTreeMap::new();
    for row in rows("| operation | takes |") {
        let [link, takes, answers, errors] = row[..] else { panic!("{row:?}") };
        let (name, url) = link.trim_matches(['[', ')']).split_once("](").unwrap();
        assert_eq!(url, format!("https://docs.aws.amazon.com/cloud-map/latest/api/API_{name}.html"));
        let names = |cell: &str| cell.split(", ").map(|name| name.trim_matches('*').to_owned()).collect();
        let bold = takes.split(", ").filter(|name| name.starts_with("**"));
        let described = Described {
            takes: names(takes),
            requires: bold.map(|name| name.trim_matches('*').to_owned()).collect(),
            answers: if answers == "nothing" { Names::new() } else { names(answers) },
            errors: names(errors),
        };
        let action = Action::parse(name).unwrap_or_else(|| panic!("unknown operation {name}"));
        assert!(operations.insert(action, described).is_none(), "{name} has two rows");
    }
    operations
}

/// The members of a request in lower case, from its fields.
fn members(request: &impl std::fmt::Debug) -> Names {
    let written = format!("{request:?}");
    let (_, fields) = written.split_once(" { ").unwrap();
    let fields = fields.trim_end_matches(" }").split(", ");
    let names = fields.map(|field| field.split_once(": ").unwrap().0);
    // `type` is a keyword in Rust.
    names.map(|name| if name == "service_type" { "type".into() } else { name.replace('_', "") }).collect()
}

/// Each operation with the members of its request, and whether it answers an `OperationId`.
macro_rules! requests {
    (
        write { $($write:ident $wm:ident $wq:ident => $wr:ty: $wp:path,)* }
        read { $($read:ident $rm:ident $rq:ident => $rr:ty: $rp:path,)* }
    ) => {
        fn requests() -> Vec<(Action, Names, bool)> {
            vec![
                $((Action::$write, members(&$wq::default()), stringify!($wr) == "OperationStarted"),)*
                $((Action::$read, members(&$rq::default()), false),)*
            ]
        }
    };
}

sd_core::for_each_action!(requests);

#[test]
fn the_page_lists_every_operation_with_the_members_of_its_request() {
    let operations = operations();
    assert_eq!(operations.keys().copied().collect::<Vec<_>>(), Action::ALL);
    for (action, members, starts_operation) in requests() {
        let described = &operations[&action];
        let takes: Names = described.takes.iter().map(|name| name.to_lowercase()).collect();
        assert_eq!(takes, members, "{action}");
        assert_eq!(described.answers.contains("OperationId"), starts_operation, "{action}");
    }
}

#[test]
fn the_page_lists_every_difference_time_and_quota() {
    let differences: Vec<_> = DIFFERENCES
        .iter()
        .map(|difference| {
            let point = format!("{:?}", difference.leniency);
            [point, difference.strict.into(), difference.lenient.into(), difference.source.into()]
        })
        .collect();
    assert_eq!(rows("| difference |"), differences);

    let timing =
        rows("| what | how long |").iter().map(|row| format!("{}: {}", row[0], row[1])).collect::<Vec<_>>();
    assert_eq!(format!("Timing {{ {} }}", timing.join(", ")), format!("{:?}", Timing::aws()));

    let quotas: Vec<_> = RESOURCES
        .iter()
        .map(|resource| [resource.quota.to_string(), resource.most.to_string(), resource.source.into()])
        .collect();
    assert_eq!(rows("| quota |"), quotas);
    let rates: Vec<_> = RATES
        .iter()
        .map(|rate| {
            let interval = format!("{:?}", rate.interval);
            [rate.action.to_string(), rate.burst.to_string(), interval, rate.source.into()]
        })
        .collect();
    assert_eq!(rows("| rate of |"), rates);
}

/// A door that records what each operation answers.
struct Door {
    service: CloudMapService,
    clock: Arc<ManualClock>,
    /// The members of each operation's answers.
    answers: BTreeMap<Action, Names>,
    /// The codes of each operation's errors.
    errors: BTreeMap<Action, Names>,
}

type Builder = CloudMapBuilder<MemoryRegistry>;

/// A service over an empty registry, and its clock.
fn over(configure: impl FnOnce(Builder) -> Builder) -> (CloudMapService, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::default());
    let builder = CloudMap::builder(MemoryRegistry::new()).clock(Arc::clone(&clock));
    (CloudMapService::new(configure(builder).build()), clock)
}

impl Door {
    /// Continues with an empty registry.
    fn over(&mut self, configure: impl FnOnce(Builder) -> Builder) {
        (self.service, self.clock) = over(configure);
    }

    async fn ask(&mut self, operation: &str, body: Value) -> Value {
        let action = Action::parse(operation).unwrap();
        let request = Request::post("/")
            .header("X-Amz-Target", format!("Route53AutoNaming_v20170314.{operation}"))
            .body(Full::<Bytes>::from(body.to_string()))
            .unwrap();
        let response = self.service.call(request).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let answer: Value = serde_json::from_slice(&body).unwrap();
        match answer["__type"].as_str() {
            Some(code) => drop(self.errors.entry(action).or_default().insert(code.to_owned())),
            None => {
                let members = answer.as_object().unwrap().keys().cloned();
                self.answers.entry(action).or_default().extend(members);
            }
        }
        answer
    }

    async fn ok(&mut self, operation: &str, body: Value) -> Value {
        let answer = self.ask(operation, body).await;
        assert!(answer.get("__type").is_none(), "{operation}: {answer}");
        answer
    }

    /// Sends requests and asserts that each is refused with this code.
    async fn refused(&mut self, code: &str, requests: impl IntoIterator<Item = (&str, Value)>) {
        for (operation, body) in requests {
            let answer = self.ask(operation, body.clone()).await;
            assert_eq!(answer["__type"], code, "{operation} {body}: {answer}");
        }
    }

    /// Creates an HTTP, a private and a public namespace. Returns their ids in this order.
    async fn namespaces(&mut self) -> [Value; 3] {
        self.ok("CreateHttpNamespace", json!({"Name": "api"})).await;
        self.ok("CreatePrivateDnsNamespace", json!({"Name": "app.local", "Vpc": "vpc-1"})).await;
        self.ok("CreatePublicDnsNamespace", json!({"Name": "example.com"})).await;
        self.clock.advance(Timing::aws().operation());
        let listed = self.ok("ListNamespaces", json!({})).await;
        [0, 1, 2].map(|i| listed["Namespaces"][i]["Id"].clone())
    }

    async fn service(&mut self, request: Value) -> Value {
        self.ok("CreateService", request).await["Service"]["Id"].clone()
    }
}

fn updates(namespaces: &[Value; 3]) -> [(&'static str, Value); 3] {
    let of = |i: usize| json!({"Id": namespaces[i], "Namespace": {"Description": "d"}});
    [
        ("UpdateHttpNamespace", of(0)),
        ("UpdatePrivateDnsNamespace", of(1)),
        ("UpdatePublicDnsNamespace", of(2)),
    ]
}

/// Requests that create namespaces with the same name.
fn creations(tags: usize) -> [(&'static str, Value); 3] {
    let tags: Vec<_> = (0..tags).map(|i| json!({"Key": i.to_string(), "Value": ""})).collect();
    let request = json!({"Name": "more.local", "Vpc": "vpc-1", "Tags": tags});
    ["CreateHttpNamespace", "CreatePrivateDnsNamespace", "CreatePublicDnsNamespace"]
        .map(|operation| (operation, request.clone()))
}

#[tokio::test]
async fn every_operation_answers_and_fails_as_the_page_says() {
    let operations = operations();
    let (service, clock) = over(|builder| builder);
    let mut door = Door { service, clock, answers: BTreeMap::new(), errors: BTreeMap::new() };

    for (action, described) in &operations {
        let answer = door.ask(action.as_str(), json!({"MaxResults": 0})).await;
        assert_eq!(answer["__type"], "InvalidInput", "{action}: {answer}");
        let message = answer["Message"].as_str().unwrap();
        let missing = message.split("Value null at '").skip(1).map(|rest| rest.split_once('\'').unwrap().0);
        let missing: Names =
            missing.map(|path| format!("{}{}", path[..1].to_uppercase(), &path[1..])).collect();
        assert_eq!(missing, described.requires, "{action}");
    }
    reads_and_instances(&mut door).await;
    door.over(|builder| builder.timing(Timing::aws()));
    operations_under_way(&mut door).await;
    let quotas = Quotas::aws().with(Quota::Namespaces, 3).with(Quota::InstancesPerService, 1);
    door.over(|builder| builder.quotas(quotas));
    limits(&mut door).await;

    for (action, described) in &operations {
        assert_eq!(door.answers[action], described.answers, "{action}");
        assert_eq!(door.errors[action], described.errors, "{action}");
    }
}

async fn reads_and_instances(door: &mut Door) {
    let namespaces = door.namespaces().await;
    let [http, private, _] = &namespaces;
    for (operation, request) in updates(&namespaces) {
        door.ok(operation, request).await;
    }
    door.ok("ListNamespaces", json!({"MaxResults": 1})).await;
    let arn = door.ok("GetNamespace", json!({"Id": http})).await["Namespace"]["Arn"].clone();
    door.ok("TagResource", json!({"ResourceARN": arn, "Tags": [{"Key": "k", "Value": "v"}]})).await;
    door.ok("UntagResource", json!({"ResourceARN": arn, "TagKeys": ["none"]})).await;
    door.ok("ListTagsForResource", json!({"ResourceARN": arn})).await;
    let custom = json!({"Name": "web", "NamespaceId": http, "HealthCheckCustomConfig": {}});
    let web = door.service(custom.clone()).await;
    let records = json!({"DnsRecords": [{"Type": "A", "TTL": 60}]});
    let dns = door.service(json!({"Name": "dns", "NamespaceId": private, "DnsConfig": records})).await;
    door.ok("UpdateService", json!({"Id": dns, "Service": {}})).await;
    door.ok("GetService", json!({"Id": web})).await;
    door.ok("ListServices", json!({"MaxResults": 1})).await;
    let full: BTreeMap<_, _> = (0..30).map(|i| (i.to_string(), "v")).collect();
    door.ok("UpdateServiceAttributes", json!({"ServiceId": web, "Attributes": full})).await;
    door.ok("GetServiceAttributes", json!({"ServiceId": web})).await;

    let of = |service: &Value, id: &str| json!({"ServiceId": service, "InstanceId": id});
    let with = |mut request: Value, member: &str, value: Value| {
        request[member] = value;
        request
    };
    for (service, id) in [(&web, "a"), (&web, "b"), (&dns, "a")] {
        door.ok("RegisterInstance", with(of(service, id), "Attributes", json!({}))).await;
    }
    let report = |service: &Value, id: &str| with(of(service, id), "Status", "UNHEALTHY".into());
    door.ok("GetInstance", of(&web, "a")).await;
    door.ok("ListInstances", json!({"ServiceId": web, "MaxResults": 1})).await;
    door.ok("GetInstancesHealthStatus", json!({"ServiceId": web, "MaxResults": 1})).await;
    door.ok("UpdateInstanceCustomHealthStatus", report(&web, "a")).await;
    let names = |namespace: &str, service: &str| json!({"NamespaceName": namespace, "ServiceName": service});
    door.ok("DiscoverInstances", names("api", "web")).await;
    door.ok("DiscoverInstances", names("api", "none")).await;
    door.ok("DiscoverInstancesRevision", names("api", "web")).await;

    let id = json!({"Id": "none"});
    let none = json!({"ServiceId": "none"});
    let unknown = json!("none");
    let in_none = with(custom.clone(), "NamespaceId", unknown.clone());
    let not_there = updates(&[unknown.clone(), unknown.clone(), unknown.clone()]);
    let requests =
        [("DeleteNamespace", id.clone()), ("GetNamespace", id.clone()), ("CreateService", in_none)];
    door.refused("NamespaceNotFound", requests.into_iter().chain(not_there)).await;
    let requests = ["DiscoverInstances", "DiscoverInstancesRevision"].map(|it| (it, names("none", "web")));
    door.refused("NamespaceNotFound", requests).await;
    let requests = [
        ("DeleteService", id.clone()),
        ("DeleteServiceAttributes", with(none.clone(), "Attributes", json!(["k"]))),
        ("DeregisterInstance", of(&unknown, "a")),
        ("DiscoverInstancesRevision", names("api", "none")),
        ("GetInstancesHealthStatus", none.clone()),
        ("GetService", id),
        ("GetServiceAttributes", none.clone()),
        ("ListInstances", none.clone()),
        ("RegisterInstance", with(of(&unknown, "a"), "Attributes", json!({}))),
        ("UpdateInstanceCustomHealthStatus", report(&unknown, "a")),
        ("UpdateService", json!({"Id": "none", "Service": {}})),
        ("UpdateServiceAttributes", with(none, "Attributes", json!({"k": "v"}))),
    ];
    door.refused("ServiceNotFound", requests).await;
    let requests = [
        ("DeregisterInstance", of(&web, "none")),
        ("GetInstance", of(&web, "none")),
        ("GetInstance", of(&unknown, "a")),
        ("GetInstancesHealthStatus", json!({"ServiceId": web, "Instances": ["none"]})),
        ("UpdateInstanceCustomHealthStatus", report(&web, "none")),
    ];
    door.refused("InstanceNotFound", requests).await;
    let tags: Vec<_> = (0..51).map(|i| json!({"Key": i.to_string(), "Value": ""})).collect();
    let many = [
        ("CreateService", json!({"Name": "more", "NamespaceId": http, "Tags": tags})),
        ("TagResource", json!({"ResourceARN": arn, "Tags": tags})),
    ];
    door.refused("TooManyTagsException", creations(51).into_iter().chain(many)).await;
    let attribute = json!({"ServiceId": web, "Attributes": {"one": "more"}});
    let nothing = json!({"ResourceARN": "none", "Tags": [], "TagKeys": []});
    for (code, operation, request) in [
        ("CustomHealthNotFound", "UpdateInstanceCustomHealthStatus", report(&dns, "a")),
        ("NamespaceAlreadyExists", "CreateHttpNamespace", json!({"Name": "api"})),
        ("OperationNotFound", "GetOperation", json!({"OperationId": "none"})),
        ("ResourceInUse", "DeleteNamespace", json!({"Id": http})),
        ("ResourceInUse", "DeleteService", json!({"Id": web})),
        ("ResourceNotFoundException", "ListTagsForResource", nothing.clone()),
        ("ResourceNotFoundException", "TagResource", nothing.clone()),
        ("ResourceNotFoundException", "UntagResource", nothing),
        ("ServiceAlreadyExists", "CreateService", custom),
        ("ServiceAttributesLimitExceededException", "UpdateServiceAttributes", attribute),
    ] {
        door.refused(code, [(operation, request)]).await;
    }

    door.ok("DeleteServiceAttributes", json!({"ServiceId": web, "Attributes": ["none"]})).await;
    let started = door.ok("DeregisterInstance", of(&dns, "a")).await;
    door.ok("GetOperation", started).await;
    door.ok("ListOperations", json!({"MaxResults": 1})).await;
    door.ok("DeleteService", json!({"Id": dns})).await;
    door.ok("DeleteNamespace", json!({"Id": private})).await;
}

async fn operations_under_way(door: &mut Door) {
    let namespaces = door.namespaces().await;
    door.ok("CreateHttpNamespace", json!({"Name": "more.local"})).await;
    door.refused("DuplicateRequest", creations(0)).await;
    for (operation, request) in updates(&namespaces) {
        door.ok(operation, request).await;
    }
    door.refused("DuplicateRequest", updates(&namespaces)).await;
    door.refused("DuplicateRequest", [("DeleteNamespace", json!({"Id": namespaces[0]}))]).await;
    let request = json!({"Name": "web", "NamespaceId": namespaces[1], "Type": "HTTP"});
    let service = door.service(request).await;
    let update = json!({"Id": service, "Service": {}});
    door.ok("UpdateService", update.clone()).await;
    let instance = json!({"ServiceId": service, "InstanceId": "a", "Attributes": {}});
    door.ok("RegisterInstance", instance.clone()).await;
    let again =
        [("UpdateService", update), ("RegisterInstance", instance.clone()), ("DeregisterInstance", instance)];
    door.refused("DuplicateRequest", again).await;
}

async fn limits(door: &mut Door) {
    let [http, ..] = door.namespaces().await;
    door.refused("ResourceLimitExceeded", creations(0)).await;
    let service = door.service(json!({"Name": "web", "NamespaceId": http})).await;
    let instance = |id: &str| json!({"ServiceId": service, "InstanceId": id, "Attributes": {}});
    door.ok("RegisterInstance", instance("a")).await;
    door.refused("ResourceLimitExceeded", [("RegisterInstance", instance("b"))]).await;
    let names = json!({"NamespaceName": "api", "ServiceName": "web"});
    for rate in RATES {
        for _ in 0..rate.burst {
            door.ok(rate.action.as_str(), names.clone()).await;
        }
        door.refused("RequestLimitExceeded", [(rate.action.as_str(), names.clone())]).await;
    }
}

#[test]
fn every_choice_and_every_text_states_its_evidence() {
    let rows = [rows("| question | here | evidence |"), rows("| case | text | evidence |")].concat();
    assert!(rows.len() > 90, "{}", rows.len());
    for row in rows {
        let known = row.last().unwrap();
        let ways = ["seen on AWS", "documented (", "our choice"];
        assert!(ways.iter().any(|way| known.trim_start_matches('[').starts_with(way)), "{row:?}");
    }
}

#[test]
fn the_page_lists_every_text_seen_on_aws() {
    let case: Value =
        serde_json::from_str(include_str!("../../tests/cases/refusals-seen-on-aws.json")).unwrap();
    let texts: Vec<_> =
        rows("| case | text | evidence |").into_iter().filter(|row| row[2].contains("seen on AWS")).collect();
    let refusals = case["steps"].as_array().unwrap().iter().filter(|step| step.get("error").is_some());
    let mut count = 0;
    for step in refusals {
        assert!(step["source"].is_string(), "{step}");
        let message = step["error"]["Message"].as_str().unwrap();
        // An ellipsis matches any text.
        let is_shown = |text: &str| {
            let mut rest = message;
            text.trim_matches('`').split('…').all(|part| match rest.find(part) {
                Some(place) => {
                    rest = &rest[place + part.len()..];
                    true
                }
                None => false,
            })
        };
        assert!(texts.iter().any(|row| is_shown(row[1])), "{message}");
        count += 1;
    }
    assert!(count > 25, "{count}");
}
