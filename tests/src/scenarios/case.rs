//! The format of the files in tests/cases.

use std::{collections::BTreeMap, path::Path, time::Duration};

use sd_core::{Mode, Quotas, Timing};
use serde::Deserialize;
use serde_json::{Map, Value};

/// A case: a rule, its source, the settings, and the calls that show it.
///
/// Unknown members are errors, so that a misspelled step cannot pass.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Case {
    /// The rule, as a sentence.
    pub title: String,
    /// Where the rule comes from.
    pub source: String,
    /// `strict` or `lenient`. Without it, the case is played in both modes.
    mode: Option<ModeName>,
    #[serde(default)]
    timing: TimingName,
    #[serde(default)]
    quotas: QuotasName,
    /// The row of the table of differences between the modes that the case is about.
    pub leniency: Option<String>,
    /// The steps, in order.
    pub steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ModeName {
    Strict,
    Lenient,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum TimingName {
    #[default]
    Instant,
    Aws,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum QuotasName {
    #[default]
    None,
    Aws,
}

/// A step: a call, a wait or a repetition.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Value")]
#[non_exhaustive]
pub enum Step {
    /// Calls an operation.
    Call(Box<Call>),
    /// Advances the clock.
    Wait(Wait),
    /// Repeats steps.
    Repeat(Repeat),
}

/// A call of an operation.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Call {
    /// What the step shows, where the title of the case does not say so.
    #[serde(default)]
    pub title: Option<String>,
    /// The source of this step, where it differs from that of the case.
    #[serde(default)]
    pub source: Option<String>,
    /// The name of the operation.
    pub call: String,
    /// The members of the request.
    #[serde(default)]
    pub with: Map<String, Value>,
    /// The Region of the call. Unset: the default one.
    pub region: Option<String>,
    /// The account of the call. Unset: the default one.
    pub account: Option<String>,
    /// What the response must match. Without `expect` and `error`, any response passes and every error fails.
    pub expect: Option<Value>,
    /// What the error must match: its `code` and its members.
    pub error: Option<Map<String, Value>>,
    /// Variables to set, with JSON pointers to their values in the response or the error.
    #[serde(default)]
    pub save: BTreeMap<String, String>,
}

/// A wait on the clock of the case, which moves at no other time.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Wait {
    /// A number followed by `ms`, `s` or `m`.
    pub wait: String,
}

/// Steps to repeat.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Repeat {
    /// The number of repetitions. The variable `n` counts them from 1.
    pub repeat: u64,
    /// The steps.
    pub steps: Vec<Step>,
}

impl Case {
    /// Reads a file.
    ///
    /// # Errors
    /// Says what is wrong with the file.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        let case: Self = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        if case.title.is_empty() || case.source.is_empty() || case.steps.is_empty() {
            return Err("a case needs a title, a source and steps".to_owned());
        }
        Ok(case)
    }

    /// The modes in which to play the case: both if it names none, because nothing else may depend on the mode.
    #[must_use]
    pub fn modes(&self) -> &'static [Mode] {
        match self.mode {
            Some(ModeName::Strict) => &[Mode::Strict],
            Some(ModeName::Lenient) => &[Mode::Lenient],
            None => &[Mode::Strict, Mode::Lenient],
        }
    }

    /// How long operations and health reports take.
    #[must_use]
    pub fn timing(&self) -> Timing {
        match self.timing {
            TimingName::Instant => Timing::instant(),
            TimingName::Aws => Timing::aws(),
        }
    }

    /// The quotas of the case.
    #[must_use]
    pub fn quotas(&self) -> Quotas {
        match self.quotas {
            QuotasName::None => Quotas::none(),
            QuotasName::Aws => Quotas::aws(),
        }
    }
}

impl TryFrom<Value> for Step {
    type Error = String;

    /// Written by hand, so that errors name the step at fault.
    fn try_from(value: Value) -> Result<Self, String> {
        let text = value.to_string();
        let step = if value.get("call").is_some() {
            serde_json::from_value(value).map(|call| Self::Call(Box::new(call)))
        } else if value.get("wait").is_some() {
            serde_json::from_value(value).map(Self::Wait)
        } else if value.get("repeat").is_some() {
            serde_json::from_value(value).map(Self::Repeat)
        } else {
            return Err(format!("a step has no call, wait or repeat: {text}"));
        };
        let step = step.map_err(|error| format!("{error} in {text}"))?;
        match &step {
            Self::Call(call) if call.expect.is_some() && call.error.is_some() => {
                Err(format!("a step expects both a response and an error: {text}"))
            }
            Self::Call(call) if call.error.as_ref().is_some_and(|error| !error.contains_key("code")) => {
                Err(format!("an expected error has no code: {text}"))
            }
            _ => Ok(step),
        }
    }
}

impl Wait {
    pub(super) fn duration(&self) -> Result<Duration, String> {
        let digits = self.wait.trim_end_matches(|c: char| c.is_ascii_lowercase());
        let number: u64 = digits
            .parse()
            .map_err(|_| format!("invalid wait {:?}: expected a number and a unit", self.wait))?;
        match &self.wait[digits.len()..] {
            "ms" => Ok(Duration::from_millis(number)),
            "s" => Ok(Duration::from_secs(number)),
            "m" => Ok(Duration::from_secs(60 * number)),
            _ => Err(format!("invalid unit in {:?}: expected ms, s or m", self.wait)),
        }
    }
}
