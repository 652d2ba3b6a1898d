//! The settings of a handle: clock, random source, id source, mode, timing and quotas.

pub(crate) mod clock;
pub(crate) mod id_source;
pub(crate) mod mode;
pub(crate) mod quotas;
pub(crate) mod random;
pub(crate) mod timing;

pub use clock::{Clock, ManualClock, SystemClock};
pub use id_source::{IdSource, RandomIds, SequentialIds};
pub use mode::{DIFFERENCES, Difference, Leniency, Mode};
pub use quotas::{Quota, Quotas, RATES, RESOURCES, Rate, ResourceQuota};
pub use random::{RandomSource, SeededRandom, ThreadRandom};
pub use timing::Timing;
