//! Reading records: what is wrong with one, and where.

use std::{collections::BTreeMap, fmt, sync::Arc};

use super::VERSION;
use crate::model::{
    Tags,
    constraint::{self, Constraint, Text},
};

/// A record cannot be read: it was written by something else, by a later version, or it was damaged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot restore {entity}: {member}: {reason}")]
#[non_exhaustive]
pub struct RestoreError {
    /// The record, such as `namespace ns-ylexjili4cdxy3xm` or `instance a of service srv-ylexjili4cdxy3xm`.
    pub entity: String,
    /// The member that cannot be read, in the spelling of the record's fields.
    pub member: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

/// Reads the members of one record.
#[derive(Clone, Copy)]
pub(super) struct Reading<'r> {
    kind: &'static str,
    id: &'r str,
    /// The service of an instance.
    service: Option<&'r str>,
}

impl<'r> Reading<'r> {
    /// Begins to read a record of this kind and id.
    pub(super) fn of(kind: &'static str, id: &'r str, version: u16) -> Result<Self, RestoreError> {
        Self { kind, id, service: None }.in_version(version)
    }

    /// Begins to read the record of an instance.
    pub(super) fn of_instance(service: &'r str, id: &'r str, version: u16) -> Result<Self, RestoreError> {
        Self { kind: "instance", id, service: Some(service) }.in_version(version)
    }

    fn in_version(self, version: u16) -> Result<Self, RestoreError> {
        match version {
            0 => Err(self.wrong("version", "0 is not a version")),
            1..=VERSION => Ok(self),
            _ => {
                let reason = format_args!(
                    "{version} is newer than {VERSION}, the newest that this release of sd-core reads"
                );
                Err(self.wrong("version", reason))
            }
        }
    }

    /// The error that this member is wrong.
    pub(super) fn wrong(self, member: &'static str, reason: impl fmt::Display) -> RestoreError {
        let Self { kind, id, service } = self;
        let mut entity = format!("{kind} {}", constraint::shortened(id));
        if let Some(service) = service {
            entity.push_str(" of service ");
            entity.push_str(&constraint::shortened(service));
        }
        RestoreError { entity, member, reason: reason.to_string() }
    }

    /// A member that a function reads.
    pub(super) fn read<T, E: fmt::Display>(
        self,
        member: &'static str,
        text: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, RestoreError> {
        parse(text)
            .map_err(|error| self.wrong(member, format_args!("{:?}: {error}", constraint::shortened(text))))
    }

    /// A member that may be absent.
    pub(super) fn read_optional<T, E: fmt::Display>(
        self,
        member: &'static str,
        text: Option<&str>,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, RestoreError> {
        text.map(|text| self.read(member, text, parse)).transpose()
    }

    /// A member that is one of these values, in the API's spelling.
    pub(super) fn one_of<T: Copy>(
        self,
        member: &'static str,
        text: &str,
        all: &[T],
        spelling: fn(T) -> &'static str,
    ) -> Result<T, RestoreError> {
        let found = all.iter().copied().find(|value| spelling(*value) == text);
        found.ok_or_else(|| {
            self.wrong(member, format_args!("unknown value {:?}", constraint::shortened(text)))
        })
    }

    pub(super) fn description(self, text: Option<&str>) -> Result<Option<Arc<str>>, RestoreError> {
        self.read_optional("description", text, |text| {
            constraint::RESOURCE_DESCRIPTION.check(text).map(|()| Arc::from(text))
        })
    }

    pub(super) fn tags(self, tags: BTreeMap<String, String>) -> Result<Tags, RestoreError> {
        self.pairs("tags", &tags, (constraint::TAG_KEY, constraint::TAG_VALUE))?;
        Ok(Tags::new(tags))
    }

    /// Checks every key and value.
    pub(super) fn pairs(
        self,
        member: &'static str,
        pairs: &BTreeMap<String, String>,
        (keys, values): (&Text, &Text),
    ) -> Result<(), RestoreError> {
        let check = |text: &Text, value: &str| -> Result<(), Constraint> { text.check(value) };
        for (key, value) in pairs {
            self.read(member, key, |key| check(keys, key))?;
            self.read(member, value, |value| check(values, value))?;
        }
        Ok(())
    }
}
