//! The time of requests, with the name table of the DNS door attached: `cargo bench -p sd-core --bench core`.

#![allow(clippy::unwrap_used, reason = "a bench may fail loudly")]
#![allow(missing_docs, reason = "the names of the benches say what they measure")]

mod filled;

use std::{
    collections::BTreeMap,
    hint::black_box,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use divan::Bencher;
use filled::Filled;
use sd_backend_memory::MemoryRegistry;
use sd_core::{
    SyncCloudMap,
    dns::View,
    model::{DnsName, RecordType},
    request::{DeregisterInstanceRequest, DiscoverInstancesRequest, RegisterInstanceRequest},
};

fn main() {
    divan::main();
}

const SIZES: [usize; 4] = [1, 1_000, 10_000, 100_000];

#[divan::bench(args = SIZES, sample_count = 200, sample_size = 10)]
fn register(bencher: Bencher<'_, '_>, instances: usize) {
    let filled = Filled::with(instances);
    bencher.with_inputs(|| filled.request()).bench_values(|request| filled.register(request));
}

/// The yardstick for `register`: inserts the same texts into a map of maps behind a lock, without rules, versions, records
/// and operations.
#[divan::bench(args = SIZES, sample_count = 200, sample_size = 10)]
fn insert_into_a_map(bencher: Bencher<'_, '_>, instances: usize) {
    let filled = Filled::with(0);
    let map = Mutex::new(BTreeMap::new());
    let insert = |request: RegisterInstanceRequest| {
        map.lock().unwrap().insert(request.instance_id.unwrap(), request.attributes.unwrap())
    };
    (0..instances).for_each(|_| drop(insert(filled.request())));
    bencher.with_inputs(|| filled.request()).bench_values(insert);
}

#[divan::bench(args = SIZES, sample_count = 200, sample_size = 10)]
fn register_and_deregister(bencher: Bencher<'_, '_>, instances: usize) {
    let filled = Filled::with(instances);
    bencher.with_inputs(|| filled.request()).bench_values(|request| {
        let id = request.instance_id.clone().unwrap();
        filled.register(request);
        filled.api.deregister_instance(DeregisterInstanceRequest::new(&filled.service, id)).unwrap();
    });
}

#[divan::bench(args = [1_000, 10_000, 100_000])]
fn discover_100(bencher: Bencher<'_, '_>, instances: usize) {
    let filled = Filled::with(instances);
    let request = DiscoverInstancesRequest::new("app.local", "web");
    bencher.bench(|| filled.api.discover_instances(black_box(&request)).unwrap());
}

#[divan::bench(args = [1_000, 10_000])]
fn discover_100_with_parameters(bencher: Bencher<'_, '_>, instances: usize) {
    let filled = Filled::with(instances);
    let parameters = [("ECS_CLUSTER_NAME".to_owned(), "blue".to_owned())];
    let request = DiscoverInstancesRequest::new("app.local", "web").with_query_parameters(parameters);
    bencher.bench(|| filled.api.discover_instances(black_box(&request)).unwrap());
}

/// `resolve` is the reference for the name table. DNS answers come from the table.
#[divan::bench(args = [8, 1_000])]
fn resolve(bencher: Bencher<'_, '_>, instances: usize) {
    let filled = Filled::with(instances);
    let name = DnsName::parse("web.app.local").unwrap();
    let view = View::default();
    bencher.bench(|| filled.cloud_map.cloud_map().resolve(&view, black_box(&name), RecordType::A));
}

#[divan::bench]
fn fresh_cloud_map() -> SyncCloudMap {
    SyncCloudMap::new(MemoryRegistry::new())
}

/// Discoveries on eight threads. With `writing`, another thread registers and deregisters without a pause.
#[divan::bench(args = [false, true], threads = [8], sample_count = 100)]
fn discover_100_of_1_000_on_8_threads(bencher: Bencher<'_, '_>, writing: bool) {
    let filled = Filled::with(1_000);
    let done = AtomicBool::new(!writing);
    let request = DiscoverInstancesRequest::new("app.local", "web");
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let request = filled.request();
                let id = request.instance_id.clone().unwrap();
                filled.register(request);
                filled.api.deregister_instance(DeregisterInstanceRequest::new(&filled.service, id)).unwrap();
            }
        });
        bencher.bench(|| filled.api.discover_instances(black_box(&request)).unwrap());
        done.store(true, Ordering::Relaxed);
    });
}
