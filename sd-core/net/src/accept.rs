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

/// How long accepting pauses after an error that is likely to repeat, such as a lack of file descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// `EMFILE` and `ENFILE`: the process or the system has no file descriptors left.
const NO_DESCRIPTORS: [i32; 2] = [24, 23];

/// A source of connections: TCP, or anything else in tests. Called from one task, one call at a time.
pub trait Listener: Send + Sync {
    /// The stream of a connection.
    type Stream: Send + 'static;

    /// Waits for the next connection. Cancel safe: no connection is lost when the future is dropped.
    ///
    /// # Errors
    /// `ConnectionAborted`, `ConnectionRefused`, `ConnectionReset`, `Interrupted` and `NotConnected` concern one connection.
    /// After any other error accepting pauses.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<TcpStream> {
        let (stream, _) = Self::accept(self).await?;
        // Responses are written whole, so Nagle's algorithm would only delay them.
        match stream.set_nodelay(true) {
            Ok(()) => Ok(stream),
            Err(error) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, error)),
        }
    }
}

impl Connections {
    /// Accepts and serves connections until draining begins. Then stops listening, and returns when all connections have
    /// ended. At the deadline it closes the connections that are still open.
    ///
    /// `serve` serves one stream in a task of its own. Once draining has begun it should end soon. It is cancelled when the
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
                    // Log once until accepting succeeds again, not for each attempt.
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "cannot accept connections; retrying every {PAUSE:?}");
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
            tracing::debug!(connections = tasks.len(), "draining took too long: closing connections");
            tasks.shutdown().await;
        }
    }
}

/// Whether the error concerns one connection only, not the next ones.
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
