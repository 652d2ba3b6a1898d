//! The targets: what the fuzzers give inputs to.

use crate::dns;

/// The work of a decoder or of an answer path for an input. Returns whether the input is refused.
pub type Work = fn(&[u8]) -> bool;

/// The longest message over TCP, in bytes.
pub const LONGEST_MESSAGE: usize = 65_535;

/// Bytes with a meaning in JSON and CBOR: punctuation, starts and ends of items, limits of integers.
#[rustfmt::skip]
const BODIES: &[&[u8]] = &[
    b"{", b"}", b"[", b"]", b":", b",", b"\"", b"\\", b"\\u0000", b"\\ud800", b"null", b"-", b"1e999", b"0.0",
    b"-42", b"9223372036854775807", b"-9223372036854775808", b"\xff", b"\xf6", b"\xf7", b"\xa0", b"\xbf", b"\x80", b"\x9f",
    b"\x60", b"\x7f", b"\x5f", b"\xc1", b"\xc2", b"\xd9\xd9\xf7", b"\xf9\x7c\x00", b"\xfb", b"\x18", b"\x1b",
    b"\x38\x29", b"\x3b\x7f\xff\xff\xff\xff\xff\xff\xff", b"\x1b\x80\x00\x00\x00\x00\x00\x00\x00",
    b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff", b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff", b"\x7b\x00\x00\x00\x00\x00\x00\x10\x00",
];

/// Bytes with a meaning in DNS: names, pointers, invalid labels, types, classes, counts, EDNS with and without options.
#[rustfmt::skip]
const MESSAGES: &[&[u8]] = &[
    b"\x00", b"\xc0\x0c", b"\xc0\x00", b"\xff\xff", b"\x40", b"\x80", b"\x3f", b"\x03app\x05local\x00", b"\x03WEB\x03App\x05locaL\x00",
    b"\x05_http\x04_tcp", b"\x03i-1", b"\x03far", b"\x03out", b"\x05round", b"\x02lb", b"\x01b", b"\x01c\x01b", b"\x07example\x03com\x00",
    b"\x00\x01\x00\x01", b"\x00\x1c\x00\x01", b"\x00\x21\x00\x01", b"\x00\x05\x00\x01", b"\x00\x06\x00\x01", b"\x00\x02\x00\x01",
    b"\x00\xff\x00\x01", b"\x00\xfc\x00\x01", b"\x00\xfb", b"\x00\x29", b"\x00\x00", b"\x00\x10\x00\x03", b"\x00\xff\x00\xff", b"\x00\xfe",
    b"\x00\x01\x00\x00\x00\x00\x00\x01", b"\x00\x01\x00\x01\x00\x00\x00\x00", b"\x00\x02\x00\x00\x00\x00\x00\x00", b"\x00\x00\x00\x00\x00\x00\x00\x02",
    b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00", b"\x00\x00\x29\x02\x00\x00\x00\x80\x00\x00\x00", b"\x00\x00\x29\x00\x00\x00\x01\x00\x00\x00\x00",
    b"\x00\x00\x29\xff\xff\x00\x00\x80\x00\x00\x0c\x00\x0a\x00\x08\x01\x02\x03\x04\x05\x06\x07\x08", b"\x00\x08\x00\x07\x00\x01\x18\x00\xc0\x00\x02",
    b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x0a\x00\x00\x01", b"\x01\x20", b"\x81\x80", b"\x83\x80", b"\x28\x00", b"\x7f\xff\xff\xff",
];

/// Bytes with a meaning in the head of an HTTP response: line ends, parts of status lines and fields.
#[rustfmt::skip]
const HEADS: &[&[u8]] = &[
    b"HTTP/1.1 ", b"HTTP/1.0 ", b"HTTP/1.", b"HTTP/2 ", b"200 OK", b"503", b"99", b"1000", b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\n\n",
    b"\n\r", b"\r\r\n", b": ", b":", b" ", b"\t", b"\x00", b"\x7f", b"\x80", b"\xff", b"Server: x\r\n", b"Location: http://127.0.0.1/\r\n",
    b"Transfer-Encoding: chunked\r\n", b"A: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\n", b" folded\r\n",
];

/// The code under test for one kind of input.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Decodes an input in every way and compares the results. `Ok` says whether the input is well-formed, `Err` is a fault.
    pub check: fn(&[u8]) -> Result<bool, String>,
    /// What a server does with an input. Its cost is bounded.
    pub work: Work,
    /// Byte strings that mutations insert.
    pub pieces: &'static [&'static [u8]],
    /// At least this many of 1000 mutations must be well-formed. With fewer, the code behind the decoder is hardly tested.
    pub floor: u64,
    /// The slowest inputs have the highest cost per byte. Shorter inputs than this count as this long.
    pub free: usize,
}

impl Target {
    /// The target with this name: json, cbor, dns, upstream or health.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let (json, cbor) = (sd_http::fuzzing::json, sd_http::fuzzing::cbor);
        Some(match name {
            "json" => Self { check: json, work: read_json, pieces: BODIES, floor: 50, free: 128 },
            "cbor" => Self { check: cbor, work: read_cbor, pieces: BODIES, floor: 50, free: 128 },
            "dns" => Self {
                check: dns::query,
                work: dns::answer,
                pieces: MESSAGES,
                floor: 150,
                free: LONGEST_MESSAGE,
            },
            "upstream" => Self {
                check: dns::upstream,
                work: dns::read_response,
                pieces: MESSAGES,
                floor: 150,
                free: 128,
            },
            "health" => {
                Self { check: sd_http::fuzzing::head, work: read_head, pieces: HEADS, floor: 100, free: 128 }
            }
            _ => return None,
        })
    }
}

fn read_json(body: &[u8]) -> bool {
    sd_http::fuzzing::decoded_json(body) == 0
}

fn read_cbor(body: &[u8]) -> bool {
    sd_http::fuzzing::decoded_cbor(body) == 0
}

fn read_head(octets: &[u8]) -> bool {
    sd_http::fuzzing::read_head(octets).is_err()
}
