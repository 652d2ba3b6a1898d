//! The one paginator of all lists.
//!
//! A token holds the position of the last entry, not a count, so that deletions between two pages lose nothing. It is
//! opaque, and a checksum tells ours from others.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use super::check::Check;
use crate::{
    constraint,
    error::{Error, rule},
    ids::{InstanceId, Scope, decode_base32, encode_base32},
    response::Page,
    state::{Age, InstanceEntry, ServiceEntry},
};

/// Where the last page ended: the age of its last entry, and its id.
pub(super) type Position = (Age, String);

/// What a page is asked for: the members are right, whose the token is remains to be seen.
pub(super) struct Asked<'r> {
    token: Option<&'r str>,
    max_results: usize,
}

/// What a page is asked for of a list.
pub(super) struct PageRequest {
    pub(super) after: Option<Position>,
    pub(super) max_results: usize,
}

/// A page of a service's instances, of those that are wanted.
pub(super) fn page_of_instances<'s>(
    list: &str,
    scope: &Scope,
    request: &PageRequest,
    service: &'s ServiceEntry,
    wanted: impl Fn(&InstanceEntry) -> bool,
) -> Page<&'s InstanceEntry> {
    let after = request.after.as_ref().and_then(|(age, id)| Some((*age, InstanceId::parse(id).ok()?)));
    // One more than the page holds tells that there is another page.
    let entries = service.instances().after(after.as_ref(), request.max_results + 1, wanted);
    page(list, scope, request, entries.into_iter(), |entry| (entry.age(), entry.instance().id.as_str()))
}

/// Checks the members that all lists have.
pub(super) fn asked<'r>(
    check: &mut Check,
    next_token: Option<&'r str>,
    max_results: Option<i64>,
) -> Asked<'r> {
    let max_results = check.range("maxResults", max_results, 1, 100).unwrap_or(100);
    check.parsed("nextToken", next_token, |token| constraint::length(token, 0, 4096));
    Asked { token: next_token, max_results: usize::try_from(max_results).unwrap_or(1) }
}

impl Asked<'_> {
    /// Reads the token. `list` tells the lists apart: a token of one is none of another.
    pub(super) fn of(self, list: &str, scope: &Scope) -> Result<PageRequest, Error> {
        let read = |token| {
            decode(token, list, scope)
                .ok_or_else(|| rule("nextToken", "The specified NextToken is not valid for this request."))
        };
        Ok(PageRequest { after: self.token.map(read).transpose()?, max_results: self.max_results })
    }
}

/// Takes a page from the entries that follow the position.
pub(super) fn page<T>(
    list: &str,
    scope: &Scope,
    request: &PageRequest,
    mut entries: impl Iterator<Item = T>,
    position: impl Fn(&T) -> (Age, &str),
) -> Page<T> {
    let items: Vec<T> = entries.by_ref().take(request.max_results).collect();
    let more = entries.next().is_some();
    let next_token = items.last().filter(|_| more).map(|last| {
        let (age, id) = position(last);
        encode(age, id, list, scope)
    });
    Page::new(items, next_token)
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
