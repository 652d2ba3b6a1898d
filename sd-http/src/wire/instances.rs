//! Lists of instances, the longest and most frequent responses. Their JSON is joined from fragments that are encoded once
//! for each instance; their CBOR is encoded each time.

use std::sync::Arc;

use sd_core::{
    Error,
    door::{FoundInstances, wire_fragment},
    model::{AccountId, HealthStatus, Instance, InstancesRevision},
    response::{DiscoveredInstances, InstancePage},
};
use serde::Serialize;

use super::response::{AttributeMap, Body};
use crate::protocol::Protocol;

impl Body for InstancePage {
    fn encode(&self, protocol: Protocol) -> Result<Vec<u8>, Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct ListInstances<'a> {
            resource_owner: &'a str,
            instances: Vec<Summary<'a>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            next_token: Option<&'a str>,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Summary<'a> {
            id: &'a str,
            attributes: AttributeMap<'a>,
            created_by_account: &'a str,
        }
        if protocol == Protocol::Json {
            return Ok(page_json(self));
        }
        let instances = self.items.iter().map(|instance| Summary {
            id: instance.id.as_str(),
            attributes: AttributeMap(&instance.attributes),
            created_by_account: instance.created_by_account.as_str(),
        });
        protocol.encode(&ListInstances {
            resource_owner: self.resource_owner.as_str(),
            instances: instances.collect(),
            next_token: self.next_token.as_deref(),
        })
    }
}

impl Body for DiscoveredInstances {
    fn encode(&self, protocol: Protocol) -> Result<Vec<u8>, Error> {
        discovered(
            protocol,
            (self.namespace_name.as_str(), self.service_name.as_str()),
            self.instances.iter().map(|found| (&found.instance, found.health)),
            self.instances_revision,
        )
    }
}

impl Body for FoundInstances<'_> {
    fn encode(&self, protocol: Protocol) -> Result<Vec<u8>, Error> {
        let names = (self.namespace_name.as_str(), self.service_name.as_str());
        discovered(protocol, names, self.instances(), self.instances_revision)
    }
}

/// Encodes the response of DiscoverInstances: the names of namespace and service, the instances with their health, the
/// revision.
fn discovered<'a>(
    protocol: Protocol,
    (namespace_name, service_name): (&str, &str),
    instances: impl Iterator<Item = (&'a Arc<Instance>, HealthStatus)> + Clone,
    revision: InstancesRevision,
) -> Result<Vec<u8>, Error> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct DiscoverInstances<'a> {
        instances: Vec<HttpInstanceSummary<'a>>,
        instances_revision: u64,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct HttpInstanceSummary<'a> {
        instance_id: &'a str,
        attributes: AttributeMap<'a>,
        health_status: &'static str,
        namespace_name: &'a str,
        service_name: &'a str,
    }
    let revision = revision.as_u64();
    if protocol == Protocol::Json {
        return Ok(discovered_json((namespace_name, service_name), instances, revision));
    }
    let instances = instances.map(|(instance, health)| HttpInstanceSummary {
        instance_id: instance.id.as_str(),
        attributes: AttributeMap(&instance.attributes),
        health_status: health.as_str(),
        namespace_name,
        service_name,
    });
    protocol.encode(&DiscoverInstances { instances: instances.collect(), instances_revision: revision })
}

/// `"<id>","Attributes":{…}`, encoded once for each instance. The lists differ in what is around it.
fn fragment(instance: &Instance) -> &[u8] {
    wire_fragment(instance, |instance| {
        let mut bytes = Vec::with_capacity(512);
        push_text(&mut bytes, instance.id.as_str());
        bytes.extend_from_slice(b",\"Attributes\":{");
        for (i, (key, value)) in instance.attributes.iter().enumerate() {
            if i > 0 {
                bytes.push(b',');
            }
            push_text(&mut bytes, key);
            bytes.push(b':');
            push_text(&mut bytes, value);
        }
        bytes.push(b'}');
        bytes.into()
    })
}

fn push_text(bytes: &mut Vec<u8>, text: &str) {
    // Writing a string into a vector cannot fail.
    let _ = serde_json::to_writer(bytes, text);
}

fn push_account(bytes: &mut Vec<u8>, account: &AccountId) {
    push_text(bytes, account.as_str());
}

fn push_number(bytes: &mut Vec<u8>, number: u64) {
    let _ = serde_json::to_writer(bytes, &number);
}

/// The start of an instance after the first.
const NEXT: &[u8] = b",{\"InstanceId\":";

/// The usual octets of the names of namespace and service, with what is around them.
const NAMES: usize = 128;

/// The usual octets of an instance in a list, besides its fragment.
const AROUND: usize = 64;

fn page_json(page: &InstancePage) -> Vec<u8> {
    let InstancePage { resource_owner, items, next_token, .. } = page;
    let capacity = items.iter().map(|instance| fragment(instance).len() + AROUND).sum::<usize>();
    let mut bytes = Vec::with_capacity(capacity + 256);
    bytes.extend_from_slice(b"{\"ResourceOwner\":");
    push_account(&mut bytes, resource_owner);
    bytes.extend_from_slice(b",\"Instances\":[");
    for (i, instance) in items.iter().enumerate() {
        bytes.extend_from_slice(if i == 0 { b"{\"Id\":" } else { b",{\"Id\":" });
        bytes.extend_from_slice(fragment(instance));
        bytes.extend_from_slice(b",\"CreatedByAccount\":");
        push_account(&mut bytes, &instance.created_by_account);
        bytes.push(b'}');
    }
    bytes.push(b']');
    if let Some(token) = next_token {
        bytes.extend_from_slice(b",\"NextToken\":");
        push_text(&mut bytes, token);
    }
    bytes.push(b'}');
    bytes
}

fn discovered_json<'a>(
    (namespace_name, service_name): (&str, &str),
    instances: impl Iterator<Item = (&'a Arc<Instance>, HealthStatus)> + Clone,
    revision: u64,
) -> Vec<u8> {
    let mut names = Vec::with_capacity(NAMES);
    names.extend_from_slice(b"\",\"NamespaceName\":");
    push_text(&mut names, namespace_name);
    names.extend_from_slice(b",\"ServiceName\":");
    push_text(&mut names, service_name);
    names.push(b'}');
    let around = names.len() + AROUND;
    let capacity = instances.clone().map(|(instance, _)| fragment(instance).len() + around).sum::<usize>();
    let mut bytes = Vec::with_capacity(capacity + 64);
    bytes.extend_from_slice(b"{\"Instances\":[");
    // The text between two fragments is mostly the same.
    let mut tail = Vec::with_capacity(around);
    let mut tail_of = None;
    for (instance, health) in instances {
        if tail_of != Some(health) {
            tail.clear();
            tail.extend_from_slice(b",\"HealthStatus\":\"");
            tail.extend_from_slice(health.as_str().as_bytes());
            tail.extend_from_slice(&names);
            tail.extend_from_slice(NEXT);
        }
        if tail_of.is_none() {
            bytes.extend_from_slice(&NEXT[1..]);
        }
        tail_of = Some(health);
        bytes.extend_from_slice(fragment(instance));
        bytes.extend_from_slice(&tail);
    }
    if tail_of.is_some() {
        bytes.truncate(bytes.len() - NEXT.len());
    }
    bytes.extend_from_slice(b"],\"InstancesRevision\":");
    push_number(&mut bytes, revision);
    bytes.push(b'}');
    bytes
}
