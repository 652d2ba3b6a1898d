//! Mutates a corpus of request bodies and gives them to the decoders.
//!
//! ```text
//! sd-fuzz TARGET CORPUS INPUTS SEED FAILED      TARGET is json or cbor
//! ```
//!
//! First the corpus itself, then INPUTS mutations of it; the same seed gives the same inputs. An input that is a request
//! joins those that are mutated. The first that shows a fault is written to the file FAILED: it belongs into the corpus.

use std::{
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
};

use fastrand::Rng;

/// Reads a body as a request of every operation; `Ok` is whether it is one.
type Target = fn(&[u8]) -> Result<bool, String>;

/// How many inputs are mutated further.
const POOL: usize = 4096;
/// The longest input.
const LONGEST: usize = 4096;

/// What the formats treat in a way of its own: heads and ends of CBOR items, marks of JSON, edges of integers.
#[rustfmt::skip]
const PIECES: &[&[u8]] = &[
    b"{", b"}", b"[", b"]", b":", b",", b"\"", b"\\", b"\\u0000", b"\\ud800", b"null", b"-", b"1e999", b"0.0",
    b"-42", b"9223372036854775807", b"-9223372036854775808", b"\xff", b"\xf6", b"\xf7", b"\xa0", b"\xbf", b"\x80", b"\x9f",
    b"\x60", b"\x7f", b"\x5f", b"\xc1", b"\xc2", b"\xd9\xd9\xf7", b"\xf9\x7c\x00", b"\xfb", b"\x18", b"\x1b",
    b"\x38\x29", b"\x3b\x7f\xff\xff\xff\xff\xff\xff\xff", b"\x1b\x80\x00\x00\x00\x00\x00\x00\x00",
    b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff", b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff", b"\x7b\x00\x00\x00\x00\x00\x00\x10\x00",
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [name, corpus, inputs, seed, failed] = &arguments[..] else {
        eprintln!("sd-fuzz TARGET CORPUS INPUTS SEED FAILED");
        return ExitCode::from(2);
    };
    let target: Target = match name.as_str() {
        "json" => sd_http::fuzzing::json,
        "cbor" => sd_http::fuzzing::cbor,
        _ => return ExitCode::from(2),
    };
    let (Ok(inputs), Ok(seed)) = (inputs.parse(), seed.parse()) else {
        return ExitCode::from(2);
    };
    match run(target, corpus, inputs, seed) {
        Ok((pool, requests)) => {
            println!(
                "{name}: {pool} of the corpus, {inputs} mutations by seed {seed}, {requests} were requests"
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

fn run(target: Target, corpus: &str, inputs: u64, seed: u64) -> Result<(usize, u64), (Vec<u8>, String)> {
    let mut pool = read(corpus).map_err(|error| (Vec::new(), format!("{corpus}: {error}")))?;
    let count = pool.len();
    for input in &pool {
        attempt(target, input).map_err(|fault| (input.clone(), fault))?;
    }
    let mut rng = Rng::with_seed(seed);
    let mut requests = 0;
    for _ in 0..inputs {
        let input = mutation(&mut rng, &pool, count);
        match attempt(target, &input) {
            Ok(false) => {}
            Ok(true) => {
                requests += 1;
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
    Ok((count, requests))
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

fn attempt(target: Target, input: &[u8]) -> Result<bool, String> {
    catch_unwind(AssertUnwindSafe(|| target(input)))
        .unwrap_or_else(|_| Err("it panicked, see above".to_owned()))
}

/// The first `corpus` of the pool are the corpus.
fn mutation(rng: &mut Rng, pool: &[Vec<u8>], corpus: usize) -> Vec<u8> {
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
                let piece = PIECES[rng.usize(..PIECES.len())];
                let end = end.min(at + piece.len());
                input.splice(at..end, piece.iter().copied());
            }
        }
    }
    input.truncate(LONGEST);
    input
}
