//! The constraints of the API's service model: lengths, ranges, patterns, enumerations.
//!
//! Every type that parses text and every planner that checks a member says what is wrong in the same words,
//! those of the service itself: `Value '…' at 'serviceId' failed to satisfy constraint: Member must …`.

use std::fmt;

/// A rule of the service model that a value breaks. [`Violation`] adds the member and the value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Constraint {
    /// The member is required.
    NotNull,
    /// At least this many characters or entries.
    MinLength(usize),
    /// At most this many characters or entries.
    MaxLength(usize),
    /// The regular expression of the service model.
    Pattern(&'static str),
    /// One of these values.
    OneOf(&'static [&'static str]),
    /// At least this number.
    Min(i64),
    /// At most this number.
    Max(i64),
    /// A rule that the service model gives in prose.
    Format(&'static str),
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotNull => f.write_str("Member must not be null"),
            Self::MinLength(n) => write!(f, "Member must have length greater than or equal to {n}"),
            Self::MaxLength(n) => write!(f, "Member must have length less than or equal to {n}"),
            Self::Pattern(p) => write!(f, "Member must satisfy regular expression pattern: {p}"),
            Self::OneOf(values) => write!(f, "Member must satisfy enum value set: [{}]", values.join(", ")),
            Self::Min(n) => write!(f, "Member must have value greater than or equal to {n}"),
            Self::Max(n) => write!(f, "Member must have value less than or equal to {n}"),
            Self::Format(rule) => write!(f, "Member must {rule}"),
        }
    }
}

impl std::error::Error for Constraint {}

/// A value, where it stood and the constraint that it breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    member: String,
    value: Option<String>,
    constraint: Constraint,
}

impl Violation {
    /// `member` is the path of the member in lower camel case, as the service writes it: `dnsConfig.dnsRecords`.
    #[must_use]
    pub fn new(member: impl Into<String>, value: Option<&str>, constraint: Constraint) -> Self {
        Self { member: shortened(&member.into()), value: value.map(shortened), constraint }
    }

    /// The path of the member in lower camel case.
    #[must_use]
    pub fn member(&self) -> &str {
        &self.member
    }

    /// The rule that the value breaks.
    #[must_use]
    pub fn constraint(&self) -> &Constraint {
        &self.constraint
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "Value '{value}'")?,
            None => f.write_str("Value null")?,
        }
        write!(f, " at '{}' failed to satisfy constraint: {}", self.member, self.constraint)
    }
}

/// A message quotes no more of a value than this many characters.
const QUOTED: usize = 256;

fn shortened(value: &str) -> String {
    match value.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}

/// Checks a length in characters, as the service model counts it.
pub(crate) fn length(value: &str, min: usize, max: usize) -> Result<(), Constraint> {
    // A byte count bounds the character count from above, so the common case needs no walk.
    let count = if value.len() <= max && value.len() >= min && value.is_ascii() {
        return Ok(());
    } else {
        value.chars().count()
    };
    if count < min {
        Err(Constraint::MinLength(min))
    } else if count > max {
        Err(Constraint::MaxLength(max))
    } else {
        Ok(())
    }
}

/// Checks every byte of a value against a class that the pattern describes, and that there is one. The service model has
/// no least length where it has a pattern.
pub(crate) fn bytes(
    value: &str,
    pattern: &'static str,
    allowed: impl Fn(u8) -> bool,
) -> Result<(), Constraint> {
    if !value.is_empty() && value.bytes().all(allowed) { Ok(()) } else { Err(Constraint::Pattern(pattern)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_reads_as_the_service_writes_it() {
        let missing = Violation::new("id", None, Constraint::NotNull);
        assert_eq!(
            missing.to_string(),
            "Value null at 'id' failed to satisfy constraint: Member must not be null"
        );
        let long = Violation::new("name", Some("xx"), Constraint::MaxLength(1));
        assert_eq!(
            long.to_string(),
            "Value 'xx' at 'name' failed to satisfy constraint: Member must have length less than or equal to 1"
        );
    }

    #[test]
    fn a_long_value_is_quoted_in_part() {
        let text = Violation::new("name", Some(&"é".repeat(5000)), Constraint::NotNull).to_string();
        assert!(text.chars().count() < 400, "{text}");
    }

    #[test]
    fn length_counts_characters() {
        assert_eq!(length("éé", 1, 2), Ok(()));
        assert_eq!(length("", 1, 2), Err(Constraint::MinLength(1)));
        assert_eq!(length("abc", 1, 2), Err(Constraint::MaxLength(2)));
    }
}
