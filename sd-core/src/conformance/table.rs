//! The table of rules, and the macro that makes a test of each.

/// The rules: the backends that it is for, where it is, what it asserts.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_rules {
    ([$($then:tt)*] $arguments:tt) => {
        $($then)*! {
            $arguments
            every visibility::a_commit_is_in_the_cell_when_it_returns
                "The cell shows every change of a set when `commit` returns.";
            every visibility::a_commit_reaches_observers_before_it_returns
                "Observers have received a set when `commit` returns.";
            every visibility::a_commit_wakes_subscriptions_before_it_returns
                "Tasks that wait for a change have been woken when `commit` returns, and get the new state.";
            every visibility::no_reader_sees_half_of_a_set
                "A reader of the cell sees all of a set or nothing of it, at every moment.";
            every visibility::no_observer_sees_half_of_a_set
                "An observer gets a set in one call, with states that have all of it or nothing of it.";
            every visibility::a_large_set_is_one_change
                "A set of hundreds of changes is published as one, like any other.";
            every visibility::a_held_state_does_not_change
                "A state that was read stays what it was, whatever is committed.";
            every visibility::the_state_does_not_change_without_a_commit
                "Reading, attaching and subscribing change nothing.";

            every preconditions::live_holds_for_the_entity_that_is_there
                "`Live` holds for an entity with its incarnation.";
            every preconditions::live_fails_for_another_incarnation
                "`Live` fails for an entity that was deleted and created again under its id.";
            every preconditions::live_fails_for_a_deleted_entity
                "`Live` fails for an entity that was deleted or never was.";
            every preconditions::at_holds_until_the_entity_changes
                "`At` holds for an entity whatever happens to others.";
            every preconditions::at_fails_after_the_entity_has_changed
                "`At` fails for an entity that was changed or deleted.";
            every preconditions::a_free_id_is_free_until_it_is_taken
                "`Free(Id)` holds exactly while no entity has the id.";
            every preconditions::a_free_http_name_is_free_until_it_is_taken
                "`Free(HttpName)` holds exactly while no namespace has the name in `DiscoverInstances`.";
            every preconditions::a_free_http_namespace_is_free_until_it_is_taken
                "`Free(HttpNamespace)` holds exactly while no HTTP namespace has the name.";
            every preconditions::a_free_zone_is_free_until_it_is_taken
                "`Free(Zone)` holds exactly while no zone in the VPC has the name, in any case, with or without a last dot.";
            every preconditions::a_free_public_namespace_is_free_until_it_is_taken
                "`Free(PublicNamespace)` holds exactly while no public namespace has the name and the token.";
            every preconditions::a_free_service_name_is_free_until_it_is_taken
                "`Free(ServiceName)` holds exactly while no service of the namespace has the name.";
            every preconditions::a_namespace_is_childless_without_services
                "`Childless` holds for a namespace exactly while it has no services.";
            every preconditions::a_service_is_childless_without_instances
                "`Childless` holds for a service exactly while it has no instances.";
            every preconditions::every_precondition_of_a_set_must_hold
                "One precondition that does not hold refuses the set, wherever it stands.";
            every preconditions::preconditions_are_about_the_state_before_the_set
                "What a set changes itself is not counted for or against its preconditions.";
            every preconditions::a_set_without_changes_is_checked
                "Preconditions are checked for a set that only finishes an operation.";
            every preconditions::a_refused_set_changes_nothing
                "A refused set leaves the state as it is, whatever its precondition.";
            every preconditions::a_refused_set_logs_no_operation
                "The operation of a refused set is not in the log.";
            every preconditions::a_refused_set_notifies_nobody
                "A refused set reaches no observer and wakes no task.";

            every preconditions::a_set_without_changes_notifies_nobody
                "A set without changes and without an operation is checked, and nothing else comes of it.";

            every handles::a_registration_is_refused_after_its_service_has_changed
                "A registration that relies on its service is refused after another handle has changed the service, and the cell shows the change.";
            every handles::a_repeated_request_is_refused_after_its_service_is_deleted
                "A set without changes is refused after another handle has deleted what it relies on, and the cell shows it.";
            every handles::a_finished_operation_is_found_by_every_handle
                "After a refresh that names it, an operation that another handle has finished is in the log.";
            every handles::a_namespace_under_deletion_takes_no_service
                "A namespace whose deletion is under way takes no service from another handle.";
            every handles::a_write_to_a_due_target_keeps_the_effect
                "A write to the target of a due operation keeps the effect and the operation, on every handle.";
            every handles::a_refresh_shows_what_another_handle_has_stored
                "After a refresh the cell shows what another handle has stored of the facts that it names.";
            every handles::a_refusal_is_checked_in_the_store
                "Before a request is refused, the handle looks for what other handles have stored.";
            every handles::an_answer_without_changes_is_checked
                "A repeated request, or a report that changes nothing, is answered from the store.";

            every conflicts::a_conflict_shows_the_owner_of_the_key
                "After a conflict over `Free`, the cell of the handle shows the entity that has the key.";
            every conflicts::a_conflict_shows_the_deletion
                "After a conflict over `Live`, the cell of the handle does not show the entity.";
            every conflicts::a_conflict_shows_the_change
                "After a conflict over `At`, the cell of the handle shows the change, and planning from it succeeds.";
            every conflicts::a_conflict_shows_the_child
                "After a conflict over `Childless`, the cell of the handle shows the child.";
            every conflicts::handles_on_one_registry_see_each_other
                "A handle can rely on what another one has stored, and then shows it.";
            every conflicts::handles_that_write_in_turns_lose_nothing
                "Both handles show everything that the two write in turns.";
            every conflicts::registrations_into_one_service_do_not_conflict
                "Two registrations that were planned from the same state are both stored.";
            every conflicts::threads_that_register_into_one_service_do_not_conflict
                "Registrations of several threads are all stored, none is refused.";
            every conflicts::one_of_two_racing_sets_is_stored
                "Of two sets that need the same free name, one is stored, and the other is refused after it is visible.";
            every conflicts::one_of_two_racing_threads_succeeds
                "The same holds between threads, again and again.";

            every changes::changes_are_applied_in_order
                "Of several changes to one entity in a set, the last one counts.";
            every changes::a_tree_is_created_and_deleted_in_one_set
                "Parents first on creation, last on deletion: one set can do it all.";
            every changes::a_put_namespace_replaces_it_and_keeps_its_services
                "A namespace that is put again has the new value and its services.";
            every changes::a_put_service_replaces_it_and_keeps_its_instances
                "A service that is put again has the new value and its instances.";
            every changes::a_put_service_with_another_check_starts_health_anew
                "Instances of a service that gets or loses its check are checked from then on, or not any more.";
            every changes::a_put_instance_replaces_it
                "An instance that is put again has the new value and health, and is there once.";
            every changes::put_health_changes_the_health_only
                "Health is changed without touching the instance.";
            every changes::deleting_twice_succeeds
                "Deleting an entity that does not exist succeeds and changes nothing else.";
            every changes::an_impossible_set_leaves_a_legal_prefix
                "A set that leads to an impossible state is rejected, and only a prefix of it is published.";
            every changes::every_published_state_is_legal
                "Children have their parents, indexes agree with entities, in every state that is published.";

            every revisions::state_revisions_strictly_grow
                "Every published state has a higher revision than the one before.";
            every revisions::the_instances_revision_grows_with_every_registration
                "Registering, registering again and deregistering grow the instances revision, to the time at least.";
            every revisions::the_instances_revision_does_not_grow_with_health
                "A change of health, or of another service, leaves the instances revision alone.";
            every revisions::the_instances_revision_grows_over_a_service_that_comes_back
                "A service that is deleted and created again continues above its last instances revision.";

            every operations::an_operation_is_in_the_log_once
                "The operation of a set is in the log after `commit`, once.";
            every operations::an_operation_without_changes_is_in_the_log
                "The operation of a set without changes is in the log as well.";
            every operations::storing_an_operation_twice_logs_it_once
                "An operation whose set is committed twice is in the log once.";
            every operations::observers_find_the_operation_in_the_log
                "When observers get a set, its operation is in the log.";
            every operations::a_set_without_an_operation_logs_none
                "A set without an operation logs none.";

            every resets::a_reset_deletes_everything_in_its_scope
                "After a set with a reset the cell shows nothing in the scope, and all of it can be created again.";
            every resets::a_reset_forgets_finished_operations
                "Operations that finished before a reset are not in the log, and do not come back.";
            every resets::operations_under_way_come_to_nothing_after_a_reset
                "Operations that are under way at a reset claim nothing, never take effect and are not logged.";
            every resets::a_reset_leaves_other_scopes_alone
                "Entities and operations of other scopes survive a reset.";
            every resets::a_reset_comes_before_the_changes_of_its_set
                "What a set with a reset changes is there after it, with its operation, and both are seen as one.";
            every resets::observers_see_a_reset_as_deletions
                "Observers get a reset in one call, as the deletions that it causes.";
            every resets::a_reset_that_is_refused_changes_nothing
                "A reset whose precondition does not hold leaves entities and operations as they are.";
            every resets::a_reset_applies_to_every_handle
                "Another handle shows and remembers nothing from before a reset, nor does one that is opened later.";
            every resets::a_reset_forgets_operations_that_other_handles_know
                "After a reset no handle finds an operation from before, whichever handle has finished it.";
            every resets::the_instances_revision_grows_over_a_reset
                "A service that is created again after a reset continues above its last instances revision.";
            every resets::cloud_map_reset_empties_every_scope
                "After `CloudMap::reset` nothing is left in any scope, and operations from before are not found.";

            every delays::an_operation_under_way_holds_its_keys
                "`Free` fails for what an operation that is under way claims, and holds again when it has ended.";
            every delays::pending_holds_while_an_operation_is_under_way
                "`Pending` holds exactly while the operation is under way.";
            every delays::an_operation_ends_at_its_moment
                "The effect of an operation appears when it is due, with the operation, and not before.";
            every delays::the_end_of_an_operation_reaches_observers
                "When an operation is due, observers get its effect, and tasks that wait are woken.";
            every delays::a_service_is_not_childless_while_a_registration_is_under_way
                "A service that an instance is being registered in has a child.";
            every delays::a_service_is_not_childless_while_it_is_updated
                "A service whose update is under way cannot be deleted.";
            every delays::changes_during_an_update_are_kept
                "Tags that are changed, and instances that are registered, while an update is under way are kept.";
            every delays::an_operation_ends_at_the_same_moment_on_every_handle
                "A handle that reads what another one has begun ends it at the same moment.";

            every observers::an_observer_is_rebuilt_when_it_is_attached
                "Attaching an observer rebuilds it from the current state, once.";
            every observers::an_observer_gets_every_change_once_and_in_order
                "Observers get exactly the changes of each set, in order, with the states before and after.";
            every observers::a_panicking_observer_is_rebuilt_and_the_others_are_notified
                "A panic in an observer affects nobody else: `commit` succeeds, it is rebuilt, the others get the changes.";
            every observers::a_panic_in_a_rebuild_affects_nobody_else
                "A panic in a rebuild is caught, and the observer gets the next changes.";
            every observers::a_detached_observer_gets_nothing_more
                "An observer gets changes until it is detached, and is dropped then.";
            every observers::detaching_beside_a_writer_leaves_no_gap
                "Detaching beside a writer ends the changes without a gap, and nothing comes later.";
            every observers::attaching_beside_a_writer_misses_nothing
                "An observer that is attached beside a writer knows every state from there on.";

            every subscriptions::a_subscription_merges_changes_and_loses_none
                "A subscription that was not asked for a while is given the newest state, once.";
            every subscriptions::a_subscription_starts_with_the_current_state
                "The state at the time of subscribing is not a change.";
            every subscriptions::a_waiter_and_a_writer_never_miss_each_other
                "A task that asks while another thread writes gets the new state or is woken.";

            every dropping::a_dropped_commit_leaves_all_or_nothing
                "Dropping the future of `commit`, polled or not, leaves all of a set or nothing, with its operation.";
            every dropping::a_registry_goes_on_after_a_drop
                "After a dropped `commit` the same set can be committed, and others.";

            every scopes::scopes_do_not_touch_each_other
                "The same ids and names in two scopes are two entities.";
            every scopes::observers_get_the_scope
                "Observers get the scope of each set.";

            every engines::a_conflict_is_planned_again
                "A request that met another one is planned again.";
            every engines::a_commit_without_an_answer_is_found
                "A request whose `commit` was `Ambiguous` and stored is not stored again.";
            every engines::a_lost_commit_is_repeated
                "A request whose `commit` was `Ambiguous` and lost is stored once.";
            every engines::a_write_is_read_at_once
                "After each request its effect is in the next answer.";

            immediate immediate::a_commit_is_done_at_its_first_poll
                "Stored, refused or empty, `commit` is ready at its first poll.";
            immediate immediate::refresh_and_pause_are_done_at_their_first_poll
                "`refresh` and `pause` are ready at their first poll.";
            immediate immediate::requests_work_without_a_runtime
                "The life of a service works through `SyncCloudMap`.";

            faults faults::after_a_crash_a_prefix_of_the_set_is_stored
                "After a crash at any write of a set, every handle shows the same prefix of it, its operation only with the whole set, and can store it.";
            faults faults::a_write_without_an_answer_is_not_a_conflict
                "A commit of which any write has no answer succeeds, or is `Unavailable` or `Ambiguous`, and the set can be stored afterwards.";
            faults faults::a_failed_commit_shows_what_is_stored
                "After `Unavailable` the cell shows the prefix that is stored; after `Ambiguous` it shows no more than that.";
            faults faults::a_request_without_an_answer_is_done_once
                "A request of which any write has no answer is done once, with one operation, however often it is sent again.";
            faults faults::a_repeated_request_is_answered_as_before_after_a_crash
                "After a crash a request with a token is answered with what is stored of it, on every handle.";
            faults faults::after_a_crash_everything_can_be_deleted_and_created
                "After a crash of any request, everything can be deleted and created again.";
            faults faults::a_late_write_does_not_undo_later_requests
                "A write that arrives after its request was answered changes nothing.";
            faults faults::requests_that_exclude_each_other_do_not_both_succeed
                "Of a registration and the deletion of its service, or a creation and the deletion of its parent, one succeeds while the other waits for any answer.";

            no_faults immediate::a_backend_without_faults_waits_for_nothing
                "A backend that says that its store cannot fail has none: `commit` is done at its first poll, and no faults are offered.";

            restart restarts::facts_and_operations_are_the_same_after_a_restart
                "The facts and the finished operations are the same after every restart, and nothing refused is among them.";
            restart restarts::a_page_token_goes_on_after_a_restart
                "A page token from before a restart continues the list: nothing is missing, and nothing comes twice.";
            restart restarts::a_request_token_is_replayed_after_a_restart
                "A request with a token from before a restart is answered with the same operation, which is found.";
            restart restarts::an_operation_ends_at_its_moment_after_a_restart
                "An operation that was under way at a restart ends at its moment and not before, also while the store is closed.";
            restart restarts::an_operation_ends_once_over_a_restart
                "What was done to the target of an operation after its end is not undone by a restart.";
            restart restarts::a_report_takes_effect_at_its_moment_after_a_restart
                "A report of health that waited at a restart takes effect at its moment and not before.";
            restart restarts::the_instances_revision_grows_over_a_restart
                "After a restart the instances revision grows beyond the last one, of deleted services and emptied scopes too.";
            restart restarts::a_reset_stays_after_a_restart
                "Nothing from before a reset comes back by a restart, nor is anything lost that was made after it.";
            restart restarts::former_http_names_stay_after_a_restart
                "The `HttpName` of a namespace that was deleted before a restart is not given to another one.";

            no_restart restarts::a_backend_without_a_restart_offers_none
                "A backend that says that it does not keep every fact over a restart offers none.";

            fork forks::a_fork_starts_with_the_state_and_the_operations
                "A fork shows what the original showed.";
            fork forks::forks_do_not_see_each_other
                "A fork and its original do not see each other's writes.";
            fork forks::observers_stay_with_the_original
                "Observers and subscriptions of the original get nothing of a fork.";
        }
    };
}

/// Makes one `#[test]` for each rule of [`conformance`](crate::conformance), in the module where it stands.
///
/// `fresh` is a [`Factory`](crate::conformance::Factory), `block_on` a [`BlockOn`](crate::conformance::BlockOn). Then
/// follows `faults` for a backend whose factory offers [`Faults`](crate::conformance::Faults), or `no_faults` for one that
/// does no I/O; then `restart` for a backend whose factory says
/// [`reopened_by`](crate::conformance::Subject::reopened_by), or `no_restart` for one that does not keep every fact; and, if they apply, `immediate` for a registry that is marked [`Immediate`](crate::Immediate) and `fork`
/// for one that can be forked.
#[macro_export]
macro_rules! conformance_tests {
    (fresh: $fresh:expr, block_on: $block_on:expr, $faults:ident, $restart:ident $(, $group:ident)* $(,)?) => {
        $crate::__conformance_groups! { $faults $restart $($group)* }
        $crate::__conformance_rules! { [$crate::__conformance_tests] ($fresh, $block_on, [$faults $restart $($group)*]) }
    };
}

/// First how the store fails, then whether it is opened again, then what else the backend is.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_groups {
    (faults restart $(immediate)? $(fork)?) => {};
    (faults no_restart $(immediate)? $(fork)?) => {};
    (no_faults restart $(immediate)? $(fork)?) => {};
    (no_faults no_restart $(immediate)? $(fork)?) => {};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    ($arguments:tt $($group:ident $module:ident::$name:ident $claim:literal;)*) => {
        $($crate::__conformance_test! { $group $arguments $name $claim })*
    };
}

/// A rule of a group that was not asked for makes no test.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_test {
    (every ($fresh:expr, $block_on:expr, $groups:tt) $name:ident $claim:literal) => {
        #[doc = $claim]
        #[test]
        fn $name() {
            $crate::conformance::rule(stringify!($name)).check($fresh, $block_on);
        }
    };
    (faults ($fresh:expr, $block_on:expr, [faults $($more:ident)*]) $name:ident $claim:literal) => {
        $crate::__conformance_test! { every ($fresh, $block_on, []) $name $claim }
    };
    (no_faults ($fresh:expr, $block_on:expr, [no_faults $($more:ident)*]) $name:ident $claim:literal) => {
        $crate::__conformance_test! { every ($fresh, $block_on, []) $name $claim }
    };
    (restart ($fresh:expr, $block_on:expr, [$faults:ident restart $($more:ident)*]) $name:ident $claim:literal) => {
        $crate::__conformance_test! { every ($fresh, $block_on, []) $name $claim }
    };
    (no_restart ($fresh:expr, $block_on:expr, [$faults:ident no_restart $($more:ident)*]) $name:ident $claim:literal) => {
        $crate::__conformance_test! { every ($fresh, $block_on, []) $name $claim }
    };
    (immediate ($fresh:expr, $block_on:expr, [$faults:ident $restart:ident immediate $($fork:ident)?]) $name:ident $claim:literal) => {
        $crate::__conformance_test! { every ($fresh, $block_on, []) $name $claim }
    };
    (fork ($fresh:expr, $block_on:expr, [$faults:ident $restart:ident $(immediate)? fork]) $name:ident $claim:literal) => {
        $crate::__conformance_test! { every ($fresh, $block_on, []) $name $claim }
    };
    ($group:ident $arguments:tt $name:ident $claim:literal) => {};
}
