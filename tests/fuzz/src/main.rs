//! Mutates a corpus of what comes from outside, and gives it to whoever reads it first.
//!
//! ```text
//! sd-fuzz TARGET CORPUS INPUTS SEED FAILED
//! ```
//!
//! TARGET is json or cbor: bodies of requests; dns: queries; upstream: what other DNS servers answer.
//!
//! First the corpus itself, then INPUTS mutations of it, half of them in each of two threads; the same seed gives the same
//! inputs. An input that is well-formed joins those that are mutated. The first that shows a fault is written to the file
//! FAILED: it belongs into the corpus.

mod dns;

use std::{
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    thread,
};

use fastrand::Rng;

/// Reads an input; `Ok` is whether it is well-formed.
type Target = fn(&[u8]) -> Result<bool, String>;

/// What shows a fault, and which.
type Fault = (Vec<u8>, String);

/// How many inputs are mutated further.
const POOL: usize = 4096;
/// The longest input.
const LONGEST: usize = 4096;

/// What JSON and CBOR treat in a way of its own: marks, heads and ends of items, edges of integers.
#[rustfmt::skip]
const BODIES: &[&[u8]] = &[
    b"{", b"}", b"[", b"]", b":", b",", b"\"", b"\\", b"\\u0000", b"\\ud800", b"null", b"-", b"1e999", b"0.0",
    b"-42", b"9223372036854775807", b"-9223372036854775808", b"\xff", b"\xf6", b"\xf7", b"\xa0", b"\xbf", b"\x80", b"\x9f",
    b"\x60", b"\x7f", b"\x5f", b"\xc1", b"\xc2", b"\xd9\xd9\xf7", b"\xf9\x7c\x00", b"\xfb", b"\x18", b"\x1b",
    b"\x38\x29", b"\x3b\x7f\xff\xff\xff\xff\xff\xff\xff", b"\x1b\x80\x00\x00\x00\x00\x00\x00\x00",
    b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff", b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff", b"\x7b\x00\x00\x00\x00\x00\x00\x10\x00",
];

/// The same of DNS: names, pointers, labels that are none, types, classes, counts, EDNS with options and without.
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

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [name, corpus, inputs, seed, failed] = &arguments[..] else {
        eprintln!("sd-fuzz TARGET CORPUS INPUTS SEED FAILED");
        return ExitCode::from(2);
    };
    let (target, pieces): (Target, _) = match name.as_str() {
        "json" => (sd_http::fuzzing::json, BODIES),
        "cbor" => (sd_http::fuzzing::cbor, BODIES),
        "dns" => (dns::query, MESSAGES),
        "upstream" => (dns::upstream, MESSAGES),
        _ => return ExitCode::from(2),
    };
    let (Ok(inputs), Ok(seed)) = (inputs.parse(), seed.parse()) else {
        return ExitCode::from(2);
    };
    let fuzz = Fuzz { target, pieces };
    match fuzz.run(corpus, inputs, seed) {
        Ok((pool, well_formed)) => {
            println!(
                "{name}: {pool} of the corpus, {inputs} mutations by seed {seed}, {well_formed} were well-formed"
            );
            ExitCode::SUCCESS
        }
        Err((input, fault)) => {
            println!("{name}: {fault}\n{name}: the input is in {failed}");
            let _ = fs::write(failed, input);
            ExitCode::FAILURE
        }
    }
}

struct Fuzz {
    target: Target,
    pieces: &'static [&'static [u8]],
}

impl Fuzz {
    /// How many inputs the corpus has, and how many mutations are well-formed.
    fn run(&self, corpus: &str, inputs: u64, seed: u64) -> Result<(usize, u64), Fault> {
        let pool = read(corpus).map_err(|error| (Vec::new(), format!("{corpus}: {error}")))?;
        let count = pool.len();
        for input in &pool {
            self.attempt(input).map_err(|fault| (input.clone(), fault))?;
        }
        let shares = [(inputs / 2, 2 * seed), (inputs.div_ceil(2), 2 * seed + 1)];
        thread::scope(|scope| {
            let threads = shares.map(|(inputs, seed)| {
                let pool = pool.clone();
                scope.spawn(move || self.mutate(pool, inputs, seed))
            });
            threads.into_iter().try_fold((count, 0), |(count, sum), thread| {
                let stopped = |_| (Vec::new(), "a thread has stopped".to_owned());
                Ok((count, sum + thread.join().map_err(stopped)??))
            })
        })
    }

    fn mutate(&self, mut pool: Vec<Vec<u8>>, inputs: u64, seed: u64) -> Result<u64, Fault> {
        let count = pool.len();
        let mut rng = Rng::with_seed(seed);
        let mut well_formed = 0;
        for _ in 0..inputs {
            let input = self.mutation(&mut rng, &pool, count);
            match self.attempt(&input) {
                Ok(false) => {}
                Ok(true) => {
                    well_formed += 1;
                    if pool.len() < POOL {
                        pool.push(input);
                    } else {
                        // The corpus stays.
                        let replaced = rng.usize(count..pool.len());
                        pool[replaced] = input;
                    }
                }
                Err(fault) => return Err((input, fault)),
            }
        }
        Ok(well_formed)
    }

    fn attempt(&self, input: &[u8]) -> Result<bool, String> {
        catch_unwind(AssertUnwindSafe(|| (self.target)(input)))
            .unwrap_or_else(|_| Err("it panicked, see above".to_owned()))
    }

    /// The first `corpus` of the pool are the corpus.
    fn mutation(&self, rng: &mut Rng, pool: &[Vec<u8>], corpus: usize) -> Vec<u8> {
        // Every other input comes of the corpus itself, which the pool would hide.
        let among = if rng.bool() { corpus } else { pool.len() };
        let mut input = pool[rng.usize(..among)].clone();
        for _ in 0..rng.usize(1..=4) {
            let at = rng.usize(..=input.len());
            let end = at + rng.usize(..=(input.len() - at).min(32));
            match rng.u8(..10) {
                0 if at < input.len() => input[at] ^= 1 << rng.u8(..8),
                1 if at < input.len() => input[at] = rng.u8(..),
                2 => input.insert(at, rng.u8(..)),
                3 => drop(input.drain(at..end)),
                4 => input.extend_from_within(at..end),
                5 => {
                    let other = &pool[rng.usize(..pool.len())];
                    let from = rng.usize(..=other.len());
                    input.truncate(at);
                    input.extend_from_slice(&other[from..]);
                }
                6 => input.truncate(at),
                _ => {
                    let piece = self.pieces[rng.usize(..self.pieces.len())];
                    let end = end.min(at + piece.len());
                    input.splice(at..end, piece.iter().copied());
                }
            }
        }
        input.truncate(LONGEST);
        input
    }
}

/// The files of a directory in the order of their names.
fn read(corpus: &str) -> std::io::Result<Vec<Vec<u8>>> {
    let mut paths =
        fs::read_dir(corpus)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    paths.sort();
    if paths.is_empty() {
        return Err(std::io::Error::other("there is nothing in it"));
    }
    paths.iter().map(fs::read).collect()
}
