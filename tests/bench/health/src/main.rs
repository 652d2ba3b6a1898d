//! What `tests/bench/health/bench.py` measures:
//!
//!   sd-bench-health targets LIVING SILENT FULL   serves this many targets; prints the address of each
//!   sd-bench-health serve FILE                   probes the targets in the file once a second, beside DNS and HTTP
//!   sd-bench-health bare FILE RATE               asks the targets in the file RATE times a second, and does nothing else
//!
//! Each ends with its input. The last two answer each line of it: see `serve` and `bare`.

#![forbid(unsafe_code)]

mod bare;
mod serve;
mod targets;

use std::{
    env,
    error::Error,
    fs,
    io::{self, Write},
    net::SocketAddr,
    process::ExitCode,
};

use tokio::runtime::{Builder, Runtime};

type Outcome = Result<(), Box<dyn Error>>;

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

fn run(arguments: &[&str]) -> Outcome {
    // Each target has a socket.
    rlimit::increase_nofile_limit(u64::MAX)?;
    match arguments {
        ["targets", living, silent, full] => targets::run(living.parse()?, silent.parse()?, full.parse()?),
        ["serve", file] => serve::run(&addresses(file)?),
        ["bare", file, rate] => bare::run(&addresses(file)?, rate.parse()?),
        _ => Err("targets LIVING SILENT FULL, serve FILE, or bare FILE RATE".into()),
    }
}

fn addresses(file: &str) -> Result<Vec<SocketAddr>, Box<dyn Error>> {
    fs::read_to_string(file)?.lines().map(|line| Ok(line.parse()?)).collect()
}

/// The runtime of `sd-server`, with threads of this name.
fn runtime(name: &str) -> io::Result<Runtime> {
    Builder::new_multi_thread().thread_name(name).enable_all().build()
}

/// Prints a line for `bench.py`.
fn answer(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
