//! Values of a case: variables are put in, and what is long is written out.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The variables of a case.
#[derive(Clone, Copy)]
pub(super) struct Variables<'v> {
    /// What was saved, by name.
    pub(super) saved: &'v BTreeMap<String, Value>,
    /// The variable `n`, which counts from 1 in lists, maps and repetitions, and is not there outside.
    pub(super) n: u64,
}

/// The value with its variables put in and its generators written out.
pub(super) fn fill(value: &Value, variables: Variables<'_>) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => fill_text(text, variables)?,
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| fill(item, variables)).collect::<Result<_, _>>()?)
        }
        Value::Object(members) => match members.get("$times") {
            Some(times) => generate(members, times, variables)?,
            None => Value::Object(fill_members(members, variables)?),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    })
}

/// The members of a request. A member is never named with a `$`: that is a generator that nobody knows.
pub(super) fn fill_request(members: &Map<String, Value>, variables: Variables<'_>) -> Result<Value, String> {
    let request = Value::Object(fill_members(members, variables)?);
    match unknown(&request) {
        Some(name) => Err(format!("{name} means nothing in a request")),
        None => Ok(request),
    }
}

fn unknown(value: &Value) -> Option<&str> {
    match value {
        Value::Array(items) => items.iter().find_map(unknown),
        Value::Object(members) => members
            .iter()
            .find_map(|(name, value)| if name.starts_with('$') { Some(&**name) } else { unknown(value) }),
        _ => None,
    }
}

fn fill_members(
    members: &Map<String, Value>,
    variables: Variables<'_>,
) -> Result<Map<String, Value>, String> {
    let fill_member =
        |(name, value): (&String, &Value)| Ok((text(name, variables)?, fill(value, variables)?));
    members.iter().map(fill_member).collect()
}

/// `{"$text": …}`, `{"$list": …}` and `{"$map": …}` with `"$times"`.
fn generate(members: &Map<String, Value>, times: &Value, variables: Variables<'_>) -> Result<Value, String> {
    let times = times.as_u64().ok_or("$times is no number")?;
    let mut others = members.iter().filter(|(name, _)| *name != "$times");
    let (Some((name, of)), None) = (others.next(), others.next()) else {
        return Err("$times goes with $text, $list or $map".to_owned());
    };
    let each = || (1..=times).map(|n| fill(of, Variables { n, ..variables }));
    match name.as_str() {
        "$list" => Ok(Value::Array(each().collect::<Result<_, _>>()?)),
        "$text" => each()
            .map(|part| part.map(|part| as_text(&part)))
            .collect::<Result<String, String>>()
            .map(Value::String),
        "$map" => {
            let mut all = Map::new();
            for part in each() {
                let Value::Object(part) = part? else { return Err("$map is no map".to_owned()) };
                all.extend(part);
            }
            Ok(Value::Object(all))
        }
        name => Err(format!("{name} cannot be made several times")),
    }
}

/// A text that is nothing but a variable is its value, of whatever type.
fn fill_text(value: &str, variables: Variables<'_>) -> Result<Value, String> {
    match value.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) {
        Some(name) if !name.contains('}') => variable(name, variables),
        _ => text(value, variables).map(Value::String),
    }
}

fn text(value: &str, variables: Variables<'_>) -> Result<String, String> {
    let mut filled = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after.split_once('}').ok_or_else(|| format!("{value:?} has no end"))?;
        filled.push_str(before);
        filled.push_str(&as_text(&variable(name, variables)?));
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

fn as_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn variable(name: &str, variables: Variables<'_>) -> Result<Value, String> {
    match (name, variables.n) {
        ("n", n @ 1..) => Ok(n.into()),
        _ => variables.saved.get(name).cloned().ok_or_else(|| format!("nothing was saved as {name}")),
    }
}
