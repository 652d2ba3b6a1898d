use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{time::Arrival, *};
use crate::{
    api::{
        error::Error,
        request::{
            CreateHttpNamespaceRequest, CreatePrivateDnsNamespaceRequest, CreatePublicDnsNamespaceRequest,
            CreateServiceRequest, DeleteNamespaceRequest, DeleteServiceAttributesRequest,
            DeleteServiceRequest, DeregisterInstanceRequest, DnsConfigChange, DnsConfigInput,
            DnsNamespaceChange, HealthCheckConfigInput, HealthCheckCustomConfigInput, HttpNamespaceChange,
            RegisterInstanceRequest, ServiceChange, Tag, TagResourceRequest, UntagResourceRequest,
            UpdateHttpNamespaceRequest, UpdateInstanceCustomHealthStatusRequest,
            UpdatePrivateDnsNamespaceRequest, UpdatePublicDnsNamespaceRequest,
            UpdateServiceAttributesRequest, UpdateServiceRequest,
        },
    },
    model::{
        Arn, CustomHealthStatus, Health, HealthCheck, HealthCheckType, HealthEvent, HealthStatus, Instance,
        InstanceId, NamespaceKind, NamespaceType, Operation, OperationErrorCode, OperationStatus,
        OperationTargets, OperationType, RecordType, action::Action,
    },
    ops::{
        Plan, WriteContext, fresh::Fresh, instance_health, instances, namespaces, service_attributes,
        services, tags, update_namespace, update_service,
    },
    settings::{id_source::SequentialIds, mode::Mode, quotas::Quotas, timing::Timing},
    state::change::{Change, ChangeSet, PendingOperation},
};

/// A random request. Numbers choose among few names, so that steps concern the same entities.
#[derive(Clone, Debug)]
enum Step {
    CreateHttp(u8),
    CreatePrivate(u8, u8),
    CreatePublic(u8),
    UpdateNamespace(u8, u8),
    DeleteNamespace(u8),
    CreateService(u8, u8),
    UpdateService(u8, u8),
    DeleteService(u8),
    Register(u8, u8, bool),
    Deregister(u8, u8),
    SetHealth(u8, u8, bool),
    Report(u8, u8, bool),
    TagNamespace(u8, bool),
    TagService(u8, bool),
    UpdateAttributes(u8, bool),
    Wait,
}

fn step() -> impl Strategy<Value = Step> {
    let (name, which, instance) = (0u8..3, 0u8..4, 0u8..6);
    prop_oneof![
        1 => name.clone().prop_map(Step::CreateHttp),
        1 => (name.clone(), 0u8..2).prop_map(|(name, vpc)| Step::CreatePrivate(name, vpc)),
        1 => name.clone().prop_map(Step::CreatePublic),
        2 => (which.clone(), 0u8..3).prop_map(|(namespace, text)| Step::UpdateNamespace(namespace, text)),
        1 => which.clone().prop_map(Step::DeleteNamespace),
        3 => (which.clone(), 0u8..4).prop_map(|(namespace, name)| Step::CreateService(namespace, name)),
        3 => (which.clone(), 0u8..4).prop_map(|(service, how)| Step::UpdateService(service, how)),
        2 => which.clone().prop_map(Step::DeleteService),
        8 => (which.clone(), instance.clone(), any::<bool>()).prop_map(|(s, i, well)| Step::Register(s, i, well)),
        4 => (which.clone(), instance.clone()).prop_map(|(s, i)| Step::Deregister(s, i)),
        4 => (which.clone(), instance.clone(), any::<bool>()).prop_map(|(s, i, well)| Step::SetHealth(s, i, well)),
        4 => (which.clone(), instance, any::<bool>()).prop_map(|(s, i, well)| Step::Report(s, i, well)),
        1 => (which.clone(), any::<bool>()).prop_map(|(n, there)| Step::TagNamespace(n, there)),
        1 => (which.clone(), any::<bool>()).prop_map(|(s, there)| Step::TagService(s, there)),
        1 => (which, any::<bool>()).prop_map(|(s, there)| Step::UpdateAttributes(s, there)),
        3 => Just(Step::Wait),
    ]
}

/// The changes of a step; `None` if the request is refused or changes nothing.
fn plan(
    step: &Step,
    state: &State,
    scope: &Scope,
    now: Timestamp,
    timing: Timing,
    fresh: &Fresh,
) -> Option<ChangeSet> {
    fn changes<R>(plan: Result<Plan<R>, Error>) -> Option<ChangeSet> {
        plan.ok().and_then(|plan| plan.changes)
    }
    let quotas = Quotas::none();
    let context = WriteContext {
        state,
        scope,
        now,
        mode: Mode::Lenient,
        timing,
        quotas,
        health_start: crate::model::HealthStart::Healthy,
        failure: None,
        fresh,
    };
    let here = state.scope(scope);
    let namespace = |n: u8| {
        let found = here.namespaces().nth(n.into());
        found.map_or("ns-none".into(), |entry| entry.namespace().id.to_string())
    };
    let service = |n: u8| {
        let found = here.services_after(None).nth(n.into());
        found.map_or("srv-none".into(), |entry| entry.service().id.to_string())
    };
    let retag = |arn: Arn, there: bool| {
        if there {
            let request = TagResourceRequest::new(arn.as_str()).with_tags([Tag::new("key", "value")]);
            changes(tags::tag(&request, &context))
        } else {
            let request = UntagResourceRequest::new(arn.as_str()).with_tag_keys(["key".to_owned()]);
            changes(tags::untag(&request, &context))
        }
    };
    match *step {
        Step::CreateHttp(name) => {
            changes(namespaces::create_http(&CreateHttpNamespaceRequest::new(format!("n{name}")), &context))
        }
        Step::CreatePrivate(name, vpc) => {
            let request = CreatePrivateDnsNamespaceRequest::new(format!("n{name}"), format!("vpc-{vpc}"));
            changes(namespaces::create_private_dns(&request, &context))
        }
        Step::CreatePublic(name) => {
            let request = CreatePublicDnsNamespaceRequest::new(format!("n{name}.test"));
            changes(namespaces::create_public_dns(&request, &context))
        }
        Step::UpdateNamespace(n, text) => {
            let id = namespace(n);
            let kind = here.namespace(&id).map(|entry| entry.namespace().kind.namespace_type());
            let change =
                DnsNamespaceChange::default().with_description(text.to_string()).with_soa_ttl(text.into());
            match kind {
                Some(NamespaceType::DnsPrivate) => {
                    let request = UpdatePrivateDnsNamespaceRequest::new(id).with_namespace(change);
                    changes(update_namespace::private_dns(&request, &context))
                }
                Some(NamespaceType::DnsPublic) => {
                    let request = UpdatePublicDnsNamespaceRequest::new(id).with_namespace(change);
                    changes(update_namespace::public_dns(&request, &context))
                }
                Some(NamespaceType::Http) | None => {
                    let change = HttpNamespaceChange::new(text.to_string());
                    let request = UpdateHttpNamespaceRequest::new(id).with_namespace(change);
                    changes(update_namespace::http(&request, &context))
                }
            }
        }
        Step::DeleteNamespace(n) => {
            changes(namespaces::delete(&DeleteNamespaceRequest::new(namespace(n)), &context))
        }
        Step::CreateService(n, name) => {
            let id = namespace(n);
            let dns = here.namespace(&id).is_some_and(|entry| entry.namespace().folds_case());
            let mut request =
                CreateServiceRequest::new(["web", "Web", "db", "."][usize::from(name)]).with_namespace_id(id);
            // A service without a custom check may get a Route 53 check, and lose it again.
            request.health_check_custom_config = (name < 2).then(HealthCheckCustomConfigInput::default);
            request.dns_config = dns.then(|| DnsConfigInput::new([(RecordType::A, 60)]));
            changes(services::create(&request, &context))
        }
        Step::UpdateService(s, how) => {
            let mut change = ServiceChange::default().with_description(how.to_string());
            change.dns_config = (how != 3).then(|| DnsConfigChange::new([(RecordType::A, how.into())]));
            change.health_check_config = (how > 1).then(|| HealthCheckConfigInput::new(HealthCheckType::Tcp));
            let request = UpdateServiceRequest::new(service(s)).with_service(change);
            changes(update_service::update(&request, &context))
        }
        Step::DeleteService(s) => changes(services::delete(&DeleteServiceRequest::new(service(s)), &context)),
        Step::Register(s, i, well) => {
            let request = RegisterInstanceRequest::new(service(s), format!("i-{i}"))
                .with_attribute("AWS_INSTANCE_IPV4", format!("10.0.0.{i}"))
                .with_attribute("AWS_INIT_HEALTH_STATUS", if well { "HEALTHY" } else { "UNHEALTHY" });
            changes(instances::register(&request, &context))
        }
        Step::Deregister(s, i) => {
            let request = DeregisterInstanceRequest::new(service(s), format!("i-{i}"));
            changes(instances::deregister(&request, &context))
        }
        Step::SetHealth(s, i, well) => {
            let status = if well { CustomHealthStatus::Healthy } else { CustomHealthStatus::Unhealthy };
            let entry = here.services_after(None).nth(s.into())?;
            let found = entry.instances().get(&format!("i-{i}"))?;
            let health = found.health().on(HealthEvent::Set(status), now);
            let (service, id) = (entry.service().id.clone(), found.instance().id.clone());
            Some(ChangeSet::new(scope.clone(), now).changing(Change::PutHealth { service, id, health }))
        }
        Step::Report(s, i, well) => {
            let status = if well { "HEALTHY" } else { "UNHEALTHY" };
            let request = UpdateInstanceCustomHealthStatusRequest::new(service(s), format!("i-{i}"), status);
            changes(instance_health::update(&request, &context))
        }
        Step::TagNamespace(n, there) => {
            retag(scope.namespace_arn(&NamespaceId::parse(&namespace(n)).ok()?), there)
        }
        Step::TagService(s, there) => retag(scope.service_arn(&ServiceId::parse(&service(s)).ok()?), there),
        Step::UpdateAttributes(s, true) => {
            let request = UpdateServiceAttributesRequest::new(service(s)).with_attribute("key", "value");
            changes(service_attributes::update(&request, &context))
        }
        Step::UpdateAttributes(s, false) => {
            let request = DeleteServiceAttributesRequest::new(service(s)).with_attributes(["key".to_owned()]);
            changes(service_attributes::delete(&request, &context))
        }
        Step::Wait => None,
    }
}

/// A registry without indexes.
#[derive(Debug, Default, PartialEq)]
struct Naive {
    namespaces: BTreeMap<NamespaceId, Arc<Namespace>>,
    services: BTreeMap<ServiceId, Arc<Service>>,
    instances: BTreeMap<(ServiceId, InstanceId), (Arc<Instance>, Health)>,
}

impl Naive {
    fn apply(&mut self, change: &Change) {
        match change.clone() {
            Change::PutNamespace(namespace) => {
                self.namespaces.insert(namespace.id.clone(), namespace);
            }
            Change::DeleteNamespace(id) => drop(self.namespaces.remove(&id)),
            Change::PutService(service) => {
                for ((of, _), (instance, health)) in &mut self.instances {
                    if *of == service.id {
                        *health = health.under(&service.health_check, instance.endpoint.initial_health);
                    }
                }
                self.services.insert(service.id.clone(), service);
            }
            Change::DeleteService(id) => drop(self.services.remove(&id)),
            Change::PutInstance { service, instance, health } => {
                self.instances.insert((service, instance.id.clone()), (instance, health));
            }
            Change::DeleteInstance { service, id } => drop(self.instances.remove(&(service, id))),
            // Its effect follows when it is due.
            Change::BeginOperation(_) | Change::EndOperation(_) => {}
            Change::PutHealth { service, id, health } => {
                if let Some(entry) = self.instances.get_mut(&(service, id)) {
                    entry.1 = health;
                }
            }
        }
    }

    fn assert_same(&self, scope: &ScopeState) {
        let namespaces: Vec<_> = scope.namespaces().map(NamespaceEntry::namespace).collect();
        assert_eq!(namespaces, self.namespaces.values().collect::<Vec<_>>());
        let mut services: Vec<_> = scope.services_after(None).map(ServiceEntry::service).collect();
        services.sort_by(|a, b| a.id.cmp(&b.id));
        assert_eq!(services, self.services.values().collect::<Vec<_>>());
        let mut count = 0;
        for ((service, id), (instance, health)) in &self.instances {
            let entry = scope.service(service.as_str()).unwrap().instances().get(id.as_str()).unwrap();
            assert_eq!((entry.instance(), entry.health()), (instance, *health));
            count += 1;
        }
        assert_eq!(count, scope.services_after(None).map(|entry| entry.instances().len()).sum::<usize>());
    }
}

impl State {
    /// Checks that the indexes agree with the entities and that every entity has its parent.
    fn check(&self) {
        let mut deadlines = OrdSet::new();
        for (name, scope) in self.scopes() {
            scope.check(self.revision);
            deadlines.extend(scope.deadlines.get_min().map(|(due, _)| (*due, name.clone())));
        }
        assert_eq!(self.deadlines, deadlines);
    }
}

impl ScopeState {
    fn check(&self, now: Revision) {
        assert_eq!(self.namespaces_by_age.len(), self.namespaces.len());
        assert_eq!(self.http_names.len(), self.namespaces.len());
        assert_eq!(self.services_by_age.len(), self.services.len());
        let mut names = Vec::new();
        for (id, entry) in &self.namespaces {
            let namespace = &entry.namespace;
            assert_eq!(*id, namespace.id);
            assert!(entry.revision <= now);
            assert!(self.namespaces_by_age.contains(&(entry.age, id.clone())));
            assert_eq!(self.http_names.get(namespace.http_name.as_str()), Some(id));
            for (name, id) in &entry.services {
                let child = &self.services.get(id).unwrap().service;
                assert_eq!((&child.namespace_id, &namespace.unique_name(&child.name)), (&namespace.id, name));
            }
            names.push(match &namespace.kind {
                NamespaceKind::DnsPrivate { vpc, .. } => {
                    format!("{vpc} {}", namespace.name.as_str().to_lowercase())
                }
                NamespaceKind::Http => format!("HTTP {}", namespace.name),
                // There may be several public zones of a name.
                NamespaceKind::DnsPublic { .. } => namespace.id.to_string(),
            });
        }
        let children: usize = self.namespaces.values().map(NamespaceEntry::service_count).sum();
        assert_eq!(children, self.services.len(), "every service has its parent");
        names.sort();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
        for (id, entry) in &self.services {
            assert_eq!(*id, entry.service.id);
            assert!(entry.revision <= now);
            assert!(self.services_by_age.contains(&(entry.age, id.clone())));
            assert!(entry.instances.iter().all(|instance| instance.revision <= now));
            let unchecked = entry.service.health_check == HealthCheck::None;
            let fits = |status: HealthStatus| (status == HealthStatus::Unknown) == unchecked;
            assert!(entry.instances.iter().all(|instance| fits(instance.health.status())));
            entry.instances.check();
        }
        self.check_time();
    }

    /// Checks that the operations under way, their claims and all deadlines agree.
    fn check_time(&self) {
        let mut deadlines = OrdSet::new();
        let mut busy = OrdMap::new();
        for (id, found) in &self.in_flight {
            deadlines.insert((found.pending.due, Deadline::Operation(found.age, id.clone())));
            for claim in &found.pending.claims {
                assert_eq!(busy.insert(claim.clone(), id.clone()), None, "claimed twice: {claim:?}");
            }
        }
        for (service, entry) in &self.services {
            let on_it = |found: &&InFlight| found.pending.operation.targets.service() == Some(service);
            assert_eq!(entry.operations as usize, self.in_flight.values().filter(on_it).count());
            let coming = |found: &&InFlight| matches!(&found.arrival, Arrival::Instance(of) if of == service);
            assert_eq!(entry.instances_to_come, self.in_flight.values().filter(coming).count());
            for instance in entry.instances.iter() {
                let id = instance.instance().id.clone();
                let deadline = |due| (due, Deadline::Health(service.clone(), id));
                deadlines.extend(instance.health().next_deadline().map(deadline));
            }
        }
        let coming = |found: &&InFlight| found.arrival == Arrival::Namespace;
        assert_eq!(self.namespaces_to_come, self.in_flight.values().filter(coming).count());
        assert_eq!(self.busy, busy);
        assert_eq!(self.deadlines, deadlines);
    }
}

proptest! {
    /// After each step every index agrees with the entities, and the entities are those of a registry without indexes.
    #[test]
    fn the_indexes_agree_after_every_step(steps in prop::collection::vec(step(), 1..60)) {
        let (scope, ids) = (Scope::default(), SequentialIds::default());
        let (mut state, mut naive) = (State::new(), Naive::default());
        let (mut all, mut now) = (ChangeSet::new(scope.clone(), Timestamp::default()), 0);
        for step in &steps {
            now += u64::from(matches!(step, Step::Wait));
            let moment = Timestamp::from_millis(now);
            let Some(set) = plan(step, &state, &scope, moment, Timing::instant(), &Fresh::draw(&ids)) else { continue };
            let before = state.clone();
            state = state.apply(&set).unwrap();
            state.check();
            let grows = u64::from(!set.changes.is_empty());
            prop_assert_eq!(state.revision().as_u64(), before.revision().as_u64() + grows);
            for change in &set.changes {
                naive.apply(change);
                let service = match change {
                    Change::PutInstance { service, .. } | Change::DeleteInstance { service, .. } => (service, true),
                    Change::PutHealth { service, .. } => (service, false),
                    _ => continue,
                };
                let revision = |state: &State| state.scope(&scope).service(service.0.as_str()).unwrap().instances_revision();
                prop_assert_eq!(revision(&state) > revision(&before), service.1);
                prop_assert!(revision(&state) >= revision(&before));
            }
            naive.assert_same(state.scope(&scope));
            all.changes.extend(set.changes);
        }
        // Applied as one set, the changes lead to the same state, and every prefix of them gives a legal state.
        for end in 0..=all.changes.len() {
            let mut prefix = all.clone();
            prefix.changes.truncate(end);
            let reached = State::new().apply(&prefix);
            prop_assert!(reached.is_ok(), "{:?}", reached.err());
            reached.unwrap().check();
        }
        naive.assert_same(State::new().apply(&all).unwrap().scope(&scope));
    }
}

proptest! {
    /// Operations that take time end when they are due, each once, and none fails.
    #[test]
    fn operations_under_way_end_once_when_they_are_due(steps in prop::collection::vec(step(), 1..80)) {
        let (scope, ids) = (Scope::default(), SequentialIds::default());
        let (mut state, mut naive) = (State::new(), Naive::default());
        let (mut begun, mut finished, mut now) = (0, 0, 0);
        let advance = |state: &mut State, naive: &mut Naive, now| {
            let Some((after, all)) = state.advanced(Timestamp::from_millis(now)) else { return 0 };
            *state = after;
            let mut ended = 0;
            for elapsed in all {
                elapsed.changes.iter().for_each(|change| naive.apply(change));
                for (operation, _) in &elapsed.operations {
                    let failed = operation.status == OperationStatus::Fail;
                    let conflict = operation.error.as_ref().map(|error| error.code);
                    let expected = failed.then_some(OperationErrorCode::CannotCreateHostedZone);
                    assert_eq!(conflict, expected, "{operation:?}");
                }
                ended += elapsed.operations.len();
            }
            ended
        };
        for step in &steps {
            now += if matches!(step, Step::Wait) { 700 } else { 1 };
            finished += advance(&mut state, &mut naive, now);
            state.check();
            let moment = Timestamp::from_millis(now);
            let Some(set) = plan(step, &state, &scope, moment, Timing::aws(), &Fresh::draw(&ids)) else { continue };
            begun += set.changes.iter().filter(|change| matches!(change, Change::BeginOperation(_))).count();
            state = state.apply(&set).unwrap();
            set.changes.iter().for_each(|change| naive.apply(change));
            state.check();
            naive.assert_same(state.scope(&scope));
        }
        finished += advance(&mut state, &mut naive, now + 60_000);
        state.check();
        naive.assert_same(state.scope(&scope));
        prop_assert_eq!(begun, finished);
        prop_assert_eq!(state.next_deadline(), None);
    }
}

/// The content of a state, by value.
fn content(state: &State, scope: &Scope) -> (Naive, BTreeMap<OperationId, Arc<PendingOperation>>) {
    let here = state.scope(scope);
    let mut all = Naive::default();
    all.namespaces
        .extend(here.namespaces().map(|entry| (entry.namespace.id.clone(), entry.namespace.clone())));
    for entry in here.services_after(None) {
        all.services.insert(entry.service.id.clone(), entry.service.clone());
        for found in entry.instances.iter() {
            let key = (entry.service.id.clone(), found.instance.id.clone());
            all.instances.insert(key, (found.instance.clone(), found.health));
        }
    }
    let pending = |(id, found): (&OperationId, &InFlight)| (id.clone(), found.pending.clone());
    (all, here.in_flight.iter().map(pending).collect())
}

proptest! {
    /// The diff of any two states leads from one to the other, and every prefix of it is legal.
    #[test]
    fn a_diff_leads_from_one_state_to_another(
        common in prop::collection::vec(step(), 0..40),
        ways in prop::array::uniform2(prop::collection::vec(step(), 0..40)),
        timing in prop_oneof![Just(Timing::instant()), Just(Timing::aws())],
    ) {
        let (scope, ids) = (Scope::default(), SequentialIds::default());
        let go = |mut state: State, mut now: u64, steps: &[Step]| {
            for step in steps {
                now += if matches!(step, Step::Wait) { 700 } else { 1 };
                let moment = Timestamp::from_millis(now);
                if let Some((advanced, _)) = state.advanced(moment) {
                    state = advanced;
                }
                if let Some(set) = plan(step, &state, &scope, moment, timing, &Fresh::draw(&ids)) {
                    state = state.apply(&set).unwrap();
                }
            }
            (state, now)
        };
        let (ancestor, now) = go(State::new(), 0, &common);
        let [one, other] = ways.map(|way| go(ancestor.clone(), now, &way).0);
        for (from, to) in [(&ancestor, &one), (&one, &ancestor), (&one, &other), (&one, &one), (&State::new(), &other)] {
            let mut reached = from.clone();
            for (scope, changes) in from.diff(to) {
                let mut set = ChangeSet::new(scope, Timestamp::default());
                for change in &changes {
                    set.changes = vec![change.clone()];
                    let next = reached.apply(&set);
                    prop_assert!(next.is_ok(), "{:?} after {changes:?}", next.err());
                    reached = next.unwrap();
                    reached.check();
                }
            }
            prop_assert_eq!(content(&reached, &scope), content(to, &scope));
            prop_assert_eq!(reached.diff(to), vec![]);
        }
    }
}

#[test]
fn instances_whose_numbers_change_are_found() {
    let (scope, ids, now) = (Scope::default(), SequentialIds::default(), Timestamp::default());
    let mut state = State::new();
    // An instance that becomes healthy swaps its number with an unhealthy one.
    let unhealthy = (0..8).map(|id| Step::Register(0, id, false));
    let healthy = (0..8).rev().map(|id| Step::SetHealth(0, id, true));
    let checked = [Step::CreateHttp(0), Step::CreateService(0, 0)];
    for step in checked.into_iter().chain(unhealthy).chain(healthy) {
        if let Some(set) = plan(&step, &state, &scope, now, Timing::instant(), &Fresh::draw(&ids)) {
            state = state.apply(&set).unwrap();
            state.check();
        }
    }
    let service = state.scope(&scope).services_after(None).next().unwrap();
    assert!(service.instances().healthy_len() > 3, "{}", service.instances().healthy_len());
}

#[test]
fn tags_and_attributes_set_during_an_update_are_kept() {
    let (scope, ids) = (Scope::default(), SequentialIds::default());
    let now = Timestamp::default();
    let after = |state: &State, step: Step| {
        let set = plan(&step, state, &scope, now, Timing::instant(), &Fresh::draw(&ids)).unwrap();
        state.apply(&set).unwrap()
    };
    let created = after(&after(&State::new(), Step::CreateHttp(0)), Step::CreateService(0, 0));
    let namespace = created.scope(&scope).namespaces().next().unwrap().namespace().clone();
    let service = created.scope(&scope).services_after(None).next().unwrap().service().clone();
    let operation = Operation {
        scope: scope.clone(),
        id: Fresh::draw(&ids).operation_id(now),
        kind: OperationType::UpdateNamespace,
        status: OperationStatus::Submitted,
        error: None,
        targets: OperationTargets::Namespace(namespace.id.clone()),
        namespace: namespace.id.clone(),
        created: now,
        updated: now,
    };
    let effect = vec![
        Change::PutNamespace(Arc::new(Namespace {
            description: Some("new".into()),
            ..Namespace::clone(&namespace)
        })),
        Change::PutService(Arc::new(Service { description: Some("new".into()), ..Service::clone(&service) })),
    ];
    let due = Timestamp::from_millis(1);
    let pending = PendingOperation {
        action: Action::UpdateHttpNamespace,
        operation,
        pending_from: now,
        due,
        effect,
        claims: vec![],
    };
    let begin = ChangeSet::new(scope.clone(), now).changing(Change::BeginOperation(Arc::new(pending)));
    let mut state = created.apply(&begin).unwrap();
    for step in [Step::TagNamespace(0, true), Step::TagService(0, true), Step::UpdateAttributes(0, true)] {
        state = after(&state, step);
    }
    let (ended, elapsed) = state.advanced(due).unwrap();
    ended.check();
    let after = ended.scope(&scope).namespaces().next().unwrap().namespace().clone();
    assert_eq!((after.tags.get("key"), after.description.as_deref()), (Some("value"), Some("new")));
    assert_eq!(after.created_as, namespace.created_as);
    let tagged = ended.scope(&scope).services_after(None).next().unwrap().service().clone();
    assert_eq!((tagged.tags.get("key"), tagged.description.as_deref()), (Some("value"), Some("new")));
    assert_eq!(tagged.attributes.get("key"), Some("value"));
    assert_eq!(tagged.created_as, service.created_as);
    // Observers receive the merged entities.
    assert_eq!(elapsed[0].changes, [Change::PutNamespace(after), Change::PutService(tagged)]);
}

#[test]
fn children_without_parents_and_parents_with_children_are_illegal() {
    let (scope, ids) = (Scope::default(), SequentialIds::default());
    let mut states = vec![State::new()];
    let mut sets = Vec::new();
    for step in [Step::CreateHttp(0), Step::CreateService(0, 0), Step::Register(0, 0, true)] {
        let state = states.last().unwrap();
        let set =
            plan(&step, state, &scope, Timestamp::default(), Timing::instant(), &Fresh::draw(&ids)).unwrap();
        states.push(state.apply(&set).unwrap());
        sets.push(ChangeSet { preconditions: Vec::new(), ..set });
    }
    let namespace = states[1].scope(&scope).namespaces().next().unwrap().namespace().clone();
    let service = states[2].scope(&scope).services_after(None).next().unwrap().service().clone();
    let alone = |change: Change| ChangeSet::new(scope.clone(), Timestamp::default()).changing(change);
    let illegal = [
        (&states[0], sets[1].clone()),
        (&states[1], sets[2].clone()),
        (&states[2], alone(Change::DeleteNamespace(namespace.id.clone()))),
        (&states[3], alone(Change::DeleteService(service.id.clone()))),
    ];
    for (state, set) in illegal {
        assert!(matches!(state.apply(&set), Err(Unmet::Parent(_))), "{:?}", set.changes);
    }
    // Deleting what does not exist changes nothing.
    let gone = InstanceId::parse("i-9").unwrap();
    for change in [
        Change::DeleteNamespace(NamespaceId::parse("ns-none").unwrap()),
        Change::DeleteService(ServiceId::parse("srv-none").unwrap()),
        Change::DeleteInstance { service: service.id.clone(), id: gone },
    ] {
        states[3].apply(&alone(change)).unwrap().check();
    }
    assert_eq!(namespace.kind.namespace_type(), NamespaceType::Http);
}
