//! Plays a case through a door.

use std::collections::BTreeMap;

use sd_core::{Action, ManualClock, Scope};
use serde_json::Value;

use super::{
    Answer, Case, Door, Step,
    case::Call,
    expect::matches,
    values::{Variables, fill, fill_request},
};

/// A call and its outcome.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Outcome {
    /// The step of the case.
    pub step: String,
    /// The operation.
    pub action: Action,
    /// The answer.
    pub answer: Answer,
}

/// The calls of a played case.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Played {
    /// The calls, in order.
    pub outcomes: Vec<Outcome>,
}

/// Plays all steps of the case.
///
/// # Errors
/// Says how the first failing step differs from what the case expects.
pub fn play(case: &Case, door: &dyn Door, clock: &ManualClock) -> Result<Played, String> {
    let mut player = Player { door, clock, saved: BTreeMap::new(), played: Played::default() };
    player.steps("", 0, &case.steps)?;
    Ok(player.played)
}

struct Player<'p> {
    door: &'p dyn Door,
    clock: &'p ManualClock,
    saved: BTreeMap<String, Value>,
    played: Played,
}

impl Player<'_> {
    fn steps(&mut self, within: &str, n: u64, steps: &[Step]) -> Result<(), String> {
        steps
            .iter()
            .zip(1..)
            .try_for_each(|(step, number)| self.step(&format!("{within}step {number}"), n, step))
    }

    fn step(&mut self, name: &str, n: u64, step: &Step) -> Result<(), String> {
        match step {
            Step::Call(call) => {
                let name = match &call.title {
                    Some(title) => format!("{name}, {} ({title})", call.call),
                    None => format!("{name}, {}", call.call),
                };
                self.call(&name, n, call).map_err(|complaint| format!("{name}: {complaint}"))
            }
            Step::Wait(wait) => {
                let duration = wait.duration().map_err(|complaint| format!("{name}: {complaint}"))?;
                self.clock.advance(duration);
                Ok(())
            }
            Step::Repeat(repeat) => (1..=repeat.repeat)
                .try_for_each(|n| self.steps(&format!("{name}, time {n}, "), n, &repeat.steps)),
        }
    }

    fn call(&mut self, name: &str, n: u64, call: &Call) -> Result<(), String> {
        let action = Action::parse(&call.call).ok_or_else(|| format!("unknown operation {}", call.call))?;
        let request = fill_request(&call.with, Variables { saved: &self.saved, n })?;
        let answer = self.door.call(scope(call)?, action, &request)?;
        let (expected, found) = match (&call.expect, &call.error, answer.clone()) {
            (Some(expected), _, Answer::Response(found)) => (Some(expected.clone()), found),
            (None, None, Answer::Response(found)) => (None, found),
            (_, Some(expected), Answer::Error(found)) => {
                (Some(Value::Object(expected.clone())), Value::Object(found))
            }
            (_, Some(expected), Answer::Response(found)) => {
                return Err(format!("expected the error {}, got a response: {found}", expected["code"]));
            }
            (_, None, Answer::Error(found)) => return Err(format!("refused: {}", Value::Object(found))),
        };
        if let Some(expected) = expected {
            matches(&fill(&expected, Variables { saved: &self.saved, n })?, &found)
                .map_err(|complaint| format!("{complaint}; asked: {request}; answered: {found}"))?;
        }
        for (variable, pointer) in &call.save {
            let value = found.pointer(pointer).ok_or_else(|| format!("{pointer} is missing in {found}"))?;
            self.saved.insert(variable.clone(), value.clone());
        }
        self.played.outcomes.push(Outcome { step: name.to_owned(), action, answer });
        Ok(())
    }
}

fn scope(call: &Call) -> Result<Scope, String> {
    let default = Scope::default();
    let account = call.account.as_deref().unwrap_or(default.account().as_str());
    let region = call.region.as_deref().unwrap_or(default.region().as_str());
    Scope::parse(account, region).map_err(|error| format!("{account} in {region}: {error}"))
}
