//! Checking the members of a request, one constraint after the other, so that all violations are reported at once.
//!
//! Planners check members in the order of the service model. What is kept of a refusal is bounded, see [`Violations`],
//! and a list that is too long is refused before its entries are looked at.

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
    sync::Arc,
};

use crate::{
    api::{
        error::{Error, InvalidInput, rule},
        request::Tag,
    },
    model::{
        CreatorRequestId, Tags, UpdaterRequestId,
        constraint::{self, Constraint, Text, Violation, Violations},
    },
};

/// Collects what is wrong with a request's members.
#[derive(Default)]
pub(crate) struct Check {
    violations: Violations,
}

impl Check {
    pub(crate) fn violated<V: Display + ?Sized>(
        &mut self,
        member: impl Display,
        value: Option<&V>,
        constraint: Constraint,
    ) {
        self.violations.push(|| Violation::new(member, value, constraint));
    }

    /// A required member is missing.
    pub(crate) fn missing(&mut self, member: impl Display) {
        self.violated(member, None::<&str>, Constraint::NotNull);
    }

    /// An optional text. The value, if it breaks no constraint.
    pub(crate) fn text<'v>(
        &mut self,
        member: impl Display + Copy,
        value: Option<&'v str>,
        text: &'static Text,
    ) -> Option<&'v str> {
        let value = value?;
        let mut right = Some(value);
        for broken in text.broken(value) {
            self.violated(member, Some(value), broken);
            right = None;
        }
        right
    }

    /// A required text.
    pub(crate) fn required<'v>(
        &mut self,
        member: impl Display + Copy,
        value: Option<&'v str>,
        text: &'static Text,
    ) -> Option<&'v str> {
        if value.is_none() {
            self.missing(member);
        }
        self.text(member, value, text)
    }

    /// A required reference to a resource: an id or an ARN. Its form is not checked; a malformed reference is simply not
    /// found.
    pub(crate) fn reference<'v>(&mut self, member: &'static str, value: Option<&'v str>) -> Option<&'v str> {
        self.required(member, value, constraint::ARN)
    }

    /// A required id of an instance where only its length is modelled.
    pub(crate) fn resource_id<'v>(
        &mut self,
        member: &'static str,
        value: Option<&'v str>,
    ) -> Option<&'v str> {
        self.required(member, value, constraint::RESOURCE_ID)
    }

    /// An optional number in a range.
    pub(crate) fn range(
        &mut self,
        member: impl Display,
        value: Option<i64>,
        min: i64,
        max: i64,
    ) -> Option<i64> {
        let number = value?;
        let constraint = if number < min {
            Constraint::Min(min)
        } else if number > max {
            Constraint::Max(max)
        } else {
            return Some(number);
        };
        self.violated(member, Some(&number), constraint);
        None
    }

    /// A required number in a range.
    pub(crate) fn required_range(
        &mut self,
        member: impl Display + Copy,
        value: Option<i64>,
        min: i64,
        max: i64,
    ) -> Option<i64> {
        if value.is_none() {
            self.missing(member);
        }
        self.range(member, value, min, max)
    }

    /// An optional member of an enumeration.
    pub(crate) fn one_of<T: Copy>(
        &mut self,
        member: impl Display,
        value: Option<&str>,
        names: &'static [&'static str],
        values: &[T],
    ) -> Option<T> {
        let text = value?;
        let index = names.iter().position(|name| *name == text);
        let found = index.and_then(|index| values.get(index).copied());
        if found.is_none() {
            self.violated(member, Some(text), Constraint::OneOf(names));
        }
        found
    }

    /// A required member of an enumeration.
    pub(crate) fn required_one_of<T: Copy>(
        &mut self,
        member: impl Display + Copy,
        value: Option<&str>,
        names: &'static [&'static str],
        values: &[T],
    ) -> Option<T> {
        if value.is_none() {
            self.missing(member);
        }
        self.one_of(member, value, names, values)
    }

    pub(crate) fn description(&mut self, member: &'static str, value: Option<&str>) -> Option<Arc<str>> {
        self.text(member, value, constraint::RESOURCE_DESCRIPTION).map(Arc::from)
    }

    pub(crate) fn creator_request_id(&mut self, value: Option<&str>) -> Option<CreatorRequestId> {
        self.text("creatorRequestId", value, constraint::RESOURCE_ID).map(CreatorRequestId::of_checked)
    }

    pub(crate) fn updater_request_id(&mut self, value: Option<&str>) -> Option<UpdaterRequestId> {
        self.text("updaterRequestId", value, constraint::RESOURCE_ID).map(UpdaterRequestId::of_checked)
    }

    /// The account that the caller takes for the owner of the resource. Only its length is modelled; no resource belongs to
    /// a malformed account.
    pub(crate) fn owner_account<'v>(&mut self, value: Option<&'v str>) -> Option<&'v str> {
        self.text("ownerAccount", value, constraint::AWS_ACCOUNT_ID)
    }

    /// Whether a list or map has a number of entries that the model allows. Only then are its entries worth a look.
    pub(crate) fn entries(
        &mut self,
        member: impl Display,
        value: &impl Display,
        count: usize,
        (min, max): (usize, usize),
    ) -> bool {
        let constraint = if count < min {
            Constraint::MinLength(min)
        } else if count > max {
            Constraint::MaxLength(max)
        } else {
            return true;
        };
        self.violated(member, Some(value), constraint);
        false
    }

    /// A list of texts, each of which has the same constraints.
    pub(crate) fn texts<'v>(
        &mut self,
        member: impl Display + Copy,
        value: Option<&'v [String]>,
        range: (usize, usize),
        text: &'static Text,
    ) -> Option<&'v [String]> {
        let value = value?;
        if !self.entries(member, &List(value), value.len(), range) {
            return None;
        }
        if value.iter().any(|item| text.check(item).is_err()) {
            self.violated(member, Some(&List(value)), Constraint::Items(text));
            return None;
        }
        Some(value)
    }

    /// A required list of texts.
    pub(crate) fn required_texts<'v>(
        &mut self,
        member: impl Display + Copy,
        value: Option<&'v [String]>,
        range: (usize, usize),
        text: &'static Text,
    ) -> Option<&'v [String]> {
        if value.is_none() {
            self.missing(member);
        }
        self.texts(member, value, range, text)
    }

    /// A map of texts, whose keys and whose values have constraints.
    pub(crate) fn map<'v>(
        &mut self,
        member: &'static str,
        value: Option<&'v BTreeMap<String, String>>,
        range: (usize, usize),
        (key_text, value_text): (&'static Text, &'static Text),
    ) -> Option<&'v BTreeMap<String, String>> {
        let value = value?;
        if !self.entries(member, &Map(value), value.len(), range) {
            return None;
        }
        let mut right = Some(value);
        if value.keys().any(|key| key_text.check(key).is_err()) {
            self.violated(member, Some(&Map(value)), Constraint::Keys(key_text));
            right = None;
        }
        if value.values().any(|text| value_text.check(text).is_err()) {
            self.violated(member, Some(&Map(value)), Constraint::Values(value_text));
            right = None;
        }
        right
    }

    /// A required map of texts.
    pub(crate) fn required_map<'v>(
        &mut self,
        member: &'static str,
        value: Option<&'v BTreeMap<String, String>>,
        range: (usize, usize),
        texts: (&'static Text, &'static Text),
    ) -> Option<&'v BTreeMap<String, String>> {
        if value.is_none() {
            self.missing(member);
        }
        self.map(member, value, range, texts)
    }

    /// Optional tags, by key: of one key, the last counts.
    pub(crate) fn tags(&mut self, tags: Option<&[Tag]>) -> Option<BTreeMap<String, String>> {
        const MEMBER: &str = "tags";
        let tags = tags?;
        if !self.entries(MEMBER, &List(tags), tags.len(), (0, 200)) {
            return None;
        }
        let mut unique = BTreeMap::new();
        for (number, tag) in (1..).zip(tags) {
            let at = Entry { list: MEMBER, number };
            let key = self.required(at.member("key"), tag.key.as_deref(), constraint::TAG_KEY);
            let value = self.required(at.member("value"), tag.value.as_deref(), constraint::TAG_VALUE);
            if let (Some(key), Some(value)) = (key, value) {
                unique.insert(key.to_owned(), value.to_owned());
            }
        }
        Some(unique)
    }

    /// Required tags.
    pub(crate) fn required_tags(&mut self, value: Option<&[Tag]>) -> Option<BTreeMap<String, String>> {
        if value.is_none() {
            self.missing("tags");
        }
        self.tags(value)
    }

    /// The checked members, if nothing was wrong. `value` is `None` only if something was.
    pub(crate) fn finish<T>(self, value: Option<T>) -> Result<T, Error> {
        if self.violations.count() > 0 {
            return Err(InvalidInput::Constraints(self.violations).into());
        }
        value.ok_or(Error::Internal("a member was refused without a reason"))
    }
}

/// The tags of a resource that is created, once their form is right.
pub(crate) fn new_tags(given: Option<BTreeMap<String, String>>, resource_name: &str) -> Result<Tags, Error> {
    let given = given.unwrap_or_default();
    check_tag_keys(&given)?;
    limited(Tags::new(given), resource_name)
}

/// Keys that begin with `aws:` are reserved (API Reference, Tag).
pub(crate) fn check_tag_keys(tags: &BTreeMap<String, String>) -> Result<(), Error> {
    let is_reserved = |key: &str| key.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("aws:"));
    match tags.keys().find(|key| is_reserved(key)) {
        None => Ok(()),
        Some(key) => Err(rule("tags", format!("Tag keys that begin with aws: are reserved: {key}"))),
    }
}

/// An entry of a list of structures. The service counts from 1.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) list: &'static str,
    pub(super) number: usize,
}

impl Entry {
    /// The path of a member of the entry: `tags.1.member.key`.
    pub(super) fn member(self, name: &'static str) -> impl Display + Copy {
        #[derive(Clone, Copy)]
        struct Member(Entry, &'static str);

        impl Display for Member {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let Self(Entry { list, number }, name) = self;
                write!(f, "{list}.{number}.member.{name}")
            }
        }

        Member(self, name)
    }
}

/// A list as the service quotes it: `[a, b]`.
pub(super) struct List<'v, T>(pub(super) &'v [T]);

impl<T: Quoted> Display for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, item) in self.0.iter().enumerate() {
            f.write_str(if i == 0 { "" } else { ", " })?;
            item.quote(f)?;
        }
        f.write_str("]")
    }
}

/// A map as the service quotes it: `{a=b, c=d}`.
struct Map<'v>(&'v BTreeMap<String, String>);

impl Display for Map<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, (key, value)) in self.0.iter().enumerate() {
            f.write_str(if i == 0 { "" } else { ", " })?;
            write!(f, "{key}={value}")?;
        }
        f.write_str("}")
    }
}

/// What a list that is quoted holds.
pub(super) trait Quoted {
    fn quote(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

impl Quoted for String {
    fn quote(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl Quoted for Tag {
    fn quote(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [key, value] = [&self.key, &self.value].map(|text| text.as_deref().unwrap_or("null"));
        write!(f, "Tag(key={key}, value={value})")
    }
}
/// The most tags of a resource (API Reference, TooManyTagsException).
const PER_RESOURCE: usize = 50;

/// The tags, if a resource may have as many.
pub(super) fn limited(tags: Tags, resource_name: &str) -> Result<Tags, Error> {
    if tags.len() > PER_RESOURCE {
        return Err(Error::TooManyTags { resource_name: resource_name.to_owned(), count: tags.len() });
    }
    Ok(tags)
}
