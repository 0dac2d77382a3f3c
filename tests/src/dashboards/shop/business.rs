// SPDX-License-Identifier: Apache-2.0
//! Who calls whom in the shop: as usual, and when things go wrong.

use std::net::SocketAddr;

use super::{NAMESPACE, Shop};
use crate::api_server::objects::ServicePort;
use crate::prelude::*;

/// More often than any test lasts.
const FOREVER: &str = "1000000";

impl Shop {
    /// Business as usual.
    pub(super) fn call(&mut self) -> Result<()> {
        let checkout = &self.pods["checkout"];
        let port = ServicePort::tcp(80, 8080);
        let service = self.cluster.cluster_ip(NAMESPACE, "checkout", port, &[checkout])?;
        let address = service.cluster_addresses.first().context("the Service has no address")?;
        let checkout = SocketAddr::new(*address, 80).to_string();
        let (catalog, payments) = (self.pod("catalog", 8080), self.pod("payments", 8443));
        let usual = "/200?delay=60&size=3000,/200?delay=90,/404?delay=20,/200?delay=40,/200?delay=50";
        let large = "/200?delay=80&size=30000,/200?delay=50&size=9000";
        let http = [
            ("frontend", checkout.as_str(), "3", usual),
            ("orders", &checkout, "1", usual),
            ("frontend", &catalog, "2", large),
            ("checkout", &payments, "3", "/200?delay=120&size=2000"),
            ("orders", &payments, "1", "/200?delay=120&size=2000"),
        ];
        for (from, to, connections, paths) in http {
            let shape = ["ask", "--to", to, "--connections", connections, "--paths", paths];
            let forever = ["--rounds", FOREVER, "--requests", "20"];
            self.client(from, "fg-http", &[&shape[..], &forever].concat())?;
        }
        let store = self.outside["object-store"].1.b.at4(443).to_string();
        let card = SocketAddr::new(self.provider(10), 443).to_string();
        for (from, to, shape) in [
            ("catalog", store, ["3", "--gap", "200", "--receive", "60000", "--send", "2000"]),
            ("payments", card, ["2", "--gap", "60", "--receive", "3000", "--send", "9000"]),
        ] {
            let get = ["get", "--requests", FOREVER, "--to", &to, "--connections"];
            self.client(from, "fg-traffic", &[&get[..], &shape].concat())?;
        }
        let fresh: Vec<String> = (0..3).map(|_| format!("http://{payments}/200")).collect();
        self.caller("checkout", "200", &fresh)?;
        let provider = [10, 11, 10].map(|number| format!("http://{}/200", self.provider(number)));
        self.caller("payments", "300", &provider)?;
        let (good, other) = ("11-1-1-1.q{}.example.com", "11-1-1-2.q{}.example.org");
        self.lookups("frontend", "50", &[good, other], &["--types", "A,AAAA"])?;
        self.lookups("checkout", "120", &[good], &[])?;
        self.lookups("orders", "200", &[good], &[])?;
        self.lookups("cart", "400", &[good], &["--tcp"])
    }

    /// From now on services err, refuse and hang up, and lookups fail in every way.
    pub fn mischief(&mut self) -> Result<()> {
        let cart = self.pod("cart", 50051);
        let calls = ["ask", "--to", &cart, "--rounds", FOREVER, "--pause", "1000"];
        self.client("checkout", "fg-grpc", &calls)?;
        let catalog = self.pod("catalog", 8080);
        let failing = ["ask", "--to", &catalog, "--paths", "/503?delay=300,/200?delay=200"];
        let forever = ["--requests", "20", "--rounds", FOREVER];
        self.client("frontend", "fg-http", &[&failing[..], &forever].concat())?;
        // Nobody listens there; and one is closed without an answer.
        let nobody = format!("tcp://{}", self.pod("cart", 9999));
        let gone = format!("http://{}/gone", self.pod("catalog", 8081));
        let index = format!("http://{}/", self.pod("catalog", 8081));
        self.caller("frontend", "400", &[nobody, gone, index.clone(), index])?;
        let reset = self.pod("catalog", 9100);
        let resets = ["get", "--to", &reset, "--connections", FOREVER, "--concurrency", "1", "--gap", "400"];
        self.client("orders", "fg-traffic", &[&resets[..], &["--close", "server-reset"]].concat())?;
        let deaf = self.pod("cart", 9000);
        let datagrams = ["send", "--to", &deaf, "--count", FOREVER, "--size", "1000", "--pause", "2000000"];
        self.client("frontend", "fg-udp", &datagrams)?;
        // What the names make the upstream do: see `crate::dns::scripted`.
        let good = "11-1-1-1.q{}.example.com";
        self.lookups("orders", "200", &[good, "rcode2.q{}.broken.example.net"], &[])?;
        let slow = ["silent.q{}.broken.example.net", "delay200.11-1-1-1.q{}.example.com"];
        self.lookups("payments", "300", &slow, &[])?;
        let odd = ["twice.11-1-1-1.q{}.example.com", "tc.q{}.example.com", "rcode3.q{}.example.com"];
        self.lookups("catalog", "500", &odd, &[])?;
        self.lookups("cart", "700", &[good], &["--copies", "2"])
    }

    fn lookups(&mut self, from: &str, pause: &str, names: &[&str], more: &[&str]) -> Result<()> {
        let resolver = self.pod("coredns", 53);
        let mut shape = vec!["ask", "--to", &resolver, "--count", FOREVER, "--pause", pause];
        shape.extend(["--patience", "1500"]);
        names.iter().for_each(|name| shape.extend(["--name", name]));
        shape.extend(more);
        self.client(from, "fg-dns", &shape)
    }
}
