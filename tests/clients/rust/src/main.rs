//! The checks with aws-sdk-rust, over a socket. With `SD_DOOR=in-process` there is no socket: the program calls its own Cloud
//! Maps through `sd_http::aws_sdk::InProcess`, and ignores the endpoints.

mod checks;
mod world;

use std::process::ExitCode;

use tokio::task::JoinError;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for (id, check) in checks::all(&world::World::new().await) {
        // A failing check panics. Standard error says where.
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
    let Ok(panic) = error.try_into_panic() else { return "the check was canceled".to_owned() };
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
