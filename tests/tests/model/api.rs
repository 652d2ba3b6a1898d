//! Compares every answer of the API with the world.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{prelude::*, test_runner::TestCaseError};
use sd_core::{
    Error, Scope, State, StateWriter, Timestamp,
    model::{CreatorRequestId, HealthStatus, Instance as EngineInstance, NamespaceKind},
    request::{
        DiscoverInstancesRequest, DiscoverInstancesRevisionRequest, Filter, GetInstanceRequest,
        GetInstancesHealthStatusRequest, GetNamespaceRequest, GetOperationRequest, GetServiceRequest,
        ListInstancesRequest, ListNamespacesRequest, ListOperationsRequest, ListServicesRequest,
    },
    response::{NamespaceDescription, Page},
};

use crate::{
    act::{Check, List},
    side_by_side::{SideBySide, Verdict},
    world::{Effect, Instance, Namespace, Operation, Service, ServiceKey},
};

/// Whether a filter must match an entry.
type Holds<'a, T> = Box<dyn Fn(&T) -> bool + 'a>;

/// All pages of a list.
fn pages<T>(mut page: impl FnMut(Option<String>) -> Result<Page<T>, Error>) -> Result<Vec<T>, TestCaseError> {
    let (mut all, mut token) = (Vec::new(), None);
    loop {
        let page = page(token).map_err(|error| TestCaseError::fail(error.to_string()))?;
        all.extend(page.items);
        token = page.next_token;
        if token.is_none() {
            return Ok(all);
        }
    }
}

fn ok<T>(result: Result<T, Error>) -> Result<T, TestCaseError> {
    result.map_err(|error| TestCaseError::fail(format!("{error:?}")))
}

fn attributes(instance: &EngineInstance) -> BTreeMap<String, String> {
    instance.attributes.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

impl SideBySide {
    /// Asks for everything in several ways, and compares the answers with the world.
    pub(crate) fn compare_all(&mut self) -> Verdict {
        self.compare_namespaces()?;
        self.compare_services()?;
        for service in self.world.services.clone() {
            self.compare_instances(&service)?;
            self.discover(&service)?;
            self.compare_revision(&service)?;
        }
        self.compare_operations()?;
        self.compare_refusals()?;
        self.ask()?;
        self.check_state()
    }

    fn namespace_id(&self, number: usize) -> &str {
        &self.bound.namespaces[&number]
    }

    pub(crate) fn service_id(&self, key: &ServiceKey) -> &str {
        &self.bound.services[key]
    }

    fn compare_namespaces(&self) -> Verdict {
        let request = |token| {
            let mut request = ListNamespacesRequest::new().with_max_results(3);
            request.next_token = token;
            self.api.list_namespaces(&request)
        };
        let listed = pages(request)?;
        prop_assert_eq!(listed.len(), self.world.namespaces.len());
        let mut http_names = BTreeSet::new();
        for (found, expected) in listed.iter().zip(&self.world.namespaces) {
            self.is_namespace(found, expected)?;
            prop_assert!(http_names.insert(found.namespace.http_name.clone()));
            let arn =
                format!("arn:aws:servicediscovery:us-east-1:123456789012:namespace/{}", found.namespace.id);
            for id in [found.namespace.id.as_str(), arn.as_str()] {
                prop_assert_eq!(&ok(self.api.get_namespace(GetNamespaceRequest::new(id)))?, found);
            }
        }
        let filters: [(Filter, Holds<'_, Namespace>); 4] = [
            (Filter::eq("TYPE", "HTTP"), Box::new(|namespace: &Namespace| namespace.zone.is_none())),
            (
                Filter::begins_with("TYPE", "DNS_PR"),
                Box::new(|namespace: &Namespace| namespace.zone.is_some_and(|(vpc, _)| vpc.is_some())),
            ),
            (
                Filter::eq("NAME", "app.local"),
                Box::new(|namespace: &Namespace| namespace.name == "app.local"),
            ),
            (
                Filter::begins_with("HTTP_NAME", "app"),
                Box::new(|namespace: &Namespace| namespace.name.starts_with("app")),
            ),
        ];
        for (filter, holds) in filters {
            let request = ListNamespacesRequest::new().with_filters(vec![filter]);
            let found = ok(self.api.list_namespaces(&request))?;
            let found: Vec<_> = found.items.iter().map(|found| found.namespace.id.as_str()).collect();
            let expected = self.world.namespaces.iter().filter(|namespace| holds(namespace));
            let expected: Vec<_> = expected.map(|namespace| self.namespace_id(namespace.number)).collect();
            prop_assert_eq!(found, expected);
        }
        Ok(())
    }

    fn is_namespace(&self, found: &NamespaceDescription, expected: &Namespace) -> Verdict {
        let NamespaceDescription { namespace, service_count, .. } = found;
        prop_assert_eq!(namespace.id.as_str(), self.namespace_id(expected.number));
        prop_assert_eq!(namespace.name.as_str(), expected.name);
        let http_name = namespace.http_name.as_str();
        if expected.plain {
            prop_assert_eq!(http_name, expected.name);
        } else {
            let hash = http_name.strip_prefix(expected.name).and_then(|rest| rest.strip_prefix('-'));
            prop_assert!(hash.is_some_and(|hash| !hash.is_empty()), "{}", http_name);
        }
        let zone = match &namespace.kind {
            NamespaceKind::DnsPrivate { vpc, zone } => Some((Some(vpc.as_str()), zone.soa_ttl)),
            NamespaceKind::DnsPublic { zone } => Some((None, zone.soa_ttl)),
            NamespaceKind::Http => None,
        };
        prop_assert_eq!(zone, expected.zone);
        prop_assert_eq!(namespace.description.as_deref(), expected.description);
        prop_assert_eq!(namespace.creator_request_id.as_ref().map(CreatorRequestId::as_str), expected.token);
        prop_assert_eq!(namespace.created.as_millis(), expected.created);
        let services = self.world.services.iter().filter(|service| service.key.0 == expected.number);
        prop_assert_eq!(*service_count, services.count());
        Ok(())
    }

    fn compare_services(&self) -> Verdict {
        let request = |token| {
            let mut request = ListServicesRequest::new().with_max_results(2);
            request.next_token = token;
            self.api.list_services(&request)
        };
        let listed = pages(request)?;
        prop_assert_eq!(listed.len(), self.world.services.len());
        for (found, expected) in listed.iter().zip(&self.world.services) {
            let service = &found.service;
            prop_assert_eq!(service.id.as_str(), self.service_id(&expected.key));
            prop_assert_eq!(service.name.as_str(), expected.name);
            prop_assert_eq!(service.namespace_id.as_str(), self.namespace_id(expected.key.0));
            prop_assert_eq!(
                service.creator_request_id.as_ref().map(CreatorRequestId::as_str),
                expected.token
            );
            prop_assert_eq!(service.created.as_millis(), expected.created);
            prop_assert_eq!(service.description.as_deref(), expected.description);
            prop_assert_eq!(found.instance_count, expected.instances.len());
            let dns = service.dns_config().map(|config| {
                let records = config.records.iter().map(|record| (record.kind.as_str(), record.ttl));
                (config.routing_policy.as_str() == "WEIGHTED", records.collect::<Vec<_>>())
            });
            prop_assert_eq!(&dns, &expected.dns);
            let arn = format!("arn:aws:servicediscovery:us-east-1:123456789012:service/{}", service.id);
            for id in [service.id.as_str(), arn.as_str()] {
                prop_assert_eq!(&ok(self.api.get_service(GetServiceRequest::new(id)))?, found);
            }
        }
        for namespace in &self.world.namespaces {
            let filter = Filter::eq("NAMESPACE_ID", self.namespace_id(namespace.number));
            let found = ok(self.api.list_services(ListServicesRequest::new().with_filters(vec![filter])))?;
            let found: Vec<_> = found.items.iter().map(|found| found.service.id.as_str()).collect();
            let expected = self.world.services.iter().filter(|service| service.key.0 == namespace.number);
            let expected: Vec<_> = expected.map(|service| self.service_id(&service.key)).collect();
            prop_assert_eq!(found, expected);
        }
        Ok(())
    }

    fn compare_instances(&self, service: &Service) -> Verdict {
        let id = self.service_id(&service.key);
        let request = |token| {
            let mut request = ListInstancesRequest::new(id).with_max_results(5);
            request.next_token = token;
            self.api.list_instances(&request).map(Page::from)
        };
        let listed = pages(request)?;
        let ids: Vec<_> = listed.iter().map(|found| found.id.as_str()).collect();
        let expected: Vec<_> = service.instances.iter().map(|instance| instance.id.as_str()).collect();
        prop_assert_eq!(ids, expected);
        let request = |token| {
            let mut request = GetInstancesHealthStatusRequest::new(id).with_max_results(4);
            request.next_token = token;
            self.api.get_instances_health_status(&request)
        };
        let told = pages(request)?;
        prop_assert_eq!(told.len(), service.instances.len());
        for ((found, told), expected) in listed.iter().zip(&told).zip(&service.instances) {
            prop_assert_eq!(&attributes(found), &expected.attributes);
            prop_assert_eq!(found.creator_request_id.as_ref().map(CreatorRequestId::as_str), expected.token);
            prop_assert_eq!(&told.instance, found);
            prop_assert_eq!(told.status.as_str(), expected.status, "{:?}", expected);
            let got = ok(self.api.get_instance(GetInstanceRequest::new(id, expected.id.as_str())))?;
            prop_assert_eq!(&got.instance, found);
        }
        Ok(())
    }

    fn discover(&self, service: &Service) -> Verdict {
        let namespace = self.world.namespace(service.key.0).unwrap();
        let id = self.namespace_id(namespace.number);
        let described = ok(self.api.get_namespace(GetNamespaceRequest::new(id)))?.namespace;
        let request = || DiscoverInstancesRequest::new(described.http_name.as_str(), service.name);
        let checked = service.check != Check::Absent;
        let is = |wanted: &'static str| move |instance: &&Instance| !checked || instance.status == wanted;
        let healthy: Vec<_> = service.instances.iter().filter(is("HEALTHY")).collect();
        let unhealthy: Vec<_> = service.instances.iter().filter(is("UNHEALTHY")).collect();
        let all: Vec<_> = service.instances.iter().collect();
        let or_else = if healthy.is_empty() { &all } else { &healthy };
        let cases = [
            (None, &healthy),
            (Some("HEALTHY"), &healthy),
            (Some("UNHEALTHY"), &unhealthy),
            (Some("ALL"), &all),
            (Some("HEALTHY_OR_ELSE_ALL"), or_else),
        ];
        for (filter, expected) in cases {
            let mut asked = request();
            asked.health_status = filter.map(Into::into);
            self.assert_finds(&asked, expected, usize::MAX)?;
            self.assert_finds(&asked.clone().with_max_results(2), expected, 2)?;
        }
        // Query parameters apply first, then health, then optional parameters unless they leave nothing.
        let has =
            |instance: &&Instance, stage: &str| instance.attributes.get("stage").is_some_and(|s| s == stage);
        let stage = |stage: &str| BTreeMap::from([("stage".to_owned(), stage.to_owned())]);
        for status in ["ALL", "HEALTHY", "HEALTHY_OR_ELSE_ALL"] {
            let blue: Vec<_> = all.iter().copied().filter(|instance| has(instance, "blue")).collect();
            let well: Vec<_> = blue.iter().copied().filter(is("HEALTHY")).collect();
            let expected = match status {
                "HEALTHY_OR_ELSE_ALL" if well.is_empty() => &blue,
                "ALL" => &blue,
                _ => &well,
            };
            let asked = request().with_health_status(status);
            self.assert_finds(&asked.clone().with_query_parameters(stage("blue")), expected, usize::MAX)?;
            let any = match status {
                "HEALTHY_OR_ELSE_ALL" => or_else,
                "ALL" => &all,
                _ => &healthy,
            };
            let green: Vec<_> = any.iter().copied().filter(|instance| has(instance, "green")).collect();
            let expected = if green.is_empty() { any } else { &green };
            self.assert_finds(&asked.with_optional_parameters(stage("green")), expected, usize::MAX)?;
        }
        // By the namespace's ARN, and in another case in DNS namespaces.
        let arn = described.arn();
        self.assert_finds(&DiscoverInstancesRequest::new(arn.as_str(), service.name), &healthy, usize::MAX)?;
        if namespace.zone.is_some() {
            let shouted = service.name.to_ascii_uppercase();
            let asked = DiscoverInstancesRequest::new(described.http_name.as_str(), shouted);
            self.assert_finds(&asked, &healthy, usize::MAX)?;
        }
        Ok(())
    }

    /// Asserts that `most` of the expected instances are found, or all if there are fewer.
    fn assert_finds(&self, asked: &DiscoverInstancesRequest, expected: &[&Instance], most: usize) -> Verdict {
        let found = ok(self.api.discover_instances(asked))?;
        let ids: BTreeSet<_> = found.instances.iter().map(|instance| instance.id.as_str()).collect();
        let explanation = ok(self.api.explain_discovery(asked))?;
        let eligible: BTreeSet<_> = explanation.eligible().map(|found| found.instance.as_str()).collect();
        let all: BTreeSet<_> = expected.iter().map(|expected| expected.id.as_str()).collect();
        prop_assert_eq!(eligible, all, "{:?}: {}", asked, explanation);
        prop_assert_eq!(ids.len(), found.instances.len(), "an instance is repeated: {:?}", found);
        prop_assert_eq!(ids.len(), expected.len().min(most), "{:?} finds {:?}", asked, found);
        for instance in &found.instances {
            let expected = expected.iter().find(|expected| expected.id == instance.id.as_str());
            prop_assert!(expected.is_some(), "{:?} finds {:?}", asked, found);
            let expected = expected.unwrap();
            prop_assert_eq!(instance.health.as_str(), expected.status);
            prop_assert_eq!(&attributes(instance), &expected.attributes);
            prop_assert_eq!(instance.health == HealthStatus::Unknown, expected.status == "UNKNOWN");
        }
        Ok(())
    }

    /// Asserts that the revision grows with registrations and with nothing else.
    fn compare_revision(&mut self, service: &Service) -> Verdict {
        let id = self.namespace_id(service.key.0).to_owned();
        let http_name = ok(self.api.get_namespace(GetNamespaceRequest::new(id)))?.namespace.http_name.clone();
        let asked = DiscoverInstancesRequest::new(http_name.as_str(), service.name);
        let revision = ok(self.api.discover_instances(&asked))?.instances_revision.as_u64();
        let count = self.world.registrations.get(&service.key).copied().unwrap_or_default();
        let seen = (count, service.number, revision);
        if let Some((before, number, last)) = self.revisions.insert(service.key.clone(), seen) {
            if (before, number) == (count, service.number) {
                prop_assert_eq!(revision, last);
            } else {
                prop_assert!(revision >= last + (count - before), "{} after {}", revision, last);
            }
        }
        prop_assert!(revision < 1 << 53);
        let asked = DiscoverInstancesRevisionRequest::new(http_name.as_str(), service.name);
        let told = ok(self.api.discover_instances_revision(&asked))?;
        prop_assert_eq!(told.instances_revision.as_u64(), revision);
        Ok(())
    }

    fn compare_operations(&self) -> Verdict {
        let request = |token| {
            let mut request = ListOperationsRequest::new().with_max_results(7);
            request.next_token = token;
            self.api.list_operations(&request)
        };
        let listed = pages(request)?;
        let listed: Vec<_> = listed.iter().map(|found| (found.id.as_str(), found.status.as_str())).collect();
        let expected = |holds: &dyn Fn(&Operation) -> bool| {
            let all = self
                .world
                .operations
                .iter()
                .filter(|operation| self.is_listed(operation) && holds(operation));
            all.map(|operation| (&*self.bound.operations[&operation.number], self.world.status(operation).0))
                .collect::<Vec<_>>()
        };
        prop_assert_eq!(listed, expected(&|_| true));
        let mut filters: Vec<(Filter, Holds<'_, Operation>)> = vec![
            (Filter::eq("TYPE", "REGISTER_INSTANCE"), Box::new(|found| found.kind == "REGISTER_INSTANCE")),
            (Filter::eq("STATUS", "PENDING"), Box::new(|found| self.world.status(found).0 == "PENDING")),
        ];
        if let Some(Service { key, .. }) = self.world.services.first() {
            let on_it = move |found: &Operation| found.target.as_ref().is_some_and(|(on, _)| on == key);
            filters.push((Filter::eq("SERVICE_ID", self.service_id(key)), Box::new(on_it)));
        }
        if let Some(Namespace { number, .. }) = self.world.namespaces.first() {
            let in_it = move |found: &Operation| found.namespace == *number;
            filters.push((Filter::eq("NAMESPACE_ID", self.namespace_id(*number)), Box::new(in_it)));
        }
        for (filter, holds) in filters {
            let request = ListOperationsRequest::new().with_filters(vec![filter]);
            let found = ok(self.api.list_operations(&request))?.items;
            let found: Vec<_> =
                found.iter().map(|found| (found.id.as_str(), found.status.as_str())).collect();
            // One page holds 100 operations.
            prop_assert_eq!(found, expected(&holds).into_iter().take(100).collect::<Vec<_>>());
        }
        for operation in &self.world.operations {
            self.is_operation(operation)?;
        }
        Ok(())
    }

    /// Whether the operation is listed. Operations of deleted namespaces are not; failed creations are.
    fn is_listed(&self, operation: &Operation) -> bool {
        let status = self.world.status(operation).0;
        operation.kind == "CREATE_NAMESPACE" && status != "SUCCESS"
            || self.world.namespace(operation.namespace).is_some()
    }

    fn is_operation(&self, expected: &Operation) -> Verdict {
        let id = &self.bound.operations[&expected.number];
        let found = ok(self.api.get_operation(GetOperationRequest::new(id)))?;
        let (status, updated) = self.world.status(expected);
        prop_assert_eq!(found.status.as_str(), status);
        prop_assert_eq!(found.kind.as_str(), expected.kind);
        prop_assert_eq!(found.updated.as_millis(), updated);
        prop_assert_eq!(found.created.as_millis(), expected.created);
        let code = found.error.as_ref().map(|error| error.code.as_str());
        prop_assert_eq!(code, (status == "FAIL").then_some("CANNOT_CREATE_HOSTED_ZONE"));
        let targets: BTreeMap<_, _> = found.targets.iter().collect();
        let expected = match &expected.target {
            Some((key, id)) => {
                let instance = id.iter().map(|id| ("INSTANCE", id.as_str()));
                instance.chain([("SERVICE", self.service_id(key))]).collect()
            }
            None => BTreeMap::from([("NAMESPACE", self.namespace_id(expected.namespace))]),
        };
        prop_assert_eq!(targets, expected);
        Ok(())
    }

    fn compare_refusals(&self) -> Verdict {
        fn code<T>(result: Result<T, Error>) -> Option<&'static str> {
            result.err().map(|error| error.code().as_str())
        }
        for (number, id) in &self.bound.namespaces {
            if self.world.namespace(*number).is_none() {
                let got = self.api.get_namespace(GetNamespaceRequest::new(id));
                prop_assert_eq!(code(got), Some("NamespaceNotFound"));
            }
        }
        for (key, id) in &self.bound.services {
            if self.world.service(key).is_none() {
                prop_assert_eq!(
                    code(self.api.get_service(GetServiceRequest::new(id))),
                    Some("ServiceNotFound")
                );
                let instances = self.api.list_instances(ListInstancesRequest::new(id));
                prop_assert_eq!(code(instances), Some("ServiceNotFound"));
            }
        }
        // Entities of operations in progress do not exist yet.
        for operation in self.world.operations.iter().filter(|operation| !operation.ended) {
            if let Effect::PutInstance(key, instance) = &operation.effect
                && !self.world.service(key).unwrap().instances.iter().any(|found| found.id == instance.id)
            {
                let request = GetInstanceRequest::new(self.service_id(key), instance.id.as_str());
                prop_assert_eq!(code(self.api.get_instance(&request)), Some("InstanceNotFound"));
            }
        }
        let nowhere = DiscoverInstancesRequest::new("nowhere", "web");
        prop_assert_eq!(code(self.api.discover_instances(&nowhere)), Some("NamespaceNotFound"));
        if let Some(namespace) = self.world.namespaces.iter().find(|namespace| namespace.plain) {
            // Discovery finds no instances of a service that does not exist.
            let nobody = DiscoverInstancesRequest::new(namespace.name, "nobody");
            let found = ok(self.api.discover_instances(&nobody))?;
            prop_assert_eq!((found.instances.len(), found.instances_revision.as_u64()), (0, 0));
            let nobody = DiscoverInstancesRevisionRequest::new(namespace.name, "nobody");
            prop_assert_eq!(code(self.api.discover_instances_revision(&nobody)), Some("ServiceNotFound"));
        }
        Ok(())
    }

    /// Asserts that the state is legal: it can be built from nothing, and its counts agree with its entries.
    fn check_state(&self) -> Verdict {
        let state = self.cloud_map.state();
        let writer = StateWriter::new(State::new());
        for (scope, changes) in State::new().diff(&state) {
            let mut set = sd_core::ChangeSet::new(scope, Default::default());
            set.changes = changes;
            prop_assert!(writer.publish(&set).is_ok());
        }
        let rest = writer.cell().load().diff(&state);
        prop_assert!(rest.is_empty(), "{:?}", rest);
        let here = state.scope(&Scope::default());
        for namespace in here.namespaces() {
            for service in here.services_of(namespace) {
                let instances = service.instances();
                prop_assert_eq!(instances.iter().count(), instances.len());
                let routable = instances.iter().filter(|entry| entry.health().is_routable());
                prop_assert_eq!(routable.count(), instances.healthy_len());
                // The first `healthy_len` entries are the routable ones.
                let numbers = 0..u32::try_from(instances.healthy_len()).unwrap();
                let routable = numbers.filter_map(|n| instances.nth(n));
                let routable = routable.filter(|entry| entry.health().is_routable());
                let numbered: BTreeSet<_> = routable.map(|entry| entry.instance().id.clone()).collect();
                prop_assert_eq!(numbered.len(), instances.healthy_len());
            }
        }
        let due = self.world.operations.iter().filter(|operation| !operation.ended);
        let due = due.map(|operation| operation.created + self.world.delays.1);
        let health = self.world.services.iter().flat_map(|service| &service.instances);
        let next = due.chain(health.filter_map(|instance| instance.due)).min();
        prop_assert_eq!(state.next_deadline().map(Timestamp::as_millis), next);
        Ok(())
    }

    /// Reads the next page of a list. It must continue after the last entry, whatever has changed since.
    pub(crate) fn page(&mut self, list: List, size: usize) -> Verdict {
        let cursor = self.cursors.remove(&list);
        let (token, after, key) = match cursor {
            Some((token, after, key)) => (Some(token), after, key),
            None => (None, 0, self.world.services.first().map(|service| service.key.clone())),
        };
        let service = key.as_ref().map_or("srv-none", |key| self.service_id(key)).to_owned();
        let size_asked = i64::try_from(size).unwrap();
        let instances =
            key.as_ref().and_then(|key| self.world.service(key)).map(|service| &service.instances);
        let all: Option<Vec<(usize, String)>> = match list {
            List::Namespaces => {
                let all = self.world.namespaces.iter().map(|namespace| namespace.number);
                Some(all.map(|number| (number, self.namespace_id(number).to_owned())).collect())
            }
            List::Services => {
                let all = self.world.services.iter();
                Some(all.map(|service| (service.number, self.service_id(&service.key).to_owned())).collect())
            }
            List::Operations => {
                let all = self.world.operations.iter().filter(|operation| self.is_listed(operation));
                let all =
                    all.map(|operation| (operation.number, self.bound.operations[&operation.number].clone()));
                Some(all.collect())
            }
            List::Instances | List::Health => instances.map(|instances| {
                instances.iter().map(|instance| (instance.number, instance.id.clone())).collect()
            }),
        };
        macro_rules! ask {
            ($request:expr, $call:ident, |$item:ident| $id:expr) => {{
                let mut request = $request;
                request.next_token = token;
                request.max_results = Some(size_asked);
                self.api.$call(&request).map(|page| {
                    let page = ListedPage::from(page);
                    (page.0.iter().map(|$item| $id.as_str().to_owned()).collect::<Vec<_>>(), page.1)
                })
            }};
        }
        let found = match list {
            List::Namespaces => ask!(ListNamespacesRequest::new(), list_namespaces, |item| item.namespace.id),
            List::Services => ask!(ListServicesRequest::new(), list_services, |item| item.service.id),
            List::Operations => ask!(ListOperationsRequest::new(), list_operations, |item| item.id),
            List::Instances => ask!(ListInstancesRequest::new(service), list_instances, |item| item.id),
            List::Health => {
                ask!(GetInstancesHealthStatusRequest::new(service), get_instances_health_status, |item| item
                    .instance
                    .id)
            }
        };
        let Some(all) = all else {
            // The service is deleted, and the list with it.
            prop_assert!(matches!(found, Err(Error::ServiceNotFound(_))), "{:?}", found);
            return Ok(());
        };
        let (ids, next_token) = ok(found)?;
        let rest: Vec<_> = all.into_iter().filter(|(number, _)| *number > after).collect();
        let expected: Vec<_> = rest.iter().take(size).map(|(_, id)| id.clone()).collect();
        prop_assert_eq!(ids, expected, "{:?} after {}", list, after);
        prop_assert_eq!(next_token.is_some(), rest.len() > size);
        if let (Some(token), Some((last, _))) = (next_token, rest.get(size - 1)) {
            self.cursors.insert(list, (token, *last, key));
        }
        Ok(())
    }
}

/// The entries of a page, and its token.
struct ListedPage<T>(Vec<T>, Option<String>);

impl<T> From<Page<T>> for ListedPage<T> {
    fn from(page: Page<T>) -> Self {
        Self(page.items, page.next_token)
    }
}

impl From<sd_core::response::InstancePage> for ListedPage<std::sync::Arc<EngineInstance>> {
    fn from(listed: sd_core::response::InstancePage) -> Self {
        Self(listed.items, listed.next_token)
    }
}
