//! The output and the log of the process.

use std::{
    env,
    fmt::Display,
    io::{self, Write},
};

use tracing_subscriber::{EnvFilter, filter::LevelFilter};

/// Writes to standard output.
///
/// # Errors
/// As for [`unless_closed`].
pub(crate) fn print(text: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    unless_closed(write!(out, "{text}").and_then(|()| out.flush()))
}

/// The result of writing to standard output. A reader that closes the pipe has read enough: that is no error.
///
/// # Errors
/// Any other failure, such as a full disk.
pub(crate) fn unless_closed(written: io::Result<()>) -> io::Result<()> {
    written.or_else(|error| if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })
}

/// Writes a line to standard error, if it can be written.
pub(crate) fn complain(error: impl Display) {
    let _ = writeln!(io::stderr(), "sd-server: {error}");
}

/// `SD_LOG` is not a filter.
#[derive(Debug, thiserror::Error)]
#[error("invalid SD_LOG {value:?}: expected error, warn, info, debug, trace, off or TARGET=LEVEL")]
pub(crate) struct InvalidFilter {
    value: String,
}

/// Starts the log on standard error, with the filter of the variable `SD_LOG`, or `warn` if it is unset or
/// empty.
pub(crate) fn start_log() -> Result<(), InvalidFilter> {
    let value = env::var_os("SD_LOG").unwrap_or_default().to_string_lossy().into_owned();
    let filter = filter(&value).ok_or(InvalidFilter { value })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        // Otherwise it reports to standard error that standard error cannot be written to, and panics.
        .log_internal_errors(false)
        .init();
    Ok(())
}

fn filter(value: &str) -> Option<EnvFilter> {
    if value.is_empty() {
        return Some(EnvFilter::new("warn"));
    }
    // tracing-subscriber takes a word that is not a level for a target. A misspelt level would match nothing.
    let is_level = |word: &str| word.parse::<LevelFilter>().is_ok();
    let is_target = |word: &str| word.starts_with("sd_");
    let is_bare = |part: &&str| !part.contains(['=', '[']);
    let are_known = value.split(',').filter(is_bare).all(|word| is_level(word) || is_target(word));
    EnvFilter::try_new(value).ok().filter(|_| are_known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_has_levels_and_targets() {
        for value in
            ["", "debug", "WARN", "off", "sd_dns", "sd_dns=trace,warn", "info,hyper=debug", "[request]=debug"]
        {
            assert!(filter(value).is_some(), "{value}");
        }
        for value in ["loud", "warn,loud", "sd_dns=loud", "debug;info", "=", "\u{fffd}"] {
            assert!(filter(value).is_none(), "{value}");
        }
    }
}
