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
    ("RunTask", &["capacityProviderStrategy", "overrides", "volumeConfigurations"]),
];
const SERVICE: &[&str] = &[
    "capacityProviderStrategy",
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
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) if members.get("enabled") == Some(&json!(false)) => false,
        Value::Object(members) => members.values().any(is_set),
        Value::Bool(true) | Value::Number(_) | Value::String(_) => true,
    }
}

/// The items of a page, under their name, with the token of the next page. A token is the last item of the page before.
///
/// # Errors
/// An invalid `nextToken` or `maxResults`.
pub(super) fn page(name: &str, arns: impl Iterator<Item = String>, input: &Value) -> Result<Value, Refusal> {
    let size = match &input["maxResults"] {
        Value::Null => 100,
        // The text is ours.
        size => size
            .as_u64()
            .filter(|size| (1..=100).contains(size))
            .ok_or_else(|| Refusal::parameter("The value for 'maxResults' must be between 1 and 100."))?,
    };
    let mut arns: Vec<String> = arns.collect();
    if let Some(token) = input["nextToken"].as_str() {
        // The text is ours.
        let last = arns.iter().position(|arn| arn == token);
        let last = last.ok_or_else(|| Refusal::parameter("Invalid token."))?;
        arns.drain(..=last);
    }
    let is_last = arns.len() as u64 <= size;
    arns.truncate(usize::try_from(size).unwrap_or(usize::MAX));
    let mut output = json!({name: arns});
    if !is_last {
        output["nextToken"] = json!(arns.last());
    }
    Ok(output)
}
