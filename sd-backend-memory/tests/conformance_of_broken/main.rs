//! Tests of the conformance suite itself: a registry that breaks one promise must fail exactly the rules about it.
//! Each test is named after the fault that it finds.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../common/mod.rs"]
mod common;
mod faults;
mod handles;
mod refusals;
mod registries;
mod resets;
mod restarts;
mod sets;

use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use common::block_on;
use registries::{Altered, Lazy, Replica, Replication, holds, prefix};
use sd_backend_memory::MemoryRegistry;
use sd_core::{
    ChangeSet, CommitError, Registry, StateWriter,
    conformance::{Group, RULES, Rule, Subject},
};

/// The rules of these groups that registries of this factory break.
fn broken_rules(
    groups: &[Group],
    factory: impl Fn() -> Subject + Clone + Send + Sync + 'static,
) -> BTreeSet<&'static str> {
    let rules = RULES.iter().filter(|rule| groups.contains(&rule.group()));
    let broken = rules.filter(|rule| {
        let factory = factory.clone();
        let fresh = move || std::future::ready(factory());
        catch_unwind(AssertUnwindSafe(|| rule.check(fresh, block_on))).is_err()
    });
    broken.map(Rule::name).collect()
}

/// Asserts that registries of this factory break exactly these rules.
fn assert_subjects_break(
    group: Group,
    factory: impl Fn() -> Subject + Clone + Send + Sync + 'static,
    expected: &[&str],
) {
    assert_eq!(broken_rules(&[group], factory), expected.iter().copied().collect());
}

/// As `assert_subjects_break`, for a plain registry and the rules of every backend.
fn assert_breaks<R: Registry>(make: impl Fn() -> R + Clone + Send + Sync + 'static, expected: &[&str]) {
    assert_subjects_break(Group::Every, move || Subject::new(Arc::new(make())), expected);
}

/// As `assert_breaks`, for a registry with this commit function.
fn assert_commit_breaks(commit: Commit, expected: &[&str]) {
    assert_breaks(move || Altered::new(commit), expected);
}

/// Asserts that at least these rules are broken. Others may break too, because they depend on the broken promise or
/// meet it by chance.
fn assert_breaks_among_others<R: Registry>(
    make: impl Fn() -> R + Clone + Send + Sync + 'static,
    expected: &[&str],
) {
    let broken = broken_rules(&[Group::Every], move || Subject::new(Arc::new(make())));
    let missing: Vec<_> = expected.iter().filter(|name| !broken.contains(*name)).collect();
    assert!(missing.is_empty(), "not broken: {missing:?}; broken: {broken:#?}");
}

type Commit = fn(&StateWriter, ChangeSet) -> Result<(), CommitError>;

fn memory() -> Subject {
    let registry = Arc::new(MemoryRegistry::new());
    let original = Arc::clone(&registry);
    Subject::immediate(registry).forked_by(move || Arc::new(MemoryRegistry::fork(original.cell())))
}

#[test]
fn every_rule_has_a_unique_name_and_a_claim() {
    let names: BTreeSet<_> = RULES.iter().map(Rule::name).collect();
    assert_eq!(names.len(), RULES.len());
    assert!(RULES.iter().all(|rule| rule.claim().ends_with('.')));
}

#[test]
fn a_correct_registry_breaks_no_rule() {
    let all = [Group::Every, Group::Immediate, Group::Fork, Group::NoFaults, Group::NoRestart];
    assert_eq!(broken_rules(&all, memory), BTreeSet::new());
}

#[test]
fn a_replicated_registry_with_slow_commits_breaks_no_rule() {
    assert_subjects_break(Group::Every, || Replica::subject(Replication::Right), &[]);
}

#[test]
fn a_registry_without_transactions_that_reports_failures_breaks_no_rule() {
    assert_commit_breaks(
        |writer, set| {
            let result = writer.publish(&set).map(drop);
            if result.is_err() && holds(writer, &set) {
                let mut prefixes = (1..set.changes.len()).rev().map(|end| prefix(&set, end));
                let _stored = prefixes.find(|prefix| writer.publish(prefix).is_ok());
            }
            result
        },
        &[],
    );
}

#[test]
fn finds_a_registry_that_wrongly_claims_to_be_immediate() {
    assert_subjects_break(
        Group::Immediate,
        || Subject::immediate(Arc::new(Lazy::default())),
        &[
            "a_commit_is_done_at_its_first_poll",
            "refresh_and_pause_are_done_at_their_first_poll",
            "requests_work_without_a_runtime",
        ],
    );
}

#[test]
fn finds_forks_that_are_not_independent_or_lose_operations() {
    assert_subjects_break(
        Group::Fork,
        || {
            let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::new());
            let same = Arc::clone(&registry);
            Subject::new(registry).forked_by(move || Arc::clone(&same))
        },
        &["forks_do_not_see_each_other", "observers_stay_with_the_original"],
    );
    assert_subjects_break(
        Group::Fork,
        || {
            let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::new());
            let original = Arc::clone(&registry);
            Subject::new(registry)
                .forked_by(move || Arc::new(MemoryRegistry::from_state(original.cell().load().clone())))
        },
        &["a_fork_starts_with_the_state_and_the_operations", "forks_do_not_see_each_other"],
    );
}
