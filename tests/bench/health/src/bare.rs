//! A loop of connect, request, read on the runtime of `sd-server`: what a probe cannot do without.
//!
//! Answers each line of its input with the number of answers so far, and how many requests failed.

use std::{
    io::{self, BufRead},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep_until},
};

use crate::{Outcome, answer, runtime};

/// How many requests are under way at most.
const LOOPS: usize = 64;
/// As long as that of a health check.
const REQUEST: &[u8] = b"GET /health HTTP/1.1\r\nHost: s00.probed.local:32768\r\nConnection: close\r\nUser-Agent: \
    Amazon-Route53-Health-Check-Service (ref 00000000-0000-0000-0000-000000000000; report http://amzn.to/1vsZADi)\r\n\
    Accept: */*\r\nAccept-Encoding: *\r\n\r\n";

pub(crate) fn run(addresses: &[SocketAddr], rate: f64) -> Outcome {
    let runtime = runtime("bare")?;
    let counts = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
    for first in 0..LOOPS {
        let mine = addresses.iter().skip(first).step_by(LOOPS).copied().collect();
        let pause = Duration::from_secs_f64(LOOPS as f64 / rate);
        runtime.spawn(ask_all(mine, pause, pause.mul_f64(first as f64 / LOOPS as f64), Arc::clone(&counts)));
    }
    for line in io::stdin().lock().lines() {
        line?;
        answer(&format!("{} {}", counts[0].load(Relaxed), counts[1].load(Relaxed)))?;
    }
    Ok(())
}

async fn ask_all(addresses: Vec<SocketAddr>, pause: Duration, offset: Duration, counts: Arc<[AtomicU64; 2]>) {
    let mut next = Instant::now() + offset;
    for address in addresses.iter().cycle() {
        sleep_until(next).await;
        next += pause;
        let failed = ask(*address).await.is_err();
        counts[usize::from(failed)].fetch_add(1, Relaxed);
    }
}

async fn ask(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(REQUEST).await?;
    let mut response = [0; 2048];
    match stream.read(&mut response).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}
