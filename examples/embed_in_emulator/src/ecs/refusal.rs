//! Errors, and what is checked of every request.

use serde_json::{Value, json};

/// An error of the API.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(super) fn client(message: impl Into<String>) -> Self {
        Self::new("ClientException", message)
    }

    pub(super) fn parameter(message: impl Into<String>) -> Self {
        Self::new("InvalidParameterException", message)
    }

    /// For what ECS has and this emulator lacks. The text is ours.
    pub(super) fn unsupported(what: &str) -> Self {
        Self::new("UnsupportedFeatureException", format!("This emulator does not support {what}."))
    }
}

/// Members that change what happens, and that this emulator lacks. Others that it does not know are ignored.
const UNSUPPORTED: [(&str, &[&str]); 4] = [
    ("CreateCluster", &["serviceConnectDefaults", "capacityProviders", "defaultCapacityProviderStrategy"]),
    ("CreateService", SERVICE),
    ("UpdateService", SERVICE),
    ("RunTask", RUN_TASK),
];
const RUN_TASK: &[&str] = &[
    "capacityProviderStrategy",
    "enableECSManagedTags",
    "enableExecuteCommand",
    "overrides",
    "placementConstraints",
    "placementStrategy",
    "propagateTags",
    "volumeConfigurations",
];
const SERVICE: &[&str] = &[
    "capacityProviderStrategy",
    "enableECSManagedTags",
    "enableExecuteCommand",
    "placementConstraints",
    "placementStrategy",
    "propagateTags",
    "serviceConnectConfiguration",
    "volumeConfigurations",
    "vpcLatticeConfigurations",
];

/// Refuses a request with members that this emulator lacks, unless they are empty or turned off.
pub(super) fn refuse_unsupported(operation: &str, input: &Value) -> Result<(), Refusal> {
    let members = UNSUPPORTED.iter().find(|(of, _)| *of == operation).map_or(&[][..], |(_, members)| members);
    match members.iter().find(|member| is_set(&input[**member])) {
        Some(member) => Err(Refusal::unsupported(member)),
        None => Ok(()),
    }
}

/// Whether a member asks for something.
pub(super) fn is_set(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) if text == "NONE" => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) if members.get("enabled") == Some(&json!(false)) => false,
        Value::Object(members) => members.values().any(is_set),
        Value::Bool(true) | Value::Number(_) | Value::String(_) => true,
    }
}

/// The items of a page, which are sorted, under their name, with the token of the next page. A token is the last item of the
/// page before, which may be gone by now.
///
/// # Errors
/// An invalid `nextToken` or `maxResults`.
pub(super) fn page(name: &str, arns: impl Iterator<Item = String>, input: &Value) -> Result<Value, Refusal> {
    paged(name, arns.map(|arn| (arn.clone(), arn)).collect(), input)
}

/// The same of items with their sort keys, in ascending order, or in descending order if the request asks for it.
pub(super) fn paged(name: &str, mut items: Vec<(String, String)>, input: &Value) -> Result<Value, Refusal> {
    let size = match &input["maxResults"] {
        Value::Null => 100,
        // The text is ours.
        size => size
            .as_u64()
            .filter(|size| (1..=100).contains(size))
            .ok_or_else(|| Refusal::parameter("The value for 'maxResults' must be between 1 and 100."))?,
    };
    if let Some(token) = input["nextToken"].as_str() {
        if !token.starts_with("arn:") {
            return Err(Refusal::parameter("Invalid token.")); // Our text.
        }
        let is_descending = input["sort"] == "DESC";
        items.retain(|(key, _)| if is_descending { key.as_str() < token } else { key.as_str() > token });
    }
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let is_last = items.len() <= size;
    items.truncate(size);
    let token = items.last().filter(|_| !is_last).map(|(key, _)| key.clone());
    let mut output = json!({name: items.into_iter().map(|(_, arn)| arn).collect::<Vec<_>>()});
    if let Some(token) = token {
        output["nextToken"] = json!(token);
    }
    Ok(output)
}
