//! The parent of each command that the emulator runs: this program again, as `embed_in_emulator supervise COMMAND ...`.
//!
//! The command and what it forks end with the supervisor, and the supervisor ends with the emulator, also by `kill -9`: it
//! reads a pipe that only the emulator can write to, and that the system closes when the emulator ends.
//!
//! | stdin | |
//! |---|---|
//! | `stop` | sends SIGTERM to the command's process group |
//! | closed | sends SIGKILL |
//!
//! | stdout | |
//! |---|---|
//! | `started` or `failed REASON` | the first line |
//! | `exited CODE` | the last line. After a signal: 128 and its number |
//!
//! The output of the command is discarded.

use std::{
    fs,
    io::{Write, stdin, stdout},
    os::unix::process::CommandExt,
    process::{Command, Stdio},
    thread,
};

use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, kill, killpg},
        wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid},
    },
    unistd::Pid,
};

/// Runs the command until it ends.
///
/// # Errors
/// The command is missing, or the system refuses to tell of its end.
pub fn run(mut command: impl Iterator<Item = String>) -> Result<(), String> {
    let program = command.next().ok_or("supervise: expected a command")?;
    if !is_own_proc() {
        say("failed /proc is that of another PID namespace, so that tasks cannot be ended: mount it again");
        return Ok(());
    }
    // Processes that outlive their parent become children of this process, instead of process 1.
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_child_subreaper(true).map_err(|error| format!("cannot adopt processes: {error}"))?;
    let spawned = Command::new(&program)
        .args(command)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn();
    let child = match spawned {
        Ok(child) => child,
        Err(error) => {
            say(&format!("failed cannot run {program:?}: {error}"));
            return Ok(());
        }
    };
    let group = Pid::from_raw(child.id().cast_signed());
    say("started");
    thread::spawn(move || obey(group));
    let code = wait(group);
    end_others(group);
    let code = code.map_err(|error| format!("cannot wait for {program:?}: {error}"))?;
    say(&format!("exited {code}"));
    Ok(())
}

/// Does what the emulator says, and ends the command when the emulator is no longer there to say anything.
fn obey(group: Pid) {
    for line in stdin().lines() {
        match line.as_deref() {
            Ok("stop") => drop(killpg(group, Signal::SIGTERM)),
            Ok(_) => {}
            Err(_) => break,
        }
    }
    let _ = killpg(group, Signal::SIGKILL);
    // The command may have left its group.
    let _ = kill(group, Signal::SIGKILL);
}

/// Waits for the command, and gives its exit code. The command stays a zombie, so that its number is not given to another.
fn wait(command: Pid) -> Result<i32, Errno> {
    loop {
        let ended = waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
        let (process, code) = match ended {
            Ok(WaitStatus::Exited(process, code)) => (process, code),
            Ok(WaitStatus::Signaled(process, signal, _)) => (process, 128 + signal as i32),
            Ok(_) | Err(Errno::EINTR) => continue,
            Err(error) => return Err(error),
        };
        if process == command {
            return Ok(code);
        }
        waitpid(process, None)?;
    }
}

/// Kills what the command left: its group, and those that left the group, which are children of this process by now.
fn end_others(group: Pid) {
    let _ = killpg(group, Signal::SIGKILL);
    loop {
        for child in children() {
            let _ = kill(child, Signal::SIGKILL);
        }
        // Another error: a signal without a name has ended the child, or this call was interrupted.
        if waitpid(None, None) == Err(Errno::ECHILD) {
            return;
        }
    }
}

/// Whether the numbers in /proc are those that this process knows.
fn is_own_proc() -> bool {
    let own = std::process::id().to_string();
    fs::read_link("/proc/self").is_ok_and(|link| link.as_os_str() == own.as_str())
}

fn children() -> Vec<Pid> {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let numbers: Vec<_> = lists.flat_map(|list| numbers(&list)).collect();
    numbers.into_iter().map(Pid::from_raw).collect()
}

fn numbers(list: &str) -> Vec<i32> {
    list.split_whitespace().filter_map(|number| number.parse().ok()).collect()
}

/// Tells the emulator, unless it has ended.
fn say(line: &str) {
    let _ = writeln!(stdout(), "{line}");
}
