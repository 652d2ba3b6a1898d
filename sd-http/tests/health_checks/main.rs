//! The prober against real sockets: what targets do, and what becomes of their instances. The tests decide when time passes.

#![allow(clippy::unwrap_used, reason = "a test ends at what it does not expect")]

mod setting;
mod target;
mod tls;

mod schedule;
mod verdicts;
