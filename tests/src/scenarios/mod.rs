//! Scenarios as data: JSON cases, played through every door. `tests/cases/README.md` describes the format.

mod case;
mod door;
mod expect;
mod play;
mod test_bed;
mod values;

pub use case::{Call, Case, Repeat, Step, Wait};
pub use door::{Answer, AsyncDoor, CborDoor, Door, JsonDoor, SyncDoor};
pub use play::{Outcome, Played, play};
pub use test_bed::TestBed;
