//! Many targets in one thread: a listener for each, a hundred on an address.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    runtime::Builder,
    time::sleep,
};

use crate::{Outcome, answer};

const PER_ADDRESS: usize = 100;
const BACKLOG: u32 = 128;
const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";

/// `living` targets answer, `silent` ones accept and say nothing, `full` ones do not accept, so that their backlog is soon full.
pub(crate) fn run(living: usize, silent: usize, full: usize) -> Outcome {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut waiting = Vec::new();
        for number in 0..living + silent + full {
            let backlog = if number < living + silent { BACKLOG } else { 0 };
            let listener = listen(number / PER_ADDRESS, backlog)?;
            answer(&listener.local_addr()?.to_string())?;
            if number < living {
                tokio::spawn(serve(listener));
            } else if number < living + silent {
                tokio::spawn(keep_silent(listener));
            } else {
                waiting.push(listener);
            }
        }
        answer("")?;
        let mut input = tokio::task::spawn_blocking(|| io::read_to_string(io::stdin()));
        (&mut input).await??;
        drop(waiting);
        Ok(())
    })
}

fn listen(number: usize, backlog: u32) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    let [.., high, low] = (number as u32).to_be_bytes();
    socket.bind(SocketAddr::from((Ipv4Addr::new(127, 1, high, 1 + low), 0)))?;
    socket.listen(backlog)
}

async fn serve(listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => _ = serve_one(stream).await,
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn serve_one(mut stream: TcpStream) -> io::Result<()> {
    let mut request = [0; 1024];
    if stream.read(&mut request).await? > 0 {
        stream.write_all(ANSWER).await?;
    }
    Ok(())
}

async fn keep_silent(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut request = [0; 1024];
            while stream.read(&mut request).await.is_ok_and(|count| count > 0) {}
        });
    }
}
