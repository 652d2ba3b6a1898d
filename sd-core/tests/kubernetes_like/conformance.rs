//! The conformance suite, with and without faults and lagging watches.

use std::sync::Arc;

use sd_core::{
    Registry,
    conformance::{BoxFuture, Faults, Strike, Subject},
};

use crate::{
    replica::KubernetesLike,
    world::{Watch, Weather, World},
};

/// Polls until it is done: a future here only waits for its turn.
fn block_on(mut future: BoxFuture<'static, ()>) {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    while future.as_mut().poll(&mut context).is_pending() {
        std::thread::yield_now();
    }
}

const SEED: u64 = 1;

/// The faults of the first replica's requests.
struct Striking {
    world: Arc<World>,
    replica: u32,
}

impl Faults for Striking {
    fn arm(&self, strike: Strike) {
        self.world.arm(self.replica, strike);
    }

    fn has_struck(&self) -> bool {
        self.world.has_struck()
    }

    fn mend(&self) {
        self.world.mend();
    }

    fn reopen(&self) -> BoxFuture<'static, Arc<dyn Registry>> {
        let opened: Arc<dyn Registry> = KubernetesLike::open(&self.world);
        Box::pin(async { opened })
    }
}

fn subject(world: &Arc<World>) -> Subject {
    let first = KubernetesLike::open(world);
    let faults = Striking { world: Arc::clone(world), replica: first.core().number };
    Subject::new(first).with_faults(Arc::new(faults))
}

async fn one(weather: Weather) -> Subject {
    subject(&World::new(SEED, weather))
}

/// Each further handle is another replica.
async fn several(weather: Weather) -> Subject {
    let world = World::new(SEED, weather);
    subject(&world).opened_by(move || {
        let another: Arc<dyn Registry> = KubernetesLike::open(&world);
        async { another }
    })
}

fn watched(watch: Watch) -> Weather {
    Weather { watch, ..Weather::default() }
}

/// About every third request fails or has no answer; no replica gives up.
fn faulty(watch: Watch) -> Weather {
    Weather { faults: 30, in_a_row: 3, watch }
}

/// `no_restart`: places in lists, counters of instances and former names are not stored.
macro_rules! suites {
    ($($name:ident: $open:ident($weather:expr);)*) => {
        $(
            mod $name {
                use super::*;

                sd_core::conformance_tests! { fresh: || $open($weather), block_on: block_on, faults, no_restart }
            }
        )*
    };
}

suites! {
    one_handle: one(watched(Watch::AtOnce));
    one_handle_and_a_watch_that_lags: one(watched(Watch::Lags));
    one_handle_and_faults: one(faulty(Watch::Lags));
    two_replicas: several(watched(Watch::AtOnce));
    two_replicas_and_watches_that_lag: several(watched(Watch::Lags));
    two_replicas_and_watches_that_list_again: several(watched(Watch::Relists));
    two_replicas_without_a_watch: several(watched(Watch::Never));
    two_replicas_and_faults: several(faulty(Watch::Relists));
}
