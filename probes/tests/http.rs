// SPDX-License-Identifier: Apache-2.0
//! HTTP by the packet probe on the running kernel, against connections made here. Needs root.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use flowgauge_probes::packets::{
    DnsCounts, DnsSample, Http2Part, Http2Record, HttpGrowth, HttpOutcome, METHODS, PacketOptions, Packets,
    Sink, Storage, UdpCounts,
};
use flowgauge_probes::tcp::{Backend, Listener, ProcessHierarchy, Processes};
use flowgauge_probes::{FlowKey, Role, Transport};

/// Each test sees every packet of the host: one at a time keeps the others' out of the way.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Requests by role, method and outcome, of one server's port.
type Counts = BTreeMap<(bool, &'static str, String), (u64, u64)>;

struct Seen {
    port: u16,
    counts: Counts,
    records: Vec<(bool, bool, String)>,
}

impl Sink<()> for Seen {
    fn servers(&mut self, _: &[Listener], _: &Processes) {}
    fn sample(&mut self, _: &DnsSample<'_>, _: &Processes) {}
    fn udp(&mut self, _: &FlowKey, (): &mut (), _: &UdpCounts, _: &Processes) {}
    fn dns(&mut self, _: &FlowKey, (): &mut (), _: &DnsCounts, _: &Processes) {}
    fn backend(&mut self, _: &FlowKey, _: u64, _: u16) -> Option<Backend> {
        None
    }
    fn http(&mut self, key: &FlowKey, (): &mut (), growth: &HttpGrowth, _: &Processes) {
        if key.port == self.port {
            assert_eq!(key.transport, Transport::Tcp);
            let outcome = match growth.outcome {
                HttpOutcome::Response(code) => code.to_string(),
                HttpOutcome::Failed(why) => ["reset", "closed", "timeout"][why].to_owned(),
            };
            let place = (key.role == Role::Client, METHODS[growth.method], outcome);
            let sum = self.counts.entry(place).or_default();
            sum.0 += growth.count;
            sum.1 += growth.durations.iter().sum::<u64>();
        }
    }
    fn http2(&mut self, record: &Http2Record<'_>, (): &mut (), _: &Processes) {
        if record.key.port == self.port {
            let part = match record.part {
                Http2Part::Frame { kind, stream, bytes, .. } => format!("{kind} {stream} {}", bytes.len()),
                other => format!("{other:?}"),
            };
            self.records.push((record.key.role == Role::Client, record.from_client, part));
        }
    }
    fn receive_drops(&mut self, _: &FlowKey, _: u64, _: &Processes) {}
}

fn cgroup_root() -> PathBuf {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    PathBuf::from(fields.into_iter().find(|fields| fields[2] == "cgroup2").unwrap()[1])
}

fn options() -> PacketOptions {
    PacketOptions {
        udp: false,
        http: true,
        services: false,
        dns: None,
        cgroup_root: Some(cgroup_root()),
        mute_cgroups: vec![0, 1],
        process_hierarchy: ProcessHierarchy::V1Memory,
        want_process: false,
    }
}

/// A connection on loopback.
fn pair() -> (TcpStream, TcpStream, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let (server, _) = listener.accept().unwrap();
    for end in [&client, &server] {
        end.set_nodelay(true).unwrap();
        end.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    }
    (client, server, port)
}

/// One end writes, the other reads all of it.
fn pass(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) {
    from.write_all(bytes).unwrap();
    let mut got = vec![0; bytes.len()];
    to.read_exact(&mut got).unwrap();
}

/// What the probe counts while `talk` goes on over one connection.
fn counted(talk: impl FnOnce(&mut TcpStream, &mut TcpStream)) -> (Counts, Vec<(bool, bool, String)>, u64) {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut storage = Storage::default();
    let mut probe = Packets::<()>::load(&mut storage, options()).unwrap();
    let (mut client, mut server, port) = pair();
    talk(&mut client, &mut server);
    drop(client);
    drop(server);
    std::thread::sleep(Duration::from_millis(50));
    let mut seen = Seen { port, counts: Counts::new(), records: Vec::new() };
    probe.pass(&mut seen).unwrap();
    let lost = probe.health().lost.iter().sum();
    (seen.counts, seen.records, lost)
}

fn both(expected: &[(&'static str, &str, u64, u64)]) -> Counts {
    let ends = |(method, outcome, count, timed): &(&'static str, &str, u64, u64)| {
        [true, false].map(|client| ((client, *method, (*outcome).to_owned()), (*count, *timed)))
    };
    expected.iter().flat_map(ends).collect()
}

const GET: &[u8] = b"GET /index.html HTTP/1.1\r\nHost: a.example\r\nUser-Agent: test\r\nAccept: */*\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nServer: test\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello";

#[test]
fn keep_alive() {
    let (counts, _, lost) = counted(|client, server| {
        for _ in 0..10 {
            pass(client, server, GET);
            pass(server, client, OK);
        }
    });
    assert_eq!((counts, lost), (both(&[("GET", "200", 10, 10)]), 0));
}

#[test]
fn heads_split_anywhere() {
    let request = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 18\r\n\r\nGET / HTTP/1.1\r\n\r\n";
    let response = b"HTTP/1.1 404 No\r\nTransfer-Encoding: gzip, chunked\r\nX: y\r\n\r\n1a;ext=\"x\"\r\nHTTP/1.1 200 OK\r\n\r\nHTTP/1.\r\n3\r\nabc\r\n0\r\nTrailer: yes\r\n\r\n";
    let (counts, _, lost) = counted(|client, server| {
        for at in 1..request.len() {
            pass(client, server, &request[..at]);
            pass(client, server, &request[at..]);
            pass(server, client, response);
        }
        for at in 1..response.len() {
            pass(client, server, request);
            pass(server, client, &response[..at]);
            pass(server, client, &response[at..]);
        }
        // A byte at a time.
        for byte in request {
            pass(client, server, &[*byte]);
        }
        for byte in response {
            pass(server, client, &[*byte]);
        }
    });
    let all = (request.len() + response.len() - 1) as u64;
    assert_eq!((counts, lost), (both(&[("POST", "404", all, all)]), 0));
}

#[test]
fn pipelined() {
    let (counts, _, lost) = counted(|client, server| {
        pass(client, server, &GET.repeat(32));
        pass(server, client, &OK.repeat(32));
        pass(
            client,
            server,
            &[GET, b"HEAD / HTTP/1.1\r\n\r\n", b"PROPFIND / HTTP/1.1\r\n\r\n", GET].concat(),
        );
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        pass(
            server,
            client,
            &[OK, head, b"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", b"HTTP/1.1 103 Early\r\n\r\n", OK]
                .concat(),
        );
    });
    let expected = both(&[("GET", "200", 34, 34), ("HEAD", "200", 1, 1), ("other", "204", 1, 1)]);
    assert_eq!((counts, lost), (expected, 0));
}

#[test]
fn what_is_no_http() {
    for begin in [
        "SSH-2.0-OpenSSH_9\r\n",
        "EHLO there\r\n",
        "GET key\r\n",
        "get key\r\n",
        "\u{16}\u{3}\u{1}",
        "OPTIONS rtsp://a RTSP/1.0\r\n\r\n",
        "GET / XHTTP/1.1\r\n\r\n",
    ] {
        let (counts, records, lost) = counted(|client, server| {
            pass(client, server, begin.as_bytes());
            pass(server, client, OK);
            pass(client, server, GET);
            pass(server, client, OK);
        });
        assert_eq!((counts, records.len(), lost), (Counts::new(), 0, 0), "{begin:?}");
        let (counts, records, lost) = counted(|client, server| {
            for byte in begin.bytes() {
                pass(client, server, &[byte]);
            }
            pass(server, client, OK);
        });
        assert_eq!((counts, records.len(), lost), (Counts::new(), 0, 0), "{begin:?}, byte by byte");
    }
}

#[test]
fn unanswered() {
    let (counts, _, lost) = counted(|client, server| pass(client, server, &GET.repeat(3)));
    assert_eq!((counts, lost), (both(&[("GET", "closed", 3, 0)]), 0));
}

#[test]
fn frames_of_http2() {
    let (counts, records, lost) = counted(|client, server| {
        let settings = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 1, 0, 0, 16, 0];
        let headers = [0, 0, 3, 1, 5, 0, 0, 0, 1, 0x82, 0x84, 0x86];
        let hello = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings[..], &headers].concat();
        for byte in &hello {
            pass(client, server, &[*byte]);
        }
        let ack = [0, 0, 0, 4, 1, 0, 0, 0, 0];
        let data = [&[0, 0, 200, 0, 1, 0, 0, 0, 1][..], &[7; 200]].concat();
        pass(server, client, &[&settings[..], &ack, &[0, 0, 1, 1, 4, 0, 0, 0, 1, 0x88], &data].concat());
    });
    assert_eq!((counts, lost), (Counts::new(), 0));
    for client in [true, false] {
        let of = |from: bool| -> Vec<&str> {
            let mine = records.iter().filter(|record| record.0 == client && record.1 == from);
            mine.map(|record| record.2.as_str()).collect()
        };
        // Byte by byte from the client, and the end.
        assert_eq!(of(true).len(), 3 + 1, "{:?}", of(true));
        assert_eq!(of(true).last(), Some(&"End { why: 1, from_client: 3, from_server: 1 }"));
        assert_eq!(of(false), ["1 1 1"]);
    }
}
