//! Faults in what is refused: valid sets that are refused, invalid sets that are stored.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use sd_core::{
    Change, ChangeSet, CommitError, StateWriter,
    conformance::{Group, Subject},
    model::{ServiceId, UniqueKey},
    state::Precondition,
};

use super::{
    assert_breaks_among_others, assert_commit_breaks, assert_subjects_break, broken_rules,
    registries::{Altered, Lazy, Replica, Replication, prefix, without},
};

#[test]
fn finds_an_ignored_precondition() {
    type Kind = fn(&Precondition) -> bool;
    let free: [(Kind, &[&str]); 8] = [
        (|it| matches!(it, Precondition::Free(UniqueKey::Id(_))), &["a_free_id_is_free_until_it_is_taken"]),
        (
            |it| matches!(it, Precondition::Free(UniqueKey::HttpName(_))),
            &["a_free_http_name_is_free_until_it_is_taken", "one_of_two_racing_sets_is_stored"],
        ),
        (
            |it| matches!(it, Precondition::Free(UniqueKey::HttpNamespace(_))),
            &["a_free_http_namespace_is_free_until_it_is_taken"],
        ),
        (
            |it| matches!(it, Precondition::Free(UniqueKey::Zone(..))),
            &["a_free_zone_is_free_until_it_is_taken"],
        ),
        (
            |it| matches!(it, Precondition::Free(UniqueKey::PublicNamespace(..))),
            &["a_free_public_namespace_is_free_until_it_is_taken"],
        ),
        (
            |it| matches!(it, Precondition::Free(UniqueKey::ServiceName(..))),
            &["a_free_service_name_is_free_until_it_is_taken"],
        ),
        (
            |it| matches!(it, Precondition::Free(UniqueKey::Target(_))),
            &["an_operation_under_way_holds_its_keys"],
        ),
        (
            |it| matches!(it, Precondition::Free(UniqueKey::NamespaceInCreation(_))),
            &["an_operation_under_way_holds_its_keys"],
        ),
    ];
    let others: [(Kind, &[&str]); 3] = [
        (
            |it| matches!(it, Precondition::Live(..)),
            &["live_fails_for_another_incarnation", "live_fails_for_a_deleted_entity"],
        ),
        (|it| matches!(it, Precondition::At(..)), &["at_fails_after_the_entity_has_changed"]),
        (
            |it| matches!(it, Precondition::Childless(_)),
            &[
                "a_namespace_is_childless_without_services",
                "a_service_is_childless_without_instances",
                "a_service_is_not_childless_while_a_registration_is_under_way",
            ],
        ),
    ];
    // Each kind of precondition has rules that no other kind breaks.
    let own: BTreeSet<_> = free.iter().chain(&others).flat_map(|(_, expected)| *expected).copied().collect();
    for (ignored, expected) in free.into_iter().chain(others) {
        let make = move || {
            Altered::new(move |writer: &StateWriter, mut set: ChangeSet| {
                set.preconditions.retain(|precondition| !ignored(precondition));
                writer.publish(&set).map(drop)
            })
        };
        let mut broken = broken_rules(&[Group::Every], move || Subject::new(Arc::new(make())));
        broken.retain(|rule| own.contains(rule));
        assert_eq!(broken, expected.iter().copied().collect());
    }
}

#[test]
fn finds_that_only_the_first_precondition_is_checked() {
    assert_breaks_among_others(
        || {
            Altered::new(|writer: &StateWriter, mut set: ChangeSet| {
                set.preconditions.truncate(1);
                writer.publish(&set).map(drop)
            })
        },
        &["every_precondition_of_a_set_must_hold"],
    );
}

#[test]
fn finds_that_preconditions_without_changes_are_ignored() {
    assert_breaks_among_others(
        || {
            Altered::new(|writer: &StateWriter, mut set: ChangeSet| {
                if set.changes.is_empty() {
                    set.preconditions.clear();
                }
                writer.publish(&set).map(drop)
            })
        },
        &["a_set_without_changes_is_checked"],
    );
}

#[test]
fn finds_a_wait_between_checking_and_publishing() {
    // Futures on one thread always meet; threads meet by chance.
    assert_breaks_among_others(Lazy::default, &["one_of_two_racing_sets_is_stored"]);
}

#[test]
fn finds_a_conflict_returned_before_its_cause_is_visible() {
    assert_subjects_break(
        Group::Every,
        || Replica::subject(Replication::EarlyConflict),
        &[
            "a_conflict_shows_the_child",
            "a_conflict_shows_the_change",
            "a_conflict_shows_the_owner_of_the_key",
            "a_conflict_shows_the_deletion",
            "a_namespace_under_deletion_takes_no_service",
            "a_registration_is_refused_after_its_service_has_changed",
            "a_repeated_request_is_refused_after_its_service_is_deleted",
            "an_answer_without_changes_is_checked",
            "handles_on_one_registry_see_each_other",
            "handles_that_write_in_turns_lose_nothing",
            "one_of_two_racing_sets_is_stored",
            "an_operation_ends_at_the_same_moment_on_every_handle",
        ],
    );
}

#[test]
fn finds_conflicts_returned_as_another_error() {
    assert_breaks_among_others(
        || {
            Altered::new(|writer: &StateWriter, set: ChangeSet| {
                writer
                    .publish(&set)
                    .map(drop)
                    .map_err(|error| CommitError::Unavailable { retry_after: None, source: error.into() })
            })
        },
        &["a_conflict_is_planned_again", "a_refused_set_changes_nothing", "live_fails_for_a_deleted_entity"],
    );
}

#[test]
fn finds_a_refused_operation_in_the_log() {
    assert_commit_breaks(
        |writer, set| {
            writer.publish(&set).map(drop).or_else(|error| {
                writer.publish(&without(&set, |_| true))?;
                Err(error)
            })
        },
        &["a_refused_set_logs_no_operation", "a_set_without_changes_is_checked"],
    );
}

#[test]
fn finds_a_refused_set_that_observers_see() {
    assert_breaks_among_others(
        || {
            Altered::new(|writer: &StateWriter, set: ChangeSet| {
                writer.publish(&set).map(drop).or_else(|error| {
                    let mut nothing = prefix(&set, 0);
                    nothing.changes = vec![Change::DeleteService(ServiceId::parse("srv-none").unwrap())];
                    writer.publish(&nothing)?;
                    Err(error)
                })
            })
        },
        &["a_refused_set_changes_nothing", "a_refused_set_notifies_nobody"],
    );
}

#[test]
fn finds_registrations_that_conflict_without_cause() {
    assert_breaks_among_others(
        || {
            let last = Mutex::new(None);
            Altered::new(move |writer: &StateWriter, set: ChangeSet| {
                let into = set.changes.iter().find_map(|change| match change {
                    Change::PutInstance { service, .. } => Some(service.clone()),
                    _ => None,
                });
                let before = std::mem::replace(&mut *last.lock().unwrap(), into.clone());
                if into.is_some() && into == before {
                    // The retry succeeds.
                    *last.lock().unwrap() = None;
                    return Err(CommitError::Conflict);
                }
                writer.publish(&set).map(drop)
            })
        },
        &[
            "registrations_into_one_service_do_not_conflict",
            "threads_that_register_into_one_service_do_not_conflict",
        ],
    );
}

#[test]
fn finds_refused_deletions_of_deleted_entities() {
    assert_commit_breaks(
        |writer, set| {
            let state = writer.cell().load();
            let here = state.scope(&set.scope);
            let absent = |change: &Change| match change {
                Change::DeleteNamespace(id) => here.namespace(id.as_str()).is_none(),
                Change::DeleteService(id) => here.service(id.as_str()).is_none(),
                _ => false,
            };
            if set.changes.iter().any(absent) {
                return Err(CommitError::Rejected { key: "key".into(), reason: "already deleted".into() });
            }
            writer.publish(&set).map(drop)
        },
        &["deleting_twice_succeeds"],
    );
}
