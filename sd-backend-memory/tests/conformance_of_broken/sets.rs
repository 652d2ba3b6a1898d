//! Faults in what is published: sets that are lost, late, partial or altered.

use sd_core::{Change, ChangeSet, CommitError, Scope, StateWriter, Timestamp, conformance::Group};

use super::{
    assert_breaks, assert_breaks_among_others, assert_commit_breaks, assert_subjects_break,
    registries::{
        Altered, FromListing, Late, ReplacedCell, Replica, Replication, Stepwise, holds, in_halves,
        operation_last, prefix,
    },
};

#[test]
fn finds_lost_writes() {
    assert_breaks_among_others(
        || Altered::new(|_: &StateWriter, _| Ok(())),
        &[
            "a_commit_is_in_the_cell_when_it_returns",
            "a_commit_reaches_observers_before_it_returns",
            "a_commit_wakes_subscriptions_before_it_returns",
            "a_waiter_and_a_writer_never_miss_each_other",
            "an_operation_is_in_the_log_once",
            "a_write_is_read_at_once",
        ],
    );
}

#[test]
fn finds_lost_deregistrations() {
    assert_breaks_among_others(
        || {
            Altered::new(|writer: &StateWriter, set: ChangeSet| match set.changes[..] {
                [Change::DeleteInstance { .. }] => Ok(()),
                _ => writer.publish(&set).map(drop),
            })
        },
        &["a_commit_is_in_the_cell_when_it_returns", "a_write_is_read_at_once"],
    );
}

#[test]
fn finds_sets_published_after_commit_returns() {
    assert_breaks_among_others(
        Late::default,
        &[
            "a_commit_is_in_the_cell_when_it_returns",
            "a_commit_reaches_observers_before_it_returns",
            "a_commit_wakes_subscriptions_before_it_returns",
            "an_operation_is_in_the_log_once",
            "a_subscription_merges_changes_and_loses_none",
            "a_write_is_read_at_once",
        ],
    );
}

#[test]
fn finds_changes_applied_in_the_wrong_order() {
    assert_commit_breaks(
        |writer, mut set| {
            let of_instance = |change: &Change| {
                matches!(change, Change::PutInstance { .. } | Change::DeleteInstance { .. })
            };
            if set.changes.iter().all(of_instance) {
                set.changes.reverse();
            }
            writer.publish(&set).map(drop)
        },
        &[
            "an_observer_gets_every_change_once_and_in_order",
            "changes_are_applied_in_order",
            "deleting_twice_succeeds",
        ],
    );
}

#[test]
fn finds_a_set_published_in_two_halves() {
    for waits in [false, true] {
        assert_breaks(
            move || Stepwise::new(in_halves, waits),
            &[
                "a_dropped_commit_leaves_all_or_nothing",
                "a_large_set_is_one_change",
                "an_observer_gets_every_change_once_and_in_order",
                "every_published_state_is_legal",
                "no_observer_sees_half_of_a_set",
                "no_reader_sees_half_of_a_set",
                "observers_get_the_scope",
            ],
        );
    }
}

#[test]
fn finds_an_operation_published_after_its_changes() {
    assert_breaks(
        || Stepwise::new(operation_last, true),
        &["a_dropped_commit_leaves_all_or_nothing", "observers_find_the_operation_in_the_log"],
    );
}

#[test]
fn finds_dropped_operations() {
    assert_breaks_among_others(
        || {
            Altered::new(|writer: &StateWriter, mut set: ChangeSet| {
                set.operation = None;
                writer.publish(&set).map(drop)
            })
        },
        &["an_operation_is_in_the_log_once", "an_operation_without_changes_is_in_the_log"],
    );
    assert_commit_breaks(
        |writer, mut set| {
            set.operation = set.operation.filter(|_| !set.changes.is_empty());
            writer.publish(&set).map(drop)
        },
        &[
            "a_finished_operation_is_found_by_every_handle",
            "a_reset_forgets_finished_operations",
            "storing_an_operation_twice_logs_it_once",
            "an_operation_without_changes_is_in_the_log",
        ],
    );
}

#[test]
fn finds_sets_that_are_applied_twice() {
    assert_breaks_among_others(
        || {
            Altered::new(|writer: &StateWriter, mut set: ChangeSet| {
                writer.publish(&set)?;
                set.preconditions.clear();
                writer.publish(&set).map(drop)
            })
        },
        &[
            "an_observer_gets_every_change_once_and_in_order",
            "every_published_state_is_legal",
            "no_observer_sees_half_of_a_set",
        ],
    );
}

#[test]
fn finds_handles_that_share_nothing() {
    assert_subjects_break(
        Group::Every,
        || Replica::subject(Replication::Apart),
        &[
            "a_conflict_shows_the_child",
            "a_conflict_shows_the_change",
            "a_conflict_shows_the_owner_of_the_key",
            "a_conflict_shows_the_deletion",
            "a_finished_operation_is_found_by_every_handle",
            "a_namespace_under_deletion_takes_no_service",
            "a_refresh_shows_what_another_handle_has_stored",
            "a_refusal_is_checked_in_the_store",
            "a_registration_is_refused_after_its_service_has_changed",
            "a_repeated_request_is_refused_after_its_service_is_deleted",
            "a_reset_forgets_operations_that_other_handles_know",
            "a_reset_applies_to_every_handle",
            "a_write_to_a_due_target_keeps_the_effect",
            "an_answer_without_changes_is_checked",
            "handles_on_one_registry_see_each_other",
            "handles_that_write_in_turns_lose_nothing",
            "one_of_two_racing_sets_is_stored",
            "pending_holds_while_an_operation_is_under_way",
            "registrations_into_one_service_do_not_conflict",
            "an_operation_ends_at_the_same_moment_on_every_handle",
        ],
    );
}

#[test]
fn finds_a_replaced_cell() {
    assert_breaks_among_others(
        ReplacedCell::default,
        &[
            "a_detached_observer_gets_nothing_more",
            "an_observer_gets_every_change_once_and_in_order",
            "a_panicking_observer_is_rebuilt_and_the_others_are_notified",
            "a_subscription_merges_changes_and_loses_none",
        ],
    );
}

#[test]
fn finds_a_state_rebuilt_from_nothing() {
    assert_breaks(
        FromListing::default,
        &[
            "a_finished_operation_is_found_by_every_handle",
            "every_published_state_is_legal",
            "the_instances_revision_grows_over_a_service_that_comes_back",
            "deleting_twice_succeeds",
        ],
    );
}

#[test]
fn finds_that_all_sets_go_into_one_scope() {
    assert_commit_breaks(
        |writer, mut set| {
            set.scope = Scope::default();
            writer.publish(&set).map(drop)
        },
        &[
            "an_operation_under_way_holds_its_keys",
            "observers_get_the_scope",
            "scopes_do_not_touch_each_other",
            "a_reset_leaves_other_scopes_alone",
            "cloud_map_reset_empties_every_scope",
        ],
    );
}

#[test]
fn finds_sets_published_without_their_time() {
    assert_commit_breaks(
        |writer, mut set| {
            set.at = Timestamp::default();
            writer.publish(&set).map(drop)
        },
        &[
            "pending_holds_while_an_operation_is_under_way",
            "the_instances_revision_grows_with_every_registration",
        ],
    );
}

#[test]
fn finds_that_a_put_service_loses_its_instances() {
    assert_commit_breaks(
        |writer, mut set| {
            let state = writer.cell().load();
            let mut changes = Vec::new();
            for change in &set.changes {
                if let Change::PutService(service) = change
                    && let Some(entry) = state.scope(&set.scope).service(service.id.as_str())
                {
                    let gone = entry.instances().iter().map(|instance| Change::DeleteInstance {
                        service: service.id.clone(),
                        id: instance.instance().id.clone(),
                    });
                    changes.extend(gone);
                }
                changes.push(change.clone());
            }
            set.changes = changes;
            writer.publish(&set).map(drop)
        },
        &[
            "a_put_service_replaces_it_and_keeps_its_instances",
            "a_put_service_with_another_check_starts_health_anew",
            "the_instances_revision_does_not_grow_with_health",
            "changes_during_an_update_are_kept",
        ],
    );
}

#[test]
fn finds_that_part_of_a_set_counts_as_success() {
    assert_commit_breaks(
        |writer, set| {
            writer.publish(&set).map(drop).or_else(|error| {
                if holds(writer, &set) { writer.publish(&prefix(&set, 1)).map(drop) } else { Err(error) }
            })
        },
        &["an_impossible_set_leaves_a_legal_prefix"],
    );
}

#[test]
fn finds_an_ambiguous_answer_to_a_stored_set() {
    assert_breaks_among_others(
        || {
            Altered::new(|writer: &StateWriter, set: ChangeSet| {
                writer.publish(&set)?;
                if set.operation.is_some() { Err(CommitError::Ambiguous) } else { Ok(()) }
            })
        },
        &["a_registry_goes_on_after_a_drop", "an_operation_is_in_the_log_once"],
    );
}

#[test]
fn finds_operations_that_end_at_once() {
    assert_commit_breaks(
        |writer, set| {
            writer.publish(&set)?;
            if set.changes.iter().any(|change| matches!(change, Change::BeginOperation(_))) {
                writer.cell().advance(Timestamp::from_millis(u64::MAX - 1));
            }
            Ok(())
        },
        &[
            "a_namespace_under_deletion_takes_no_service",
            "a_refresh_shows_what_another_handle_has_stored",
            "a_service_is_not_childless_while_a_registration_is_under_way",
            "a_service_is_not_childless_while_it_is_updated",
            "an_operation_ends_at_its_moment",
            "an_operation_under_way_holds_its_keys",
            "pending_holds_while_an_operation_is_under_way",
            "the_end_of_an_operation_reaches_observers",
            "changes_during_an_update_are_kept",
            "an_operation_ends_at_the_same_moment_on_every_handle",
        ],
    );
}

#[test]
fn finds_a_store_that_ignores_due_effects() {
    assert_subjects_break(
        Group::Every,
        || Replica::subject(Replication::Still),
        &[
            "a_refresh_shows_what_another_handle_has_stored",
            "a_service_is_not_childless_while_it_is_updated",
            "a_write_to_a_due_target_keeps_the_effect",
            "an_operation_under_way_holds_its_keys",
            "pending_holds_while_an_operation_is_under_way",
        ],
    );
}
