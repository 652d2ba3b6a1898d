//! Lists of instances: the answers that are long and asked for often. Their JSON is put together from fragments that are
//! encoded once for an instance; their CBOR is encoded each time.

use sd_core::{
    Error,
    ids::AccountId,
    model::Instance,
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
        let instances = self.page.items.iter().map(|instance| Summary {
            id: instance.id.as_str(),
            attributes: AttributeMap(&instance.attributes),
            created_by_account: instance.created_by_account.as_str(),
        });
        protocol.encode(&ListInstances {
            resource_owner: self.resource_owner.as_str(),
            instances: instances.collect(),
            next_token: self.page.next_token.as_deref(),
        })
    }
}

impl Body for DiscoveredInstances {
    fn encode(&self, protocol: Protocol) -> Result<Vec<u8>, Error> {
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
        if protocol == Protocol::Json {
            return Ok(discovered_json(self));
        }
        let instances = self.instances.iter().map(|(instance, health)| HttpInstanceSummary {
            instance_id: instance.id.as_str(),
            attributes: AttributeMap(&instance.attributes),
            health_status: health.as_str(),
            namespace_name: self.namespace_name.as_str(),
            service_name: self.service_name.as_str(),
        });
        protocol.encode(&DiscoverInstances {
            instances: instances.collect(),
            instances_revision: self.instances_revision.as_u64(),
        })
    }
}

/// `"<id>","Attributes":{…}`, encoded once for an instance: what stands before and after it differs.
fn fragment(instance: &Instance) -> &[u8] {
    instance.wire_fragment(|instance| {
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

/// The octets of an instance in a list besides its fragment, about.
const AROUND: usize = 64;

fn page_json(page: &InstancePage) -> Vec<u8> {
    let InstancePage { page, resource_owner, .. } = page;
    let capacity = page.items.iter().map(|instance| fragment(instance).len() + AROUND).sum::<usize>();
    let mut bytes = Vec::with_capacity(capacity + 256);
    bytes.extend_from_slice(b"{\"ResourceOwner\":");
    push_account(&mut bytes, resource_owner);
    bytes.extend_from_slice(b",\"Instances\":[");
    for (i, instance) in page.items.iter().enumerate() {
        bytes.extend_from_slice(if i == 0 { b"{\"Id\":" } else { b",{\"Id\":" });
        bytes.extend_from_slice(fragment(instance));
        bytes.extend_from_slice(b",\"CreatedByAccount\":");
        push_account(&mut bytes, &instance.created_by_account);
        bytes.push(b'}');
    }
    bytes.push(b']');
    if let Some(token) = &page.next_token {
        bytes.extend_from_slice(b",\"NextToken\":");
        push_text(&mut bytes, token);
    }
    bytes.push(b'}');
    bytes
}

fn discovered_json(found: &DiscoveredInstances) -> Vec<u8> {
    let mut names = b"\",\"NamespaceName\":".to_vec();
    push_text(&mut names, found.namespace_name.as_str());
    names.extend_from_slice(b",\"ServiceName\":");
    push_text(&mut names, found.service_name.as_str());
    names.push(b'}');
    let around = names.len() + AROUND;
    let capacity =
        found.instances.iter().map(|(instance, _)| fragment(instance).len() + around).sum::<usize>();
    let mut bytes = Vec::with_capacity(capacity + 64);
    bytes.extend_from_slice(b"{\"Instances\":[");
    // What follows the fragment is mostly the same for all.
    let mut tail = Vec::with_capacity(around);
    let mut tail_of = None;
    for (i, (instance, health)) in found.instances.iter().enumerate() {
        if tail_of != Some(*health) {
            tail_of = Some(*health);
            tail.clear();
            tail.extend_from_slice(b",\"HealthStatus\":\"");
            tail.extend_from_slice(health.as_str().as_bytes());
            tail.extend_from_slice(&names);
        }
        bytes.extend_from_slice(if i == 0 { b"{\"InstanceId\":" } else { b",{\"InstanceId\":" });
        bytes.extend_from_slice(fragment(instance));
        bytes.extend_from_slice(&tail);
    }
    bytes.extend_from_slice(b"],\"InstancesRevision\":");
    bytes.extend_from_slice(found.instances_revision.as_u64().to_string().as_bytes());
    bytes.push(b'}');
    bytes
}
