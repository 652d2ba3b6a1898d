//! The largest requests: each list and map of the API filled with as many entries as a body takes, over a registry with
//! many instances and operations.
//!
//! The size of such a request and of its page must bound its cost. `tests/tests/largest.rs` counts allocations,
//! `tests/costs/check.py` instructions.

use std::iter;

use sd_backend_memory::MemoryRegistry;
use sd_core::{
    Action, Error, Scope, SyncCloudMap, SyncScopedCloudMap,
    model::RecordType,
    request::{
        CreatePrivateDnsNamespaceRequest, CreateServiceRequest, DnsConfigInput, HealthCheckCustomConfigInput,
        RegisterInstanceRequest,
    },
};
use serde_json::{Value, json};

use crate::model::{Shape, operations, structure};

/// The largest body in bytes (`sd_http::Limits`).
pub const BODY: usize = 1 << 20;

/// A request in which one member has many entries.
#[derive(Debug)]
#[non_exhaustive]
pub struct Largest {
    /// The operation to call.
    pub action: Action,
    /// The member and the kind of entries, for messages.
    pub name: String,
    /// The body before and after the entries.
    around: [String; 2],
    entry: Entry,
}

/// How the entries are generated.
#[derive(Debug)]
enum Entry {
    /// This entry again and again.
    Same(String),
    /// A different map key each time.
    Key,
    /// A different text each time.
    Text,
}

impl Largest {
    /// The body, filled up to at most `octets` bytes.
    #[must_use]
    pub fn body(&self, octets: usize) -> String {
        let [before, after] = &self.around;
        let mut body = String::with_capacity(octets);
        body.push_str(before);
        for number in 0_usize.. {
            let entry = match &self.entry {
                Entry::Same(entry) => entry.clone(),
                Entry::Key => format!(r#""{number}":"""#),
                Entry::Text => format!(r#""{number}""#),
            };
            if body.len() + 1 + entry.len() + after.len() > octets {
                break;
            }
            if number > 0 {
                body.push(',');
            }
            body.push_str(&entry);
        }
        body.push_str(after);
        body
    }
}

/// A request for each list and map of each operation, with the smallest entries and with typical ones.
///
/// # Errors
/// The model cannot be read.
pub fn all(service: &str) -> Result<Vec<Largest>, String> {
    let mut found = Vec::new();
    let arn = format!("arn:aws:servicediscovery:us-east-1:123456789012:service/{service}");
    for (operation, members) in operations()? {
        let action = Action::parse(&operation).ok_or_else(|| format!("unknown operation {operation}"))?;
        // The target exists. Otherwise the request would be refused before it costs anything.
        let mut base = structure(&members);
        for (member, target) in [
            ("Id", service),
            ("ServiceId", service),
            ("ResourceARN", &arn),
            ("NamespaceName", "app.local"),
            ("ServiceName", "web"),
        ] {
            if let Some(value) = base.get_mut(member) {
                *value = json!(target);
            }
        }
        for member in &members {
            fill(member, &operation, &|value| {
                let mut request = base.clone();
                request[member.name()] = value;
                request
            })
            .into_iter()
            .for_each(|(name, around, entry)| found.push(Largest { action, name, around, entry }));
        }
    }
    Ok(found)
}

/// The lists and maps in a member. `wrap` turns a value of the member into a request.
fn fill(member: &Shape, parent: &str, wrap: &dyn Fn(Value) -> Value) -> Vec<(String, [String; 2], Entry)> {
    // A placeholder for the entries, until the request is encoded.
    const MARK: &str = "<entries>";
    let name = format!("{parent}.{}", member.name());
    let around = |value: Value| {
        let text = wrap(value).to_string();
        let (before, after) = text.split_once(MARK).unwrap_or((&text, ""));
        // The placeholder is in quotes: as a text, or as a key with its value.
        let after = after.strip_prefix(r#"":null"#).or(after.strip_prefix('"')).unwrap_or(after);
        [before.strip_suffix('"').unwrap_or(before).to_owned(), after.to_owned()]
    };
    let inner = |members: &[Shape], wrap: &dyn Fn(Value) -> Value| {
        let all = members.iter().flat_map(|inner| {
            fill(inner, &name, &|value| {
                let mut object = structure(members);
                object[inner.name()] = value;
                wrap(object)
            })
        });
        all.collect::<Vec<_>>()
    };
    match (member.kind.as_str(), &member.item) {
        ("structure", _) => inner(&member.members, wrap),
        ("list", Some(item)) => {
            let same = if item.kind == "structure" {
                ["{}".to_owned(), item.right().to_string()]
            } else {
                [r#""""#.to_owned(), r#""i-1""#.to_owned()]
            };
            let mut found: Vec<_> = same
                .into_iter()
                .map(|entry| (format!("{name} {entry}"), around(json!([MARK])), Entry::Same(entry)))
                .collect();
            if item.kind != "structure" {
                found.push((format!("{name} different"), around(json!([MARK])), Entry::Text));
            }
            found.extend(inner(&item.members, &|object| wrap(json!([object]))));
            if name.ends_with(".Filters") {
                // Filters that match, so that every operation is read.
                for (filter, value) in [("STATUS", "SUCCESS"), ("STATUS", "FAIL"), ("RESOURCE_OWNER", "SELF")]
                {
                    let entry = json!({"Name": filter, "Values": [value]}).to_string();
                    found.push((
                        format!("{name} {filter} {value}"),
                        around(json!([MARK])),
                        Entry::Same(entry),
                    ));
                    let values = around(json!([{"Name": filter, "Condition": "IN", "Values": [MARK]}]));
                    found.push((
                        format!("{name} {filter} in {value}"),
                        values,
                        Entry::Same(json!(value).to_string()),
                    ));
                }
            }
            found
        }
        ("map", _) => vec![(format!("{name} different"), around(json!({ MARK: null })), Entry::Key)],
        _ => Vec::new(),
    }
}

/// A registry with a service of `instances` instances, each registered by its own operation, and the service's id.
///
/// # Errors
/// Those of the engine.
pub fn filled(instances: usize) -> Result<(SyncScopedCloudMap, String), Error> {
    let cloud_map = SyncCloudMap::new(MemoryRegistry::new()).at(Scope::default());
    let app = CreatePrivateDnsNamespaceRequest::new("app.local", "vpc-1");
    let app = cloud_map.create_private_dns_namespace(app)?;
    let service = CreateServiceRequest::new("web")
        .with_namespace_id(app.namespace_id)
        .with_health_check_custom_config(HealthCheckCustomConfigInput::default())
        .with_dns_config(DnsConfigInput::new([(RecordType::A, 60)]));
    let service = cloud_map.create_service(service)?.id.to_string();
    for number in iter::successors(Some(1), |number| Some(number + 1)).take(instances) {
        cloud_map.register_instance(
            RegisterInstanceRequest::new(&service, format!("i-{number}"))
                .with_attribute("AWS_INSTANCE_IPV4", "10.0.0.1"),
        )?;
    }
    Ok((cloud_map, service))
}
