// SPDX-License-Identifier: Apache-2.0
//! An answer as an exporter gives it, for tests.

use super::answer::Answer;

/// By address: a flow of TCP with losses and failures, and one of DNS over UDP.
pub const ANSWER: &str = r#"{
  "version": 1, "node": "node-1", "generated_at": 1790000000.123, "window_seconds": 300, "covered_seconds": 287.1,
  "by": "address", "tracked": 123, "capacity": 20000, "evicted_total": 0, "matched": 45, "returned": 3, "slot_seconds": 15,
  "labels": ["observer", "client_namespace", "client_workload"],
  "rows": [
    { "edge": {"observer": "client", "client_namespace": "shop", "client_workload": "checkout", "client_zone": "eu-1a",
               "server_namespace": "", "server_workload": "payments.example.com", "server_zone": "", "server_service": "",
               "server_kind": "external", "server_port": "443"},
      "address": "192.0.2.7", "process": "checkout", "container": "app", "pod": "checkout-5d8f7-x2x7q",
      "first_seen": 1789999700.0, "last_seen": 1789999999.0,
      "tcp": {"sent_bytes": 1234567, "received_bytes": 45678901, "sent_segments": 5210, "received_segments": 33100,
              "retransmitted_segments": 61, "retransmit_ratio": 0.0117, "out_of_order_segments": 4,
              "rtt_seconds": {"last": 0.0012, "mean": 0.0013, "max": 0.0041, "samples": 3},
              "connections": 2, "connections_opened": 14, "connections_closed": {"fin": 11, "reset_received": 1},
              "connect_attempts": 17, "connect_failures": {"refused": 2, "timeout": 1}, "syn_retransmits": 6,
              "synack_retransmits": 0},
      "udp": null, "dns": null,
      "http": null, "history": {"bytes": [1, 2], "retransmitted_segments": [0, 61], "errors": [0, 3]} },
    { "edge": {"observer": "client", "client_namespace": "shop", "client_workload": "checkout", "client_zone": "eu-1a",
               "server_namespace": "kube-system", "server_workload": "coredns", "server_zone": "eu-1b",
               "server_service": "kube-dns", "server_kind": "pod", "server_port": "53"},
      "address": "2001:db8:0:1::53", "process": null, "container": null, "pod": null,
      "first_seen": 1789999000.0, "last_seen": 1789999998.5,
      "tcp": null, "udp": {"sent_bytes": 7200, "received_bytes": 22400, "sent_packets": 180, "received_packets": 175},
      "dns": {"queries": 180, "responses": {"NOERROR": 150, "NXDOMAIN": 20, "SERVFAIL": 5}, "timeouts": 5, "errors": 10,
              "mean_seconds": 0.0021},
      "http": null },
    { "edge": {"observer": "server", "client_namespace": "shop", "client_workload": "front", "client_zone": "eu-1c",
               "server_namespace": "shop", "server_workload": "checkout", "server_zone": "eu-1a",
               "server_service": "checkout", "server_kind": "pod", "server_port": "8080"},
      "address": "10.1.2.3", "process": "checkout", "container": "app", "pod": "checkout-5d8f7-x2x7q",
      "first_seen": 1789990000.0, "last_seen": 1790000000.0,
      "tcp": {"sent_bytes": 900, "received_bytes": 4100, "sent_segments": 20, "received_segments": 22,
              "retransmitted_segments": 0, "retransmit_ratio": 0.0, "out_of_order_segments": 0, "rtt_seconds": null,
              "connections": 1, "connections_opened": 0, "connections_closed": {}, "connect_attempts": 0,
              "connect_failures": {}, "syn_retransmits": 0, "synack_retransmits": 2},
      "udp": null, "dns": null,
      "http": {"responses": {"2xx": 10, "5xx": 1}, "errors": 2, "failed": {"reset": 1},
               "grpc": {"OK": 5, "UNAVAILABLE": 1}, "grpc_errors": 1, "mean_seconds": 0.012} }
  ]
}"#;

/// [`ANSWER`], read.
pub fn answer() -> Answer {
    Answer::parse(ANSWER.as_bytes()).unwrap()
}
