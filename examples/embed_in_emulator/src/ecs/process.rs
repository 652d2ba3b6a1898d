//! A command that runs under a supervisor.

use std::process::Stdio;

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use super::settings::Settings;

/// A command that was started. Dropping it kills the command and what it forked.
#[derive(Debug)]
pub(super) struct Process {
    supervisor: Child,
    /// Dropped to kill the command.
    orders: Option<ChildStdin>,
    reports: Lines<BufReader<ChildStdout>>,
    exit_code: Option<i32>,
}

impl Process {
    /// Starts a command, with these variables besides those of the emulator.
    ///
    /// # Errors
    /// Why it cannot be started.
    pub(super) async fn start(
        settings: &Settings,
        command: &[String],
        environment: &[(String, String)],
    ) -> Result<Self, String> {
        let mut supervisor = Command::new(&settings.program)
            .arg("supervise")
            .args(command)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            // Its own group, so that Ctrl-C in a terminal ends only the emulator.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot run {}: {error}", settings.program.display()))?;
        let orders = supervisor.stdin.take();
        let reports = supervisor.stdout.take().ok_or("the supervisor has no output")?;
        let mut process =
            Self { supervisor, orders, reports: BufReader::new(reports).lines(), exit_code: None };
        match process.report().await.as_deref() {
            Some("started") => Ok(process),
            Some(line) => Err(line.trim_start_matches("failed ").to_owned()),
            None => Err("the supervisor ended".to_owned()),
        }
    }

    /// Waits until the command and what it forked has ended, and gives its exit code. Can be dropped and called again.
    pub(super) async fn ended(&mut self) -> i32 {
        let code = match self.exit_code {
            Some(code) => code,
            None => {
                let report = self.report().await;
                report.and_then(|line| line.strip_prefix("exited ")?.parse().ok()).unwrap_or(137)
            }
        };
        // The report comes once, and this may be dropped while it waits.
        self.exit_code = Some(code);
        let _ = self.supervisor.wait().await;
        code
    }

    /// Sends SIGTERM.
    pub(super) async fn terminate(&mut self) {
        if let Some(orders) = &mut self.orders {
            let _ = orders.write_all(b"stop\n").await;
        }
    }

    /// Sends SIGKILL.
    pub(super) fn kill(&mut self) {
        self.orders = None;
    }

    async fn report(&mut self) -> Option<String> {
        self.reports.next_line().await.ok().flatten()
    }
}
