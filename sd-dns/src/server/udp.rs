use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::UdpSocket,
    sync::watch,
    task::{JoinSet, yield_now},
    time::{sleep, timeout},
};

use super::{DRAIN_PAUSE, DRAIN_TURNS, complete};
use crate::{
    answerer::{Answerer, Begun, Reply},
    wire::{Transport, answer::Waiting},
};

/// After an error of the socket that may well come again at once.
const PAUSE: Duration = Duration::from_millis(10);

/// Answers the datagrams of one socket until it is told to stop, and then what is waiting.
pub(super) async fn serve(socket: UdpSocket, answerer: Answerer, mut stopped: watch::Receiver<bool>) {
    let socket = Arc::new(socket);
    let mut batch = Batch::new();
    loop {
        let ready = tokio::select! {
            ready = socket.readable() => ready,
            _ = stopped.wait_for(|stopped| *stopped) => break,
        };
        let done = match ready {
            Ok(()) => batch.answer(&socket, &answerer).await,
            Err(error) => Err(error),
        };
        match done {
            Ok(Progress::Full) => yield_now().await,
            Ok(Progress::Empty) => {}
            Err(error) => {
                tracing::debug!(%error, "cannot receive");
                sleep(PAUSE).await;
            }
        }
    }
    for _ in 0..DRAIN_TURNS {
        if !matches!(timeout(DRAIN_PAUSE, socket.readable()).await, Ok(Ok(()))) {
            break;
        }
        if batch.answer(&socket, &answerer).await.is_err() {
            break;
        }
    }
    while batch.waiting.join_next().await.is_some() {}
}

/// Whether more may be waiting.
enum Progress {
    /// All that was waiting is answered.
    Empty,
    /// As much as a batch holds is answered.
    Full,
}

/// Receives, answers and sends many datagrams in a turn. This is all that touches the socket.
struct Batch {
    received: Box<[u8]>,
    answer: Vec<u8>,
    /// Answers that wait for the target of an alias, each in a task of its own.
    waiting: JoinSet<()>,
}

impl Batch {
    const SIZE: usize = 64;
    /// The most answers that wait.
    const MAX_WAITING: usize = 256;

    fn new() -> Self {
        let received = vec![0; usize::from(u16::MAX)].into();
        Self { received, answer: Vec::with_capacity(2048), waiting: JoinSet::new() }
    }

    async fn answer(&mut self, socket: &Arc<UdpSocket>, answerer: &Answerer) -> io::Result<Progress> {
        while self.waiting.try_join_next().is_some() {}
        for _ in 0..Self::SIZE {
            let (len, client) = match socket.try_recv_from(&mut self.received) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Progress::Empty),
                Err(error) => return Err(error),
            };
            self.answer.clear();
            match answerer.begin(&self.received[..len], Transport::Udp, &mut self.answer) {
                Begun::Done(Reply::Nothing) => continue,
                Begun::Done(Reply::Written) => {}
                Begun::Waits(waiting) if self.waiting.len() < Self::MAX_WAITING => {
                    let (socket, answerer) = (Arc::clone(socket), answerer.clone());
                    self.waiting.spawn(answer_later(socket, client, answerer, waiting));
                    continue;
                }
                Begun::Waits(waiting) => waiting.fail(&mut self.answer),
            }
            let sent = match socket.try_send_to(&self.answer, client) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    socket.send_to(&self.answer, client).await
                }
                sent => sent,
            };
            tell(sent, client);
        }
        Ok(Progress::Full)
    }
}

async fn answer_later(socket: Arc<UdpSocket>, client: SocketAddr, answerer: Answerer, waiting: Box<Waiting>) {
    let mut answer = Vec::new();
    complete(&answerer, &waiting, &mut answer).await;
    tell(socket.send_to(&answer, client).await, client);
}

/// If the client is out of reach, that is its own affair.
fn tell(sent: io::Result<usize>, client: SocketAddr) {
    if let Err(error) = sent {
        tracing::debug!(%error, %client, "cannot answer");
    }
}
