//! What happens by itself is shown through DNS, too, which asks nobody for the time: a timer brings the state to the moment.

use std::{future::pending, time::Duration};

use sd_core::{Clock, StateCell, SystemClock};

/// Waits for the next deadline of the state, or for a nearer one, again and again.
pub(crate) async fn run(cell: StateCell) {
    let clock = SystemClock::default();
    loop {
        let now = clock.now();
        cell.advance(now);
        let due = cell.next_deadline();
        let reached = async {
            match due {
                Some(due) => {
                    let wait = due.as_millis().saturating_sub(now.as_millis());
                    tokio::time::sleep(Duration::from_millis(wait)).await;
                }
                None => pending().await,
            }
        };
        tokio::select! {
            () = reached => {}
            _ = cell.deadline_before(due) => {}
        }
    }
}
