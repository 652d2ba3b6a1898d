//! Sends the largest request of each list and map of the API, so that `check.py` can count its instructions.
//!
//! ```text
//! sd-costs BYTES [BYTES...]
//! ```
//!
//! Sends each request with a body of each size, and prints a line per call: the body's size and the request's name.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program whose output is read")]

use std::{env, hint::black_box, process::ExitCode};

use sd_core::{Action, SyncScopedCloudMap};
use sd_http::typed;
use sd_tests::largest::{all, filled};

/// The instances of the service. Each registration was an operation.
const INSTANCES: usize = 2000;

fn main() -> ExitCode {
    let sizes: Result<Vec<usize>, _> = env::args().skip(1).map(|size| size.parse()).collect();
    let Ok(sizes) = sizes else {
        eprintln!("sd-costs BYTES [BYTES...]");
        return ExitCode::from(2);
    };
    match run(&sizes) {
        Ok(()) => ExitCode::SUCCESS,
        Err(complaint) => {
            eprintln!("{complaint}");
            ExitCode::FAILURE
        }
    }
}

fn run(sizes: &[usize]) -> Result<(), String> {
    let (cloud_map, service) = filled(INSTANCES).map_err(|error| error.to_string())?;
    for case in all(&service)? {
        for size in sizes {
            let body = case.body(*size);
            black_box(measured_call(&cloud_map, case.action, body.as_bytes()));
            println!("{} {}", body.len(), case.name);
        }
    }
    Ok(())
}

/// The function whose instructions are counted. `check.py` finds it by this name.
#[inline(never)]
fn measured_call(cloud_map: &SyncScopedCloudMap, action: Action, body: &[u8]) -> bool {
    typed::call_sync(cloud_map, action, body).is_ok()
}
