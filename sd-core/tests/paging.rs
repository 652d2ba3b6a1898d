//! The lists, page by page.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail loudly")]

mod common;

use common::{Engine, code, invalid, one_violation, registration, ruled};
use sd_core::{
    Error, ErrorCode, Scope, SyncScopedCloudMap,
    request::{
        DeleteNamespaceRequest, DeleteServiceRequest, DeregisterInstanceRequest, Filter,
        ListInstancesRequest, ListNamespacesRequest, ListServicesRequest,
    },
};

/// The lists of the API that go by pages.
#[derive(Clone, Copy, Debug)]
enum List {
    Namespaces,
    Services,
    Instances,
}

const ALL: [List; 3] = [List::Namespaces, List::Services, List::Instances];

/// A list with entries, and what they are in.
struct Listed {
    engine: Engine,
    list: List,
    /// The service whose instances are listed.
    service: std::sync::Arc<sd_core::model::Service>,
    namespace: std::sync::Arc<sd_core::model::Namespace>,
}

/// Ids or names of a page, and the token of the next one.
type Page = Result<(Vec<String>, Option<String>), Error>;

impl Listed {
    fn new(list: List, entries: usize) -> Self {
        let engine = Engine::new();
        let namespace = engine.http("parent");
        let service = engine.http_service(&namespace, "parent");
        let listed = Self { engine, list, service, namespace };
        for i in 0..entries {
            listed.add(&name(i));
        }
        listed
    }

    fn add(&self, name: &str) {
        match self.list {
            List::Namespaces => drop(self.engine.http(name)),
            List::Services => drop(self.engine.http_service(&self.namespace, name)),
            List::Instances => self.engine.register(&self.service, name, &[]),
        }
    }

    fn remove(&self, name: &str) {
        let api = &self.engine.api;
        let found = match self.list {
            List::Namespaces => api
                .list_namespaces(&ListNamespacesRequest::new().with_filters([Filter::eq("NAME", name)]))
                .unwrap()
                .items[0]
                .namespace
                .id
                .to_string(),
            List::Services => api
                .list_services(&ListServicesRequest::new())
                .unwrap()
                .items
                .iter()
                .find(|item| item.service.name.as_str() == name)
                .unwrap()
                .service
                .id
                .to_string(),
            List::Instances => name.to_owned(),
        };
        match self.list {
            List::Namespaces => drop(api.delete_namespace(DeleteNamespaceRequest::new(found)).unwrap()),
            List::Services => api.delete_service(DeleteServiceRequest::new(found)).unwrap(),
            List::Instances => {
                drop(
                    api.deregister_instance(DeregisterInstanceRequest::new(self.service.id.as_str(), found))
                        .unwrap(),
                );
            }
        }
    }

    fn page(&self, token: Option<&str>, max: Option<i64>) -> Page {
        self.page_of(&self.engine.api, self.service.id.as_str(), token, max)
    }

    /// A page without the entry that is there for the others' sake.
    fn page_of(
        &self,
        api: &SyncScopedCloudMap,
        service: &str,
        token: Option<&str>,
        max: Option<i64>,
    ) -> Page {
        let token = token.map(str::to_owned);
        let (items, next): (Vec<String>, _) = match self.list {
            List::Namespaces => {
                let mut request = ListNamespacesRequest::new();
                (request.next_token, request.max_results) = (token, max);
                let page = api.list_namespaces(&request)?;
                (page.items.iter().map(|item| item.namespace.name.to_string()).collect(), page.next_token)
            }
            List::Services => {
                let mut request = ListServicesRequest::new();
                (request.next_token, request.max_results) = (token, max);
                let page = api.list_services(&request)?;
                (page.items.iter().map(|item| item.service.name.to_string()).collect(), page.next_token)
            }
            List::Instances => {
                let mut request = ListInstancesRequest::new(service);
                (request.next_token, request.max_results) = (token, max);
                let page = api.list_instances(&request)?.page;
                (page.items.iter().map(|item| item.id.to_string()).collect(), page.next_token)
            }
        };
        Ok((items.into_iter().filter(|name| name != "parent").collect(), next))
    }

    /// Walks the list; `between` is called after each page with what it had.
    fn walk(&self, max: i64, mut between: impl FnMut(&[String])) -> Vec<String> {
        let (mut all, mut token) = (Vec::new(), None);
        loop {
            let (items, next) = self.page(token.as_deref(), Some(max)).unwrap();
            between(&items);
            all.extend(items);
            token = next;
            if token.is_none() {
                return all;
            }
        }
    }

    /// A token of the middle of the list.
    fn token(&self) -> String {
        self.page(None, Some(2)).unwrap().1.unwrap()
    }
}

/// Names that sort otherwise than they are created.
fn name(i: usize) -> String {
    format!("{}-{i}", ["z", "a", "m"][i % 3])
}

#[test]
fn a_walk_has_every_entry_once_in_order_of_creation() {
    let expected: Vec<_> = (0..7).map(name).collect();
    for list in ALL {
        let listed = Listed::new(list, 7);
        for max in [1, 2, 3, 6, 7, 8, 100] {
            assert_eq!(
                listed.walk(max, |page| assert!(page.len() <= max as usize)),
                expected,
                "{list:?} {max}"
            );
        }
    }
}

#[test]
fn the_last_page_has_no_token_even_if_it_is_full() {
    let listed = Listed::new(List::Instances, 4);
    let (first, token) = listed.page(None, Some(2)).unwrap();
    let (second, end) = listed.page(token.as_deref(), Some(2)).unwrap();
    assert_eq!((first.len(), second.len(), end), (2, 2, None));
    assert_eq!(Listed::new(List::Instances, 0).page(None, Some(1)).unwrap(), (vec![], None));
}

#[test]
fn a_page_has_100_entries_unless_fewer_are_asked_for() {
    let listed = Listed::new(List::Instances, 101);
    for max in [None, Some(100)] {
        let (items, token) = listed.page(None, max).unwrap();
        assert_eq!((items.len(), token.is_some()), (100, true));
    }
    for list in ALL {
        let listed = Listed::new(list, 0);
        for (max, must) in [
            (0, "greater than or equal to 1"),
            (101, "less than or equal to 100"),
            (-1, "greater than or equal to 1"),
        ] {
            let expected = one_violation("maxResults", Some(&max.to_string()), &format!("have value {must}"));
            assert_eq!(invalid(listed.page(None, Some(max))), expected, "{list:?}");
        }
    }
}

#[test]
fn deletions_between_pages_lose_nothing_else() {
    let expected: Vec<_> = (0..9).map(name).collect();
    for list in ALL {
        // What was just seen, as Terraform's force_destroy does.
        let listed = Listed::new(list, 9);
        assert_eq!(
            listed.walk(1, |page| page.iter().for_each(|name| listed.remove(name))),
            expected,
            "{list:?}"
        );
        assert_eq!(listed.walk(1, |_| {}), [""; 0]);

        // What was not seen yet.
        let listed = Listed::new(list, 9);
        let seen = listed.walk(1, |page| {
            let followed = (0..9).step_by(3).filter(|i| page.contains(&name(*i)));
            followed.for_each(|i| listed.remove(&name(i + 1)));
        });
        let left: Vec<_> = (0..9).filter(|i| i % 3 != 1).map(name).collect();
        assert_eq!(seen, left, "{list:?}");
    }
}

#[test]
fn what_is_added_during_a_walk_comes_last() {
    for list in ALL {
        let listed = Listed::new(list, 3);
        let mut added = false;
        let seen = listed.walk(1, |_| {
            if !std::mem::replace(&mut added, true) {
                listed.add("0-new");
            }
        });
        assert_eq!(seen, [name(0), name(1), name(2), "0-new".into()], "{list:?}");
    }
}

#[test]
fn entries_of_one_moment_are_all_listed_once() {
    let listed = Listed::new(List::Instances, 0);
    for i in 0..20 {
        listed.engine.api.register_instance(registration(&listed.service, &name(i), &[])).unwrap();
    }
    let mut seen = listed.walk(1, |_| {});
    let mut expected: Vec<_> = (0..20).map(name).collect();
    seen.sort();
    expected.sort();
    assert_eq!(seen, expected);
}

#[test]
fn registering_again_keeps_the_place() {
    let listed = Listed::new(List::Instances, 3);
    listed.add(&name(0));
    assert_eq!(listed.walk(1, |_| {}), [name(0), name(1), name(2)]);
}

#[test]
fn a_filtered_list_goes_by_pages_too() {
    let listed = Listed::new(List::Namespaces, 9);
    let mut begins = Filter::eq("NAME", "a-");
    begins.condition = Some("BEGINS_WITH".into());
    let (mut seen, mut token) = (Vec::new(), None);
    loop {
        let mut request = ListNamespacesRequest::new().with_max_results(1).with_filters([begins.clone()]);
        request.next_token = token;
        let page = listed.engine.api.list_namespaces(&request).unwrap();
        seen.extend(page.items.iter().map(|item| item.namespace.name.to_string()));
        token = page.next_token;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(seen, [name(1), name(4), name(7)]);
}

#[test]
fn tokens_of_other_lists_are_refused() {
    let listed = ALL.map(|list| Listed::new(list, 4));
    for (i, from) in listed.iter().enumerate() {
        for (j, to) in listed.iter().enumerate() {
            let page = to.page(Some(&from.token()), None);
            if i == j {
                assert_eq!(page.unwrap().0.len(), if i == 2 { 2 } else { 3 });
            } else {
                assert_eq!(ruled(page), "nextToken", "{:?} to {:?}", from.list, to.list);
            }
        }
        let other = from.engine.cloud_map.at(Scope::parse("123456789012", "eu-west-1").unwrap());
        let elsewhere = from.page_of(&other, from.service.id.as_str(), Some(&from.token()), None);
        assert_eq!(code(elsewhere), ErrorCode::InvalidInput, "{:?} of another Region", from.list);
    }
    let instances = &listed[2];
    let other = instances.engine.http_service(&instances.namespace, "other");
    let page = instances.page_of(&instances.engine.api, other.id.as_str(), Some(&instances.token()), None);
    assert_eq!(ruled(page), "nextToken", "of another service");
}

#[test]
fn a_walk_may_name_its_service_by_id_and_by_arn() {
    let listed = Listed::new(List::Instances, 4);
    let (engine, token) = (&listed.engine, listed.token());
    let page = listed.page_of(&engine.api, listed.service.arn().as_str(), Some(&token), None).unwrap();
    assert_eq!(page.0, [name(2), name(3)]);
}

#[test]
fn damaged_tokens_are_refused() {
    for list in ALL {
        let listed = Listed::new(list, 4);
        let token = listed.token();
        assert!(token.len() <= 4096);
        let damaged = (0..token.len()).map(|i| {
            let other = if &token[i..=i] == "a" { "b" } else { "a" };
            format!("{}{other}{}", &token[..i], &token[i + 1..])
        });
        let cut = (0..token.len()).map(|i| token[..i].to_owned());
        let others = [format!("{token}a"), token.to_uppercase(), "é".into(), "null".into()];
        for bad in damaged.chain(cut).chain(others) {
            assert_eq!(ruled(listed.page(Some(&bad), None)), "nextToken", "{list:?} {bad}");
        }
        let long = invalid(listed.page(Some(&"a".repeat(4097)), None));
        assert!(long.ends_with("Member must have length less than or equal to 4096"), "{long}");
    }
}

#[test]
fn what_is_created_in_one_millisecond_is_listed_in_order_of_creation() {
    let engine = Engine::new();
    let namespace = engine.http("parent");
    let service = engine.http_service(&namespace, "parent");
    // The clock stands still from here on.
    for id in ["c", "a", "d", "b"] {
        engine.api.register_instance(registration(&service, id, &[])).unwrap();
    }
    // Registering again changes no place.
    engine.api.register_instance(registration(&service, "a", &[("again", "yes")])).unwrap();
    let mut walked = Vec::new();
    let mut request = ListInstancesRequest::new(service.id.as_str()).with_max_results(1);
    loop {
        let page = engine.api.list_instances(&request).unwrap().page;
        walked.extend(page.items.iter().map(|instance| instance.id.to_string()));
        let Some(token) = page.next_token else { break };
        request = request.with_next_token(token);
    }
    assert_eq!(walked, ["c", "a", "d", "b"]);
}
