//! The checks with aws-sdk-rust, over a socket, and with `SD_DOOR=in-process` without one: then the program has Cloud Maps of
//! its own, behind `sd_http::aws_sdk::InProcess`, and the endpoints do not matter.

mod checks;
mod world;

use std::process::ExitCode;

use tokio::task::JoinError;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for (id, check) in checks::all(&world::World::new().await) {
        // A check that fails panics; where it did is on standard error.
        match tokio::spawn(check).await {
            Ok(()) => println!("ok {id}"),
            Err(error) => {
                println!("not ok {id}: {}", why(error));
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

fn why(error: JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else { return "it was ended".to_owned() };
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
