//! The loop that accepts connections.

use std::{io, pin::pin, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout_at},
};

use crate::{
    connections::{Connection, Connections},
    drain::Draining,
};

/// How long accepting pauses after an error that is likely to come again at once, such as a lack of file
/// descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// `EMFILE` and `ENFILE`: the process or the system has no file descriptor left.
const NO_DESCRIPTORS: [i32; 2] = [24, 23];

/// Where connections come from.
pub trait Listener: Send + Sync {
    /// A connection.
    type Stream: Send + 'static;

    /// The next connection. Cancel safe.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<TcpStream> {
        let (stream, _) = Self::accept(self).await?;
        // Answers are written whole, and at once.
        match stream.set_nodelay(true) {
            Ok(()) => Ok(stream),
            Err(error) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, error)),
        }
    }
}

impl Connections {
    /// Accepts and serves connections until draining begins. Then stops listening, and returns once all
    /// connections have ended. The deadline closes those that are still open.
    ///
    /// `serve` serves one stream; once draining has begun it should end soon. It is cancelled when the
    /// connection is evicted. Dropping the future closes the listener and its connections.
    pub async fn accept<L, S, F>(&self, listener: L, mut draining: Draining, serve: S)
    where
        L: Listener,
        S: Fn(L::Stream, Connection, Draining) -> F,
        F: Future<Output = ()> + Send + 'static,
    {
        let mut tasks = JoinSet::new();
        let mut failing = false;
        let deadline = loop {
            let accepted = tokio::select! {
                biased;
                deadline = draining.begun() => break deadline,
                Some(_) = tasks.join_next() => continue,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok(stream) => {
                    failing = false;
                    let slot = self.open();
                    let serving = serve(stream, slot.0.clone(), draining.clone());
                    tasks.spawn(async move {
                        tokio::select! {
                            biased;
                            () = slot.0.evicted() => {}
                            () = pin!(serving) => {}
                        }
                    });
                }
                Err(error) if is_of_one_connection(&error) => {
                    tracing::debug!(%error, "a connection ended before it was accepted");
                }
                Err(error) => {
                    // One line until it succeeds again, not one for each attempt.
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "cannot accept connections, trying again every {PAUSE:?}");
                    }
                    if error.raw_os_error().is_some_and(|code| NO_DESCRIPTORS.contains(&code)) {
                        self.evict_idlest();
                    }
                    tokio::select! {
                        biased;
                        deadline = draining.begun() => break deadline,
                        () = sleep(PAUSE) => {}
                    }
                }
            }
        };
        drop(listener);
        let ended = async { while tasks.join_next().await.is_some() {} };
        if timeout_at(deadline, ended).await.is_err() {
            tracing::debug!(connections = tasks.len(), "the time to drain is over: closing connections");
            tasks.shutdown().await;
        }
    }
}

/// Whether the error concerns the connection only, and not the next ones.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::NotConnected
    )
}
