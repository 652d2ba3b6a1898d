//! Handles on one store that do not keep up with it.

use sd_core::conformance::Group;

use super::{
    broken_rules,
    registries::{Replica, Replication},
};

/// Asserts that handles of this kind break these rules, among others that need what is broken.
fn assert_handles_break(replication: Replication, expected: &[&str]) {
    let broken = broken_rules(&[Group::Every], move || Replica::subject(replication));
    let missing: Vec<_> = expected.iter().filter(|name| !broken.contains(*name)).collect();
    assert!(missing.is_empty(), "not broken: {missing:?}; broken: {broken:#?}");
}

#[test]
fn an_answer_from_a_view_that_lags() {
    assert_handles_break(
        Replication::TrustsItsView,
        &[
            "a_repeated_request_is_refused_after_its_service_is_deleted",
            "an_answer_without_changes_is_checked",
        ],
    );
}

#[test]
fn a_refresh_that_does_nothing() {
    assert_handles_break(
        Replication::Unrefreshed,
        &[
            "a_finished_operation_is_found_by_every_handle",
            "a_refresh_shows_what_another_handle_has_stored",
            "a_refusal_is_checked_in_the_store",
        ],
    );
}

#[test]
fn operations_that_their_own_handle_knows_only() {
    assert_handles_break(
        Replication::OwnOperations,
        &[
            "a_finished_operation_is_found_by_every_handle",
            "a_reset_forgets_operations_that_other_handles_know",
        ],
    );
}

#[test]
fn a_service_that_registrations_do_not_look_at() {
    assert_handles_break(
        Replication::OwnService,
        &["a_registration_is_refused_after_its_service_has_changed"],
    );
}

#[test]
fn targets_that_the_store_does_not_know() {
    assert_handles_break(Replication::OwnTargets, &["a_namespace_under_deletion_takes_no_service"]);
}

#[test]
fn effects_that_are_lost() {
    assert_handles_break(Replication::LostEffects, &["a_write_to_a_due_target_keeps_the_effect"]);
}
