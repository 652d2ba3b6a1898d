//! Mutates a corpus of what comes from outside, and gives it to what reads it first.
//!
//! ```text
//! sd-fuzz mutate TARGET CORPUS INPUTS SEED OUT
//! sd-fuzz replay TARGET FILE...
//! ```
//!
//! TARGET is json or cbor: bodies of requests; dns: queries; upstream: answers of other DNS servers.
//!
//! `mutate` reads the corpus itself, then INPUTS mutations of it, half of them in each of two threads; the
//! same seed gives the same inputs. An input that is well-formed joins those that are mutated. All of the
//! corpus is well-formed but the files whose names begin with `bad-`, and so is a share of the mutations that
//! the target states. The first input that shows a fault is written to OUT/failed: it belongs into the
//! corpus. The slowest inputs are written to OUT too, by kind.
//!
//! `replay` does the work for each file once, for slowest.py, which counts instructions.

mod contents;
mod dns;
mod slowest;

use std::{
    env, fs,
    hint::black_box,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    process::ExitCode,
    thread,
};

use fastrand::Rng;

use crate::slowest::{Slowest, Work};

/// What shows a fault, and which.
type Fault = (Vec<u8>, String);

/// How many inputs are mutated further.
const POOL: usize = 4096;
/// The longest input, but for a few.
const LONGEST: usize = 4096;
/// The longest message over TCP. A share of the mutations may have that length.
const LONGEST_OF_ALL: usize = 65_535;
const RARE: u64 = 8192;
/// Longer inputs of the corpus are rarely mutated, since they cost so much more than others.
const LONG: usize = 1024;

/// Octets with a meaning in JSON and CBOR: marks, heads and ends of items, edges of integers.
#[rustfmt::skip]
const BODIES: &[&[u8]] = &[
    b"{", b"}", b"[", b"]", b":", b",", b"\"", b"\\", b"\\u0000", b"\\ud800", b"null", b"-", b"1e999", b"0.0",
    b"-42", b"9223372036854775807", b"-9223372036854775808", b"\xff", b"\xf6", b"\xf7", b"\xa0", b"\xbf", b"\x80", b"\x9f",
    b"\x60", b"\x7f", b"\x5f", b"\xc1", b"\xc2", b"\xd9\xd9\xf7", b"\xf9\x7c\x00", b"\xfb", b"\x18", b"\x1b",
    b"\x38\x29", b"\x3b\x7f\xff\xff\xff\xff\xff\xff\xff", b"\x1b\x80\x00\x00\x00\x00\x00\x00\x00",
    b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff", b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff", b"\x7b\x00\x00\x00\x00\x00\x00\x10\x00",
];

/// The same of DNS: names, pointers, invalid labels, types, classes, counts, EDNS with options and without.
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

/// What reads the inputs.
#[derive(Clone, Copy)]
struct Target {
    /// Reads an input in all ways and compares them; `Ok` is whether it is well-formed.
    check: fn(&[u8]) -> Result<bool, String>,
    /// What a server does with it.
    work: Work,
    pieces: &'static [&'static [u8]],
    /// The fewest of a thousand mutations that are well-formed. With fewer, what follows reading is hardly
    /// tested.
    floor: u64,
    /// The slowest inputs are those that cost most for each octet. Inputs of fewer octets than this count as
    /// this long.
    free: usize,
}

impl Target {
    fn named(name: &str) -> Option<Self> {
        let (json, cbor) = (sd_http::fuzzing::json, sd_http::fuzzing::cbor);
        Some(match name {
            "json" => Self { check: json, work: read_json, pieces: BODIES, floor: 50, free: 128 },
            "cbor" => Self { check: cbor, work: read_cbor, pieces: BODIES, floor: 50, free: 128 },
            "dns" => Self {
                check: dns::query,
                work: dns::answer,
                pieces: MESSAGES,
                floor: 150,
                free: LONGEST_OF_ALL,
            },
            "upstream" => Self {
                check: dns::upstream,
                work: dns::read_response,
                pieces: MESSAGES,
                floor: 150,
                free: 128,
            },
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

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["mutate", name, corpus, inputs, seed, out] => {
            let (Some(target), Ok(inputs), Ok(seed)) = (Target::named(name), inputs.parse(), seed.parse())
            else {
                return ExitCode::from(2);
            };
            match mutate(name, target, corpus, inputs, seed, Path::new(out)) {
                Ok(()) => ExitCode::SUCCESS,
                Err(fault) => {
                    println!("{name}: {fault}");
                    ExitCode::FAILURE
                }
            }
        }
        ["replay", name, ref files @ ..] => {
            let Some(target) = Target::named(name) else { return ExitCode::from(2) };
            match replay(target, files) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("{name}: {error}");
                    ExitCode::FAILURE
                }
            }
        }
        _ => {
            eprintln!("sd-fuzz mutate TARGET CORPUS INPUTS SEED OUT\nsd-fuzz replay TARGET FILE...");
            ExitCode::from(2)
        }
    }
}

fn mutate(
    name: &str,
    target: Target,
    corpus: &str,
    inputs: u64,
    seed: u64,
    out: &Path,
) -> Result<(), String> {
    let unusable = |place: &str| {
        let place = place.to_owned();
        move |error: io::Error| format!("{place}: {error}")
    };
    let corpus = read(corpus).map_err(unusable(corpus))?;
    let write = |file: &str, input: &[u8]| {
        let file = out.join(file);
        fs::write(&file, input).map_err(unusable(&file.display().to_string()))
    };
    // Nothing is left of a run before.
    if out.exists() {
        fs::remove_dir_all(out).map_err(unusable(&out.display().to_string()))?;
    }
    fs::create_dir_all(out).map_err(unusable(&out.display().to_string()))?;
    let count = corpus.len();
    let (well_formed, slowest) = match (Fuzz { target }).run(corpus, inputs, seed) {
        Ok(ran) => ran,
        Err((input, fault)) => {
            write("failed", &input)?;
            return Err(format!("{fault}\n{name}: the input is in {}", out.join("failed").display()));
        }
    };
    for (file, input) in slowest.files() {
        write(&file, &input)?;
    }
    println!(
        "{name}: {count} of the corpus, {inputs} mutations by seed {seed}, {well_formed} were well-formed"
    );
    match well_formed * 1000 >= inputs * target.floor {
        true => Ok(()),
        false => Err(format!("at least {} of 1000 have to be well-formed", target.floor)),
    }
}

/// Runs once before, so that one-time allocations do not count.
fn replay(target: Target, files: &[&str]) -> io::Result<()> {
    for file in files {
        let input = fs::read(file)?;
        (target.work)(&input);
        replayed(target.work, &input);
    }
    Ok(())
}

/// What is counted: slowest.py knows the name.
#[inline(never)]
fn replayed(work: Work, input: &[u8]) {
    black_box(work(black_box(input)));
}

struct Fuzz {
    target: Target,
}

impl Fuzz {
    /// How many mutations are well-formed, and the inputs that cost most.
    fn run(&self, corpus: Vec<(String, Vec<u8>)>, inputs: u64, seed: u64) -> Result<(u64, Slowest), Fault> {
        let mut slowest = Slowest::new(self.target.work, self.target.free);
        for (name, input) in &corpus {
            let is_expected = match self.attempt(input) {
                Ok(well_formed) => well_formed != name.starts_with("bad-"),
                Err(fault) => return Err((input.clone(), fault)),
            };
            if !is_expected {
                let fault = format!("{name} has to be well-formed, unless its name begins with bad-");
                return Err((input.clone(), fault));
            }
            slowest.look_at(input);
        }
        let mut pool: Vec<_> = corpus.into_iter().map(|(_, input)| input).collect();
        pool.sort_by_key(|input| input.len() > LONG);
        let usual = pool.partition_point(|input| input.len() <= LONG);
        let long = pool.split_off(usual);
        let shares = [(inputs / 2, seed.wrapping_mul(2)), (inputs.div_ceil(2), seed.wrapping_mul(2) + 1)];
        thread::scope(|scope| {
            let threads = shares.map(|(inputs, seed)| {
                let (pool, long) = (pool.clone(), &long);
                scope.spawn(move || self.mutate(pool, long, inputs, seed))
            });
            let mut sum = 0;
            for thread in threads {
                let stopped = |_| (Vec::new(), "a thread has stopped".to_owned());
                let (well_formed, slow) = thread.join().map_err(stopped)??;
                sum += well_formed;
                slowest.merge(slow);
            }
            Ok((sum, slowest))
        })
    }

    fn mutate(
        &self,
        mut pool: Vec<Vec<u8>>,
        long: &[Vec<u8>],
        inputs: u64,
        seed: u64,
    ) -> Result<(u64, Slowest), Fault> {
        let count = pool.len();
        let mut rng = Rng::with_seed(seed);
        let mut slowest = Slowest::new(self.target.work, self.target.free);
        let mut well_formed = 0;
        for number in 1..=inputs {
            let input = match number % RARE {
                0 => self.long_mutation(&mut rng, long, &pool),
                _ => self.mutation(&mut rng, &pool, count),
            };
            match self.attempt(&input) {
                Ok(is_well_formed) => {
                    slowest.look_at(&input);
                    if is_well_formed {
                        well_formed += 1;
                        if input.len() > LONGEST {
                            // It would be mutated as often as others.
                        } else if pool.len() < POOL {
                            pool.push(input);
                        } else {
                            // The corpus stays.
                            let replaced = rng.usize(count..pool.len());
                            pool[replaced] = input;
                        }
                    }
                }
                Err(fault) => return Err((input, fault)),
            }
        }
        Ok((well_formed, slowest))
    }

    fn attempt(&self, input: &[u8]) -> Result<bool, String> {
        catch_unwind(AssertUnwindSafe(|| (self.target.check)(input)))
            .unwrap_or_else(|_| Err("it panicked, see above".to_owned()))
    }

    /// A mutation of an input of the pool, whose first `corpus` are the corpus.
    fn mutation(&self, rng: &mut Rng, pool: &[Vec<u8>], corpus: usize) -> Vec<u8> {
        // Every other input comes of the corpus itself, which the pool would hide.
        let among = if rng.bool() { corpus } else { pool.len() };
        let mut input = pool[rng.usize(..among)].clone();
        self.change(rng, pool, &mut input);
        input.truncate(LONGEST);
        input
    }

    /// A mutation of a long input of the corpus, or of another one with a part of it again and again.
    fn long_mutation(&self, rng: &mut Rng, long: &[Vec<u8>], pool: &[Vec<u8>]) -> Vec<u8> {
        let chosen = rng.usize(..=long.len());
        let mut input = match long.get(chosen) {
            Some(input) => input.clone(),
            None => {
                let mut input = pool[rng.usize(..pool.len())].clone();
                let from = rng.usize(..=input.len());
                let part = input[from..from + rng.usize(..=(input.len() - from).min(64))].to_vec();
                let times = rng.usize(..LONGEST_OF_ALL) / part.len().max(1);
                input.splice(from..from, part.repeat(times));
                input
            }
        };
        self.change(rng, pool, &mut input);
        input.truncate(LONGEST_OF_ALL);
        input
    }

    fn change(&self, rng: &mut Rng, pool: &[Vec<u8>], input: &mut Vec<u8>) {
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
                    let piece = self.target.pieces[rng.usize(..self.target.pieces.len())];
                    let end = end.min(at + piece.len());
                    input.splice(at..end, piece.iter().copied());
                }
            }
        }
    }
}

/// The files of a directory with their names, in the order of these.
fn read(corpus: &str) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut files = fs::read_dir(corpus)?
        .map(|entry| {
            let entry = entry?;
            Ok((entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?))
        })
        .collect::<io::Result<Vec<_>>>()?;
    files.sort();
    if files.is_empty() {
        return Err(io::Error::other("there is nothing in it"));
    }
    Ok(files)
}
