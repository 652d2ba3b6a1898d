//! Runs that went wrong once.

use crate::stress::{Plan, run};

/// A namespace was stored by a request without an answer, others had written the directory since, and the values that they
/// had put into it were not read: what was acknowledged was not shown.
#[test]
fn what_was_stored_before_others_is_shown_with_theirs() {
    run(Plan { seed: 29, replicas: 4, faults: 15, crashes: true, delay: 0 });
}

/// The last registration in a service was being taken back and due, and its slot still said that it was there: the
/// deletion of the service took its mark back for ever.
#[test]
fn an_instance_whose_deregistration_is_due_keeps_no_service() {
    run(Plan { seed: 2, replicas: 4, faults: 15, crashes: true, delay: 300 });
}

/// A deregistration was not answered and not done, somebody else's was: it was acknowledged with an operation that nobody
/// found.
#[test]
fn what_somebody_else_took_away_is_not_acknowledged() {
    run(Plan { seed: 143, replicas: 4, faults: 20, crashes: false, delay: 0 });
    run(Plan { seed: 190, replicas: 3, faults: 15, crashes: true, delay: 0 });
}
