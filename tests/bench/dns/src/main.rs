//! What `tests/bench/dns/bench.py` measures:
//!
//!   sd-bench-dns serve NAMES         the DNS door in front of so many names; a line on its input is the number of
//!                                    registrations per second beside it from then on
//!   sd-bench-dns respond A SRV X     answers of so many octets to names that begin with a, s and another letter: as little
//!                                    as a server can do
//!   sd-bench-dns answer NAME TYPE N  so many answers to one question, in this process
//!
//! The first two print the address that they serve, and end with their input.

#![forbid(unsafe_code)]

mod names;
mod respond;
mod serve;

use std::{env, error::Error, process::ExitCode};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    match arguments {
        ["serve", names] => serve::serve(names.parse()?),
        ["respond", a, srv, other] => respond::respond(a.parse()?, srv.parse()?, other.parse()?),
        ["answer", name, kind, count] => serve::answer(name, kind.parse()?, count.parse()?),
        _ => Err("serve NAMES, respond A SRV OTHER, or answer NAME TYPE COUNT".into()),
    }
}
