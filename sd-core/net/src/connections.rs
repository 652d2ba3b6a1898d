//! The open connections of a server: their number, their memory, and which one is evicted.

use std::{
    cmp::Reverse,
    collections::HashMap,
    fmt,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use tokio::sync::Notify;

/// The most connections beyond the limit at a time. Their servers refuse them.
const BEYOND: usize = 64;

/// The connections of a server, over all of its listeners. Clones share them.
#[derive(Clone, Debug)]
pub struct Connections(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limit: usize,
    octets: usize,
    /// Numbers uses, so that they have an order.
    uses: AtomicU64,
    /// The octets that all open connections hold together.
    held: AtomicUsize,
    open: Mutex<Open>,
}

/// The open connections by id: within the limit and beyond it.
#[derive(Debug, Default)]
struct Open {
    within: HashMap<u64, Arc<Entry>>,
    beyond: HashMap<u64, Arc<Entry>>,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    beyond: bool,
    last_use: AtomicU64,
    busy: AtomicUsize,
    held: Mutex<Octets>,
    /// Notified when octets are released.
    released: Notify,
    evicted: Notify,
}

#[derive(Debug, Default)]
struct Octets {
    count: usize,
    /// Whether the connection is evicted. Its octets no longer count for the server.
    evicted: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Connections {
    /// A limit of `limit` connections, at least one, which together hold at most `octets` octets.
    #[must_use]
    pub fn new(limit: usize, octets: usize) -> Self {
        Self(Arc::new(Shared {
            limit: limit.max(1),
            octets,
            uses: AtomicU64::new(0),
            held: AtomicUsize::new(0),
            open: Mutex::default(),
        }))
    }

    /// The number of open connections within the limit.
    #[must_use]
    pub fn count(&self) -> usize {
        lock(&self.0.open).within.len()
    }

    /// The octets that all connections hold together.
    #[must_use]
    pub fn held(&self) -> usize {
        self.0.held.load(Ordering::Relaxed)
    }

    /// Adds a connection, which counts until the slot is dropped. Evicts another one if there are too many.
    pub(crate) fn open(&self) -> Slot {
        let mut open = lock(&self.0.open);
        let beyond = open.within.len() >= self.0.limit && !self.evict_idlest_of(&mut open.within);
        if beyond && open.beyond.len() >= BEYOND {
            self.evict_idlest_of(&mut open.beyond);
        }
        let id = self.0.next_use();
        let entry = Arc::new(Entry {
            id,
            beyond,
            last_use: AtomicU64::new(id),
            busy: AtomicUsize::new(0),
            held: Mutex::default(),
            released: Notify::new(),
            evicted: Notify::new(),
        });
        let kind = if beyond { &mut open.beyond } else { &mut open.within };
        kind.insert(id, Arc::clone(&entry));
        Slot(Connection { entry, shared: Arc::clone(&self.0) })
    }

    /// Adds a connection that no listener accepted. It counts until the second value is dropped.
    #[must_use]
    pub fn connect(&self) -> (Connection, impl Drop + Send + use<>) {
        let slot = self.open();
        (slot.0.clone(), slot)
    }

    /// Evicts the idlest connection. `false` if all are busy.
    pub(crate) fn evict_idlest(&self) -> bool {
        self.evict_idlest_of(&mut lock(&self.0.open).within)
    }

    fn evict_idlest_of(&self, open: &mut HashMap<u64, Arc<Entry>>) -> bool {
        let idle = open.values().filter(|entry| entry.busy.load(Ordering::Relaxed) == 0);
        let Some(id) = idle.min_by_key(|entry| entry.last_use()).map(|entry| entry.id) else {
            return false;
        };
        if let Some(entry) = open.remove(&id) {
            tracing::debug!("too many connections: closing the idlest one");
            self.0.evict(&entry);
        }
        true
    }
}

impl Shared {
    fn next_use(&self) -> u64 {
        self.uses.fetch_add(1, Ordering::Relaxed)
    }

    fn evict(&self, entry: &Entry) {
        self.release(entry);
        entry.evicted.notify_one();
    }

    /// Stops counting the octets of a connection that ends. Its tasks may hold them a moment longer.
    fn release(&self, entry: &Entry) {
        let mut octets = lock(&entry.held);
        octets.evicted = true;
        self.held.fetch_sub(octets.count, Ordering::Relaxed);
        octets.count = 0;
    }

    fn hold_too_much(&self) -> bool {
        self.held.load(Ordering::Relaxed) > self.octets
    }

    /// Evicts the connections that hold most until the others are within the limit. Of those that hold the same, the idlest
    /// goes first.
    fn evict_largest(&self) {
        let mut open = lock(&self.open);
        while self.hold_too_much() {
            let entries = open.within.values().chain(open.beyond.values());
            let entries = entries.map(|entry| (lock(&entry.held).count, Reverse(entry.last_use()), entry.id));
            // Evicting connections that hold nothing would not help.
            let Some((1.., _, id)) = entries.max() else { break };
            let Open { within, beyond } = &mut *open;
            if let Some(entry) = within.remove(&id).or_else(|| beyond.remove(&id)) {
                tracing::debug!("connections hold too many octets: closing the one with the most");
                self.evict(&entry);
            }
        }
    }
}

impl Entry {
    fn last_use(&self) -> u64 {
        self.last_use.load(Ordering::Relaxed)
    }
}

/// An open connection. Clones refer to the same connection.
#[derive(Clone)]
pub struct Connection {
    entry: Arc<Entry>,
    shared: Arc<Shared>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("entry", &self.entry).finish_non_exhaustive()
    }
}

impl Connection {
    /// Notes that the client has made progress. The connection is now the least idle one.
    pub fn used(&self) {
        self.entry.last_use.store(self.shared.next_use(), Ordering::Relaxed);
    }

    /// Marks the connection as busy until the value is dropped: the server works on a response. Busy connections are not
    /// evicted for a new one.
    #[must_use]
    pub fn busy(&self) -> Busy {
        self.entry.busy.fetch_add(1, Ordering::Relaxed);
        Busy(self.clone())
    }

    /// Whether the server should refuse the connection, because all connections within the limit are busy.
    #[must_use]
    pub fn is_beyond_limit(&self) -> bool {
        self.entry.beyond
    }

    /// The octets that the server holds for the connection.
    #[must_use]
    pub fn held(&self) -> usize {
        lock(&self.entry.held).count
    }

    /// Counts octets that the server holds for the connection, until the value is dropped. If all connections together hold
    /// too many, the one with the most is closed.
    #[must_use]
    pub fn hold(&self, octets: usize) -> Held {
        self.add(octets, usize::MAX).unwrap_or_else(|| Held { connection: self.clone(), octets: 0 })
    }

    /// Counts octets as [`hold`](Self::hold) does. `None` if the connection would hold more than `most`; but a connection that
    /// holds nothing may hold any number.
    #[must_use]
    pub fn try_hold(&self, octets: usize, most: usize) -> Option<Held> {
        self.add(octets, most)
    }

    /// Waits until [`try_hold`](Self::try_hold) succeeds. Cancel safe.
    pub async fn hold_when_free(&self, octets: usize, most: usize) -> Held {
        if let Some(held) = self.try_hold(octets, most) {
            return held;
        }
        loop {
            let mut released = pin!(self.entry.released.notified());
            // From here on, releases are noticed.
            released.as_mut().enable();
            if let Some(held) = self.try_hold(octets, most) {
                return held;
            }
            released.await;
        }
    }

    fn add(&self, octets: usize, most: usize) -> Option<Held> {
        {
            let mut held = lock(&self.entry.held);
            if held.count != 0 && held.count.saturating_add(octets) > most {
                return None;
            }
            if !held.evicted {
                held.count += octets;
                self.shared.held.fetch_add(octets, Ordering::Relaxed);
            }
        }
        let held = Held { connection: self.clone(), octets };
        if self.shared.hold_too_much() {
            self.shared.evict_largest();
        }
        Some(held)
    }

    /// Waits until the connection is to be closed.
    pub(crate) async fn evicted(&self) {
        self.entry.evicted.notified().await;
    }
}

/// The entry of an open connection. Dropping it removes the connection.
pub(crate) struct Slot(pub(crate) Connection);

impl Drop for Slot {
    fn drop(&mut self) {
        let Connection { entry, shared } = &self.0;
        let mut open = lock(&shared.open);
        let kind = if entry.beyond { &mut open.beyond } else { &mut open.within };
        kind.remove(&entry.id);
        drop(open);
        shared.release(entry);
    }
}

/// Keeps a connection busy until it is dropped: [`Connection::busy`].
#[derive(Debug)]
pub struct Busy(Connection);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.used();
        self.0.entry.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Octets that count for a connection until this is dropped: [`Connection::hold`].
#[derive(Debug)]
pub struct Held {
    connection: Connection,
    octets: usize,
}

impl Held {
    /// The number of octets.
    #[must_use]
    pub fn octets(&self) -> usize {
        self.octets
    }

    /// Moves `octets` into a separate `Held`. If that is more than this one holds, the rest is counted in addition.
    #[must_use]
    pub fn split(&mut self, octets: usize) -> Self {
        let taken = octets.min(self.octets);
        let mut split = self.connection.hold(octets - taken);
        self.octets -= taken;
        split.octets += taken;
        split
    }

    /// Reduces the number of octets to at most `octets`.
    pub fn shrink_to(&mut self, octets: usize) {
        self.release(self.octets.saturating_sub(octets));
    }

    fn release(&mut self, octets: usize) {
        if octets == 0 {
            return;
        }
        self.octets -= octets;
        let Connection { entry, shared } = &self.connection;
        {
            let mut held = lock(&entry.held);
            if !held.evicted {
                held.count -= octets;
                shared.held.fetch_sub(octets, Ordering::Relaxed);
            }
        }
        entry.released.notify_waiters();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.release(self.octets);
    }
}
