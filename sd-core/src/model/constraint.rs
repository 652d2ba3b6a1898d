//! The constraints of the API's service model: lengths, ranges, patterns, enumerations.
//!
//! All types that parse text and all planners report a violation in AWS's words:
//! `Value '…' at 'serviceId' failed to satisfy constraint: Member must …`.

use std::fmt::{self, Write as _};

/// The constraints of a text: its least and greatest length in characters, and a regular expression.
///
/// The constants below are named after the shapes of the service model.
#[derive(Clone, Copy, Debug)]
pub struct Text {
    min: usize,
    max: Option<usize>,
    pattern: Option<Pattern>,
}

/// A regular expression as the service model writes it, and a function that accepts the same texts.
#[derive(Clone, Copy, Debug)]
struct Pattern {
    text: &'static str,
    accepts: fn(&str) -> bool,
}

pub(crate) const AMAZON_RESOURCE_NAME: &Text = &Text::of_length(1, 1011);
pub(crate) const ARN: &Text = &Text::of_length(0, 255);
pub(crate) const ATTR_KEY: &Text = &Text::of_length(0, 255).matching("^[a-zA-Z0-9!-~]+$", printable);
pub(crate) const ATTR_VALUE: &Text = &Text::of_length(0, 1024).matching(
    "^([a-zA-Z0-9!-~][ \\ta-zA-Z0-9!-~]*){0,1}[a-zA-Z0-9!-~]{0,1}$",
    |text| {
        text.bytes().all(|b| b.is_ascii_graphic() || b == b' ' || b == b'\t')
            && !text.starts_with([' ', '\t'])
    },
);
pub(crate) const AWS_ACCOUNT_ID: &Text = &Text::of_length(12, 12);
pub(crate) const FILTER_VALUE: &Text = &Text::of_length(1, 255);
pub(crate) const INSTANCE_ID: &Text = &Text::of_length(0, 64).matching("^[0-9a-zA-Z_/:.@-]+$", |text| {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_/:.@-".contains(&b))
});
pub(crate) const NAMESPACE_NAME: &Text = &Text::of_length(0, 1024).matching("^[!-~]{1,1024}$", |text| {
    // The text is ASCII, so octets are characters.
    printable(text) && text.len() <= 1024
});
pub(crate) const NAMESPACE_NAME_HTTP: &Text = &Text::of_length(0, 1024)
    .matching("^(?!arn:)[!-~]{1,1024}$", |text| {
        printable(text) && text.len() <= 1024 && !text.starts_with("arn:")
    });
pub(crate) const NAMESPACE_NAME_PRIVATE: &Text = &Text::of_length(0, 253)
    .matching("^(?!arn:)[!-~]{1,253}$", |text| {
        printable(text) && text.len() <= 253 && !text.starts_with("arn:")
    });
pub(crate) const NAMESPACE_NAME_PUBLIC: &Text = &Text::of_length(0, 253).matching(
    "^([a-zA-Z0-9]([a-zA-Z0-9\\-]{0,61}[a-zA-Z0-9])?\\.)+[a-zA-Z0-9]([a-zA-Z0-9\\-]{0,61}[a-zA-Z0-9])?$",
    |text| {
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        text.contains('.') && text.split('.').all(label)
    },
);
pub(crate) const NEXT_TOKEN: &Text = &Text::of_length(0, 4096);
pub(crate) const OPERATION_ID: &Text = &Text::of_length(0, 255);
pub(crate) const RESOURCE_DESCRIPTION: &Text = &Text::of_length(0, 1024);
pub(crate) const RESOURCE_ID: &Text = &Text::of_length(0, 64);
pub(crate) const RESOURCE_PATH: &Text = &Text::of_length(0, 255);
pub(crate) const SERVICE_ATTRIBUTE_KEY: &Text = &Text::of_length(0, 255);
pub(crate) const SERVICE_ATTRIBUTE_VALUE: &Text = &Text::of_length(0, 1024);
pub(crate) const SERVICE_NAME: &Text = &Text::any().matching(
    "((?=^.{1,127}$)^([a-zA-Z0-9_][a-zA-Z0-9-_]{0,61}[a-zA-Z0-9_]|[a-zA-Z0-9])(\\.([a-zA-Z0-9_][a-zA-Z0-9-_]{0,61}[a-zA-Z0-9_]|[a-zA-Z0-9]))*$)|(^\\.$)",
    |text| {
        let label = |label: &str| match label.as_bytes() {
            [only] => only.is_ascii_alphanumeric(),
            bytes => {
                (2..=63).contains(&bytes.len())
                    && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_' || *b == b'-')
                    && !label.starts_with('-')
                    && !label.ends_with('-')
            }
        };
        text == "." || ((1..=127).contains(&text.len()) && text.split('.').all(label))
    },
);
pub(crate) const TAG_KEY: &Text = &Text::of_length(1, 128);
pub(crate) const TAG_VALUE: &Text = &Text::of_length(0, 256);

fn printable(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}

impl Text {
    /// A text of any length.
    pub(crate) const fn any() -> Self {
        Self { min: 0, max: None, pattern: None }
    }

    /// A text of `min` to `max` characters.
    pub(crate) const fn of_length(min: usize, max: usize) -> Self {
        Self { min, max: Some(max), pattern: None }
    }

    /// Adds a pattern. `accepts` must accept the texts that the regular expression `text` matches.
    pub(crate) const fn matching(self, text: &'static str, accepts: fn(&str) -> bool) -> Self {
        Self { pattern: Some(Pattern { text, accepts }), ..self }
    }

    /// The first constraint that the value breaks.
    pub(crate) fn check(&self, value: &str) -> Result<(), Constraint> {
        self.broken(value).next().map_or(Ok(()), Err)
    }

    /// The constraints that the value breaks, in the order in which AWS reports them. Reads the value once.
    pub(crate) fn broken(&self, value: &str) -> impl Iterator<Item = Constraint> + use<> {
        // An ASCII value has as many characters as octets, so the common case needs no count.
        let in_range = |count| self.min <= count && self.max.is_none_or(|max| count <= max);
        let length =
            if value.is_ascii() && in_range(value.len()) { None } else { Some(value.chars().count()) };
        let long =
            self.max.filter(|max| length.is_some_and(|length| *max < length)).map(Constraint::MaxLength);
        let short = length.is_some_and(|length| length < self.min).then_some(Constraint::MinLength(self.min));
        let pattern = self.pattern.filter(|pattern| !(pattern.accepts)(value));
        [long, short, pattern.map(|pattern| Constraint::Pattern(pattern.text))].into_iter().flatten()
    }
}

impl Text {
    /// All constraints, as AWS lists them for the items of lists and maps.
    fn listed(&self, not_null: Option<Constraint>) -> String {
        let lengths = self.max.map(|max| [Constraint::MaxLength(max), Constraint::MinLength(self.min)]);
        let pattern = self.pattern.map(|pattern| Constraint::Pattern(pattern.text));
        let all = lengths.into_iter().flatten().chain(pattern).chain(not_null);
        all.map(|constraint| constraint.to_string()).collect::<Vec<_>>().join(", ")
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        let parts = |text: &Self| (text.min, text.max, text.pattern.map(|pattern| pattern.text));
        parts(self) == parts(other)
    }
}

impl Eq for Text {}

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
    /// These constraints on each item of a list of texts.
    Items(&'static Text),
    /// These constraints on each key of a map.
    Keys(&'static Text),
    /// These constraints on each value of a map.
    Values(&'static Text),
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
            Self::Items(text) => {
                write!(f, "Member must satisfy constraint: [{}]", text.listed(Some(Self::NotNull)))
            }
            Self::Keys(text) => {
                write!(f, "Map keys must satisfy constraint: [{}]", text.listed(Some(Self::NotNull)))
            }
            // AWS's text does not say that map values must not be null.
            Self::Values(text) => write!(f, "Map value must satisfy constraint: [{}]", text.listed(None)),
        }
    }
}

impl std::error::Error for Constraint {}

/// A value that breaks a constraint, with its member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    member: String,
    value: Option<String>,
    constraint: Constraint,
}

impl Violation {
    /// A violation. `member` is the path of the member in lower camel case, as AWS writes it: `dnsConfig.dnsRecords`.
    /// `value` is `None` for a missing member. At most 1,200 characters of each are kept.
    #[must_use]
    pub fn new(
        member: impl fmt::Display,
        value: Option<&(impl fmt::Display + ?Sized)>,
        constraint: Constraint,
    ) -> Self {
        Self { member: shortened(member), value: value.map(shortened), constraint }
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

/// The violations of a request: the first [`KEPT`](Self::KEPT) of them, and their number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Violations {
    first: Vec<Violation>,
    count: usize,
}

impl Violations {
    /// The most violations that are kept, which bounds the length of a refusal.
    pub const KEPT: usize = 16;

    /// Counts a violation. `violation` is called only if it is kept.
    pub(crate) fn push(&mut self, violation: impl FnOnce() -> Violation) {
        if self.first.len() < Self::KEPT {
            self.first.push(violation());
        }
        self.count += 1;
    }

    /// The number of violations, including those that are not kept.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The first [`KEPT`](Self::KEPT) violations, in the order of the service model.
    #[must_use]
    pub fn first(&self) -> &[Violation] {
        &self.first
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.count == 1 { "" } else { "s" };
        write!(f, "{} validation error{plural} detected: ", self.count)?;
        for (i, violation) in self.first.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{violation}")?;
        }
        match self.count - self.first.len() {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// The most characters of a value that a message quotes. It is more than the longest valid value that is not a token, so
/// most values are quoted in full, as AWS does.
const QUOTED: usize = 1200;

/// The first [`QUOTED`] characters of the displayed value, with `…` if there are more. The cost does not depend on the rest.
pub(crate) fn shortened(value: impl fmt::Display) -> String {
    struct Beginning {
        text: String,
        room: usize,
    }

    impl fmt::Write for Beginning {
        fn write_str(&mut self, part: &str) -> fmt::Result {
            match part.char_indices().nth(self.room) {
                Some((end, _)) => {
                    self.text.push_str(&part[..end]);
                    self.text.push('…');
                    // The error ends the formatting.
                    Err(fmt::Error)
                }
                None => {
                    self.room -= part.chars().count();
                    self.text.push_str(part);
                    Ok(())
                }
            }
        }
    }

    let mut beginning = Beginning { text: String::new(), room: QUOTED };
    let _ = write!(beginning, "{value}");
    beginning.text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_reads_as_aws_writes_it() {
        let missing = Violation::new("id", None::<&str>, Constraint::NotNull);
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
    fn a_long_value_is_shortened() {
        let text = Violation::new("name", Some(&*"é".repeat(5000)), Constraint::NotNull).to_string();
        assert!(text.chars().count() < QUOTED + 100, "{text}");
        let whole = "é".repeat(QUOTED);
        assert_eq!(shortened(&whole), whole);
        assert_eq!(shortened(format!("{whole}x")), format!("{whole}…"));
    }

    #[test]
    fn shortening_an_endless_value_ends() {
        struct Endless;

        impl fmt::Display for Endless {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                loop {
                    f.write_str("ab")?;
                }
            }
        }

        assert_eq!(shortened(Endless), format!("{}…", "ab".repeat(QUOTED / 2)));
    }

    #[test]
    fn only_the_first_violations_are_kept() {
        let mut violations = Violations::default();
        for i in 0..Violations::KEPT + 2 {
            violations.push(|| Violation::new(format_args!("m{i}"), None::<&str>, Constraint::NotNull));
        }
        let text = violations.to_string();
        assert!(text.starts_with("18 validation errors detected: Value null at 'm0' failed"), "{text}");
        assert!(text.ends_with(
            "Value null at 'm15' failed to satisfy constraint: Member must not be null; and 2 more"
        ));
    }

    #[test]
    fn length_counts_characters() {
        let text = Text::of_length(1, 2);
        assert_eq!(text.check("éé"), Ok(()));
        assert_eq!(text.check(""), Err(Constraint::MinLength(1)));
        assert_eq!(text.check("abc"), Err(Constraint::MaxLength(2)));
    }

    #[test]
    fn broken_lengths_are_reported_before_patterns() {
        let found: Vec<_> = NAMESPACE_NAME_PRIVATE.broken(&"x".repeat(254)).collect();
        assert_eq!(found, [Constraint::MaxLength(253), Constraint::Pattern("^(?!arn:)[!-~]{1,253}$")]);
        assert_eq!(NAMESPACE_NAME_PRIVATE.broken("app.local").count(), 0);
    }
}
