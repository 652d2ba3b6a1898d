//! The filters of all lists. All filters of a request must match, so they are merged into one condition for each property:
//! the cost of an entry does not depend on the number of filters.

use std::ops::RangeInclusive;

use super::{
    ReadContext,
    check::{Check, Entry},
    own_id,
};
use crate::{
    api::{
        error::{Error, rule},
        request::Filter,
    },
    model::constraint,
};

const CONDITION: &str = "filters.member.condition";
const VALUES: &str = "filters.member.values";

/// A filter with checked members: its name, its condition and its values.
pub(super) struct Checked<'r> {
    pub(super) name: &'static str,
    pub(super) condition: &'static str,
    pub(super) values: &'r [String],
}

/// Checks the members of filters. The default condition is EQ.
pub(super) fn checked<'r>(
    check: &mut Check,
    filters: Option<&'r [Filter]>,
    names: &'static [&'static str],
) -> Option<Vec<Checked<'r>>> {
    const CONDITIONS: &[&str] = &["EQ", "IN", "BETWEEN", "BEGINS_WITH"];
    let mut all = Some(Vec::new());
    for (number, filter) in (1..).zip(filters.unwrap_or_default()) {
        let at = Entry { list: "filters", number };
        let name = check.required_one_of(at.member("name"), filter.name.as_deref(), names, names);
        if filter.values.is_none() {
            check.missing(at.member("values"));
        }
        let values = check.texts(
            at.member("values"),
            filter.values.as_deref(),
            (0, usize::MAX),
            constraint::FILTER_VALUE,
        );
        let condition = filter.condition.as_deref().or(Some("EQ"));
        let condition = check.one_of(at.member("condition"), condition, CONDITIONS, CONDITIONS);
        all = all.zip(name.zip(condition).zip(values)).map(|(mut all, ((name, condition), values))| {
            all.push(Checked { name, condition, values });
            all
        });
    }
    all
}

impl<'r> Checked<'r> {
    /// The value of a filter that allows only EQ.
    pub(super) fn eq(&self) -> Result<&'r str, Error> {
        if self.condition != "EQ" {
            return Err(self.takes("EQ"));
        }
        self.single()
    }

    /// The single value that EQ and BEGINS_WITH require.
    pub(super) fn single(&self) -> Result<&'r str, Error> {
        match self.values {
            [value] => Ok(value),
            _ => Err(rule(VALUES, "The conditions EQ and BEGINS_WITH take one value.")),
        }
    }

    /// The values of an EQ or IN filter: those of `all` that a value of the filter names, by `is_named`. EQ takes one value.
    pub(super) fn among<T: Copy, const N: usize>(
        &self,
        all: [T; N],
        is_named: impl Fn(T, &str) -> bool,
    ) -> Result<Among<T, N>, Error> {
        match self.condition {
            "EQ" => drop(self.single()?),
            "IN" => {}
            _ => return Err(self.takes("EQ or IN")),
        }
        let mut found = Among { all, is_wanted: [false; N] };
        for value in self.values {
            let place = all
                .iter()
                .position(|candidate| is_named(*candidate, value))
                .ok_or_else(|| rule(VALUES, format!("The filter {} has no value {value:?}.", self.name)))?;
            found.is_wanted[place] = true;
        }
        if self.values.is_empty() {
            return Err(rule(VALUES, "The condition IN takes at least one value."));
        }
        Ok(found)
    }

    /// The two values of BETWEEN, in seconds since the Unix epoch.
    pub(super) fn between(&self) -> Result<RangeInclusive<f64>, Error> {
        if self.condition != "BETWEEN" {
            return Err(self.takes("BETWEEN"));
        }
        let [start, end] = self.values else {
            return Err(rule(VALUES, "The condition BETWEEN takes two values."));
        };
        let seconds = |text: &str| text.parse().ok().filter(|seconds: &f64| seconds.is_finite());
        match (seconds(start), seconds(end)) {
            (Some(start), Some(end)) => Ok(start..=end),
            _ => Err(rule(VALUES, format!("The filter {} takes seconds since the Unix epoch.", self.name))),
        }
    }

    /// Whether a RESOURCE_OWNER filter matches the caller's own resources.
    pub(super) fn own(&self) -> Result<bool, Error> {
        match self.eq()? {
            "SELF" => Ok(true),
            "OTHER_ACCOUNTS" => Ok(false),
            _ => Err(rule(VALUES, "The filter RESOURCE_OWNER takes SELF or OTHER_ACCOUNTS.")),
        }
    }

    pub(super) fn takes(&self, conditions: &str) -> Error {
        rule(CONDITION, format!("The filter {} takes {conditions}.", self.name))
    }

    pub(super) fn unknown_value(&self, known: &str) -> Error {
        rule(VALUES, format!("The filter {} takes {known}.", self.name))
    }
}

/// A set of values of an enumeration.
pub(super) struct Among<T, const N: usize> {
    all: [T; N],
    is_wanted: [bool; N],
}

impl<T: Copy + PartialEq, const N: usize> Among<T, N> {
    /// The values for which `wanted` is true.
    pub(super) fn of(all: [T; N], wanted: impl Fn(T) -> bool) -> Self {
        Self { all, is_wanted: all.map(wanted) }
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.is_wanted.contains(&true)
    }

    pub(super) fn contains(&self, value: T) -> bool {
        self.all.iter().zip(self.is_wanted).any(|(candidate, is_wanted)| is_wanted && *candidate == value)
    }

    /// Keeps only the values that are in both sets.
    pub(super) fn narrow(&mut self, other: &Self) {
        for (is_wanted, other) in self.is_wanted.iter_mut().zip(other.is_wanted) {
            *is_wanted &= other;
        }
    }
}

/// The merged condition of all filters on a text or an id.
#[derive(Default)]
pub(super) enum Only<'r> {
    /// No filter: every value matches.
    #[default]
    Any,
    /// Values with this prefix match.
    BeginsWith(&'r str),
    /// Only this value matches.
    Eq(&'r str),
    /// The filters exclude each other: no value matches.
    Nothing,
}

impl<'r> Only<'r> {
    pub(super) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::BeginsWith(start) => text.starts_with(start),
            Self::Eq(value) => text == *value,
            Self::Nothing => false,
        }
    }

    /// Adds an EQ filter.
    pub(super) fn and_eq(&mut self, value: &'r str) {
        *self = if self.matches(value) { Self::Eq(value) } else { Self::Nothing };
    }

    /// Adds a BEGINS_WITH filter.
    pub(super) fn and_begins_with(&mut self, start: &'r str) {
        match self {
            Self::Any => *self = Self::BeginsWith(start),
            Self::BeginsWith(found) if start.starts_with(*found) => *self = Self::BeginsWith(start),
            Self::BeginsWith(found) if found.starts_with(start) => {}
            Self::Eq(value) if value.starts_with(start) => {}
            _ => *self = Self::Nothing,
        }
    }

    /// Adds an EQ filter on an id or ARN. The ARN of a resource of another scope matches nothing.
    pub(super) fn and_id(
        &mut self,
        filter: &Checked<'r>,
        kind: &str,
        context: &ReadContext<'_>,
    ) -> Result<(), Error> {
        match own_id(context.scope, filter.eq()?, kind) {
            Some(id) => self.and_eq(id),
            None => *self = Self::Nothing,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_conditions_match_what_all_of_them_match() {
        let values = ["", "a", "ab", "abc", "b"];
        for one in values {
            for other in values {
                for kinds in [[true, true], [true, false], [false, true], [false, false]] {
                    let mut merged = Only::default();
                    for (is_eq, value) in kinds.into_iter().zip([one, other]) {
                        if is_eq { merged.and_eq(value) } else { merged.and_begins_with(value) }
                    }
                    for text in values {
                        let each = kinds.into_iter().zip([one, other]).all(|(is_eq, value)| {
                            if is_eq { text == value } else { text.starts_with(value) }
                        });
                        assert_eq!(merged.matches(text), each, "{one} {other} {kinds:?} {text}");
                    }
                }
            }
        }
    }
}
