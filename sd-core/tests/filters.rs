//! The filters of the lists.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail loudly")]

mod common;

use common::{Engine, invalid, one_violation, ruled};
use sd_core::request::{Filter, ListNamespacesRequest, ListServicesRequest};

fn filter(name: &str, condition: Option<&str>, values: &[&str]) -> Filter {
    let mut filter = Filter::eq(name, "");
    filter.condition = condition.map(Into::into);
    filter.values = Some(values.iter().map(|value| (*value).to_owned()).collect());
    filter
}

/// The names in a list with these filters, in its order.
fn listed(engine: &Engine, filters: Vec<Filter>) -> Vec<String> {
    let page = engine.api.list_namespaces(ListNamespacesRequest::new().with_filters(filters)).unwrap();
    page.items.iter().map(|item| item.namespace.name.to_string()).collect()
}

#[test]
fn a_listed_entry_matches_all_filters() {
    let engine = Engine::new();
    for name in ["zoo", "app", "apple"] {
        engine.http(name);
    }
    engine.private("app");
    engine.private_in("zone.local", "vpc-2");
    let eq = |name: &str, value: &str| filter(name, Some("EQ"), &[value]);
    let begins = |name: &str, value: &str| filter(name, Some("BEGINS_WITH"), &[value]);
    let cases: [(Vec<Filter>, &[&str]); 14] = [
        (vec![], &["zoo", "app", "apple", "app", "zone.local"]),
        (vec![eq("TYPE", "HTTP")], &["zoo", "app", "apple"]),
        (vec![filter("TYPE", None, &["DNS_PRIVATE"])], &["app", "zone.local"]),
        (vec![begins("TYPE", "DNS")], &["app", "zone.local"]),
        (vec![begins("TYPE", "HTTP")], &["zoo", "app", "apple"]),
        (vec![eq("TYPE", "DNS_PUBLIC")], &[]),
        (vec![eq("NAME", "app")], &["app", "app"]),
        (vec![begins("NAME", "app")], &["app", "apple", "app"]),
        (vec![eq("NAME", "App")], &[]),
        (vec![eq("HTTP_NAME", "app")], &["app"]),
        (vec![begins("HTTP_NAME", "app-")], &["app"]),
        (vec![eq("RESOURCE_OWNER", "SELF")], &["zoo", "app", "apple", "app", "zone.local"]),
        (vec![eq("RESOURCE_OWNER", "OTHER_ACCOUNTS")], &[]),
        (vec![eq("NAME", "app"), eq("TYPE", "HTTP")], &["app"]),
    ];
    for (filters, expected) in cases {
        assert_eq!(listed(&engine, filters.clone()), expected, "{filters:?}");
    }
}

#[test]
fn invalid_filters_are_refused() {
    let api = Engine::new().api;
    let list = |filter: Filter| api.list_namespaces(ListNamespacesRequest::new().with_filters([filter]));
    let condition = "filters.member.condition";
    let values = "filters.member.values";
    for (bad, member) in [
        (filter("NAME", Some("IN"), &["a"]), condition),
        (filter("TYPE", Some("BETWEEN"), &["HTTP"]), condition),
        (filter("RESOURCE_OWNER", Some("BEGINS_WITH"), &["SELF"]), condition),
        (filter("RESOURCE_OWNER", None, &["ME"]), values),
        (filter("NAME", None, &["a", "b"]), values),
        (filter("NAME", None, &[]), values),
        (filter("TYPE", None, &["DNS"]), values),
    ] {
        assert_eq!(ruled(list(bad.clone())), member, "{bad:?}");
    }
    const NAME: &str = "filters.1.member.name";
    const CONDITION: &str = "filters.1.member.condition";
    const VALUES: &str = "filters.1.member.values";
    let names = "satisfy enum value set: [TYPE, NAME, HTTP_NAME, RESOURCE_OWNER]";
    let conditions = "satisfy enum value set: [EQ, IN, BETWEEN, BEGINS_WITH]";
    let length = "satisfy constraint: [Member must have length less than or equal to 255, Member must have length greater \
                  than or equal to 1, Member must not be null]";
    let long = "v".repeat(256);
    for (bad, member, value, must) in [
        (filter("NAMESPACE_ID", None, &["a"]), NAME, "NAMESPACE_ID", names),
        (filter("NAME", Some("LIKE"), &["a"]), CONDITION, "LIKE", conditions),
        (filter("NAME", None, &[""]), VALUES, "[]", length),
        (filter("NAME", None, &[&*long]), VALUES, &*format!("[{long}]"), length),
    ] {
        assert_eq!(invalid(list(bad)), one_violation(member, Some(value), must));
    }
    let empty = invalid(list(Filter::default()));
    assert!(
        empty.starts_with("2 validation errors") && empty.contains("'filters.1.member.values'"),
        "{empty}"
    );
}

#[test]
fn services_are_listed_in_order_of_creation_and_filtered_by_namespace() {
    let engine = Engine::new();
    let (first, second) = (engine.private("app.local"), engine.http("api"));
    for (namespace, name) in [(&first, "z"), (&second, "m"), (&first, "a")] {
        engine.http_service(namespace, name);
    }
    let list = |filters: Vec<Filter>| {
        let page = engine.api.list_services(ListServicesRequest::new().with_filters(filters))?;
        Ok(page.items.iter().map(|item| item.service.name.to_string()).collect::<Vec<_>>())
    };
    let eq = |name: &str, value: &str| vec![Filter::eq(name, value)];
    for (filters, expected) in [
        (vec![], &["z", "m", "a"][..]),
        (eq("NAMESPACE_ID", first.id.as_str()), &["z", "a"]),
        (eq("NAMESPACE_ID", second.arn().as_str()), &["m"]),
        (eq("NAMESPACE_ID", "ns-none"), &[]),
        (eq("NAMESPACE_ID", &first.arn().as_str().replace("us-east-1", "us-east-2")), &[]),
        (eq("RESOURCE_OWNER", "SELF"), &["z", "m", "a"]),
        (eq("RESOURCE_OWNER", "OTHER_ACCOUNTS"), &[]),
        ([eq("RESOURCE_OWNER", "SELF"), eq("NAMESPACE_ID", second.id.as_str())].concat(), &["m"]),
    ] {
        assert_eq!(list(filters.clone()).unwrap(), expected, "{filters:?}");
    }
    let begins = filter("NAMESPACE_ID", Some("BEGINS_WITH"), &["ns-"]);
    assert_eq!(ruled(list(vec![begins])), "filters.member.condition");
    let two = filter("NAMESPACE_ID", None, &["x", "y"]);
    assert_eq!(ruled(list(vec![two])), "filters.member.values");
    assert!(invalid(list(eq("NAME", "web"))).contains("enum value set: [NAMESPACE_ID, RESOURCE_OWNER]"));
}
