//! Limits how many responses are pending, and shares the places among clients.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::oneshot, time::Instant};

/// The places for pending responses of a server, over all of its sockets and connections.
///
/// A client is an IPv4 address or an IPv6 network of 64 bits. It may take as many places as are free: half of them while
/// it is alone, a third beside another busy client, and so on. One more place is taken from the client with the most, or,
/// if that is the client itself, from its own oldest response. [`SPARED`] protects a client's only response from others,
/// and its responses from its own newer ones: if the oldest is younger, the new response is refused.
#[derive(Debug, Default)]
pub(super) struct PendingLimit(Mutex<State>);

/// The number of places.
const CAPACITY: usize = 4096;

/// How long a place is protected from newer responses of its own client, and from all others if it is the only one of its
/// client. It limits the rate of upstream queries that one client causes, and keeps forged sources from displacing
/// everyone.
const SPARED: Duration = Duration::from_millis(200);

#[derive(Debug, Default)]
struct State {
    /// The places of each client, the oldest first. Clients without places are not stored.
    clients: HashMap<IpAddr, BTreeMap<u64, Place>>,
    /// Clients by number of places. Among equals, the one with the oldest place is last.
    by_count: BTreeSet<(usize, Reverse<u64>, IpAddr)>,
    total: usize,
    /// The number of the next place.
    next: u64,
}

/// The place of a pending response. Dropping it revokes the permit.
#[derive(Debug)]
struct Place {
    since: Instant,
    _revoked: oneshot::Sender<()>,
}

/// The permission to wait. Dropping it frees its place.
#[derive(Debug)]
pub(super) struct Permit {
    limit: Arc<PendingLimit>,
    client: IpAddr,
    number: u64,
    revoked: oneshot::Receiver<()>,
}

impl PendingLimit {
    /// Takes a place for a response to a client at this address. `None` if the client has too many.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Permit> {
        let client = client(address);
        let mut state = self.state();
        if state.count(client) >= CAPACITY - state.total {
            state.make_room(client)?;
        }
        let (sender, revoked) = oneshot::channel();
        let number = state.next;
        state.next += 1;
        state.change(client, |places| {
            places.insert(number, Place { since: Instant::now(), _revoked: sender });
        });
        Some(Permit { limit: Arc::clone(self), client, number, revoked })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn count(&self, client: IpAddr) -> usize {
        self.clients.get(&client).map_or(0, BTreeMap::len)
    }

    /// Frees a place for a response to this client. `None` if every place is protected.
    fn make_room(&mut self, client: IpAddr) -> Option<()> {
        let count = self.count(client);
        let &(most, _, heaviest) = self.by_count.last()?;
        // A client does not displace one with as few places, except to get its first. A client's only place is protected
        // for a while, because forged sources have one each.
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

    /// Changes the places of a client, and updates order and total.
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

/// The client of an address. An IPv6 host can use any address of its /64 network.
fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address @ IpAddr::V4(_) => address,
    }
}

impl Permit {
    /// Returns when the place is taken by another response.
    pub(super) async fn revoked(&mut self) {
        // Dropping the sender revokes the permit; it never sends.
        let _ = (&mut self.revoked).await;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.limit.state();
        state.change(self.client, |places| drop(places.remove(&self.number)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(number).into()
    }

    impl Permit {
        fn is_revoked(&mut self) -> bool {
            matches!(self.revoked.try_recv(), Err(oneshot::error::TryRecvError::Closed))
        }
    }

    /// Takes places until the client gets no more.
    fn fill(limit: &Arc<PendingLimit>, client: IpAddr) -> Vec<Permit> {
        std::iter::from_fn(|| limit.admit(client)).take(2 * CAPACITY).collect()
    }

    fn valid(permits: &mut [Permit]) -> usize {
        permits.iter_mut().map(Permit::is_revoked).filter(|is_revoked| !is_revoked).count()
    }

    #[tokio::test(start_paused = true)]
    async fn clients_share_the_places_evenly() {
        let limit = Arc::new(PendingLimit::default());
        let mut one = fill(&limit, address(1));
        assert_eq!(one.len(), CAPACITY / 2, "alone");
        let mut two = fill(&limit, address(2));
        // The free places, and then places of the first client until both have the same number.
        assert!(valid(&mut two).abs_diff(valid(&mut one)) <= 1);
        assert!(valid(&mut two) > CAPACITY / 3);
        let revoked: Vec<_> = one.iter_mut().map(Permit::is_revoked).collect();
        assert!(revoked.is_sorted_by(|earlier, later| earlier >= later), "the oldest give way");
        // A client with few places keeps them.
        let mut three = [limit.admit(address(3)).unwrap(), limit.admit(address(3)).unwrap()];
        let _others: Vec<_> = [1, 2, 4, 5].into_iter().map(|number| fill(&limit, address(number))).collect();
        assert_eq!(valid(&mut three), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn many_clients_do_not_exceed_the_capacity() {
        let limit = Arc::new(PendingLimit::default());
        let (full, count) = (CAPACITY as u32, CAPACITY as u32 + 10);
        let mut all: Vec<_> = (0..full).map(|number| limit.admit(address(number)).unwrap()).collect();
        // A first place does not displace another client's only place at once.
        assert!(limit.admit(address(full)).is_none());
        assert!(limit.admit(address(20)).is_none(), "all clients have one place");
        tokio::time::advance(SPARED).await;
        all.extend((full..count).map(|number| limit.admit(address(number)).unwrap()));
        assert_eq!(valid(&mut all), CAPACITY);
        assert_eq!(valid(&mut all[..10]), 0, "the oldest give way");
        drop(all);
        let state = limit.state();
        assert_eq!((state.total, state.clients.len(), state.by_count.len()), (0, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_displaces_its_own_responses_after_a_while() {
        let limit = Arc::new(PendingLimit::default());
        let mut permits = fill(&limit, address(1));
        tokio::time::advance(SPARED).await;
        let newest = fill(&limit, address(1));
        assert_eq!(newest.len(), permits.len(), "each displaces an old one; none displaces a new one");
        assert_eq!(valid(&mut permits), 0);
        drop(newest);
        assert!(limit.admit(address(1)).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn an_ipv6_network_is_one_client() {
        let limit = Arc::new(PendingLimit::default());
        let _full = fill(&limit, "2001:db8::1".parse().unwrap());
        assert!(limit.admit("2001:db8::2".parse().unwrap()).is_none());
        assert!(limit.admit("2001:db8:0:1::1".parse().unwrap()).is_some());
        let _full = fill(&limit, "::ffff:192.0.2.1".parse().unwrap());
        assert!(limit.admit("192.0.2.1".parse().unwrap()).is_none(), "one address in two forms");
        assert!(limit.admit("::ffff:192.0.2.2".parse().unwrap()).is_some());
    }
}
