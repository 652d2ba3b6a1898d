//! Plays each case of tests/cases through four doors, which must answer the same.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::print_stdout, reason = "prints the number of cases and calls")]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::LazyLock,
};

use sd_core::{
    Action, Error, Fault, Mode, Scope,
    error::InUse,
    model::{CreatorRequestId, NamespaceId},
    settings::{DIFFERENCES, Quota},
};
use sd_tests::scenarios::{
    Answer, AsyncDoor, Case, CborDoor, Door, JsonDoor, Played, SyncDoor, TestBed, play,
};

/// The errors that the service model lists for each operation. `tests/shapes` compares this file with botocore's model.
const MODELLED: &str = "modelled-errors.json";
/// The listed errors that no known request triggers, each with a reason.
const UNTRIGGERED: &str = "untriggered.json";
/// The members of requests in the service model, which `tests/tests/constraints.rs` reads.
const MEMBERS: &str = "modelled-members.json";

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases")
}

fn table<T: serde::de::DeserializeOwned>(name: &str) -> T {
    serde_json::from_str(&std::fs::read_to_string(directory().join(name)).unwrap()).unwrap()
}

/// The cases with their file names.
fn cases() -> Vec<(String, Case)> {
    let files = std::fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "json")).collect();
    files.sort();
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    let files = files.into_iter().filter(|path| ![MODELLED, MEMBERS, UNTRIGGERED].contains(&&*name(path)));
    files
        .map(|path| match Case::read(&path) {
            Ok(case) => (name(&path), case),
            Err(complaint) => panic!("{}: {complaint}", name(&path)),
        })
        .collect()
}

type Open = for<'t> fn(&'t TestBed) -> Box<dyn Door + 't>;

const DOORS: [Open; 4] = [
    |test_bed| Box::new(SyncDoor::new(test_bed)),
    |test_bed| Box::new(AsyncDoor::new(test_bed).unwrap()),
    |test_bed| Box::new(JsonDoor::new(test_bed).unwrap()),
    |test_bed| Box::new(CborDoor::new(test_bed).unwrap()),
];

/// Plays the case on a fresh registry.
fn played(case: &Case, mode: Mode, open: Open) -> Result<Played, String> {
    let test_bed = TestBed::new(case, mode);
    let door = open(&test_bed);
    play(case, &*door, &test_bed.clock).map_err(|complaint| format!("{mode:?}, {}: {complaint}", door.name()))
}

/// The results of all cases.
#[derive(Default)]
struct Results {
    failures: Vec<String>,
    calls: usize,
    /// Each outcome of each operation: an error code, or `None` for success.
    outcomes: BTreeSet<(String, Option<String>)>,
}

static RESULTS: LazyLock<Results> = LazyLock::new(|| {
    let mut results = Results::default();
    for (file, case) in cases() {
        for mode in case.modes() {
            results.add(&file, DOORS.map(|open| played(&case, *mode, open)));
        }
    }
    results
});

impl Results {
    /// Adds the results of one case, which must be the same through all doors.
    fn add(&mut self, file: &str, played: [Result<Played, String>; 4]) {
        let mut first: Option<Played> = None;
        for played in played {
            match (played, &first) {
                (Err(complaint), _) => self.failures.push(format!("{file}: {complaint}")),
                (Ok(played), Some(first)) => {
                    self.calls += played.outcomes.len();
                    let mut pairs = first.outcomes.iter().zip(&played.outcomes);
                    if let Some(differing) = pairs.find(|(a, b)| a != b) {
                        self.failures.push(format!("{file}: the doors differ: {differing:#?}"));
                    }
                }
                (Ok(played), None) => {
                    self.calls += played.outcomes.len();
                    first = Some(played);
                }
            }
        }
        for outcome in first.into_iter().flat_map(|played| played.outcomes) {
            let code = match outcome.answer {
                Answer::Response(_) => None,
                Answer::Error(members) => Some(members["code"].as_str().unwrap().to_owned()),
            };
            self.outcomes.insert((outcome.action.to_string(), code));
        }
    }
}

#[test]
fn every_case_passes_through_every_door_and_the_doors_agree() {
    let Results { failures, calls, .. } = &*RESULTS;
    println!("{} cases, {calls} calls through {} doors", cases().len(), DOORS.len());
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_operation_has_a_case_in_which_it_succeeds() {
    let missing: Vec<_> =
        Action::ALL.iter().filter(|action| !RESULTS.outcomes.contains(&(action.to_string(), None))).collect();
    assert!(missing.is_empty(), "operations that succeed in no case: {missing:?}");
}

#[test]
fn every_error_of_every_operation_has_a_case_or_a_reason_to_have_none() {
    let modelled: BTreeMap<String, Vec<String>> = table(MODELLED);
    let untriggered: BTreeMap<String, BTreeMap<String, String>> = table(UNTRIGGERED);
    let names: BTreeSet<_> = Action::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(modelled.keys().cloned().collect::<BTreeSet<_>>(), names, "{MODELLED} has every operation");
    for action in Action::ALL {
        let documented: Vec<_> = action.errors().iter().map(ToString::to_string).collect();
        assert_eq!(documented, modelled[action.as_str()], "what the documentation of {action} lists");
    }

    let mut complaints = Vec::new();
    for (operation, errors) in &modelled {
        for error in errors {
            let hit = RESULTS.outcomes.contains(&(operation.clone(), Some(error.clone())));
            let reason = untriggered.get(operation).and_then(|reasons| reasons.get(error));
            match (hit, reason) {
                (false, None) => complaints.push(format!("no case triggers {error} of {operation}")),
                (true, Some(_)) => {
                    complaints.push(format!("a case triggers {error} of {operation}: remove the reason"));
                }
                (false, Some(reason)) if reason.is_empty() => {
                    complaints.push(format!("the reason for {error} of {operation} is empty"));
                }
                _ => {}
            }
        }
    }
    for (operation, reasons) in &untriggered {
        let unknown =
            reasons.keys().filter(|error| !modelled.get(operation).is_some_and(|all| all.contains(error)));
        complaints.extend(
            unknown.map(|error| format!("{UNTRIGGERED}: the model lists no {error} for {operation}")),
        );
    }
    for (operation, error) in &RESULTS.outcomes {
        if let Some(error) = error.as_ref().filter(|error| !modelled[operation].contains(error)) {
            complaints.push(format!("{operation} returns {error}, which the model does not list"));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// An error with this code, as the engine returns it.
fn error_of(code: &str) -> Error {
    match code {
        "NamespaceAlreadyExists" => Error::NamespaceAlreadyExists {
            namespace_id: NamespaceId::parse("ns-aaaaaaaaaaaaaaaa").unwrap(),
            creator_request_id: Some(CreatorRequestId::parse("one").unwrap()),
        },
        "ResourceInUse" => Error::ResourceInUse(InUse::ServiceHasInstances),
        "ResourceLimitExceeded" => Error::ResourceLimitExceeded { quota: Quota::Namespaces, most: 50 },
        "ServiceNotFound" => Error::ServiceNotFound("srv-none".to_owned()),
        code => panic!("no error to inject for {code}"),
    }
}

#[test]
fn untriggered_errors_have_their_form_through_every_door() {
    let untriggered: BTreeMap<String, BTreeMap<String, String>> = table(UNTRIGGERED);
    let case = r#"{"title": "t", "source": "s", "steps": []}"#;
    let test_bed = TestBed::new(&serde_json::from_str(case).unwrap(), Mode::Lenient);
    for (operation, errors) in &untriggered {
        let action = Action::parse(operation).unwrap();
        for code in errors.keys() {
            let fault = Fault::error(action, error_of(code)).times(DOORS.len().try_into().unwrap());
            test_bed.cloud_map.cloud_map().faults().inject(fault);
            let call = |open: &Open| open(&test_bed).call(Scope::default(), action, &serde_json::json!({}));
            let answers: Vec<_> = DOORS.iter().map(|open| call(open).unwrap()).collect();
            let Answer::Error(members) = &answers[0] else { panic!("{operation} {code}: {answers:?}") };
            assert_eq!(members["code"], **code);
            assert_eq!(members.contains_key("NamespaceId"), code == "NamespaceAlreadyExists");
            assert!(answers.iter().all(|answer| *answer == answers[0]), "{operation}: {answers:?}");
        }
    }
    assert!(test_bed.cloud_map.cloud_map().faults().open().is_empty());
}

#[test]
fn every_difference_between_the_modes_has_a_case_in_each() {
    let cases = cases();
    let mut about: BTreeSet<_> = cases
        .iter()
        .filter_map(|(_, case)| Some((case.leniency.clone()?, format!("{:?}", case.modes()))))
        .collect();
    // Rules of ECS are no calls. Their rows name both modes, and `tests/tests/ecs.rs` plays them.
    let registries = table::<serde_json::Value>("ecs/registries.json");
    let leniency = registries["leniency"].as_str().unwrap();
    about.extend(["[Strict]", "[Lenient]"].map(|mode| (leniency.to_owned(), mode.to_owned())));
    let wanted = |difference: &sd_core::settings::Difference| {
        ["[Strict]", "[Lenient]"].map(|mode| (format!("{:?}", difference.leniency), mode.to_owned()))
    };
    assert_eq!(about, DIFFERENCES.iter().flat_map(wanted).collect());
}

#[test]
fn unknown_members_of_the_format_are_refused() {
    let case = |member: &str, steps: &str| {
        let text = format!(r#"{{"title": "t", "source": "s", {member} "steps": [{steps}]}}"#);
        serde_json::from_str::<Case>(&text).map_err(|error| error.to_string())
    };
    let call = r#"{"call": "ListServices"}"#;
    assert!(case("", call).is_ok());
    for (member, step) in [
        (r#""mood": "strict","#, call),
        (r#""mode": "strikt","#, call),
        ("", r#"{"cal": "ListServices"}"#),
        ("", r#"{"call": "ListServices", "expects": {}}"#),
        ("", r#"{"call": "ListServices", "error": {"Message": "m"}}"#),
        ("", r#"{"call": "ListServices", "expect": {}, "error": {"code": "InvalidInput"}}"#),
        ("", r#"{"wait": "1s", "call": "ListServices"}"#),
        ("", r#"{"repeat": 2, "steps": [{}]}"#),
    ] {
        assert!(case(member, step).is_err(), "{member} {step}");
    }
    // Faults that show only when the case is played.
    for step in [
        r#"{"call": "ListService"}"#,
        r#"{"wait": "1h"}"#,
        r#"{"call": "GetService", "with": {"Id": "${nothing}"}}"#,
        r#"{"call": "ListServices", "with": {"$twice": 1}}"#,
        r#"{"call": "ListServices", "expect": {"Services": "<servces>"}}"#,
        r#"{"call": "ListServices", "save": {"x": "/Service"}}"#,
        r#"{"call": "GetService"}"#,
        r#"{"call": "ListServices", "error": {"code": "InvalidInput"}}"#,
    ] {
        assert!(played(&case("", step).unwrap(), Mode::Strict, DOORS[0]).is_err(), "{step}");
    }
}
