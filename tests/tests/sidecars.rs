// SPDX-License-Identifier: Apache-2.0
//! Pods whose traffic goes through a real Envoy.

use flowgauge_tests::cgroup::Cgroup;
use flowgauge_tests::envoy::{Envoy, Passed};
use flowgauge_tests::nginx::Nginx;
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::run;

fn fetch(client: &Host, url: &str) -> Result<()> {
    run(client.command("curl").args([
        "-sS",
        "--globoff",
        "--fail",
        "--max-time",
        "10",
        "-o",
        "/dev/null",
        url,
    ]))
    .map(drop)
}

/// The world itself, without an exporter: both proxies pass on every connection, and the application sees none that did
/// not come through its own.
#[test]
fn envoy_passes_on_what_goes_in_and_out() -> Result<()> {
    const REQUESTS: usize = 20;
    let world = World::new()?;
    let (client, server) = (world.host("client")?, world.host("server")?);
    let link = world.link(&client, &server)?;
    let nginx = Nginx::start(&server, &["0.0.0.0:8080"], &[("page", 10_000)], 1)?;
    let group = Cgroup::new(&format!("{}-istio-proxy.service", server.workload))?;
    let sidecar = |program: &str| {
        let mut command = client.command("sh");
        let script = format!("echo $$ > {}/cgroup.procs && exec \"$0\" \"$@\"", group.path().display());
        command.args(["-c", &script, program]);
        command
    };
    let at_client = Envoy::start(sidecar, 1)?;
    let at_server = Envoy::start(|program| server.command(program), 8080)?;
    for number in 0..REQUESTS {
        // No port of the pod but the proxy's is open to others: whatever is dialled comes to the application.
        let (port, v6) = (8080 + number % 3, number % 2 == 1);
        let address = if v6 { format!("[{}]", link.b.v6) } else { link.b.v4.to_string() };
        fetch(&client, &format!("http://{address}:{port}/page"))?;
    }
    let requests = nginx.requests(REQUESTS)?;
    assert_eq!(requests.len(), REQUESTS);
    assert!(requests.iter().all(|request| request.client == "127.0.0.1"), "{requests:?}");
    assert!(requests.iter().all(|request| request.sent > 10_000.0), "{requests:?}");
    let count = REQUESTS as u64;
    assert_eq!(at_client.passed()?, Passed { inbound: 0, outbound: count });
    assert_eq!(at_server.passed()?, Passed { inbound: count, outbound: 0 });
    // Out of the server's pod as well, and in at the client's: nobody listens there, and the proxy says so.
    fetch(&server, &format!("http://{}:9000/", link.a.v4)).expect_err("nothing serves on port 1");
    assert_eq!(at_server.passed()?, Passed { inbound: count, outbound: 1 });
    assert_eq!(at_client.passed()?, Passed { inbound: 1, outbound: count });
    Ok(())
}
