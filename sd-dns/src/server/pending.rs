//! Answers that wait for other servers: how many there may be, and whose.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::oneshot, time::Instant};

/// The answers of a server that wait, over all of its sockets and connections.
///
/// A client, which is an IPv4 address or an IPv6 network of 64 bits, may have as many as there are places
/// left: half of them while it is alone, a third beside another such client, and so on. One more drops the
/// oldest answer of the client that has the most, or, if that is the client itself, its own oldest.
/// [`SPARED`] protects a client's only answer, and answers from newer ones of their own client: if the one to
/// drop is younger, the new one is refused.
#[derive(Debug, Default)]
pub(super) struct Pending(Mutex<State>);

/// How many answers may wait.
const CAPACITY: usize = 4096;

/// How long an answer waits before a newer one of its own client may take its place, and before any other may
/// if it is the only one of its client. It bounds how often a client makes the server ask others, and keeps
/// forged sources from dropping everyone's answers.
const SPARED: Duration = Duration::from_millis(200);

#[derive(Debug, Default)]
struct State {
    /// The answers of each client by age. No client is without.
    clients: HashMap<IpAddr, BTreeMap<u64, Place>>,
    /// Clients by how many answers they have; among equals, the one with the oldest is last.
    by_count: BTreeSet<(usize, Reverse<u64>, IpAddr)>,
    total: usize,
    /// The number of the next answer.
    next: u64,
}

/// The place of an answer that waits. The answer is dropped with it.
#[derive(Debug)]
struct Place {
    since: Instant,
    _dropped: oneshot::Sender<()>,
}

/// An answer that waits. Its place is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    pending: Arc<Pending>,
    client: IpAddr,
    number: u64,
    dropped: oneshot::Receiver<()>,
}

impl Pending {
    /// Takes a place for an answer to a client at this address. `None` if the client has too many.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Ticket> {
        let client = client(address);
        let mut state = self.state();
        if state.count(client) >= CAPACITY - state.total {
            state.make_room(client)?;
        }
        let (sender, dropped) = oneshot::channel();
        let number = state.next;
        state.next += 1;
        state.change(client, |places| {
            places.insert(number, Place { since: Instant::now(), _dropped: sender });
        });
        Some(Ticket { pending: Arc::clone(self), client, number, dropped })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn count(&self, client: IpAddr) -> usize {
        self.clients.get(&client).map_or(0, BTreeMap::len)
    }

    /// Drops the answer that has to make room for one of this client. `None` if there is none.
    fn make_room(&mut self, client: IpAddr) -> Option<()> {
        let count = self.count(client);
        let &(most, _, heaviest) = self.by_count.last()?;
        // Equal clients do not drop each other's answers, but for one that has nothing yet. The only answer of a
        // client is spared for a while: forged sources have one each.
        let spared = most == 1 && self.clients.get(&heaviest)?.first_key_value()?.1.since.elapsed() < SPARED;
        if (count == 0 || most > count + 1) && !spared {
            self.change(heaviest, |places| drop(places.pop_first()));
            return Some(());
        }
        if count == 0 {
            return None;
        }
        let (_, oldest) = self.clients.get(&client)?.first_key_value()?;
        if oldest.since.elapsed() < SPARED {
            return None;
        }
        self.change(client, |places| drop(places.pop_first()));
        Some(())
    }

    /// Changes the answers of a client, and what follows from them.
    fn change(&mut self, client: IpAddr, change: impl FnOnce(&mut BTreeMap<u64, Place>)) {
        let places = self.clients.entry(client).or_default();
        if let Some((oldest, _)) = places.first_key_value() {
            self.by_count.remove(&(places.len(), Reverse(*oldest), client));
        }
        self.total -= places.len();
        change(places);
        self.total += places.len();
        if let Some((oldest, _)) = places.first_key_value() {
            self.by_count.insert((places.len(), Reverse(*oldest), client));
        } else {
            self.clients.remove(&client);
        }
    }
}

/// What counts as one client: a host of IPv6 has as many addresses as it likes.
fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address @ IpAddr::V4(_) => address,
    }
}

impl Ticket {
    /// Returns when the answer has to make room for others.
    pub(super) async fn dropped(&mut self) {
        // An error means that the other side was dropped, which ends the wait too.
        let _ = (&mut self.dropped).await;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.pending.state();
        state.change(self.client, |places| drop(places.remove(&self.number)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(number).into()
    }

    impl Ticket {
        fn is_dropped(&mut self) -> bool {
            matches!(self.dropped.try_recv(), Err(oneshot::error::TryRecvError::Closed))
        }
    }

    /// Takes places until the client gets no more of them.
    fn fill(pending: &Arc<Pending>, client: IpAddr) -> Vec<Ticket> {
        std::iter::from_fn(|| pending.admit(client)).take(2 * CAPACITY).collect()
    }

    fn waiting(tickets: &mut [Ticket]) -> usize {
        tickets.iter_mut().map(Ticket::is_dropped).filter(|is_dropped| !is_dropped).count()
    }

    #[tokio::test(start_paused = true)]
    async fn clients_share_the_places_evenly() {
        let pending = Arc::new(Pending::default());
        let mut one = fill(&pending, address(1));
        assert_eq!(one.len(), CAPACITY / 2, "alone");
        let mut two = fill(&pending, address(2));
        // As many as are left, and then places of the first one until both have as many.
        assert!(waiting(&mut two).abs_diff(waiting(&mut one)) <= 1);
        assert!(waiting(&mut two) > CAPACITY / 3);
        let dropped: Vec<_> = one.iter_mut().map(Ticket::is_dropped).collect();
        assert!(dropped.is_sorted_by(|earlier, later| earlier >= later), "the oldest ones are dropped");
        // A client with few answers keeps them, whatever others do.
        let mut three = [pending.admit(address(3)).unwrap(), pending.admit(address(3)).unwrap()];
        let _others: Vec<_> =
            [1, 2, 4, 5].into_iter().map(|number| fill(&pending, address(number))).collect();
        assert_eq!(waiting(&mut three), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn many_clients_never_have_more_than_the_capacity() {
        let pending = Arc::new(Pending::default());
        let (full, count) = (CAPACITY as u32, CAPACITY as u32 + 10);
        let mut all: Vec<_> = (0..full).map(|number| pending.admit(address(number)).unwrap()).collect();
        // Addresses that come and go do not take the places of others at once.
        assert!(pending.admit(address(full)).is_none());
        assert!(pending.admit(address(20)).is_none(), "it has as many as any other");
        tokio::time::advance(SPARED).await;
        all.extend((full..count).map(|number| pending.admit(address(number)).unwrap()));
        assert_eq!(waiting(&mut all), CAPACITY);
        assert_eq!(waiting(&mut all[..10]), 0, "the oldest ones are dropped");
        drop(all);
        let state = pending.state();
        assert_eq!((state.total, state.clients.len(), state.by_count.len()), (0, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_drops_its_own_answers_when_they_have_waited_for_a_while() {
        let pending = Arc::new(Pending::default());
        let mut tickets = fill(&pending, address(1));
        tokio::time::advance(SPARED).await;
        let newest = fill(&pending, address(1));
        assert_eq!(newest.len(), tickets.len(), "as many as have waited, and then none of these");
        assert_eq!(waiting(&mut tickets), 0);
        drop(newest);
        assert!(pending.admit(address(1)).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn an_ipv6_network_is_one_client() {
        let pending = Arc::new(Pending::default());
        let _full = fill(&pending, "2001:db8::1".parse().unwrap());
        assert!(pending.admit("2001:db8::2".parse().unwrap()).is_none());
        assert!(pending.admit("2001:db8:0:1::1".parse().unwrap()).is_some());
        let _full = fill(&pending, "::ffff:192.0.2.1".parse().unwrap());
        assert!(pending.admit("192.0.2.1".parse().unwrap()).is_none(), "one address in two forms");
        assert!(pending.admit("::ffff:192.0.2.2".parse().unwrap()).is_some());
    }
}
