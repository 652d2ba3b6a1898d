//! Registries that do not stand it when their store fails.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use sd_core::{
    ChangeSet, CommitError, Registry, Scope, State, StateCell, StateWriter,
    conformance::{BoxFuture, Faults, Group, StoreFault, Strike, Subject},
    store::Lookup,
};

use super::{
    broken_rules,
    registries::{operation_last, wait, without},
};

/// What handles or their store do wrong when a write fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    /// The operation of a set is stored before its changes.
    OperationFirst,
    /// The store does not know which writes it has, so a write that is sent again meets itself.
    NoNonces,
    /// A commit that was not answered is `Unavailable`.
    Unavailable,
    /// A commit that was not answered is taken for stored.
    Confident,
    /// What is opened after a crash has no operations.
    NoOperations,
    /// A handle locks the store while it writes, and a crash does not unlock it.
    Lock,
    /// A write that arrives late is stored whatever is there by then.
    LateWins,
    /// A deletion that is not possible is taken for done.
    Lenient,
}

/// The store, and the fault that is to strike it.
struct Disk {
    flaw: Flaw,
    master: StateWriter,
    sets: Vec<ChangeSet>,
    /// The writes that are stored.
    nonces: BTreeSet<usize>,
    drawn: usize,
    /// Writes that are on their way.
    late: Vec<(usize, ChangeSet)>,
    strike: Option<Strike>,
    writes: usize,
    has_struck: bool,
    is_mended: bool,
    has_crashed: bool,
}

enum Answer {
    Stored,
    Refused(CommitError),
    None,
}

fn unavailable() -> CommitError {
    CommitError::Unavailable { retry_after: None, source: "the store has failed".into() }
}

impl Disk {
    fn store(&mut self, nonce: usize, set: &ChangeSet) -> Answer {
        if self.nonces.contains(&nonce) && self.flaw != Flaw::NoNonces {
            return Answer::Stored;
        }
        match self.master.publish(set) {
            Ok(_) => {}
            Err(_) if self.flaw == Flaw::Lenient && set.operation.is_none() => return Answer::Stored,
            Err(error) => return Answer::Refused(error),
        }
        let mut stored = set.clone();
        stored.preconditions.clear();
        self.sets.push(stored);
        self.nonces.insert(nonce);
        Answer::Stored
    }

    /// The fault of this write, if it has one.
    fn fault(&mut self) -> Option<StoreFault> {
        let strike = self.strike?;
        if self.has_struck {
            return (strike.outage && !self.is_mended).then_some(StoreFault::Lost);
        }
        self.writes += 1;
        self.has_struck = self.writes == strike.write;
        self.has_struck.then_some(strike.fault)
    }

    fn is_away(&self) -> bool {
        self.has_struck && !self.is_mended && self.strike.is_some_and(|strike| strike.outage)
    }
}

/// A handle. The first one is the one whose writes are struck.
#[derive(Clone)]
struct Handle {
    disk: Arc<Mutex<Disk>>,
    writer: Arc<StateWriter>,
    read: Arc<Mutex<usize>>,
    is_first: bool,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handle")
    }
}

impl Handle {
    fn open(disk: &Arc<Mutex<Disk>>, is_first: bool) -> Self {
        let writer = Arc::new(StateWriter::new(State::new()));
        let handle = Self { disk: Arc::clone(disk), writer, read: Arc::default(), is_first };
        let disk = handle.disk();
        handle.catch_up(&disk, disk.flaw == Flaw::NoOperations && disk.has_crashed);
        drop(disk);
        handle
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap()
    }

    fn catch_up(&self, disk: &Disk, without_operations: bool) {
        let mut read = self.read.lock().unwrap();
        for set in disk.sets.iter().skip(*read) {
            let mut set = set.clone();
            if without_operations {
                set.operation = None;
            }
            self.writer.publish(&set).unwrap();
        }
        *read = disk.sets.len();
    }

    /// A failure that keeps this handle from the store.
    fn failure(&self, disk: &Disk) -> Option<CommitError> {
        let is_dead = self.is_first && (disk.has_crashed || disk.is_away());
        (is_dead || (disk.has_crashed && disk.flaw == Flaw::Lock)).then(unavailable)
    }

    async fn write(&self, nonce: usize, set: &ChangeSet) -> Answer {
        wait().await;
        let (answer, is_late) = {
            let mut disk = self.disk();
            let fault = if self.is_first { disk.fault() } else { None };
            match fault {
                None => (disk.store(nonce, set), false),
                Some(StoreFault::AnsweredLate) => (disk.store(nonce, set), true),
                Some(StoreFault::Lost) => (Answer::None, false),
                Some(StoreFault::ArrivesLate) => {
                    disk.late.push((nonce, set.clone()));
                    (Answer::None, false)
                }
                Some(fault) => {
                    disk.store(nonce, set);
                    disk.has_crashed |= fault == StoreFault::Crash;
                    (Answer::None, false)
                }
            }
        };
        while is_late && !self.disk().is_mended {
            wait().await;
        }
        wait().await;
        answer
    }

    async fn store(&self, set: &ChangeSet) -> Result<(), CommitError> {
        let (flaw, nonce) = {
            let mut disk = self.disk();
            disk.drawn += 1;
            (disk.flaw, disk.drawn)
        };
        let mut has_sent = false;
        for _ in 0..4 {
            if let Some(error) = self.failure(&self.disk())
                && !has_sent
            {
                return Err(error);
            }
            let is_dead = self.is_first && self.disk().has_crashed;
            let answer = if is_dead { Answer::None } else { self.write(nonce, set).await };
            has_sent = true;
            match answer {
                Answer::Stored => {
                    self.catch_up(&self.disk(), false);
                    return Ok(());
                }
                Answer::Refused(error) => {
                    self.catch_up(&self.disk(), false);
                    return Err(error);
                }
                Answer::None if flaw == Flaw::Confident => return self.writer.publish(set).map(drop),
                Answer::None => {}
            }
        }
        Err(if flaw == Flaw::Unavailable { unavailable() } else { CommitError::Ambiguous })
    }
}

#[async_trait]
impl Registry for Handle {
    fn cell(&self) -> &StateCell {
        self.writer.cell()
    }

    async fn commit(&self, changes: ChangeSet) -> Result<(), CommitError> {
        let parts = match (self.disk().flaw, &changes.operation) {
            (Flaw::OperationFirst, Some(_)) => {
                let [changes, operation] = operation_last(changes).try_into().unwrap();
                vec![operation, changes]
            }
            _ => vec![changes],
        };
        for part in parts {
            self.store(&part).await?;
        }
        Ok(())
    }

    async fn refresh(&self, _: &Scope, _: &[Lookup]) -> Result<(), CommitError> {
        wait().await;
        let disk = self.disk();
        if let Some(error) = self.failure(&disk) {
            return Err(error);
        }
        self.catch_up(&disk, false);
        Ok(())
    }
}

/// The faults of the first handle.
struct Switch(Arc<Mutex<Disk>>);

impl Faults for Switch {
    fn arm(&self, strike: Strike) {
        let mut disk = self.0.lock().unwrap();
        (disk.strike, disk.writes, disk.has_struck, disk.is_mended) = (Some(strike), 0, false, false);
    }

    fn has_struck(&self) -> bool {
        self.0.lock().unwrap().has_struck
    }

    fn mend(&self) {
        let mut disk = self.0.lock().unwrap();
        disk.is_mended = true;
        for (nonce, set) in std::mem::take(&mut disk.late) {
            if disk.flaw == Flaw::LateWins {
                let set = without(&set, |_| false);
                // What has no parent any more cannot be stored.
                disk.store(usize::MAX, &set);
            } else {
                disk.store(nonce, &set);
            }
        }
    }

    fn reopen(&self) -> BoxFuture<'static, Arc<dyn Registry>> {
        let opened = Handle::open(&self.0, false);
        Box::pin(async { Arc::new(opened) as Arc<dyn Registry> })
    }
}

fn subject(flaw: Flaw) -> Subject {
    let disk = Disk {
        flaw,
        master: StateWriter::new(State::new()),
        sets: Vec::new(),
        nonces: BTreeSet::new(),
        drawn: 0,
        late: Vec::new(),
        strike: None,
        writes: 0,
        has_struck: false,
        is_mended: false,
        has_crashed: false,
    };
    let disk = Arc::new(Mutex::new(disk));
    let first = Handle::open(&disk, true);
    let switch = Arc::new(Switch(Arc::clone(&disk)));
    let open = move || {
        let opened: Arc<dyn Registry> = Arc::new(Handle::open(&disk, false));
        std::future::ready(opened)
    };
    Subject::new(Arc::new(first)).opened_by(open).with_faults(switch)
}

/// Asserts that a flaw breaks these rules, among others that need what is broken.
fn assert_flaw_breaks(flaw: Flaw, expected: &[&str]) {
    let broken = broken_rules(&[Group::Faults], move || subject(flaw));
    let missing: Vec<_> = expected.iter().filter(|name| !broken.contains(*name)).collect();
    assert!(missing.is_empty(), "not broken: {missing:?}; broken: {broken:#?}");
}

#[test]
fn a_registry_that_survives_its_store_breaks_no_rule() {
    assert_eq!(broken_rules(&[Group::Every, Group::Faults], || subject(Flaw::None)), BTreeSet::new());
}

#[test]
fn finds_operations_that_are_stored_before_their_changes() {
    assert_flaw_breaks(Flaw::OperationFirst, &["after_a_crash_a_prefix_of_the_set_is_stored"]);
}

#[test]
fn finds_writes_that_meet_themselves() {
    assert_flaw_breaks(Flaw::NoNonces, &["a_write_without_an_answer_is_not_a_conflict"]);
}

#[test]
fn finds_unavailable_in_place_of_ambiguous() {
    assert_flaw_breaks(Flaw::Unavailable, &["a_failed_commit_shows_what_is_stored"]);
}

#[test]
fn finds_a_missing_answer_that_is_taken_for_success() {
    assert_flaw_breaks(Flaw::Confident, &["a_request_without_an_answer_is_done_once"]);
}

#[test]
fn finds_operations_that_a_crash_loses() {
    assert_flaw_breaks(Flaw::NoOperations, &["a_repeated_request_is_answered_as_before_after_a_crash"]);
}

#[test]
fn finds_a_lock_that_a_crash_leaves() {
    assert_flaw_breaks(Flaw::Lock, &["after_a_crash_everything_can_be_deleted_and_created"]);
}

#[test]
fn finds_late_writes_that_win() {
    assert_flaw_breaks(Flaw::LateWins, &["a_late_write_does_not_undo_later_requests"]);
}

#[test]
fn finds_deletions_that_are_acknowledged_and_not_done() {
    assert_flaw_breaks(Flaw::Lenient, &["requests_that_exclude_each_other_do_not_both_succeed"]);
}

#[test]
fn finds_a_registry_that_wrongly_claims_to_have_no_faults() {
    let expected = BTreeSet::from(["a_backend_without_faults_waits_for_nothing"]);
    assert_eq!(broken_rules(&[Group::NoFaults], || subject(Flaw::None)), expected);
    let waits = || Subject::new(Arc::new(super::Lazy::default()));
    assert_eq!(broken_rules(&[Group::NoFaults], waits), expected);
}
