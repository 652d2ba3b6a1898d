//! Everything between the replicas and the store: requests that fail, answers that are lost, watches that lag. A seed
//! decides what happens.

use std::{
    fmt,
    future::poll_fn,
    sync::{
        Arc, Mutex, MutexGuard, Weak,
        atomic::{AtomicU32, Ordering},
    },
    task::Poll,
};

use sd_core::{
    conformance::{StoreFault, Strike},
    settings::IdSource,
};

use crate::{
    objects::{Kind, Name},
    replica::Core,
    store::{Object, Stale, Store, Write},
};

/// How many requests fail, and how watches lag.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    /// The percentage of requests that fail or have no answer.
    pub(crate) faults: u8,
    /// The most faults in a row.
    pub(crate) in_a_row: u8,
    pub(crate) watch: Watch,
}

/// When replicas get the events of their watches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Watch {
    /// After each request.
    #[default]
    AtOnce,
    /// After some requests, some of them.
    Lags,
    /// As `Lags`, and from time to time a listing of everything.
    Relists,
    /// Only on demand.
    Never,
}

/// What becomes of all requests while the store cannot be reached.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outage {
    Refused,
    /// The first one is done without an answer, the others are lost.
    Unanswered,
    Lost,
}

/// Why a request has no result.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Nothing was done, and nothing will be.
    Stale,
    /// Nothing was done, and nothing will be.
    Unavailable,
    /// It was done, or was not, or will be done a little later.
    Timeout,
}

/// What a request meets.
enum Fault {
    None,
    Refused,
    /// Done, without an answer.
    Unanswered,
    Lost,
    /// Done after this number of other requests.
    Late(u64),
    /// Done, and answered when the store is mended.
    Held,
}

/// A fault for a rule of the conformance suite.
struct Struck {
    /// The replica whose writes are counted.
    replica: u32,
    strike: Strike,
    /// How many writes it has sent.
    writes: usize,
    has_struck: bool,
    is_mended: bool,
}

pub(crate) struct World {
    seed: u64,
    pub(crate) store: Mutex<Store>,
    replicas: Mutex<Vec<Weak<Core>>>,
    opened: AtomicU32,
    luck: Mutex<Luck>,
}

struct Luck {
    dice: fastrand::Rng,
    weather: Weather,
    /// How many faults there were since a request went well.
    row: u8,
    requests: u64,
    late: Vec<(u64, Write)>,
    /// From this request on.
    outage: Option<(u64, Outage)>,
    struck: Option<Struck>,
    /// Replicas whose process has ended.
    crashed: Vec<u32>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("seed", &self.seed).finish_non_exhaustive()
    }
}

impl World {
    pub(crate) fn new(seed: u64, weather: Weather) -> Arc<Self> {
        let dice = fastrand::Rng::with_seed(seed);
        let luck = Luck {
            dice,
            weather,
            row: 0,
            requests: 0,
            late: Vec::new(),
            outage: None,
            struck: None,
            crashed: Vec::new(),
        };
        Arc::new(Self {
            seed,
            store: Mutex::default(),
            replicas: Mutex::default(),
            opened: AtomicU32::new(0),
            luck: Mutex::new(luck),
        })
    }

    /// Takes part in what happens; returns a number of its own.
    pub(crate) fn enter(&self, replica: &Arc<Core>) {
        self.replicas.lock().unwrap().push(Arc::downgrade(replica));
    }

    pub(crate) fn number(&self) -> u32 {
        self.opened.fetch_add(1, Ordering::SeqCst)
    }

    fn luck(&self) -> MutexGuard<'_, Luck> {
        self.luck.lock().unwrap()
    }

    pub(crate) fn set_weather(&self, weather: Weather) {
        self.luck().weather = weather;
    }

    /// After this number of requests the store cannot be reached.
    pub(crate) fn fail_after(&self, requests: u64, outage: Outage) {
        let mut luck = self.luck();
        luck.outage = Some((luck.requests + requests, outage));
    }

    /// Ends an outage and a fault; what is on its way arrives.
    pub(crate) fn mend(&self) {
        {
            let mut luck = self.luck();
            luck.outage = None;
            if let Some(struck) = &mut luck.struck {
                struck.is_mended = true;
            }
        }
        self.land_all();
    }

    /// Lets a fault strike a write of this replica.
    pub(crate) fn arm(&self, replica: u32, strike: Strike) {
        let struck = Struck { replica, strike, writes: 0, has_struck: false, is_mended: false };
        self.luck().struck = Some(struck);
    }

    pub(crate) fn has_struck(&self) -> bool {
        self.luck().struck.as_ref().is_some_and(|struck| struck.has_struck)
    }

    fn is_mended(&self) -> bool {
        self.luck().struck.as_ref().is_none_or(|struck| struck.is_mended)
    }

    /// A number below this one.
    pub(crate) fn below(&self, end: usize) -> usize {
        self.luck().dice.usize(..end)
    }

    /// Writes one object, and says its version.
    pub(crate) async fn write(&self, from: u32, write: &Write) -> Result<u64, Refusal> {
        let done = self.request(from, || self.store.lock().unwrap().write(write), Some(write)).await?;
        done.map_err(|Stale| Refusal::Stale)
    }

    /// The object as it is now, or that there is none as of a revision. Kubernetes says the revision only in a listing, so
    /// there this is a listing of one name.
    pub(crate) async fn get(&self, from: u32, name: &str) -> Result<(Option<Object>, u64), Refusal> {
        let get = || {
            let store = self.store.lock().unwrap();
            (store.get(name).cloned(), store.revision())
        };
        self.request(from, get, None).await
    }

    /// The objects as they are now.
    pub(crate) async fn list(
        &self,
        from: u32,
        kind: Kind,
        prefix: &Name,
    ) -> Result<(Vec<Object>, u64), Refusal> {
        let list = || {
            let store = self.store.lock().unwrap();
            (store.list(kind, prefix), store.revision())
        };
        self.request(from, list, None).await
    }

    /// Others have their turn before and after each request, so a future that is dropped in between has crashed there.
    async fn request<T>(
        &self,
        from: u32,
        act: impl Fn() -> T + Send,
        write: Option<&Write>,
    ) -> Result<T, Refusal> {
        pause().await;
        let fault = self.luck().next_fault(from, write.is_some());
        let is_held = matches!(fault, Fault::Held);
        let answer = match fault {
            Fault::None | Fault::Held => Ok(act()),
            Fault::Refused => Err(Refusal::Unavailable),
            Fault::Lost => Err(Refusal::Timeout),
            Fault::Unanswered => {
                act();
                Err(Refusal::Timeout)
            }
            Fault::Late(requests) => {
                let mut luck = self.luck();
                let due = luck.requests.saturating_add(requests);
                luck.late.extend(write.map(|write| (due, write.clone())));
                Err(Refusal::Timeout)
            }
        };
        self.turn();
        pause().await;
        while is_held && !self.is_mended() {
            pause().await;
        }
        answer
    }

    /// What happens beside a request.
    fn turn(&self) {
        let due = {
            let mut luck = self.luck();
            luck.requests += 1;
            let now = luck.requests;
            luck.late.extract_if(.., |(due, _)| *due <= now).collect::<Vec<_>>()
        };
        self.land(due);
        let watch = self.luck().weather.watch;
        if watch == Watch::Never {
            return;
        }
        for replica in self.replicas() {
            for kind in Kind::ALL {
                let (count, relists) = {
                    let dice = &mut self.luck().dice;
                    match watch {
                        Watch::AtOnce | Watch::Never => (usize::MAX, false),
                        Watch::Lags => (dice.usize(..3), false),
                        Watch::Relists => (dice.usize(..3), dice.u8(..6) == 0),
                    }
                };
                if relists {
                    replica.relist(kind);
                } else {
                    replica.follow(kind, count);
                }
            }
        }
    }

    fn land(&self, late: Vec<(u64, Write)>) {
        for (_, write) in late {
            // A stale write is refused, and nobody gets the answer.
            let _ = self.store.lock().unwrap().write(&write);
        }
    }

    /// All late writes arrive.
    pub(crate) fn land_all(&self) {
        let late = std::mem::take(&mut self.luck().late);
        self.land(late);
    }

    pub(crate) fn replicas(&self) -> Vec<Arc<Core>> {
        self.replicas.lock().unwrap().iter().filter_map(Weak::upgrade).collect()
    }
}

impl Luck {
    fn next_fault(&mut self, from: u32, is_write: bool) -> Fault {
        if self.crashed.contains(&from) {
            return Fault::Refused;
        }
        if let Some(fault) = self.struck(from, is_write) {
            return fault;
        }
        if let Some((from, outage)) = self.outage
            && self.requests >= from
        {
            return match outage {
                Outage::Unanswered if self.requests == from => Fault::Unanswered,
                Outage::Unanswered | Outage::Lost => Fault::Lost,
                Outage::Refused => Fault::Refused,
            };
        }
        let Weather { faults, in_a_row, .. } = self.weather;
        if self.row >= in_a_row || self.dice.u8(..100) >= faults {
            self.row = 0;
            return Fault::None;
        }
        self.row += 1;
        match self.dice.u8(..4) {
            0 => Fault::Refused,
            1 => Fault::Unanswered,
            2 => Fault::Lost,
            _ => Fault::Late(self.dice.u64(1..24)),
        }
    }
}

impl Luck {
    /// The fault for a rule, if it strikes this request.
    fn struck(&mut self, from: u32, is_write: bool) -> Option<Fault> {
        let struck = self.struck.as_mut().filter(|struck| struck.replica == from)?;
        if struck.has_struck {
            return (struck.strike.outage && !struck.is_mended).then_some(Fault::Lost);
        }
        struck.writes += usize::from(is_write);
        if !is_write || struck.writes < struck.strike.write {
            return None;
        }
        struck.has_struck = true;
        Some(match struck.strike.fault {
            StoreFault::Crash => {
                self.crashed.push(from);
                Fault::Unanswered
            }
            StoreFault::Unanswered => Fault::Unanswered,
            StoreFault::Lost => Fault::Lost,
            StoreFault::ArrivesLate => Fault::Late(u64::MAX),
            StoreFault::AnsweredLate => Fault::Held,
        })
    }
}

/// Identifiers that follow from a seed, without a pattern.
#[derive(Debug)]
pub(crate) struct SeededIds(Mutex<fastrand::Rng>);

impl SeededIds {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Mutex::new(fastrand::Rng::with_seed(seed)))
    }
}

impl IdSource for SeededIds {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().unwrap().fill(bytes);
    }
}

/// Lets others have their turn.
pub(crate) async fn pause() {
    let mut paused = false;
    poll_fn(|context| {
        if paused {
            return Poll::Ready(());
        }
        paused = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
