//! Values of a case: replaces variables and expands generators.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The variables of a case.
#[derive(Clone, Copy)]
pub(super) struct Variables<'v> {
    /// Saved values by name.
    pub(super) saved: &'v BTreeMap<String, Value>,
    /// The variable `n`: the count from 1 in lists, maps and repetitions, and unset outside of them.
    pub(super) n: u64,
}

/// The value with variables replaced and generators expanded.
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

/// The members of a request. A name that begins with `$` is an unknown generator.
pub(super) fn fill_request(members: &Map<String, Value>, variables: Variables<'_>) -> Result<Value, String> {
    let request = Value::Object(fill_members(members, variables)?);
    match unknown(&request) {
        Some(name) => Err(format!("unknown generator {name} in a request")),
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
    let times = times.as_u64().ok_or("$times must be a number")?;
    let mut others = members.iter().filter(|(name, _)| *name != "$times");
    let (Some((name, of)), None) = (others.next(), others.next()) else {
        return Err("$times needs $text, $list or $map beside it".to_owned());
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
                let Value::Object(part) = part? else { return Err("$map must be a map".to_owned()) };
                all.extend(part);
            }
            Ok(Value::Object(all))
        }
        name => Err(format!("unknown generator {name}: expected $text, $list or $map")),
    }
}

/// A text that consists of one variable becomes its value, of any type.
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
        let (name, after) =
            after.split_once('}').ok_or_else(|| format!("a variable in {value:?} has no closing brace"))?;
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
        _ => variables.saved.get(name).cloned().ok_or_else(|| format!("unknown variable {name}")),
    }
}
