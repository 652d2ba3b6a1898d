//! Reads the head of a response.

use super::failure::Failure;

/// The most octets of a head.
const LIMIT: usize = 64 * 1024;
/// The most header fields.
const FIELDS: usize = 128;
const VERSION: &[u8] = b"HTTP/1.";

/// The octets of a response, up to the end of its head. Each octet is looked at once, and parsed at most twice.
#[derive(Debug, Default)]
pub(crate) struct Head {
    octets: Vec<u8>,
    /// How many octets have been searched for the end.
    searched: usize,
    /// Whether the status line is complete. It was parsed by itself then.
    has_status_line: bool,
}

impl Head {
    /// Whether anything was received.
    pub(crate) fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// Takes what was received. Returns the status once the head is complete.
    ///
    /// # Errors
    /// [`Failure::Malformed`] as soon as this cannot become the head of an HTTP/1 response.
    pub(crate) fn receive(&mut self, more: &[u8]) -> Result<Option<u16>, Failure> {
        let before = self.octets.len();
        self.octets.extend_from_slice(&more[..more.len().min(LIMIT + 1 - before)]);
        let start = self.octets.len().min(VERSION.len());
        if self.octets[..start] != VERSION[..start] {
            return Err(Failure::Malformed);
        }
        let from = self.searched.saturating_sub(2);
        let end = self.octets[from..].windows(2).zip(from..).find_map(|(pair, at)| {
            let after_line = &self.octets[at + 1..];
            match pair {
                b"\n\n" => Some(at + 2),
                b"\n\r" if after_line.starts_with(b"\r\n") => Some(at + 3),
                _ => None,
            }
        });
        self.searched = self.octets.len();
        if let Some(end) = end {
            return parse(&self.octets[..end]).and_then(|status| status.ok_or(Failure::Malformed)).map(Some);
        }
        if self.octets.len() > LIMIT {
            return Err(Failure::Malformed);
        }
        let line_end = self.octets[before..].iter().position(|octet| *octet == b'\n');
        if let Some(line_end) = line_end.filter(|_| !self.has_status_line) {
            self.has_status_line = true;
            parse(&self.octets[..=before + line_end])?;
        }
        Ok(None)
    }
}

/// The status, or `None` if the head is not complete.
fn parse(octets: &[u8]) -> Result<Option<u16>, Failure> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    match response.parse(octets) {
        Ok(httparse::Status::Complete(_)) => Ok(response.code),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(_) => Err(Failure::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parts: &[&[u8]]) -> Result<Option<u16>, Failure> {
        let mut head = Head::default();
        for part in parts {
            match head.receive(part) {
                Ok(None) => {}
                done => return done,
            }
        }
        Ok(None)
    }

    #[test]
    fn a_head_ends_with_an_empty_line() {
        assert_eq!(read(&[b"HTTP/1.1 204 No Content\r\n\r\n"]), Ok(Some(204)));
        assert_eq!(read(&[b"HTTP/1.0 200\n\n"]), Ok(Some(200)));
        assert_eq!(read(&[b"HTTP/1.1 999 ?\r\nA: b\r\n\r\nbody"]), Ok(Some(999)));
        assert_eq!(read(&[b"HTTP/1.1 200 OK\r\nA: b\r\n"]), Ok(None));
        assert_eq!(read(&[b"HTTP/1.1 20"]), Ok(None));
    }

    #[test]
    fn it_does_not_matter_how_a_head_is_cut() {
        let whole: &[u8] = b"HTTP/1.1 503 Unavailable\r\nA: b\r\n\r\n";
        for cut in 0..whole.len() {
            assert_eq!(read(&[&whole[..cut], &whole[cut..]]), Ok(Some(503)), "cut at {cut}");
        }
        let octets: Vec<_> = whole.chunks(1).collect();
        assert_eq!(read(&octets), Ok(Some(503)));
    }

    #[test]
    fn what_cannot_become_a_head_is_malformed_at_once() {
        for broken in [&b"SSH-2.0-OpenSSH"[..], b"\x15\x03\x01", b"HTTP/2 200\r\n", b"HTTP/1.1 2x0 OK\r\n"] {
            assert_eq!(read(&[broken]), Err(Failure::Malformed), "{broken:?}");
        }
        assert_eq!(read(&[b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n"]), Err(Failure::Malformed));
        assert_eq!(read(&[b"HTTP/1.1 200 OK\r\n", &[b'a'; LIMIT]]), Err(Failure::Malformed), "endless");
        assert_eq!(
            read(&[b"HTTP/1.1 200 OK\r\n", &b"a: b\r\n".repeat(FIELDS + 1), b"\r\n"]),
            Err(Failure::Malformed)
        );
    }
}
