//! The paginator of all lists.
//!
//! A token holds the position of the last entry, not a count, so that no entry is lost if others are deleted between two
//! pages. It is opaque; a checksum detects tokens that are not ours.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use super::check::Check;
use crate::{
    api::{
        error::{Error, rule},
        response::Page,
    },
    model::{
        Age, InstanceId, Scope, constraint,
        newtype::{decode_base32, encode_base32},
    },
    state::{InstanceEntry, ServiceEntry},
};

/// The most entries of a list that one page looks at.
pub(super) const LOOKED_AT: usize = 10_000;

/// The position of the last entry of a page: its age and its id.
type Position = (Age, String);

/// A request for a page of a list.
pub(super) struct PageRequest {
    after: Option<Position>,
    max_results: usize,
}

/// A page of a service's instances.
pub(super) fn page_of_instances<'s>(
    list: &str,
    scope: &Scope,
    request: &PageRequest,
    service: &'s ServiceEntry,
) -> Page<&'s InstanceEntry> {
    let after = request.instance();
    // One more entry than the page holds shows that there is another page.
    let entries = service.instances().after(after.as_ref(), request.max_results + 1);
    page(
        list,
        scope,
        request,
        entries.into_iter(),
        |_| true,
        |entry| (entry.age(), entry.instance().id.as_str()),
    )
}

/// A page of chosen instances.
pub(super) fn page_of_chosen<'s>(
    list: &str,
    scope: &Scope,
    request: &PageRequest,
    mut chosen: Vec<&'s InstanceEntry>,
) -> Page<&'s InstanceEntry> {
    if let Some((age, id)) = request.instance() {
        chosen.retain(|entry| (age, &id) < (entry.age(), &entry.instance().id));
    }
    chosen.sort_unstable_by_key(|entry| (entry.age(), &entry.instance().id));
    page(
        list,
        scope,
        request,
        chosen.into_iter(),
        |_| true,
        |entry| (entry.age(), entry.instance().id.as_str()),
    )
}

impl Check {
    /// Checks `MaxResults`, the most entries of a page: 1–100, by default 100.
    pub(super) fn max_results(&mut self, value: Option<i64>) -> usize {
        let number = self.range("maxResults", value, 1, 100).unwrap_or(100);
        usize::try_from(number).unwrap_or(1)
    }

    pub(super) fn next_token<'r>(&mut self, value: Option<&'r str>) -> Option<&'r str> {
        self.text("nextToken", value, constraint::NEXT_TOKEN)
    }
}

impl PageRequest {
    /// Decodes the token, after the members were checked. `list` names the list: a token is valid only for its own list.
    pub(super) fn new(
        list: &str,
        scope: &Scope,
        token: Option<&str>,
        max_results: usize,
    ) -> Result<Self, Error> {
        let read = |token| {
            decode(token, list, scope)
                .ok_or_else(|| rule("nextToken", "The specified NextToken is not valid for this request."))
        };
        Ok(Self { after: token.map(read).transpose()?, max_results })
    }

    /// The position after which the page begins. `parse` makes the id of this list's entries.
    pub(super) fn after<T>(&self, parse: impl Fn(&str) -> Option<T>) -> Option<(Age, T)> {
        self.after.as_ref().and_then(|(age, id)| Some((*age, parse(id)?)))
    }

    fn instance(&self) -> Option<(Age, InstanceId)> {
        self.after(|id| InstanceId::parse(id).ok())
    }
}

/// Takes a page of the wanted entries. `entries` begin after the request's position.
///
/// Looks at no more than [`LOOKED_AT`] entries. If few entries of a long list are wanted, a page may therefore be short or
/// empty and still have a token, as on AWS.
pub(super) fn page<T>(
    list: &str,
    scope: &Scope,
    request: &PageRequest,
    entries: impl Iterator<Item = T>,
    is_wanted: impl Fn(&T) -> bool,
    position: impl Fn(&T) -> (Age, &str),
) -> Page<T> {
    let token = |entry: &T| {
        let (age, id) = position(entry);
        encode(age, id, list, scope)
    };
    let mut items: Vec<T> = Vec::new();
    for (count, entry) in (1..).zip(entries) {
        let wanted = is_wanted(&entry);
        if wanted && items.len() == request.max_results {
            let next_token = items.last().map(token);
            return Page::new(items, next_token);
        }
        let next_token = (count == LOOKED_AT).then(|| token(&entry));
        if wanted {
            items.push(entry);
        }
        if next_token.is_some() {
            return Page::new(items, next_token);
        }
    }
    Page::new(items, None)
}

fn encode(age: Age, id: &str, list: &str, scope: &Scope) -> String {
    let mut bytes = Vec::with_capacity(20 + id.len());
    for part in age.to_parts() {
        bytes.extend_from_slice(&part.to_be_bytes());
    }
    bytes.extend_from_slice(id.as_bytes());
    bytes.extend_from_slice(&checksum(&bytes, list, scope));
    encode_base32(&bytes)
}

fn decode(token: &str, list: &str, scope: &Scope) -> Option<Position> {
    let bytes = decode_base32(token)?;
    let (content, sum) = bytes.split_last_chunk::<4>()?;
    if *sum != checksum(content, list, scope) {
        return None;
    }
    let (created, rest) = content.split_first_chunk::<8>()?;
    let (since, id) = rest.split_first_chunk::<8>()?;
    let age = Age::from_parts([u64::from_be_bytes(*created), u64::from_be_bytes(*since)]);
    Some((age, String::from_utf8(id.to_vec()).ok()?))
}

fn checksum(content: &[u8], list: &str, scope: &Scope) -> [u8; 4] {
    let mut hasher = SipHasher13::new();
    for part in [list, scope.account().as_str(), scope.region().as_str()] {
        hasher.write(part.as_bytes());
        hasher.write_u8(0xff);
    }
    hasher.write(content);
    let [a, b, c, d, ..] = hasher.finish().to_be_bytes();
    [a, b, c, d]
}
