//! What happens by itself is shown through DNS, too, which asks nobody for the time: a timer brings the state to the moment.

use std::time::Duration;

use sd_core::{Clock, StateCell, SystemClock};

/// Waits for the next deadline of the state, or for a change that brings a nearer one, again and again.
pub(crate) async fn run(cell: StateCell) {
    let clock = SystemClock::default();
    let mut changes = cell.subscribe();
    loop {
        let now = clock.now();
        cell.advance(now);
        match cell.next_deadline() {
            Some(due) => {
                let wait = Duration::from_millis(due.as_millis().saturating_sub(now.as_millis()));
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    _ = changes.changed() => {}
                }
            }
            None => drop(changes.changed().await),
        }
    }
}
