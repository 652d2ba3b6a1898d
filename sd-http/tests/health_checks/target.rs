//! Targets that do what targets do.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What a target does with a connection.
#[derive(Clone, Debug)]
pub(crate) enum Behaviour {
    /// Reads the request, sends these octets, and closes.
    Answer(Vec<u8>),
    /// Reads the request, sends these octets, and leaves the connection open.
    AnswerAndStall(Vec<u8>),
    /// Reads the request, sends these octets, and then octets without end.
    AnswerWithoutEnd(Vec<u8>),
    /// Closes at once.
    Close,
}

impl Behaviour {
    pub(crate) fn status(line: &str) -> Self {
        Self::Answer(format!("{line}\r\nContent-Length: 2\r\n\r\nok").into_bytes())
    }
}

/// A listening socket that behaves, and counts.
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicU64>,
    /// Connections at which the target waits for the prober to act.
    stalled: Arc<AtomicU64>,
    request: Arc<std::sync::Mutex<String>>,
    task: JoinHandle<()>,
}

impl Drop for Target {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Target {
    pub(crate) async fn new(behaviour: Behaviour) -> Self {
        Self::at("127.0.0.1:0", behaviour).await
    }

    pub(crate) async fn at(address: &str, behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, stalled, request) = (Arc::default(), Arc::default(), Arc::default());
        let task = tokio::spawn(serve(
            listener,
            behaviour,
            Arc::clone(&connections),
            Arc::clone(&stalled),
            Arc::clone(&request),
        ));
        Self { address, connections, stalled, request, task }
    }

    /// How many connections were accepted.
    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(SeqCst)
    }

    /// How many connections have stalled.
    pub(crate) fn stalled(&self) -> u64 {
        self.stalled.load(SeqCst)
    }

    /// The last request.
    pub(crate) fn request(&self) -> String {
        self.request.lock().unwrap().clone()
    }

    /// Ends the target. Its port refuses connections.
    pub(crate) async fn end(mut self) -> SocketAddr {
        self.task.abort();
        let _ = (&mut self.task).await;
        self.address
    }
}

async fn serve(
    listener: TcpListener,
    behaviour: Behaviour,
    connections: Arc<AtomicU64>,
    stalled: Arc<AtomicU64>,
    request: Arc<std::sync::Mutex<String>>,
) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        connections.fetch_add(1, SeqCst);
        let (behaviour, stalled, request) = (behaviour.clone(), Arc::clone(&stalled), Arc::clone(&request));
        tokio::spawn(async move { behave(stream, &behaviour, &stalled, &request).await });
    }
}

async fn behave(
    mut stream: TcpStream,
    behaviour: &Behaviour,
    stalled: &AtomicU64,
    request: &std::sync::Mutex<String>,
) {
    let (answer, then) = match behaviour {
        Behaviour::Close => return,
        Behaviour::Answer(answer) => (answer, Then::Close),
        Behaviour::AnswerAndStall(answer) => (answer, Then::Stall),
        Behaviour::AnswerWithoutEnd(answer) => (answer, Then::GoOn),
    };
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        let mut buffer = [0; 1024];
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => read.extend_from_slice(&buffer[..count]),
        }
    }
    *request.lock().unwrap() = String::from_utf8(read).unwrap();
    if stream.write_all(answer).await.is_err() {
        return;
    }
    match then {
        Then::Close => {}
        Then::Stall => {
            stalled.fetch_add(1, SeqCst);
            // Until the prober leaves.
            let _ = stream.read(&mut [0; 1]).await;
        }
        Then::GoOn => while stream.write_all(&[b'x'; 1024]).await.is_ok() {},
    }
}

enum Then {
    Close,
    Stall,
    GoOn,
}
