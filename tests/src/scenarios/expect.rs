//! Compares answers with what a case expects.

use serde_json::{Map, Value};

/// Compares a value with `expected`, in which variables are already replaced. Structures may have more members than
/// expected; lists may not have more items.
///
/// # Errors
/// Says where the value differs, or which part of `expected` is invalid.
pub(super) fn matches(expected: &Value, found: &Value) -> Result<(), String> {
    at("", expected, Some(found))
}

fn at(path: &str, expected: &Value, found: Option<&Value>) -> Result<(), String> {
    if expected == "<absent>" {
        return found.map_or(Ok(()), |found| Err(format!("{path} exists: {found}")));
    }
    let found = found.ok_or_else(|| format!("{path} is missing"))?;
    let differs = || Err(format!("{path} is {found}, not {expected}"));
    match (expected, found) {
        (Value::Object(members), _) if members.keys().any(|name| name.starts_with('$')) => {
            matcher(path, members, found)
        }
        (Value::Object(members), Value::Object(all)) => {
            members.iter().try_for_each(|(name, value)| at(&format!("{path}/{name}"), value, all.get(name)))
        }
        (Value::Array(items), Value::Array(all)) if items.len() == all.len() => {
            let mut pairs = items.iter().zip(all).enumerate();
            pairs.try_for_each(|(i, (item, found))| at(&format!("{path}/{i}"), item, Some(found)))
        }
        (Value::String(text), _) if text.starts_with('<') && text.ends_with('>') => {
            if is_kind(text, found)? {
                Ok(())
            } else {
                differs()
            }
        }
        (Value::Number(expected), Value::Number(found)) if expected.as_f64() == found.as_f64() => Ok(()),
        _ if expected == found => Ok(()),
        _ => differs(),
    }
}

/// `{"$exactly": {…}}`, `{"$unordered": […]}`, `{"$contains": "…"}`, `{"$above": 1}`, `{"$not": …}`.
fn matcher(path: &str, members: &Map<String, Value>, found: &Value) -> Result<(), String> {
    let mut each = members.iter();
    let (Some((name, expected)), None) = (each.next(), each.next()) else {
        return Err(format!("a matcher has other members beside it at {path}: {members:?}"));
    };
    let differs = || Err(format!("{path} is {found}, not {name} {expected}"));
    match (name.as_str(), expected, found) {
        ("$exactly", Value::Object(members), Value::Object(all)) => {
            match all.keys().find(|name| !members.contains_key(*name)) {
                Some(name) => Err(format!("{path}/{name} exists: {found}")),
                None => at(path, expected, Some(found)),
            }
        }
        ("$unordered", Value::Array(items), Value::Array(all)) if items.len() == all.len() => {
            let mut rest: Vec<&Value> = all.iter().collect();
            for item in items {
                let place = rest.iter().position(|found| at(path, item, Some(found)).is_ok());
                let place = place.ok_or_else(|| format!("{path} has no {item}: {found}"))?;
                rest.remove(place);
            }
            Ok(())
        }
        ("$not", _, _) if is_plain(expected) => {
            if expected == found {
                differs()
            } else {
                Ok(())
            }
        }
        ("$contains", Value::String(part), Value::String(text)) if text.contains(part.as_str()) => Ok(()),
        ("$above", Value::Number(bound), Value::Number(number)) if number.as_f64() > bound.as_f64() => Ok(()),
        ("$exactly", Value::Object(_), _)
        | ("$unordered", Value::Array(_), _)
        | ("$contains", Value::String(_), _)
        | ("$above", Value::Number(_), _) => differs(),
        _ => Err(format!("invalid matcher {name} {expected} at {path}")),
    }
}

/// Whether the value contains no matcher. `$not` takes only plain values, because an invalid matcher would never match.
fn is_plain(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.starts_with('<'),
        Value::Array(items) => items.iter().all(is_plain),
        Value::Object(members) => {
            members.iter().all(|(name, value)| !name.starts_with('$') && is_plain(value))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    }
}

/// Whether a random value has the form of its kind.
fn is_kind(kind: &str, found: &Value) -> Result<bool, String> {
    let text = found.as_str();
    let base32 = |text: &str, length| {
        text.len() == length && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'))
    };
    let id = |prefix| text.and_then(|text| text.strip_prefix(prefix)).is_some_and(|rest| base32(rest, 16));
    Ok(match kind {
        "<namespace id>" => id("ns-"),
        "<service id>" => id("srv-"),
        "<operation id>" => text.and_then(|text| text.split_once('-')).is_some_and(|(random, moment)| {
            base32(random, 32) && moment.len() == 8 && moment.bytes().all(|b| b.is_ascii_alphanumeric())
        }),
        "<zone id>" => text.and_then(|text| text.strip_prefix('Z')).is_some_and(|rest| {
            rest.len() > 12 && rest.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
        }),
        "<time>" => found.as_f64().is_some_and(|seconds| seconds > 1e9 && seconds < 1e10),
        "<text>" => text.is_some_and(|text| !text.is_empty()),
        "<number>" => found.is_u64(),
        _ => return Err(format!("unknown kind of value {kind}")),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use serde_json::json;

    use super::*;

    #[test]
    fn matching_values_pass() {
        for (expected, found) in [
            (json!({"a": 1}), json!({"a": 1.0, "b": 2})),
            (json!({"a": {"$exactly": {"b": "<text>"}}}), json!({"a": {"b": "c"}})),
            (json!({"$unordered": [1, {"a": 2}]}), json!([{"a": 2}, 1])),
            (json!({"a": "<absent>"}), json!({})),
            (json!({"$contains": "b"}), json!("abc")),
            (json!({"$above": 1}), json!(2)),
            (json!({"$not": [1]}), json!([2])),
            (json!("<namespace id>"), json!("ns-aaaaaaaaaaaaaaa7")),
            (json!("<operation id>"), json!("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-k9302yzd")),
            (json!("<time>"), json!(1587055860.121)),
        ] {
            assert_eq!(matches(&expected, &found), Ok(()), "{expected}");
        }
    }

    #[test]
    fn differences_are_reported_with_their_path() {
        for (expected, found, complaint) in [
            (json!({"a": 1}), json!({}), "/a is missing"),
            (json!({"a": {"b": 1}}), json!({"a": {"b": 2}}), "/a/b is 2, not 1"),
            (json!({"a": "<absent>"}), json!({"a": 1}), "/a exists: 1"),
            (json!({"$exactly": {"a": 1}}), json!({"a": 1, "b": 2}), r#"/b exists: {"a":1,"b":2}"#),
            (json!([1, 2]), json!([1]), " is [1], not [1,2]"),
            (json!({"$unordered": [1, 1]}), json!([1, 2]), " has no 1: [1,2]"),
            (json!({"$above": 2}), json!(2), " is 2, not $above 2"),
            (json!({"$not": 2}), json!(2), " is 2, not $not 2"),
            (
                json!("<service id>"),
                json!("ns-aaaaaaaaaaaaaaaa"),
                r#" is "ns-aaaaaaaaaaaaaaaa", not "<service id>""#,
            ),
            (json!("<serviceid>"), json!("srv-aaaaaaaaaaaaaaaa"), "unknown kind of value <serviceid>"),
            (json!({"$below": 2}), json!(1), "invalid matcher $below 2 at "),
        ] {
            assert_eq!(matches(&expected, &found).unwrap_err(), complaint);
        }
    }
}
