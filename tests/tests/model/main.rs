//! Cloud Map against a plain restatement of it, through every door that needs no socket.
//!
//! Random histories are done by the engine and by the [`World`](world::World); after each step everything that can be
//! asked must be the same. A history in which they differed is kept as a test of its own in `kept.rs`.

#![allow(clippy::unwrap_used, reason = "a test ends at what it does not expect")]

mod act;
mod dns;
mod house;
mod kept;
mod look;
mod questions;
mod registry;
mod requests;
mod world;

use house::House;
use proptest::prelude::*;
use sd_core::Timing;

/// As many cases as proptest is told to run, divided, since a case is a whole history.
fn config(part: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig { cases: (default.cases / part).max(1), ..default }
}

proptest! {
    #![proptest_config(config(2))]

    #[test]
    fn a_history_at_once(steps in act::undisturbed()) {
        House::new(Timing::instant()).steps(&steps)?;
    }

    #[test]
    fn a_history_that_takes_its_time(steps in act::undisturbed()) {
        House::new(Timing::aws()).steps(&steps)?;
    }

    #[test]
    fn a_history_over_a_registry_that_fails(steps in act::with_faults(), slow in any::<bool>()) {
        House::new(if slow { Timing::aws() } else { Timing::instant() }).steps(&steps)?;
    }

    #[test]
    fn a_history_of_two_writers(steps in act::with_a_rival(), slow in any::<bool>()) {
        House::new(if slow { Timing::aws() } else { Timing::instant() }).steps(&steps)?;
    }
}
