//! Compares Cloud Map with a plain restatement of it, through every door that needs no socket.
//!
//! The engine and the [`World`](world::World) play random histories. After each step, all their answers must agree. A
//! history in which they differed becomes a test in `regressions.rs`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod act;
mod api;
mod dns;
mod questions;
mod registry;
mod regressions;
mod requests;
mod side_by_side;
mod world;

use proptest::prelude::*;
use sd_core::Timing;
use side_by_side::SideBySide;

/// Runs `1/part` of the usual number of cases, because each case is a whole history.
fn config(part: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig { cases: (default.cases / part).max(1), ..default }
}

proptest! {
    #![proptest_config(config(2))]

    #[test]
    fn instant_operations_agree_with_the_model(steps in act::undisturbed()) {
        SideBySide::new(Timing::instant()).steps(&steps)?;
    }

    #[test]
    fn slow_operations_agree_with_the_model(steps in act::undisturbed()) {
        SideBySide::new(Timing::aws()).steps(&steps)?;
    }

    #[test]
    fn a_failing_registry_agrees_with_the_model(steps in act::with_faults(), slow in any::<bool>()) {
        SideBySide::new(if slow { Timing::aws() } else { Timing::instant() }).steps(&steps)?;
    }

    #[test]
    fn two_writers_agree_with_the_model(steps in act::with_a_rival(), slow in any::<bool>()) {
        SideBySide::new(if slow { Timing::aws() } else { Timing::instant() }).steps(&steps)?;
    }
}
