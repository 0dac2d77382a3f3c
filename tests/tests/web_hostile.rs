// SPDX-License-Identifier: Apache-2.0
//! Clients that mean no good, in numbers: whoever means well is served all the same, and memory stays flat.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use flowgauge_tests::exporter;
use flowgauge_tests::metrics::{Format, Metrics};
use flowgauge_tests::prelude::*;
use flowgauge_tests::sys;
use flowgauge_tests::web::{Dice, Door, HASH, USER, talk, usage};

/// What may come on top of what a few well-meant requests left: 256 connections with their buffers. Whatever were kept of
/// each of thousands would be more.
const MORE_MEMORY: u64 = 24 << 20;

/// Scrapes until `done`, with a new connection each time; returns the times from connecting to the last byte, sorted.
fn scrape_until(done: &AtomicBool, scrape: impl Fn() -> Result<()>) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    while !done.load(Ordering::Relaxed) {
        let begun = Instant::now();
        scrape()?;
        times.push(begun.elapsed());
        thread::sleep(Duration::from_millis(50));
    }
    times.sort();
    Ok(times)
}

/// Runs the attack while a client scrapes, tells how the client fared, and holds memory and descriptors against before.
fn under(
    what: &str,
    exporter: &Exporter,
    scrape: impl Fn() -> Result<()> + Sync,
    attack: impl FnOnce() -> Result<()>,
) -> Result<()> {
    for _ in 0..20 {
        scrape()?;
    }
    let before = usage(exporter.pid())?;
    let done = AtomicBool::new(false);
    let times = thread::scope(|scope| -> Result<_> {
        let scraper = scope.spawn(|| scrape_until(&done, &scrape));
        let attacked = attack();
        done.store(true, Ordering::Relaxed);
        let times = scraper.join().map_err(|_| anyhow::anyhow!("the scraper panicked"))?;
        attacked?;
        times
    })?;
    let after = usage(exporter.pid())?;
    let [median, worst] = [times[times.len() / 2], times[times.len() - 1]];
    eprintln!(
        "{what}: {} good scrapes, median {median:?}, longest {worst:?}; memory {before:?} -> {after:?}",
        times.len()
    );
    assert!(after.0 < before.0 + MORE_MEMORY, "{what}: memory {before:?} -> {after:?}");
    flowgauge_tests::web::until("descriptors are given back", || {
        Ok(usage(exporter.pid())?.1 <= before.1 + 8)
    })?;
    let log = exporter.log();
    assert!(!log.contains("level=error") && !log.contains("panicked"), "{what}: {log}");
    assert!(log.lines().count() < 60, "{what}: a line for each of them?\n{log}");
    Ok(())
}

fn healthy(address: SocketAddr) -> Result<()> {
    let answer = exporter::get(address, "/metrics", "text/plain;version=0.0.4")?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(())
}

#[test]
fn ten_thousand_random_and_hostile_requests() -> Result<()> {
    let exporter = Exporter::start(&[])?;
    let address = exporter.address();
    under(
        "10,000 hostile requests",
        &exporter,
        || healthy(address),
        || {
            thread::scope(|scope| {
                for seed in 1..=8 {
                    scope.spawn(move || {
                        let mut dice = Dice::new(0x9e37_79b9_7f4a_7c15 ^ seed);
                        for _ in 0..1250 {
                            let request = dice.request();
                            // What it answers is its own affair; that it goes on is what counts.
                            let _ = talk(address, &request, Duration::from_secs(5));
                        }
                    });
                }
            });
            Ok(())
        },
    )?;
    exporter.stop()?;
    Ok(())
}

/// Most connections that are opened in 20 ms.
const REPLACED: usize = 25;

/// Connects and sends a byte now and then on all of them until told to stop.
fn loris(address: SocketAddr, count: usize, from: &str, done: &AtomicBool) -> Result<usize> {
    let mut streams = Vec::new();
    let mut refreshed = 0;
    while !done.load(Ordering::Relaxed) {
        // Those that were cut off are replaced, 1,250 a second at most: faster, it would be a flood and no loris, in which who asks
        // from the same address is cut off as well.
        let full = streams.len().saturating_add(REPLACED).min(count);
        while streams.len() < full {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
            socket.bind(&SocketAddr::new(from.parse()?, 0).into())?;
            socket.connect(&address.into())?;
            let mut stream = TcpStream::from(socket);
            let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-");
            streams.push(stream);
            refreshed += 1;
        }
        streams.retain_mut(|stream| stream.write_all(b"a").is_ok());
        thread::sleep(Duration::from_millis(20));
    }
    Ok(refreshed)
}

#[test]
fn a_slow_loris_of_a_thousand_connections() -> Result<()> {
    sys::raise_open_files()?;
    let exporter = Exporter::start(&[])?;
    let address = exporter.address();
    // From the good client's own address, and from another.
    for from in ["127.0.0.1", "127.0.0.77"] {
        under(
            &format!("slow loris from {from}"),
            &exporter,
            || healthy(address),
            || {
                let done = AtomicBool::new(false);
                thread::scope(|scope| {
                    let attack = scope.spawn(|| loris(address, 1000, from, &done));
                    thread::sleep(Duration::from_secs(8));
                    let held = exporter.scrape()?.sum("flowgauge_web_connections", &[]);
                    done.store(true, Ordering::Relaxed);
                    let opened = attack.join().map_err(|_| anyhow::anyhow!("the attack panicked"))??;
                    ensure!(opened >= 1000, "only {opened} connections");
                    ensure!(held <= 257.0, "{held} connections are held");
                    eprintln!("{opened} connections opened, {held} held at a time");
                    Ok(())
                })
            },
        )?;
        let evicted =
            exporter.scrape()?.sum("flowgauge_web_refusals_total", &[("reason", "connection_limit")]);
        assert!(evicted >= 700.0, "{evicted}");
    }
    exporter.stop()?;
    Ok(())
}

#[test]
fn responses_that_nobody_takes() -> Result<()> {
    let exporter = Exporter::start(&[])?;
    let address = exporter.address();
    under(
        "400 slow readers",
        &exporter,
        || healthy(address),
        || {
            let mut open = Vec::new();
            for _ in 0..400 {
                let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
                socket.set_recv_buffer_size(2048)?;
                socket.connect(&address.into())?;
                let mut stream = TcpStream::from(socket);
                let _ = stream.write_all(&b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(3));
                open.push(stream);
            }
            thread::sleep(Duration::from_secs(1));
            Ok(())
        },
    )?;
    exporter.stop()?;
    Ok(())
}

#[test]
fn wrong_passwords_at_speed_and_broken_handshakes() -> Result<()> {
    let door = Door::new()?;
    let tls = "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n";
    let flag = door.configure(&format!("{tls}basic_auth_users:\n  anna: {HASH}\n"))?;
    let exporter = Exporter::start_unready(&[&flag])?;
    let address = exporter.address();
    let url = format!("https://localhost:{}/metrics", address.port());
    let resolve = format!("localhost:{}:127.0.0.1", address.port());
    let get = |user: &str, from: &str| {
        door.curl(&["--interface", from, "--resolve", &resolve, "--user", user, &url])
    };
    let good = || {
        let (status, body) = get(USER, "127.0.0.1")?;
        ensure!(status == 200, "{status}: {body}");
        Ok(())
    };
    let done = AtomicBool::new(false);
    under("wrong passwords", &exporter, good, || {
        thread::scope(|scope| {
            let guess = |worker: usize| {
                let (mut tried, mut let_in) = (0, 0);
                while !done.load(Ordering::Relaxed) && tried < 200 {
                    let (status, _) = get(&format!("anna:guess-{worker}-{tried}"), "127.0.0.66")?;
                    let_in += usize::from(status == 200);
                    tried += 1;
                }
                anyhow::Ok((tried, let_in))
            };
            let guessing: Vec<_> = (0..6).map(|worker| scope.spawn(move || guess(worker))).collect();
            let mut dice = Dice::new(77);
            for _ in 0..300 {
                let mut bytes = vec![0x16, 3, 1];
                bytes.extend(dice.bytes(600));
                let _ = talk(address, &bytes, Duration::from_secs(3));
            }
            thread::sleep(Duration::from_secs(6));
            done.store(true, Ordering::Relaxed);
            let mut all = 0;
            for worker in guessing {
                let (tried, let_in) = worker.join().map_err(|_| anyhow::anyhow!("a guesser panicked"))??;
                ensure!(let_in == 0, "{let_in} guesses were let in");
                all += tried;
            }
            eprintln!("{all} wrong passwords");
            Ok(())
        })
    })?;
    let metrics = Metrics::parse(&get(USER, "127.0.0.1")?.1, Format::Classic)?;
    let refused = |reason| metrics.sum("flowgauge_web_refusals_total", &[("reason", reason)]);
    assert!(refused("credentials") >= 20.0 && refused("tls_handshake") >= 290.0);
    exporter.stop()?;
    Ok(())
}
