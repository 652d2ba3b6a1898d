//! Mutates a corpus of outside input, and runs the code that decodes it.
//!
//! ```text
//! sd-fuzz mutate TARGET CORPUS INPUTS SEED OUT
//! sd-fuzz replay TARGET FILE...
//! ```
//!
//! TARGET is json or cbor (bodies of requests), dns (queries), upstream (answers of upstream DNS servers) or health (responses
//! to health checks).
//!
//! `mutate` first tries the corpus itself, then INPUTS mutations of it, in two threads. The same seed gives the same inputs.
//! Well-formed mutations are mutated further. All files of the corpus must be well-formed, unless their names begin with
//! `bad-`, and so must the share of mutations that the target states. The first input that shows a fault is written to
//! OUT/failed; it belongs into the corpus. The slowest inputs are written to OUT too.
//!
//! `replay` does the work for each file once, for slowest.py, which counts the instructions.

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

use sd_fuzz::{LONGEST_MESSAGE, Target, Work};

use crate::slowest::Slowest;

/// An input, and the fault that it shows.
type Fault = (Vec<u8>, String);

/// The number of inputs that are mutated further.
const POOL: usize = 4096;
/// The length of the longest input in bytes, except for one in `RARE`.
const LONGEST: usize = 4096;
/// One in so many mutations may be as long as a message over TCP.
const RARE: u64 = 8192;
/// Longer inputs of the corpus are mutated only rarely, because they cost much more than others.
const LONG: usize = 1024;

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
    // Removes the results of the last run.
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
        "{name}: {count} corpus files, {inputs} mutations from seed {seed}, {well_formed} of them well-formed"
    );
    match well_formed * 1000 >= inputs * target.floor {
        true => Ok(()),
        false => Err(format!("at least {} of 1000 mutations must be well-formed", target.floor)),
    }
}

/// Does the work once before it counts, so that one-time allocations do not count.
fn replay(target: Target, files: &[&str]) -> io::Result<()> {
    for file in files {
        let input = fs::read(file)?;
        (target.work)(&input);
        replayed(target.work, &input);
    }
    Ok(())
}

/// The function whose instructions are counted. slowest.py finds it by its name.
#[inline(never)]
fn replayed(work: Work, input: &[u8]) {
    black_box(work(black_box(input)));
}

struct Fuzz {
    target: Target,
}

impl Fuzz {
    /// Returns the number of well-formed mutations, and the slowest inputs.
    fn run(&self, corpus: Vec<(String, Vec<u8>)>, inputs: u64, seed: u64) -> Result<(u64, Slowest), Fault> {
        let mut slowest = Slowest::new(self.target.work, self.target.free);
        for (name, input) in &corpus {
            let is_expected = match self.attempt(input) {
                Ok(well_formed) => well_formed != name.starts_with("bad-"),
                Err(fault) => return Err((input.clone(), fault)),
            };
            if !is_expected {
                let fault = format!("{name} must be well-formed, or its name must begin with bad-");
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
                let stopped = |_| (Vec::new(), "a thread has panicked".to_owned());
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
                            // Too costly to mutate as often as others.
                        } else if pool.len() < POOL {
                            pool.push(input);
                        } else {
                            // Never replaces the corpus.
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
            .unwrap_or_else(|_| Err("the target panicked, see above".to_owned()))
    }

    /// A mutation of an input of the pool, which starts with `corpus` inputs of the corpus.
    fn mutation(&self, rng: &mut Rng, pool: &[Vec<u8>], corpus: usize) -> Vec<u8> {
        // Every other mutation is one of the corpus, which would otherwise be lost in the pool.
        let among = if rng.bool() { corpus } else { pool.len() };
        let mut input = pool[rng.usize(..among)].clone();
        self.change(rng, pool, &mut input);
        input.truncate(LONGEST);
        input
    }

    /// A mutation of a long input of the corpus, or of a shorter one with a repeated part.
    fn long_mutation(&self, rng: &mut Rng, long: &[Vec<u8>], pool: &[Vec<u8>]) -> Vec<u8> {
        let chosen = rng.usize(..=long.len());
        let mut input = match long.get(chosen) {
            Some(input) => input.clone(),
            None => {
                let mut input = pool[rng.usize(..pool.len())].clone();
                let from = rng.usize(..=input.len());
                let part = input[from..from + rng.usize(..=(input.len() - from).min(64))].to_vec();
                let times = rng.usize(..LONGEST_MESSAGE) / part.len().max(1);
                input.splice(from..from, part.repeat(times));
                input
            }
        };
        self.change(rng, pool, &mut input);
        input.truncate(LONGEST_MESSAGE);
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

/// The names and contents of the files in a directory, sorted by name.
fn read(corpus: &str) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut files = fs::read_dir(corpus)?
        .map(|entry| {
            let entry = entry?;
            Ok((entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?))
        })
        .collect::<io::Result<Vec<_>>>()?;
    files.sort();
    if files.is_empty() {
        return Err(io::Error::other("the directory is empty"));
    }
    Ok(files)
}
