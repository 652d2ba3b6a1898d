//! Scenarios as data: cases in JSON, played through every door to one registry. `tests/cases/README.md` has the format.

mod case;
mod door;
mod expect;
mod house;
mod play;
mod values;

pub use case::{Call, Case, Repeat, Step, Wait};
pub use door::{Answer, AsyncDoor, CborDoor, Door, JsonDoor, SyncDoor};
pub use house::House;
pub use play::{Outcome, Played, play};
