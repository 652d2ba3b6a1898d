//! Checks the members of a request and collects all violations, so that one refusal reports them all.
//!
//! Planners check members in the order of the service model. A refusal is bounded (see [`Violations`]), and a list that is
//! too long is refused before its entries are checked.

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
    sync::Arc,
};

use crate::{
    api::{
        error::{Error, InvalidInput},
        request::Tag,
    },
    model::{
        CreatorRequestId, UpdaterRequestId,
        constraint::{self, Constraint, Text, Violation, Violations},
    },
};

/// Collects the violations of a request's members.
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

    /// Reports that a required member is missing.
    pub(crate) fn missing(&mut self, member: impl Display) {
        self.violated(member, None::<&str>, Constraint::NotNull);
    }

    /// Checks that a required member is there.
    pub(crate) fn given<T>(&mut self, member: impl Display, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.missing(member);
        }
        value
    }

    /// Checks an optional text. Returns the value if it breaks no constraint.
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

    /// Checks a required text.
    pub(crate) fn required<'v>(
        &mut self,
        member: impl Display + Copy,
        value: Option<&'v str>,
        text: &'static Text,
    ) -> Option<&'v str> {
        let value = self.given(member, value);
        self.text(member, value, text)
    }

    /// Checks a required reference to a resource: an id or an ARN. The format is not validated; a malformed reference is
    /// simply not found.
    pub(crate) fn reference<'v>(&mut self, member: &'static str, value: Option<&'v str>) -> Option<&'v str> {
        self.required(member, value, constraint::ARN)
    }

    /// Checks a required id of an instance where the service model limits only its length.
    pub(crate) fn resource_id<'v>(
        &mut self,
        member: &'static str,
        value: Option<&'v str>,
    ) -> Option<&'v str> {
        self.required(member, value, constraint::RESOURCE_ID)
    }

    /// Checks an optional number against an inclusive range.
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

    /// Checks a required number against an inclusive range.
    pub(crate) fn required_range(
        &mut self,
        member: impl Display + Copy,
        value: Option<i64>,
        min: i64,
        max: i64,
    ) -> Option<i64> {
        let value = self.given(member, value);
        self.range(member, value, min, max)
    }

    /// Checks an optional value of an enumeration: `names` and `values` correspond by position.
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

    /// Checks a required value of an enumeration, like [`one_of`](Self::one_of).
    pub(crate) fn required_one_of<T: Copy>(
        &mut self,
        member: impl Display + Copy,
        value: Option<&str>,
        names: &'static [&'static str],
        values: &[T],
    ) -> Option<T> {
        let value = self.given(member, value);
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

    /// Checks the account that should own the resource. The service model limits only its length; no resource belongs to a
    /// malformed account.
    pub(crate) fn owner_account<'v>(&mut self, value: Option<&'v str>) -> Option<&'v str> {
        self.text("ownerAccount", value, constraint::AWS_ACCOUNT_ID)
    }

    /// Checks the number of entries of a list or map against an inclusive range. The caller checks the entries only if it
    /// is in the range.
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

    /// Checks an optional list of texts that all have the same constraints.
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

    /// Checks a required list of texts.
    pub(crate) fn required_texts<'v>(
        &mut self,
        member: impl Display + Copy,
        value: Option<&'v [String]>,
        range: (usize, usize),
        text: &'static Text,
    ) -> Option<&'v [String]> {
        let value = self.given(member, value);
        self.texts(member, value, range, text)
    }

    /// Checks an optional map: the number of its entries, its keys and its values.
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

    /// Checks a required map.
    pub(crate) fn required_map<'v>(
        &mut self,
        member: &'static str,
        value: Option<&'v BTreeMap<String, String>>,
        range: (usize, usize),
        texts: (&'static Text, &'static Text),
    ) -> Option<&'v BTreeMap<String, String>> {
        let value = self.given(member, value);
        self.map(member, value, range, texts)
    }

    /// Checks optional tags and returns them by key. The last tag of a key wins.
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

    /// Checks required tags.
    pub(crate) fn required_tags(&mut self, value: Option<&[Tag]>) -> Option<BTreeMap<String, String>> {
        let value = self.given("tags", value);
        self.tags(value)
    }

    /// Returns the checked members, or all violations. `value` is `None` only if there are violations.
    pub(crate) fn finish<T>(self, value: Option<T>) -> Result<T, Error> {
        if self.violations.count() > 0 {
            return Err(InvalidInput::Constraints(self.violations).into());
        }
        value.ok_or(Error::Internal("a member is missing without a violation"))
    }
}

/// An entry of a list of structures, counted from 1 as the service does.
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

/// Declares the paths of members that a creation and an update share. An update has them inside a structure.
macro_rules! shared_members {
    ($(#[$doc:meta])* $name:ident { $($member:ident: $path:literal,)* } in updates inside $structure:literal) => {
        $(#[$doc])*
        pub(super) struct $name {
            $(pub(super) $member: &'static str,)*
        }

        impl $name {
            pub(super) const OF_CREATION: Self = Self { $($member: $path,)* };
            pub(super) const OF_UPDATE: Self = Self { $($member: concat!($structure, ".", $path),)* };
        }
    };
}

pub(super) use shared_members;

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

/// An item of a quoted list.
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
