use std::{io, time::Duration};

use tokio::{
    net::UdpSocket,
    sync::watch,
    task::yield_now,
    time::{sleep, timeout},
};

use super::{DRAIN_PAUSE, DRAIN_TURNS};
use crate::{
    answerer::{Answerer, Reply},
    wire::Transport,
};

/// After an error of the socket that may well come again at once.
const PAUSE: Duration = Duration::from_millis(10);

/// Answers the datagrams of one socket until it is told to stop, and then what is waiting.
pub(super) async fn serve(socket: UdpSocket, answerer: Answerer, mut stopped: watch::Receiver<bool>) {
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
}

impl Batch {
    const SIZE: usize = 64;

    fn new() -> Self {
        Self { received: vec![0; usize::from(u16::MAX)].into(), answer: Vec::with_capacity(2048) }
    }

    async fn answer(&mut self, socket: &UdpSocket, answerer: &Answerer) -> io::Result<Progress> {
        for _ in 0..Self::SIZE {
            let (len, client) = match socket.try_recv_from(&mut self.received) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Progress::Empty),
                Err(error) => return Err(error),
            };
            self.answer.clear();
            if answerer.answer(&self.received[..len], Transport::Udp, &mut self.answer) == Reply::Nothing {
                continue;
            }
            let sent = match socket.try_send_to(&self.answer, client) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    socket.send_to(&self.answer, client).await
                }
                sent => sent,
            };
            if let Err(error) = sent {
                // The client is out of reach, which is its own affair.
                tracing::debug!(%error, %client, "cannot answer");
            }
        }
        Ok(Progress::Full)
    }
}
