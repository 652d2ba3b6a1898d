//! Lists, page by page.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail loudly")]

mod common;

use std::{cell::RefCell, collections::BTreeMap, sync::Arc};

use common::{Engine, code, invalid, one_violation, registration, ruled};
use sd_core::{
    Error, ErrorCode, Scope, SyncScopedCloudMap,
    model::{Namespace, Service},
    request::{
        CreateHttpNamespaceRequest, CreateServiceRequest, DeleteNamespaceRequest, DeleteServiceRequest,
        DeregisterInstanceRequest, Filter, GetInstancesHealthStatusRequest, HttpNamespaceChange,
        ListInstancesRequest, ListNamespacesRequest, ListOperationsRequest, ListServicesRequest,
        UpdateHttpNamespaceRequest,
    },
};

/// The paged lists of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum List {
    Namespaces,
    Services,
    Instances,
    Operations,
    Health,
}

const ALL: [List; 5] = [List::Namespaces, List::Services, List::Instances, List::Operations, List::Health];

/// The lists of one service's instances.
const OF_A_SERVICE: [List; 2] = [List::Instances, List::Health];

/// The lists that take filters, or ids of the wanted entries.
const FILTERED: [List; 4] = [List::Namespaces, List::Services, List::Operations, List::Health];

/// A list, with the engine and the namespace of its entries.
struct Listed {
    engine: Engine,
    list: List,
    /// The service whose instances are listed.
    service: Arc<Service>,
    namespace: Arc<Namespace>,
    /// The names that the tests give to operations, by operation id.
    operations: RefCell<BTreeMap<String, String>>,
}

/// The ids or names in a page, and the token of the next page.
type Page = Result<(Vec<String>, Option<String>), Error>;

/// A request for a page, besides its size.
#[derive(Clone, Copy)]
struct Asked<'a> {
    api: &'a SyncScopedCloudMap,
    service: &'a str,
    /// Whether to list only the entries for which [`is_wanted`] is true.
    filtered: bool,
}

impl Listed {
    fn new(list: List, entries: usize) -> Self {
        let engine = Engine::new();
        let namespace = engine.http("parent");
        let service = engine.http_service(&namespace, "parent");
        let listed = Self { engine, list, service, namespace, operations: RefCell::default() };
        for i in 0..entries {
            listed.add(&name(i));
        }
        listed
    }

    fn add(&self, name: &str) {
        self.add_now(name);
        self.engine.tick();
    }

    /// Adds an entry without moving the clock.
    ///
    /// Wanted services are in a separate namespace, and wanted operations are updates of a namespace.
    fn add_now(&self, name: &str) {
        let api = &self.engine.api;
        match self.list {
            List::Namespaces => {
                drop(api.create_http_namespace(CreateHttpNamespaceRequest::new(name)).unwrap());
            }
            List::Services => {
                let request = CreateServiceRequest::new(name);
                drop(api.create_service(request.with_namespace_id(self.parent_of(name))).unwrap());
            }
            List::Instances | List::Health => {
                drop(api.register_instance(registration(&self.service, name, &[])).unwrap());
            }
            List::Operations => {
                let mut started = api.create_http_namespace(CreateHttpNamespaceRequest::new(name)).unwrap();
                if is_wanted(name) {
                    let request = UpdateHttpNamespaceRequest::new(self.namespace_id(name).unwrap())
                        .with_namespace(HttpNamespaceChange::new("d"));
                    started = api.update_http_namespace(request).unwrap();
                }
                self.operations.borrow_mut().insert(started.operation_id.to_string(), name.to_owned());
            }
        }
    }

    fn namespace_id(&self, name: &str) -> Option<String> {
        let request = ListNamespacesRequest::new().with_filters([Filter::eq("NAME", name)]);
        let found = self.engine.api.list_namespaces(&request).unwrap().items;
        found.first().map(|item| item.namespace.id.to_string())
    }

    /// The namespace for a service with this name.
    fn parent_of(&self, name: &str) -> String {
        if !is_wanted(name) {
            return self.namespace.id.to_string();
        }
        self.namespace_id("wanted").unwrap_or_else(|| self.engine.http("wanted").id.to_string())
    }

    fn remove(&self, name: &str) {
        let api = &self.engine.api;
        match self.list {
            // The operations of a namespace are not listed after its deletion.
            List::Namespaces | List::Operations => {
                let id = self.namespace_id(name).unwrap();
                drop(api.delete_namespace(DeleteNamespaceRequest::new(id)).unwrap());
            }
            List::Services => {
                let listed = api.list_services(ListServicesRequest::new()).unwrap().items;
                let found = listed.iter().find(|item| item.service.name.as_str() == name).unwrap();
                api.delete_service(DeleteServiceRequest::new(&found.service.id)).unwrap();
            }
            List::Instances | List::Health => {
                let request = DeregisterInstanceRequest::new(&self.service.id, name);
                drop(api.deregister_instance(request).unwrap());
            }
        }
    }

    /// A request for this list, without filters.
    fn asked(&self) -> Asked<'_> {
        Asked { api: &self.engine.api, service: self.service.id.as_str(), filtered: false }
    }

    fn page(&self, token: Option<&str>, max: Option<i64>) -> Page {
        self.page_of(self.asked(), token, max)
    }

    /// A page without the parents of its entries.
    fn page_of(&self, asked: Asked<'_>, token: Option<&str>, max: Option<i64>) -> Page {
        let Asked { api, service, filtered } = asked;
        let token = token.map(str::to_owned);
        let filter = |filter: Filter| if filtered { vec![filter] } else { vec![] };
        let (items, next): (Vec<String>, _) = match self.list {
            List::Namespaces => {
                let mut begins = Filter::eq("NAME", WANTED);
                begins.condition = Some("BEGINS_WITH".into());
                let mut request = ListNamespacesRequest::new().with_filters(filter(begins));
                (request.next_token, request.max_results) = (token, max);
                let page = api.list_namespaces(&request)?;
                (page.items.iter().map(|item| item.namespace.name.to_string()).collect(), page.next_token)
            }
            List::Services => {
                let parent = self.namespace_id("wanted").unwrap_or_default();
                let mut request =
                    ListServicesRequest::new().with_filters(filter(Filter::eq("NAMESPACE_ID", parent)));
                (request.next_token, request.max_results) = (token, max);
                let page = api.list_services(&request)?;
                (page.items.iter().map(|item| item.service.name.to_string()).collect(), page.next_token)
            }
            List::Instances => {
                let mut request = ListInstancesRequest::new(service);
                (request.next_token, request.max_results) = (token, max);
                let page = api.list_instances(&request)?;
                (page.items.iter().map(|item| item.id.to_string()).collect(), page.next_token)
            }
            List::Operations => {
                let updates = Filter::eq("TYPE", "UPDATE_NAMESPACE");
                let mut request = ListOperationsRequest::new().with_filters(filter(updates));
                (request.next_token, request.max_results) = (token, max);
                let page = api.list_operations(&request)?;
                let names = self.operations.borrow();
                let named = page.items.iter().filter_map(|item| names.get(item.id.as_str()).cloned());
                (named.collect(), page.next_token)
            }
            List::Health => {
                let mut request = GetInstancesHealthStatusRequest::new(service);
                request.instances =
                    filtered.then(|| (0..9).map(name).filter(|name| is_wanted(name)).collect());
                (request.next_token, request.max_results) = (token, max);
                let page = api.get_instances_health_status(&request)?;
                (page.items.iter().map(|item| item.instance.id.to_string()).collect(), page.next_token)
            }
        };
        Ok((items.into_iter().filter(|name| name != "parent").collect(), next))
    }

    /// Reads all pages. `between` is called after each page, with its entries.
    fn walk(&self, max: i64, between: impl FnMut(&[String])) -> Vec<String> {
        self.walk_of(self.asked(), max, between)
    }

    fn walk_of(&self, asked: Asked<'_>, max: i64, mut between: impl FnMut(&[String])) -> Vec<String> {
        let (mut all, mut token) = (Vec::new(), None);
        loop {
            let (items, next) = self.page_of(asked, token.as_deref(), Some(max)).unwrap();
            between(&items);
            all.extend(items);
            token = next;
            if token.is_none() {
                return all;
            }
        }
    }

    /// A token from the middle of the list.
    fn token(&self) -> String {
        self.page(None, Some(2)).unwrap().1.unwrap()
    }
}

/// Names whose order is not that of creation.
fn name(i: usize) -> String {
    format!("{}-{i}", ["z", "a", "m"][i % 3])
}

/// The prefix of the names of wanted entries.
const WANTED: &str = "a-";

fn is_wanted(name: &str) -> bool {
    name.starts_with(WANTED)
}

#[test]
fn pages_have_every_entry_once_in_order_of_creation() {
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
    for list in OF_A_SERVICE {
        let listed = Listed::new(list, 4);
        let (first, token) = listed.page(None, Some(2)).unwrap();
        let (second, end) = listed.page(token.as_deref(), Some(2)).unwrap();
        assert_eq!((first.len(), second.len(), end), (2, 2, None), "{list:?}");
        assert_eq!(Listed::new(list, 0).page(None, Some(1)).unwrap(), (vec![], None), "{list:?}");
    }
    // The other lists begin with an entry that does not count: the parent.
    for list in [List::Namespaces, List::Services, List::Operations] {
        let listed = Listed::new(list, 1);
        assert_eq!(listed.page(None, Some(2)).unwrap(), (vec![name(0)], None), "{list:?}");
    }
}

#[test]
fn a_page_has_100_entries_by_default() {
    for list in OF_A_SERVICE {
        let listed = Listed::new(list, 101);
        for max in [None, Some(100)] {
            let (items, token) = listed.page(None, max).unwrap();
            assert_eq!((items.len(), token.is_some()), (100, true), "{list:?}");
        }
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
fn deletions_between_pages_lose_no_other_entry() {
    let expected: Vec<_> = (0..9).map(name).collect();
    for list in ALL {
        // Delete the entries of the page, as Terraform's force_destroy does.
        let listed = Listed::new(list, 9);
        assert_eq!(
            listed.walk(1, |page| page.iter().for_each(|name| listed.remove(name))),
            expected,
            "{list:?}"
        );
        assert_eq!(listed.walk(1, |_| {}), [""; 0]);

        // Delete an entry of a later page.
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
fn entries_added_between_pages_come_last() {
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
fn entries_created_at_the_same_time_are_listed_once_in_order() {
    let expected: Vec<_> = (0..20).map(name).collect();
    for list in ALL {
        let listed = Listed::new(list, 0);
        // The clock does not move from here on.
        expected.iter().for_each(|name| listed.add_now(name));
        if OF_A_SERVICE.contains(&list) {
            // Registering again does not change the position.
            listed.add_now(&name(1));
        }
        assert_eq!(listed.walk(1, |_| {}), expected, "{list:?}");
    }
}

#[test]
fn registering_again_keeps_the_position() {
    for list in OF_A_SERVICE {
        let listed = Listed::new(list, 3);
        let again = registration(&listed.service, &name(0), &[("again", "yes")]);
        listed.engine.api.register_instance(again).unwrap();
        assert_eq!(listed.walk(1, |_| {}), [name(0), name(1), name(2)], "{list:?}");
    }
}

#[test]
fn filtered_lists_are_paged_too() {
    for list in FILTERED {
        let listed = Listed::new(list, 9);
        let filtered = Asked { filtered: true, ..listed.asked() };
        for max in [1, 2, 3, 100] {
            let pages = listed.walk_of(filtered, max, |page| assert!(page.len() <= max as usize));
            assert_eq!(pages, [name(1), name(4), name(7)], "{list:?} {max}");
        }
        let (items, token) = listed.page_of(filtered, None, Some(3)).unwrap();
        assert_eq!((items.len(), token), (3, None), "{list:?}: nothing that is wanted is left");
    }
}

#[test]
fn deletions_between_pages_of_a_filtered_list_lose_no_other_entry() {
    for list in FILTERED {
        let listed = Listed::new(list, 9);
        let filtered = Asked { filtered: true, ..listed.asked() };
        let seen = listed.walk_of(filtered, 1, |page| {
            if page.contains(&name(1)) {
                listed.remove(&name(2));
                listed.remove(&name(3));
                // A requested instance that does not exist is an error.
                if list != List::Health {
                    listed.remove(&name(1));
                    listed.remove(&name(4));
                }
            }
        });
        let left: &[_] = if list == List::Health { &[1, 4, 7] } else { &[1, 7] };
        assert_eq!(seen, left.iter().copied().map(name).collect::<Vec<_>>(), "{list:?}");
    }
}

#[test]
fn tokens_of_other_lists_are_refused() {
    let listed = ALL.map(|list| Listed::new(list, 4));
    for from in &listed {
        for to in &listed {
            let page = to.page(Some(&from.token()), None);
            if from.list == to.list {
                // The other lists begin with the parent.
                let left = if OF_A_SERVICE.contains(&from.list) { 2 } else { 3 };
                assert_eq!(page.unwrap().0.len(), left, "{:?}", from.list);
            } else {
                assert_eq!(ruled(page), "nextToken", "{:?} to {:?}", from.list, to.list);
            }
        }
        let token = from.token();
        for (account, region) in [("123456789012", "eu-west-1"), ("210987654321", "us-east-1")] {
            let api = &from.engine.cloud_map.at(Scope::parse(account, region).unwrap());
            let elsewhere = from.page_of(Asked { api, ..from.asked() }, Some(&token), None);
            // The service is checked before the token.
            let refused = if OF_A_SERVICE.contains(&from.list) {
                ErrorCode::ServiceNotFound
            } else {
                ErrorCode::InvalidInput
            };
            assert_eq!(code(elsewhere), refused, "{:?} of {account} {region}", from.list);
        }
    }
    for list in OF_A_SERVICE {
        let listed = Listed::new(list, 4);
        let other = listed.engine.http_service(&listed.namespace, "other");
        let page = listed.page_of(
            Asked { service: other.id.as_str(), ..listed.asked() },
            Some(&listed.token()),
            None,
        );
        assert_eq!(ruled(page), "nextToken", "{list:?} of another service");
    }
}

#[test]
fn pages_may_name_the_service_by_id_and_by_arn() {
    for list in OF_A_SERVICE {
        let listed = Listed::new(list, 4);
        let (arn, token) = (listed.service.arn(), listed.token());
        let page = listed.page_of(Asked { service: arn.as_str(), ..listed.asked() }, Some(&token), None);
        assert_eq!(page.unwrap().0, [name(2), name(3)], "{list:?}");
    }
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
