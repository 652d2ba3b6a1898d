//! Commits that fail: ambiguous, unavailable, rejected.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail loudly")]

mod common;

use std::{
    error::Error as _,
    sync::{Arc, Mutex},
    time::Duration,
};

use common::meeting::{Meeting, Shared};
use sd_core::{ChangeSet, CommitError, Error, ErrorCode};

/// Makes the next commit ambiguous, after it has done `act`.
fn ambiguous(
    shared: &Shared,
    act: impl FnOnce(&Shared, ChangeSet) -> Result<(), CommitError> + Send + 'static,
) {
    shared.then(|shared, changes| {
        act(shared, changes)?;
        Err(CommitError::Ambiguous)
    });
}

#[test]
fn an_ambiguous_commit_that_was_stored_is_not_repeated() {
    let meeting = Meeting::new();
    for step in 0..3 {
        ambiguous(&meeting.shared, Shared::store);
        match step {
            0 => drop(meeting.register("i-2").unwrap()),
            1 => drop(meeting.create_service("other").unwrap()),
            _ => drop(meeting.deregister().unwrap()),
        }
        assert_eq!(meeting.shared.commits(), 1, "{step}");
    }
    assert!(meeting.has("i-2") && !meeting.has("i-1"));
}

#[test]
fn an_ambiguous_commit_that_was_lost_is_repeated() {
    let meeting = Meeting::new();
    meeting.rival.private("app.local");
    for step in 0..4 {
        ambiguous(&meeting.shared, |_, _| Ok(()));
        match step {
            0 => drop(meeting.register("i-2").unwrap()),
            1 => drop(meeting.create_service("other").unwrap()),
            2 => drop(meeting.deregister().unwrap()),
            _ => {
                // A failed operation changes nothing, but it must be found.
                meeting.create_private("app.local").unwrap();
            }
        }
    }
    assert!(meeting.has("i-2") && !meeting.has("i-1"));
}

#[test]
fn an_ambiguous_commit_that_is_stored_late_counts_once() {
    let meeting = Meeting::new();
    let late = |meeting: &Meeting| {
        // The first commit is stored only when the second one comes, which then conflicts.
        let delayed = Arc::new(Mutex::new(None));
        let held = Arc::clone(&delayed);
        ambiguous(&meeting.shared, move |_, changes| {
            *held.lock().unwrap() = Some(changes);
            Ok(())
        });
        meeting.shared.then(move |shared, changes| {
            shared.store(delayed.lock().unwrap().take().unwrap())?;
            shared.store(changes)
        });
    };
    late(&meeting);
    let created = meeting.create_service("late").unwrap();
    assert_eq!(created.service.name.as_str(), "late");
    late(&meeting);
    meeting.create_http("late").unwrap();
    late(&meeting);
    meeting.deregister().unwrap();
    let operations = meeting.operations();
    late(&meeting);
    meeting.register("i-2").unwrap();
    assert_eq!(meeting.operations(), operations + 1, "one request, one operation");
}

#[test]
fn an_ambiguous_deletion_does_not_delete_a_later_instance() {
    let meeting = Meeting::new();
    let (rival, service) = (Arc::clone(&meeting.rival), Arc::clone(&meeting.service));
    ambiguous(&meeting.shared, move |shared, changes| {
        shared.store(changes)?;
        rival.register(&service, "i-1", &[]);
        Ok(())
    });
    meeting.deregister().unwrap();
    assert!(meeting.has("i-1"), "registered again after the deregistration");
}

#[test]
fn an_unavailable_backend_is_reported_with_its_source() {
    let meeting = Meeting::new();
    meeting.shared.then(|_, _| {
        let source = std::io::Error::other("connection refused").into();
        Err(CommitError::Unavailable { retry_after: Some(Duration::from_secs(3)), source })
    });
    let error = meeting.register("i-2").unwrap_err();
    assert_eq!((error.code(), error.is_retryable()), (ErrorCode::ServiceUnavailable, true));
    assert_eq!(error.source().unwrap().to_string(), "connection refused");
    assert!(!error.to_string().contains("refused"), "the message does not repeat the source");
    assert!(matches!(error, Error::Unavailable { retry_after: Some(after), .. } if after.as_secs() == 3));
    assert!(!meeting.has("i-2"));
    assert_eq!(meeting.shared.commits(), 1);
}

#[test]
fn a_rejected_commit_is_not_repeated() {
    let meeting = Meeting::new();
    meeting.shared.then(|_, _| Err(CommitError::Rejected { key: "i-2".into(), reason: "too large".into() }));
    let error = meeting.register("i-2").unwrap_err();
    assert_eq!((error.code(), error.is_retryable()), (ErrorCode::InternalFailure, false));
    assert_eq!(error.to_string(), "the registry's backend refuses to store i-2: too large");
    assert_eq!(meeting.shared.commits(), 1);
}
