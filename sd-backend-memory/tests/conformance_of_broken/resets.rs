//! Faults in resets.

use std::sync::Mutex;

use sd_core::{Change, ChangeSet, StateWriter, conformance::Group};

use super::{
    assert_breaks, assert_commit_breaks, assert_subjects_break,
    registries::{Altered, Replica, Replication},
};

#[test]
fn finds_ignored_resets() {
    assert_commit_breaks(
        |writer, mut set| {
            set.reset = false;
            writer.publish(&set).map(drop)
        },
        &[
            "a_reset_comes_before_the_changes_of_its_set",
            "a_reset_deletes_everything_in_its_scope",
            "a_reset_forgets_finished_operations",
            "a_reset_forgets_operations_that_other_handles_know",
            "a_reset_applies_to_every_handle",
            "observers_see_a_reset_as_deletions",
            "a_reset_leaves_other_scopes_alone",
            "operations_under_way_come_to_nothing_after_a_reset",
            "cloud_map_reset_empties_every_scope",
            "the_instances_revision_grows_over_a_reset",
        ],
    );
}

#[test]
fn finds_resets_that_keep_finished_operations() {
    assert_commit_breaks(
        |writer, mut set| {
            if std::mem::take(&mut set.reset) {
                set.changes = [writer.cell().load().deletions(&set.scope), set.changes].concat();
            }
            writer.publish(&set).map(drop)
        },
        &[
            "a_reset_comes_before_the_changes_of_its_set",
            "a_reset_forgets_finished_operations",
            "a_reset_forgets_operations_that_other_handles_know",
            "a_reset_applies_to_every_handle",
            "a_reset_leaves_other_scopes_alone",
            "cloud_map_reset_empties_every_scope",
        ],
    );
}

#[test]
fn finds_operations_that_come_back_after_a_reset() {
    // The store keeps its operations over a reset.
    assert_breaks(
        || {
            let stored = Mutex::new(Vec::new());
            Altered::new(move |writer: &StateWriter, set: ChangeSet| {
                let mut stored = stored.lock().unwrap();
                let is_reset = set.reset;
                writer.publish(&set)?;
                stored.extend(set.operation.clone());
                if !is_reset {
                    let shown = writer.cell().load().clone();
                    writer.reconcile(&shown, set.at, &stored)?;
                }
                Ok(())
            })
        },
        &[
            "a_reset_forgets_finished_operations",
            "a_reset_applies_to_every_handle",
            "cloud_map_reset_empties_every_scope",
        ],
    );
}

#[test]
fn finds_resets_that_keep_operations_in_progress() {
    assert_commit_breaks(
        |writer, mut set| {
            let under_way: Vec<_> = if set.reset {
                let ended = writer.cell().load().deletions(&set.scope);
                let ended = ended.into_iter().filter_map(|change| match change {
                    Change::EndOperation(id) => Some(id),
                    _ => None,
                });
                ended.collect()
            } else {
                Vec::new()
            };
            if under_way.is_empty() {
                return writer.publish(&set).map(drop);
            }
            // Ends nothing while operations are in progress.
            set.reset = false;
            writer.publish(&set).map(drop)
        },
        &["operations_under_way_come_to_nothing_after_a_reset"],
    );
}

#[test]
fn finds_resets_that_reach_other_scopes() {
    assert_commit_breaks(
        |writer, set| {
            writer.publish(&set)?;
            let others: Vec<_> = writer.cell().load().scopes().map(|(scope, _)| scope.clone()).collect();
            for scope in others.into_iter().filter(|scope| set.reset && *scope != set.scope) {
                let mut reset = ChangeSet::new(scope, set.at);
                reset.reset = true;
                writer.publish(&reset)?;
            }
            Ok(())
        },
        &["a_reset_leaves_other_scopes_alone"],
    );
}

#[test]
fn finds_resets_applied_out_of_order() {
    assert_commit_breaks(
        |writer, mut set| {
            if set.reset {
                let mut alone = set.clone();
                (alone.preconditions, alone.changes, alone.operation) = Default::default();
                writer.publish(&alone)?;
                set.reset = false;
            }
            writer.publish(&set).map(drop)
        },
        &["a_reset_comes_before_the_changes_of_its_set", "a_reset_that_is_refused_changes_nothing"],
    );
    assert_commit_breaks(
        |writer, set| {
            let mut changes = set.clone();
            changes.reset = false;
            writer.publish(&changes)?;
            if set.reset {
                let mut alone = ChangeSet::new(set.scope, set.at);
                alone.reset = true;
                writer.publish(&alone)?;
            }
            Ok(())
        },
        &["a_reset_comes_before_the_changes_of_its_set"],
    );
}

#[test]
fn finds_resets_that_other_handles_miss() {
    assert_subjects_break(
        Group::Every,
        || Replica::subject(Replication::OwnResets),
        &["a_reset_forgets_operations_that_other_handles_know", "a_reset_applies_to_every_handle"],
    );
}
