//! The DNS door with one UDP worker on the thread `dns`, and registrations on the thread `writer`.

use std::{
    error::Error,
    io::{self, BufRead},
    net::Ipv4Addr,
    num::NonZero,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use sd_dns::{Answerer, DnsServer, Transport};
use tokio::runtime::Builder;

use crate::names::Names;

pub(crate) fn serve(count: usize) -> Result<(), Box<dyn Error>> {
    let names = Names::new(count)?;
    let builder = DnsServer::builder(names.table.clone()).with_udp_workers(NonZero::<usize>::MIN);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let server = runtime.block_on(builder.bind([(Ipv4Addr::LOCALHOST, 0).into()]))?;
    println!("{}", server.local_addrs()[0]);
    thread::Builder::new()
        .name("dns".into())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
    let rate = Arc::new(AtomicU64::new(0));
    let writes = Arc::clone(&rate);
    thread::Builder::new().name("writer".into()).spawn(move || write(&names, &writes))?;
    for line in io::stdin().lock().lines() {
        rate.store(line?.parse()?, Ordering::Relaxed);
    }
    Ok(())
}

/// Registers existing instances with new addresses, at the requested rate. Catches up within a tick if it is late.
fn write(names: &Names, rate: &AtomicU64) {
    const TICK: Duration = Duration::from_millis(1);
    let mut due = 0.0;
    let mut last = Instant::now();
    let mut next = 0usize;
    loop {
        thread::sleep(TICK);
        let now = Instant::now();
        let rate = rate.load(Ordering::Relaxed) as f64;
        due = (due + rate * (now - last).as_secs_f64()).min(rate / 10.0);
        last = now;
        while due >= 1.0 {
            due -= 1.0;
            // A prime that divides no number of instances here, so that every instance has its turn and consecutive
            // registrations are far apart.
            let place = next.wrapping_mul(1_000_003) % names.instances();
            next += 1;
            if let Err(error) = names.register(place, next / names.instances() + 1) {
                eprintln!("{error}");
            }
        }
    }
}

/// Answers one question many times.
pub(crate) fn answer(name: &str, kind: u8, count: usize) -> Result<(), Box<dyn Error>> {
    let names = Names::new(100)?;
    let labels = name.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat());
    let header = [0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    let opt = [0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 0];
    let packet: Vec<u8> = header.into_iter().chain(labels).chain([0, 0, kind, 0, 1]).chain(opt).collect();
    let answerer = Answerer::new(names.table.clone());
    let mut out = Vec::with_capacity(4096);
    let mut octets = 0;
    for _ in 0..count {
        out.clear();
        let _ = answerer.answer(&packet, Transport::Udp, &mut out);
        octets += out.len();
    }
    println!("{octets}");
    Ok(())
}
