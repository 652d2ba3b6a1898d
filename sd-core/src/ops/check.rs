//! Checking the members of a request, one rule after the other, so that all that is wrong is reported at once.

use std::{collections::BTreeMap, sync::Arc};

use super::tags::limited;
use crate::{
    constraint::{self, Constraint, Violation},
    error::{Error, InvalidInput},
    ids::{CreatorRequestId, UpdaterRequestId},
    model::Tags,
    request::Tag,
};

/// Collects what is wrong with a request's members.
#[derive(Default)]
pub(crate) struct Check {
    violations: Vec<Violation>,
}

impl Check {
    pub(crate) fn violated(
        &mut self,
        member: impl Into<String>,
        value: Option<&str>,
        constraint: Constraint,
    ) {
        self.violations.push(Violation::new(member, value, constraint));
    }

    /// An optional member of a type that parses.
    pub(crate) fn parsed<T>(
        &mut self,
        member: &'static str,
        value: Option<&str>,
        parse: impl FnOnce(&str) -> Result<T, Constraint>,
    ) -> Option<T> {
        let text = value?;
        match parse(text) {
            Ok(parsed) => Some(parsed),
            Err(constraint) => {
                self.violated(member, Some(text), constraint);
                None
            }
        }
    }

    /// A required member of a type that parses.
    pub(crate) fn required<T>(
        &mut self,
        member: &'static str,
        value: Option<&str>,
        parse: impl FnOnce(&str) -> Result<T, Constraint>,
    ) -> Option<T> {
        if value.is_none() {
            self.violated(member, None, Constraint::NotNull);
        }
        self.parsed(member, value, parse)
    }

    /// A required reference to a resource, an id or an ARN. Its form is not checked: what is none names nothing.
    pub(crate) fn reference<'v>(&mut self, member: &'static str, value: Option<&'v str>) -> Option<&'v str> {
        self.required(member, value, |text| constraint::length(text, 0, 255))?;
        value
    }

    /// A required id of an instance where only its length is modelled.
    pub(crate) fn resource_id<'v>(
        &mut self,
        member: &'static str,
        value: Option<&'v str>,
    ) -> Option<&'v str> {
        self.required(member, value, |text| constraint::length(text, 0, 64))?;
        value
    }

    /// An optional number in a range.
    pub(crate) fn range(
        &mut self,
        member: &'static str,
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
        self.violated(member, Some(&number.to_string()), constraint);
        None
    }

    /// A required number in a range.
    pub(crate) fn required_range(
        &mut self,
        member: &'static str,
        value: Option<i64>,
        min: i64,
        max: i64,
    ) -> Option<i64> {
        if value.is_none() {
            self.violated(member, None, Constraint::NotNull);
        }
        self.range(member, value, min, max)
    }

    /// An optional member of an enumeration.
    pub(crate) fn one_of<T: Copy>(
        &mut self,
        member: &'static str,
        value: Option<&str>,
        names: &'static [&'static str],
        values: &[T],
    ) -> Option<T> {
        self.parsed(member, value, |text| {
            let index = names.iter().position(|name| *name == text);
            index.and_then(|index| values.get(index).copied()).ok_or(Constraint::OneOf(names))
        })
    }

    pub(crate) fn description(&mut self, value: Option<&str>) -> Option<Arc<str>> {
        self.description_at("description", value)
    }

    pub(crate) fn description_at(&mut self, member: &'static str, value: Option<&str>) -> Option<Arc<str>> {
        self.parsed(member, value, |text| {
            constraint::length(text, 0, 1024)?;
            Ok(Arc::from(text))
        })
    }

    pub(crate) fn creator_request_id(&mut self, value: Option<&str>) -> Option<CreatorRequestId> {
        self.parsed("creatorRequestId", value, CreatorRequestId::parse)
    }

    pub(crate) fn updater_request_id(&mut self, value: Option<&str>) -> Option<UpdaterRequestId> {
        self.parsed("updaterRequestId", value, UpdaterRequestId::parse)
    }

    /// The account that the caller takes for the owner of what is named. Only its length is modelled: what is no account
    /// owns nothing.
    pub(crate) fn owner_account<'v>(&mut self, value: Option<&'v str>) -> Option<&'v str> {
        self.parsed("ownerAccount", value, |text| constraint::length(text, 12, 12))?;
        value
    }

    /// A required list that is not longer than this; `what` it has is for the message.
    pub(crate) fn list<'v, T>(
        &mut self,
        member: &'static str,
        value: Option<&'v [T]>,
        (min, max): (usize, usize),
        what: &str,
    ) -> Option<&'v [T]> {
        if value.is_none() {
            self.violated(member, None, Constraint::NotNull);
        }
        self.entries(member, value?.len(), (min, max), what);
        value
    }

    /// The number of entries of a list or a map; `what` they are is for the message.
    pub(crate) fn entries(
        &mut self,
        member: &'static str,
        count: usize,
        (min, max): (usize, usize),
        what: &str,
    ) {
        let constraint = if count < min {
            Constraint::MinLength(min)
        } else if count > max {
            Constraint::MaxLength(max)
        } else {
            return;
        };
        self.violated(member, Some(&format!("{count} {what}")), constraint);
    }

    /// Tags, by key: of one key, the last counts. How many a resource may have is another question.
    pub(crate) fn tag_list(&mut self, tags: &[Tag]) -> BTreeMap<String, String> {
        self.entries("tags", tags.len(), (0, 200), "tags");
        let mut unique = BTreeMap::new();
        for tag in tags {
            let key = self.required("tags.member.key", tag.key.as_deref(), |key| {
                constraint::length(key, 1, 128)?;
                let reserved = key.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("aws:"));
                if reserved { Err(Constraint::Format("not begin with aws:")) } else { Ok(key.to_owned()) }
            });
            let value = self.required("tags.member.value", tag.value.as_deref(), |value| {
                constraint::length(value, 0, 256)?;
                Ok(value.to_owned())
            });
            if let (Some(key), Some(value)) = (key, value) {
                unique.insert(key, value);
            }
        }
        unique
    }

    /// The tags that a resource is to get.
    pub(crate) fn required_tags(&mut self, value: Option<&[Tag]>) -> Option<BTreeMap<String, String>> {
        if value.is_none() {
            self.violated("tags", None, Constraint::NotNull);
        }
        Some(self.tag_list(value?))
    }

    /// The tags of a resource that is created. That they are too many is another error than that they are wrong.
    pub(crate) fn tags(&mut self, value: Option<&[Tag]>, resource_name: Option<&str>) -> Result<Tags, Error> {
        let tags = Tags::new(self.tag_list(value.unwrap_or_default()));
        if self.violations.is_empty() { limited(tags, resource_name.unwrap_or_default()) } else { Ok(tags) }
    }

    /// What was checked, if nothing was wrong. `value` is `None` only if something was.
    pub(crate) fn finish<T>(self, value: Option<T>) -> Result<T, Error> {
        if !self.violations.is_empty() {
            return Err(InvalidInput::Constraints(self.violations).into());
        }
        value.ok_or(Error::Internal("a member was refused without a reason"))
    }
}
