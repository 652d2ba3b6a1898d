//! Each constraint of the service model is checked, and its violation is worded as on AWS.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fmt::Write as _;

use sd_backend_memory::MemoryRegistry;
use sd_core::{Action, Scope, SyncCloudMap};
use sd_http::typed;
use sd_tests::model::{Shape, operations, structure};
use serde_json::{Map, Value, json};

/// A request that breaks a constraint, and a part of the expected message.
type Broken = (Value, String);

/// Turns a value of one member into a request. `None` omits the member.
type Wrap<'w> = &'w dyn Fn(Option<Value>) -> Value;

/// The path of a member as AWS writes it: its first letter is lower case.
fn path(parent: &str, name: &str) -> String {
    let mut letters = name.chars();
    let first = letters.next().map(|first| first.to_ascii_lowercase());
    format!("{parent}{}{}", first.into_iter().collect::<String>(), letters.as_str())
}

/// A valid structure, except for this member.
fn with(members: &[Shape], name: &str, value: Option<Value>) -> Value {
    let Value::Object(mut object) = structure(members) else { panic!("not a structure") };
    match value {
        Some(value) => object.insert(name.to_owned(), value),
        None => object.remove(name),
    };
    object.into()
}

/// A text as a message quotes it.
fn quoted(text: &str) -> String {
    let mut quoted: String = text.chars().take(1200).collect();
    if quoted.len() < text.len() {
        quoted.push('…');
    }
    quoted
}

/// Texts that each break one constraint, with that constraint.
fn broken_texts(shape: &Shape) -> Vec<(String, String)> {
    let mut texts = Vec::new();
    if let Some(max) = shape.max {
        let text = "x".repeat(usize::try_from(max).unwrap() + 1);
        texts.push((text, format!("Member must have length less than or equal to {max}")));
    }
    if let Some(min @ 1..) = shape.min {
        let text = "1".repeat(usize::try_from(min).unwrap() - 1);
        texts.push((text, format!("Member must have length greater than or equal to {min}")));
    }
    if let Some(pattern) = &shape.pattern {
        texts.push((" ".into(), format!("Member must satisfy regular expression pattern: {pattern}")));
    }
    if let Some(values) = &shape.values {
        texts.push(("?".into(), format!("Member must satisfy enum value set: [{}]", values.join(", "))));
    }
    texts
}

/// Numbers that each break one constraint, with that constraint.
fn broken_numbers(shape: &Shape) -> Vec<(i64, String)> {
    let under =
        shape.min.map(|min| (min - 1, format!("Member must have value greater than or equal to {min}")));
    let over = shape.max.map(|max| (max + 1, format!("Member must have value less than or equal to {max}")));
    under.into_iter().chain(over).collect()
}

/// Breaks each constraint of a member and of its parts.
fn break_each(member: &Shape, parent: &str, wrap: Wrap<'_>, found: &mut Vec<Broken>) {
    let at = path(parent, member.name());
    let failed = |constraint: &str| format!(" at '{at}' failed to satisfy constraint: {constraint}");
    if member.required {
        found.push((wrap(None), format!("Value null{}", failed("Member must not be null"))));
    }
    match member.kind.as_str() {
        "structure" => {
            for inner in &member.members {
                let wrap = |value| wrap(Some(with(&member.members, inner.name(), value)));
                break_each(inner, &format!("{at}."), &wrap, found);
            }
        }
        "string" => {
            for (text, constraint) in broken_texts(member) {
                found.push((
                    wrap(Some(json!(text))),
                    format!("Value '{}'{}", quoted(&text), failed(&constraint)),
                ));
            }
        }
        "list" => {
            let item = member.item.as_ref().unwrap();
            if let Some(max) = member.max {
                let many = vec![item.right(); usize::try_from(max).unwrap() + 1];
                let constraint = format!("Member must have length less than or equal to {max}");
                found.push((wrap(Some(json!(many))), failed(&constraint)));
            }
            if member.min == Some(1) {
                let constraint = failed("Member must have length greater than or equal to 1");
                found.push((wrap(Some(json!([]))), format!("Value '[]'{constraint}")));
            }
            for inner in &item.members {
                let wrap = |value| wrap(Some(json!([with(&item.members, inner.name(), value)])));
                break_each(inner, &format!("{at}.1.member."), &wrap, found);
            }
            for (text, constraint) in broken_texts(item).into_iter().filter(|_| item.kind == "string") {
                let message = failed("Member must satisfy constraint: [");
                found.push((wrap(Some(json!([text]))), message.clone()));
                found.push((wrap(Some(json!(["a", text, "b"]))), constraint));
            }
        }
        "map" => {
            let [key, value] = [&member.key, &member.value].map(|shape| shape.as_ref().unwrap());
            if let Some(max) = member.max {
                let many: Map<_, _> = (0..=max).map(|i| (format!("k{i}"), json!("v"))).collect();
                let constraint = format!("Member must have length less than or equal to {max}");
                found.push((wrap(Some(many.into())), failed(&constraint)));
                let constraint = failed("Member must have length greater than or equal to 1");
                found.push((wrap(Some(json!({}))), format!("Value '{{}}'{constraint}")));
            }
            for (text, constraint) in broken_texts(key) {
                found.push((
                    wrap(Some(json!({"k": "v", &text: "v"}))),
                    failed("Map keys must satisfy constraint: ["),
                ));
                found.push((wrap(Some(json!({ text: "v" }))), constraint));
            }
            for (text, constraint) in broken_texts(value) {
                let message = failed("Map value must satisfy constraint: [");
                found.push((wrap(Some(json!({"k": &text, "l": "v"}))), message));
                found.push((wrap(Some(json!({ "k": text }))), constraint));
            }
        }
        _ => {
            for (number, constraint) in broken_numbers(member) {
                found.push((wrap(Some(json!(number))), format!("Value '{number}'{}", failed(&constraint))));
            }
        }
    }
}

/// The message of the refused request.
fn refusal(action: Action, request: &Value) -> String {
    let cloud_map = SyncCloudMap::new(MemoryRegistry::new()).at(Scope::default());
    let error = typed::call_sync(&cloud_map, action, request.to_string().as_bytes()).unwrap_err();
    let error: Value = serde_json::from_slice(&error).unwrap();
    assert!(error["__type"].as_str().unwrap().ends_with("InvalidInput"), "{action} {request}: {error}");
    error["Message"].as_str().unwrap().to_owned()
}

#[test]
fn each_constraint_of_the_model_is_checked_and_worded_as_on_aws() {
    let mut complaints = String::new();
    let mut count = 0;
    for (name, members) in operations().unwrap() {
        let action = Action::parse(&name).unwrap();
        let mut found = Vec::new();
        for member in &members {
            break_each(member, "", &|value| with(&members, member.name(), value), &mut found);
        }
        count += found.len();
        for (request, part) in found {
            let message = refusal(action, &request);
            if !message.contains(&part) || !message.contains(" detected: ") {
                writeln!(complaints, "{name} {request}:\n  {message}\n  lacks {part}").unwrap();
            }
        }
    }
    assert!(count > 250, "{count} constraints");
    assert!(complaints.is_empty(), "{complaints}");
}

/// A value that breaks a constraint wherever possible. Collects the paths of the violations.
fn all_wrong(member: &Shape, parent: &str, paths: &mut Vec<String>) -> Value {
    let at = path(parent, member.name());
    let structure = |members: &[Shape], parent: &str, paths: &mut Vec<String>| {
        let wrong = members.iter().map(|inner| (inner.name().to_owned(), all_wrong(inner, parent, paths)));
        Value::Object(wrong.collect())
    };
    let text = |shape: &Shape| broken_texts(shape).swap_remove(0).0;
    let value = match (member.kind.as_str(), &member.item, &member.key, &member.value) {
        ("structure", ..) => return structure(&member.members, &format!("{at}."), paths),
        ("list", Some(item), ..) if item.kind == "structure" => {
            return json!([structure(&item.members, &format!("{at}.1.member."), paths)]);
        }
        ("list", Some(item), ..) => json!([text(item)]),
        ("map", _, Some(key), Some(value)) => json!({ text(key): text(value) }),
        ("string", ..) => json!(text(member)),
        _ => json!(broken_numbers(member)[0].0),
    };
    paths.push(at);
    value
}

#[test]
fn violations_are_reported_in_the_order_of_the_model() {
    for (name, members) in operations().unwrap() {
        let mut expected = Vec::new();
        let wrong =
            members.iter().map(|member| (member.name().to_owned(), all_wrong(member, "", &mut expected)));
        let request = Value::Object(wrong.collect());
        let message = refusal(Action::parse(&name).unwrap(), &request);
        let parts = message.split("' at '").skip(1);
        let mut found: Vec<_> = parts.map(|part| part.split_once('\'').unwrap().0).collect();
        found.dedup();
        assert_eq!(found, expected, "{name} {message}");
    }
}
