// SPDX-License-Identifier: Apache-2.0

//! `make soak`: the exporter under everything that comes and goes at once, for ten minutes or as many as are asked for
//! (`fg-soak [MINUTES]`): connections, network namespaces, files that are written again, a Kubernetes API whose pods change
//! and whose watches break, clients that mean no good. Fails if memory or descriptors grow, if a good client ever has to
//! wait, or if the log says the same thing twice a second.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use flowgauge_tests::api_server::{ApiServer, Role, objects};
use flowgauge_tests::exporter::Exporter;
use flowgauge_tests::names::{Name, NamesFile};
use flowgauge_tests::netns::World;
use flowgauge_tests::traffic::{Server, get};
use flowgauge_tests::web::{Dice, Door, HASH, USER, talk, usage};
use rcgen::ExtendedKeyUsagePurpose;

const TLS: &str = "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n";
const SAMPLE: Duration = Duration::from_secs(10);
/// What memory may grow by between the first third's most and the last third's.
const GROWTH: f64 = 1.05;

#[derive(Default)]
struct Done {
    over: AtomicBool,
    counts: [AtomicU64; 5],
}

impl Done {
    fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    fn count(&self, what: usize) {
        self.counts[what].fetch_add(1, Relaxed);
    }
}

fn main() -> Result<()> {
    let minutes: f64 = std::env::args().nth(1).map_or(Ok(10.0), |text| text.parse()).context("MINUTES")?;
    let door = Door::new()?;
    let config = format!("{TLS}basic_auth_users:\n  anna: {HASH}\n");
    let api = ApiServer::start()?;
    api.grant("token", Role::reader());
    let kubeconfig = api.kubeconfig("token")?;
    let names = NamesFile::new(&[Name::new("nobody", ["192.0.2.1".parse()?])])?;
    let web = door.configure(&config)?;
    let exporter = Exporter::start_unready(&[
        &web,
        &names.flag(),
        &kubeconfig.flag(),
        "--labels.kubernetes.node=node-a",
        // Full early, for what grows until the budget is reached is no leak.
        "--series.limit=1000",
        "--series.idle-timeout=1m",
    ])?;
    let address = exporter.address();
    let done = Done::default();
    let times = Mutex::new(Vec::new());
    let samples = thread::scope(|scope| -> Result<Vec<(u64, usize)>> {
        let workers = [
            scope.spawn(|| connections(&done)),
            scope.spawn(|| namespaces(&done, &names)),
            scope.spawn(|| files(&done, &door, &config)),
            scope.spawn(|| cluster(&done, &api)),
            scope.spawn(|| hostile(&done, address)),
            scope.spawn(|| scrapes(&done, &door, address, &times)),
        ];
        let samples = watch(&exporter, minutes, &workers);
        done.over.store(true, Relaxed);
        for worker in workers {
            worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))??;
        }
        samples
    })?;
    let log = exporter.stop()?;
    judge(&samples, &times.into_inner().unwrap_or_default(), &log, &done)
}

fn watch(
    exporter: &Exporter,
    minutes: f64,
    workers: &[thread::ScopedJoinHandle<Result<()>>],
) -> Result<Vec<(u64, usize)>> {
    let end = Instant::now() + Duration::from_secs_f64(minutes * 60.0);
    let mut samples = Vec::new();
    while Instant::now() < end {
        thread::sleep(SAMPLE.min(end.saturating_duration_since(Instant::now())));
        let (memory, descriptors) = usage(exporter.pid()).context("the exporter has gone")?;
        samples.push((memory, descriptors));
        eprintln!("{:.1} MB resident, {descriptors} descriptors", memory as f64 / 1e6);
        ensure!(
            !workers.iter().any(thread::ScopedJoinHandle::is_finished),
            "a worker has stopped; its error follows"
        );
    }
    Ok(samples)
}

/// Short connections over loopback, hundreds a second.
fn connections(done: &Done) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.is_over() {
                // Closed at once by both.
                let _ = listener.accept();
            }
        });
        while !done.is_over() {
            let _ = std::net::TcpStream::connect(address);
            done.count(0);
            thread::sleep(Duration::from_millis(3));
        }
        // The one that is waited for.
        let _ = std::net::TcpStream::connect(address);
    });
    Ok(())
}

/// Two hosts that come, talk, and go; their names come with them.
fn namespaces(done: &Done, names: &NamesFile) -> Result<()> {
    while !done.is_over() {
        let world = World::new()?;
        let (client, server) = (world.host("client")?, world.host("server")?);
        let link = world.link(&client, &server)?;
        names.write(&[Name::of(&client), Name::of(&server)])?;
        let _server = Server::start(&server, &["--listen", "0.0.0.0:80"])?;
        let to = link.b.at4(80).to_string();
        get(&client, &["--to", &to, "--connections", "20", "--receive", "2000"])?;
        done.count(1);
        thread::sleep(Duration::from_millis(500));
    }
    Ok(())
}

/// Certificates renewed, and now and then a file that is wrong.
fn files(done: &Done, door: &Door, good: &str) -> Result<()> {
    let mut round = 0;
    while !done.is_over() {
        round += 1;
        if round % 5 == 0 {
            door.configure("tls_server_config: {colour: red}")?;
            pause(done, 4);
            door.configure(good)?;
        } else {
            door.issue(
                "cert.pem",
                "key.pem",
                &["localhost", "127.0.0.1"],
                ExtendedKeyUsagePurpose::ServerAuth,
            )?;
        }
        done.count(2);
        pause(done, 5);
    }
    Ok(())
}

fn pause(done: &Done, seconds: u64) {
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end && !done.is_over() {
        thread::sleep(Duration::from_millis(100));
    }
}

/// Pods that come and go, and watches that break.
fn cluster(done: &Done, api: &ApiServer) -> Result<()> {
    let mut round = 0u64;
    let mut pods = std::collections::VecDeque::new();
    while !done.is_over() {
        for at in 0..10 {
            let pod = objects::Pod::of_deployment("shop", &format!("web-{at}"));
            api.put(pod.clone());
            pods.push_back(pod);
        }
        while pods.len() > 200 {
            if let Some(pod) = pods.pop_front() {
                api.delete(pod)?;
            }
        }
        if round % 20 == 19 {
            api.break_watches(None);
        }
        done.count(3);
        round += 1;
        pause(done, 1);
    }
    Ok(())
}

/// Requests of all kinds, handshakes that lead nowhere, connections that say nothing.
fn hostile(done: &Done, address: SocketAddr) -> Result<()> {
    let mut dice = Dice::new(4711);
    let mut silent = std::collections::VecDeque::new();
    while !done.is_over() {
        let request = dice.request();
        let _ = talk(address, &request, Duration::from_secs(2));
        let mut handshake = vec![0x16, 3, 1];
        handshake.extend(dice.bytes(500));
        let _ = talk(address, &handshake, Duration::from_secs(2));
        silent.extend(std::net::TcpStream::connect(address));
        if silent.len() > 400 {
            silent.pop_front();
        }
        done.count(4);
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// A scraper as Prometheus is: over TLS, with a password.
fn scrapes(done: &Done, door: &Door, address: SocketAddr, times: &Mutex<Vec<f64>>) -> Result<()> {
    let url = format!("https://localhost:{}/metrics", address.port());
    let resolve = format!("localhost:{}:127.0.0.1", address.port());
    while !done.is_over() {
        let begun = Instant::now();
        // A status of 0 is no answer at all.
        let (status, body) = door.curl(&["--resolve", &resolve, "--user", USER, "--compressed", &url])?;
        ensure!(status == 200, "status {status} after {:?}: {body}", begun.elapsed());
        if let Ok(mut times) = times.lock() {
            times.push(begun.elapsed().as_secs_f64());
        }
        pause(done, 1);
    }
    Ok(())
}

fn judge(samples: &[(u64, usize)], times: &[f64], log: &str, done: &Done) -> Result<()> {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times.get((times.len() as f64 * share) as usize).copied().unwrap_or(f64::NAN);
    println!(
        "{} scrapes: median {:.1} ms, 99 % {:.1} ms, longest {:.1} ms (curl's start and a handshake included)",
        times.len(),
        at(0.5) * 1e3,
        at(0.99) * 1e3,
        times.last().copied().unwrap_or(f64::NAN) * 1e3
    );
    let names =
        ["connections", "pairs of namespaces", "files", "rounds of pods", "rounds of hostile clients"];
    for (name, count) in names.iter().zip(&done.counts) {
        println!("{name}: {}", count.load(Relaxed));
    }
    let third = (samples.len() / 3).max(1);
    let most = |part: &[(u64, usize)]| {
        let (memory, descriptors) = (part.iter().map(|one| one.0).max(), part.iter().map(|one| one.1).max());
        (memory.unwrap_or_default(), descriptors.unwrap_or_default())
    };
    let (first, last) = (most(&samples[..third]), most(&samples[samples.len() - third..]));
    println!("most in the first third: {:.1} MB, {} descriptors", first.0 as f64 / 1e6, first.1);
    println!("most in the last third: {:.1} MB, {} descriptors", last.0 as f64 / 1e6, last.1);
    println!("{} log lines", log.lines().count());
    let mut seconds: BTreeMap<&str, usize> = BTreeMap::new();
    for line in log.lines().filter(|line| line.contains("level=error") || line.contains("level=warn")) {
        // `ts=2026-01-01T00:00:00` is as much as tells the second.
        *seconds.entry(line.get(..22).unwrap_or_default()).or_default() += 1;
    }
    let busiest = seconds.values().max().copied().unwrap_or_default();
    println!("most warnings and errors in one second: {busiest}");
    ensure!(!log.contains("panicked"), "a panic:\n{log}");
    ensure!(last.0 as f64 <= first.0 as f64 * GROWTH + 2e6, "memory grows: {first:?} -> {last:?}");
    ensure!(last.1 <= first.1 + 16, "descriptors grow: {first:?} -> {last:?}");
    let mut lines: BTreeMap<(String, String), usize> = BTreeMap::new();
    for line in log.lines().filter(|line| line.contains("level=error")) {
        let said = line.split_once("level=").map_or(line, |(_, said)| said);
        *lines.entry((line.get(..22).unwrap_or_default().to_owned(), said.to_owned())).or_default() += 1;
    }
    let repeated: Vec<_> = lines.into_iter().filter(|(_, count)| *count > 1).collect();
    ensure!(repeated.is_empty(), "told twice a second: {repeated:?}");
    Ok(())
}
