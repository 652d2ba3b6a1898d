//! Limits, eviction, errors and draining. Streams are numbers, and the clock is paused.

#![allow(clippy::unwrap_used, reason = "a test ends at what it does not expect")]

use std::{
    collections::VecDeque,
    future::pending,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    sync::mpsc,
    task::{JoinHandle, yield_now},
    time::{Instant, sleep},
};

use super::*;

/// A listener that accepts the given connections, then none.
struct Script(Mutex<VecDeque<io::Result<u32>>>);

impl Listener for Script {
    type Stream = u32;

    async fn accept(&self) -> io::Result<u32> {
        let next = self.0.lock().unwrap().pop_front();
        match next {
            Some(next) => next,
            None => pending().await,
        }
    }
}

/// The start and end of a connection: the stream, and the time in milliseconds since the start.
#[derive(Debug, PartialEq, Eq)]
enum Event {
    Begun(u32, u128),
    Ended(u32, u128),
}

/// Reports the end of a connection when it is dropped.
struct Ending(u32, Instant, mpsc::UnboundedSender<Event>);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.2.send(Event::Ended(self.0, self.1.elapsed().as_millis()));
    }
}

struct Served {
    events: mpsc::UnboundedReceiver<Event>,
    open: Arc<Mutex<Vec<Connection>>>,
    drain: Drain,
    task: JoinHandle<()>,
}

/// Serves streams. When they drain, even ones end at once and odd ones never.
fn serve(connections: &Connections, script: impl IntoIterator<Item = io::Result<u32>>) -> Served {
    let (report, events) = mpsc::unbounded_channel();
    let (drain, open, start) = (Drain::new(), Arc::<Mutex<Vec<_>>>::default(), Instant::now());
    let (connections, draining, all) = (connections.clone(), drain.signal(), Arc::clone(&open));
    let script = Script(Mutex::new(script.into_iter().collect()));
    let task = tokio::spawn(async move {
        let serve = move |stream, connection: Connection, mut draining: Draining| {
            report.send(Event::Begun(stream, start.elapsed().as_millis())).unwrap();
            all.lock().unwrap().push(connection);
            let ending = Ending(stream, start, report.clone());
            async move {
                draining.begun().await;
                if stream % 2 == 1 {
                    pending::<()>().await;
                }
                drop(ending);
            }
        };
        connections.accept(script, draining, serve).await;
    });
    Served { events, open, drain, task }
}

impl Served {
    async fn next(&mut self, count: usize) -> Vec<Event> {
        let mut events = Vec::new();
        for _ in 0..count {
            events.push(self.events.recv().await.unwrap());
        }
        events
    }

    /// Asserts that nothing happens although all tasks have run.
    async fn nothing(&mut self) {
        for _ in 0..10 {
            yield_now().await;
        }
        assert!(self.events.try_recv().is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn one_connection_too_many_evicts_the_idlest() {
    let connections = Connections::new(2, usize::MAX);
    let mut served = serve(&connections, [Ok(0), Ok(2)]);
    served.next(2).await;
    // Now the second one is the idlest.
    served.open.lock().unwrap()[0].used();
    let mut more = serve(&connections, [Ok(4)]);
    assert_eq!(more.next(1).await, [Event::Begun(4, 0)]);
    assert_eq!(served.next(1).await, [Event::Ended(2, 0)]);
    served.nothing().await;
    more.nothing().await;
    assert_eq!(connections.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_has_ended_frees_its_place() {
    let connections = Connections::new(2, usize::MAX);
    let mut served = serve(&connections, [Ok(0), Ok(2)]);
    served.next(2).await;
    served.drain.begin(Instant::now());
    served.task.await.unwrap();
    assert_eq!(connections.count(), 0);
    let mut more = serve(&connections, [Ok(4), Ok(6)]);
    more.next(2).await;
    more.nothing().await;
    assert_eq!(connections.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn busy_connections_are_not_evicted_and_one_more_is_beyond_the_limit() {
    let connections = Connections::new(2, usize::MAX);
    let mut served = serve(&connections, [Ok(0), Ok(2)]);
    served.next(2).await;
    let busy: Vec<_> = served.open.lock().unwrap().iter().map(Connection::busy).collect();
    let mut more = serve(&connections, (0..100).map(|stream| Ok(2 * stream + 100)));
    // The number beyond the limit is limited, too; there the idlest is evicted.
    let events = more.next(136).await;
    let (begun, ended): (Vec<_>, Vec<_>) =
        events.into_iter().partition(|event| matches!(event, Event::Begun(..)));
    assert_eq!(begun.len(), 100);
    let first: Vec<_> = (0..36).map(|stream| Event::Ended(2 * stream + 100, 0)).collect();
    assert_eq!(ended, first);
    more.nothing().await;
    assert!(more.open.lock().unwrap().iter().all(Connection::is_beyond_limit));
    served.nothing().await;
    drop(busy);
    let mut last = serve(&connections, [Ok(4)]);
    last.next(1).await;
    assert!(!last.open.lock().unwrap()[0].is_beyond_limit());
    assert!(matches!(served.next(1).await[..], [Event::Ended(..)]));
}

#[tokio::test(start_paused = true)]
async fn an_error_of_one_connection_does_not_pause_accepting() {
    let aborted = || Err(io::ErrorKind::ConnectionAborted.into());
    let script = [aborted(), aborted(), Ok(0), Err(io::ErrorKind::ConnectionReset.into()), Ok(2)];
    let mut served = serve(&Connections::new(9, usize::MAX), script);
    assert_eq!(served.next(2).await, [Event::Begun(0, 0), Event::Begun(2, 0)]);
}

#[tokio::test(start_paused = true)]
async fn without_descriptors_accepting_pauses_and_the_idlest_is_closed() {
    for code in [23, 24] {
        let none = || Err(io::Error::from_raw_os_error(code));
        let mut served = serve(&Connections::new(9, usize::MAX), [Ok(0), Ok(2), none(), none(), Ok(4)]);
        let events = served.next(5).await;
        let [first, second, ended, other, last] = &events[..] else { panic!() };
        assert_eq!([first, second, ended], [&Event::Begun(0, 0), &Event::Begun(2, 0), &Event::Ended(0, 0)]);
        assert_eq!([other, last], [&Event::Ended(2, 50), &Event::Begun(4, 100)]);
    }
    // Other errors do not close connections.
    let script = [Ok(0), Err(io::Error::other("strange")), Ok(2)];
    let mut served = serve(&Connections::new(9, usize::MAX), script);
    assert_eq!(served.next(2).await, [Event::Begun(0, 0), Event::Begun(2, 50)]);
}

#[tokio::test(start_paused = true)]
async fn draining_waits_for_connections_until_the_deadline() {
    let mut served = serve(&Connections::new(9, usize::MAX), [Ok(0), Ok(1)]);
    served.next(2).await;
    sleep(Duration::from_secs(1)).await;
    served.drain.begin(Instant::now() + Duration::from_secs(8));
    served.task.await.unwrap();
    let ended = [served.events.recv().await.unwrap(), served.events.recv().await.unwrap()];
    assert_eq!(ended, [Event::Ended(0, 1000), Event::Ended(1, 9000)]);
}

#[tokio::test(start_paused = true)]
async fn draining_ends_at_once_without_connections() {
    for script in [vec![], vec![Err(io::Error::from_raw_os_error(24))]] {
        let served = serve(&Connections::new(9, usize::MAX), script);
        yield_now().await;
        let start = Instant::now();
        served.drain.begin(start + Duration::from_secs(8));
        served.task.await.unwrap();
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_the_future_closes_its_connections() {
    let mut served = serve(&Connections::new(9, usize::MAX), [Ok(0), Ok(1)]);
    served.next(2).await;
    served.task.abort();
    assert!(served.task.await.unwrap_err().is_cancelled());
    let mut ended = [served.events.recv().await.unwrap(), served.events.recv().await.unwrap()];
    ended.sort_by_key(|event| matches!(event, Event::Ended(1, _)));
    assert_eq!(ended, [Event::Ended(0, 0), Event::Ended(1, 0)]);
}

#[tokio::test(start_paused = true)]
async fn too_many_octets_close_the_connection_that_holds_most() {
    let connections = Connections::new(9, 100);
    let mut served = serve(&connections, [Ok(0), Ok(2), Ok(4)]);
    served.next(3).await;
    let open = served.open.lock().unwrap().clone();
    let mut held: Vec<_> = [10, 50, 30].into_iter().zip(&open).map(|(octets, of)| of.hold(octets)).collect();
    assert_eq!((connections.held(), open[1].held()), (90, 50));
    let more = open[0].hold(10);
    served.nothing().await;
    let most = open[0].hold(1);
    assert_eq!(served.next(1).await, [Event::Ended(2, 0)]);
    assert_eq!(connections.held(), 51);
    // The octets of a closed connection are neither counted again nor subtracted twice.
    let late = open[1].hold(1000);
    held[1].shrink_to(5);
    drop((late, held, more, most));
    assert_eq!(connections.held(), 0);
    served.nothing().await;
    // Of two that hold the same, the idlest is closed.
    let _first = open[0].hold(60);
    open[0].used();
    let _second = open[2].hold(60);
    assert_eq!(served.next(1).await, [Event::Ended(4, 0)]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_waits_until_it_may_hold_more() {
    let connections = Connections::new(9, usize::MAX);
    let (connection, _place) = connections.connect();
    // A connection that holds nothing may hold more than the limit.
    let mut first = connection.try_hold(150, 100).unwrap();
    assert!(connection.try_hold(1, 100).is_none());
    let waiting = tokio::spawn({
        let connection = connection.clone();
        async move { connection.hold_when_free(40, 100).await.octets() }
    });
    yield_now().await;
    first.shrink_to(61);
    for _ in 0..3 {
        yield_now().await;
    }
    assert!(!waiting.is_finished());
    let part = first.split(1);
    assert_eq!((first.octets(), part.octets(), connection.held()), (60, 1, 61));
    drop(part);
    assert_eq!(waiting.await.unwrap(), 40);
    // Octets beyond those held are counted in addition.
    let all = first.split(70);
    assert_eq!((first.octets(), all.octets(), connection.held()), (0, 70, 70));
}
