// SPDX-License-Identifier: Apache-2.0
//! `make demo`: the shop of `flowgauge_tests::shop`, to look at and to break. It ends, and removes all that it made, at the key
//! `q`, at a signal, when its standard input ends, and when its time is up.

mod keys;
mod news;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use flowgauge_tests::shop::{FAULTS, Made, SPEED, Shop};
use flowgauge_tests::sys::is_root;

use keys::{Key, Keys};
use news::News;

#[derive(Parser)]
#[command(
    about = "A small shop on this machine, watched by Flowgauge, Prometheus and Alertmanager, and things to break in it"
)]
struct Arguments {
    /// End after so long.
    #[arg(long = "for", default_value = "30m", value_parser = humantime::parse_duration)]
    lasting: Duration,
}

fn main() -> ExitCode {
    match demonstrate(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fg-demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demonstrate(arguments: &Arguments) -> Result<()> {
    ensure!(is_root(), "root is needed to make network namespaces and to load BPF programs");
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("listening for signals")?;
    }
    println!("opening the shop: network namespaces, servers, load, exporters, Prometheus, Alertmanager …");
    let shop = Shop::open(Duration::ZERO)?;
    introduce(&shop, arguments.lasting);
    let keys = Keys::listen()?;
    let why = run(&shop, &keys, &stop, arguments.lasting)?;
    // The terminal first: what follows takes a second.
    drop(keys);
    println!("{why}: removing everything …");
    drop(shop);
    println!("all is removed");
    Ok(())
}

fn introduce(shop: &Shop, lasting: Duration) {
    println!(
        "\n  zone-a, on node-a                        zone-b, on node-b\n\
         \x20 shop-client ── shop-proxy (haproxy) ───── shop-api (nginx) ── shop-db\n\
         \x20 shop-dns (dnsmasq) ── isp-dns                └── payments.example, objects.example, mail.example\n"
    );
    for (name, address) in shop.exporters() {
        println!("  exporter of {name}   http://{address}/   /metrics   /flows");
    }
    println!("  Prometheus           http://{}/alerts", shop.watch.prometheus.address());
    println!("  Alertmanager         http://{}/#/alerts", shop.watch.alertmanager.address());
    println!("\n  The alerts' clock runs {SPEED} times as fast: five minutes are {} seconds.\n", 300 / SPEED);
    for (key, fault) in (1..).zip(FAULTS) {
        println!("  {key}   {}", fault.title());
    }
    println!(
        "\n  A number makes the fault, the next one mends it. q ends, and so does time in {}.\n",
        humantime::format_duration(lasting)
    );
}

/// Does as the keys say; returns why it ended.
fn run(shop: &Shop, keys: &Keys, stop: &AtomicBool, lasting: Duration) -> Result<&'static str> {
    let end = Instant::now() + lasting;
    let mut made: Option<Made> = None;
    let mut news = News::new(shop);
    loop {
        if stop.load(Ordering::Relaxed) {
            return Ok("a signal");
        }
        if Instant::now() > end {
            return Ok("time is up");
        }
        match keys.next() {
            Some(Key::Closed) => return Ok("standard input has ended"),
            Some(Key::Pressed(b'q' | b'Q' | 3 | 4)) => return Ok("q"),
            Some(Key::Pressed(key @ b'1'..=b'9')) => {
                if let Some(old) = made.take() {
                    let title = old.fault.title();
                    drop(old);
                    news.say("mended", title);
                } else if let Some(fault) = FAULTS.get(usize::from(key - b'1')) {
                    made = Some(shop.make(*fault)?);
                    news.say("broken", fault.title());
                }
            }
            _ => {}
        }
        news.tell()?;
        news.status(made.as_ref().map(|made| made.fault));
        thread::sleep(Duration::from_millis(100));
    }
}
