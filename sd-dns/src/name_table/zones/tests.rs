//! The cost of zone changes, and their log lines.

use std::{array, collections::BTreeMap, mem, sync::Mutex};

use allocation_counter::measure;
use sd_backend_memory::MemoryRegistry;
use sd_core::{
    Change, Observer, State, SyncCloudMap,
    request::{
        CreatePrivateDnsNamespaceRequest, DeleteNamespaceRequest, DnsNamespaceChange,
        UpdatePrivateDnsNamespaceRequest,
    },
};
use tracing::{
    Dispatch, Event, Level, Metadata, Subscriber,
    dispatcher::with_default,
    span::{Attributes, Id, Record as TraceRecord},
};

use super::*;
use crate::NameTable;

/// A table that measures each change: comparisons of zones, allocations, and allocated octets.
#[derive(Debug)]
struct MeasuredTable {
    table: NameTable,
    costs: Mutex<Vec<[u64; 3]>>,
}

impl MeasuredTable {
    fn new() -> Arc<Self> {
        Arc::new(Self { table: NameTable::new(), costs: Mutex::default() })
    }

    /// The highest costs since the last call.
    fn costs(&self) -> [u64; 3] {
        let costs = mem::take(&mut *self.costs.lock().unwrap());
        assert!(!costs.is_empty());
        costs.into_iter().fold([0; 3], |most, cost| array::from_fn(|at| most[at].max(cost[at])))
    }
}

impl Observer for MeasuredTable {
    fn changed(&self, old: &State, new: &State, scope: &Scope, changes: &[Change]) {
        let before = COMPARISONS.get();
        let counted = measure(|| self.table.changed(old, new, scope, changes));
        let comparisons = (COMPARISONS.get() - before) as u64;
        self.costs.lock().unwrap().push([comparisons, counted.count_total, counted.bytes_total]);
    }

    fn rebuild(&self, new: &State) {
        self.table.rebuild(new);
    }
}

/// Creates the private namespace of an account.
fn create(cloud_map: &SyncCloudMap, account: usize, name: &str) {
    let scope = Scope::parse(&format!("{account:012}"), "eu-west-1").unwrap();
    cloud_map
        .at(scope)
        .create_private_dns_namespace(CreatePrivateDnsNamespaceRequest::new(name, "vpc-1"))
        .unwrap();
}

/// Changes the description of an account's namespace.
fn describe(cloud_map: &SyncCloudMap, account: usize, description: &str) {
    let api = cloud_map.at(Scope::parse(&format!("{account:012}"), "eu-west-1").unwrap());
    let state = cloud_map.cloud_map().state();
    let id = state.scope(api.scope()).namespaces().next().unwrap().namespace().id.clone();
    let change = DnsNamespaceChange::default().with_description(description);
    let request = UpdatePrivateDnsNamespaceRequest::new(id.as_str()).with_namespace(change);
    api.update_private_dns_namespace(request).unwrap();
}

fn delete(cloud_map: &SyncCloudMap, account: usize) {
    let api = cloud_map.at(Scope::parse(&format!("{account:012}"), "eu-west-1").unwrap());
    let state = cloud_map.cloud_map().state();
    let id = state.scope(api.scope()).namespaces().next().unwrap().namespace().id.clone();
    api.delete_namespace(DeleteNamespaceRequest::new(id.as_str())).unwrap();
}

#[test]
fn a_zone_change_costs_the_same_beside_many_zones() {
    for name in [|_| "app.local".to_owned(), |account| format!("app-{account}.local")] {
        let costs = [10, 2000].map(|count| {
            let cloud_map = SyncCloudMap::new(MemoryRegistry::new());
            let measured = MeasuredTable::new();
            let _attached = cloud_map.cloud_map().cell().attach(measured.clone());
            (0..count).for_each(|account| create(&cloud_map, account, &name(account)));
            measured.costs();
            create(&cloud_map, count, &name(count));
            let created = measured.costs();
            describe(&cloud_map, count / 2, "new");
            let described = measured.costs();
            // The zone that answers.
            delete(&cloud_map, 0);
            let deleted = measured.costs();
            [created, described, deleted]
        });
        let [few, many] = &costs;
        for (few, many) in few.iter().flatten().zip(many.iter().flatten()) {
            assert!(*many <= 8 * few + 16, "{many} beside 2,000, {few} beside 10: {costs:?}");
        }
    }
}

/// Counts log events by level.
struct EventCounter(Arc<Mutex<BTreeMap<Level, usize>>>);

impl Subscriber for EventCounter {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("sd_dns")
    }

    fn event(&self, event: &Event<'_>) {
        *self.0.lock().unwrap().entry(*event.metadata().level()).or_default() += 1;
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &TraceRecord<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn hidden_zones_are_logged_as_a_warning_once_for_each_name() {
    let events: Arc<Mutex<BTreeMap<Level, usize>>> = Arc::default();
    let cloud_map = SyncCloudMap::new(MemoryRegistry::new());
    let counted = || {
        let mut counts = mem::take(&mut *events.lock().unwrap());
        let mut of = |level| counts.remove(&level).unwrap_or_default();
        let found = [of(Level::WARN), of(Level::DEBUG)];
        assert!(counts.is_empty(), "{counts:?}");
        found
    };
    // Two dispatchers: with one, tracing caches the interest of the first thread that reaches an event, which may belong to
    // another test.
    let [dispatch, _other] = array::from_fn(|_| Dispatch::new(EventCounter(events.clone())));
    with_default(&dispatch, || {
        let table = NameTable::new();
        let attached = cloud_map.cloud_map().cell().attach(Arc::new(table.clone()));
        create(&cloud_map, 0, "app.local");
        assert_eq!(counted(), [0, 0]);
        (1..10).for_each(|account| create(&cloud_map, account, "app.local"));
        assert_eq!(counted(), [1, 8]);
        create(&cloud_map, 10, "svc.local");
        create(&cloud_map, 11, "svc.local");
        assert_eq!(counted(), [1, 0]);
        (0..12).for_each(|account| describe(&cloud_map, account, "new"));
        assert_eq!(counted(), [0, 0]);
        // Hidden again.
        delete(&cloud_map, 5);
        create(&cloud_map, 5, "app.local");
        assert_eq!(counted(), [0, 1]);
        assert_eq!(table.hidden_zones().len(), 10);
        drop(attached);
        let _attached = cloud_map.cloud_map().cell().attach(Arc::new(NameTable::new()));
        assert_eq!(counted(), [1, 0], "a summary");
    });
}

/// Candidates of one name, in the order of their precedence.
fn candidates() -> [ZoneCandidate; 2] {
    let older = crate::name_table::tests::prototypes().namespace;
    let mut newer = older.clone();
    newer.created = newer.created.after(std::time::Duration::from_secs(1));
    newer.id = NamespaceId::parse("ns-newer").unwrap();
    [(older, 1), (newer, 2)].map(|(namespace, key)| ZoneCandidate { namespace: Arc::new(namespace), key })
}

#[test]
fn the_zone_without_precedence_is_hidden_whichever_is_added_first() {
    let name = DnsName::parse("app.local").unwrap();
    let [older, newer] = candidates();
    for [first, second] in [[&older, &newer], [&newer, &older]] {
        let mut zones = Zones::default();
        assert_eq!(zones.add(name.clone(), first), None);
        assert_eq!(zones.add(name.clone(), second), Some(HiddenZone::new(&name, &newer, &older)));
    }
}

#[test]
fn nothing_is_left_of_a_zone_that_is_removed() {
    let [zone, _] = candidates();
    let label = "a".repeat(63);
    let names = ["a".to_owned(), "app.local".to_owned(), label.clone(), [&*label; 3].join(".")];
    for name in names.map(|name| DnsName::parse(&name).unwrap()) {
        let mut zones = Zones::default();
        zones.add(name.clone(), &zone);
        assert_ne!(zones.lengths, NameLengths::default());
        zones.remove(name, &zone);
        assert_eq!(zones.dump(), Zones::default().dump());
        assert_eq!(zones.lengths, NameLengths::default());
    }
}
