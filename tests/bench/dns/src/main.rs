//! What `tests/bench/dns/bench.py` measures:
//!
//!   sd-bench-dns serve NAMES         the DNS door with NAMES names; each input line sets the number of registrations
//!                                    per second
//!   sd-bench-dns respond A SRV X     a minimal server, whose answers have A bytes for names that begin with a, SRV for s,
//!                                    and X for other names
//!   sd-bench-dns answer NAME TYPE N  N answers to one question, in this process
//!
//! The first two print their address, and end when their input ends.

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
