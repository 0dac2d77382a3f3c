// SPDX-License-Identifier: Apache-2.0
//! MPTCP: the payload is counted once, on whatever subflows it travels.

use flowgauge_tests::prelude::*;

fn transfer(subflows: &str, second_path: bool) -> Result<()> {
    let stage = Stage::new(&[])?;
    let other = stage.world.link(&stage.client, &stage.server)?;
    stage.rename(&[Name::of(&stage.client), Name::of(&stage.server)])?;
    for host in [&stage.client, &stage.server] {
        host.sysctl("net.mptcp.enabled", "1").context("this kernel has no MPTCP")?;
        host.ip(&["mptcp", "limits", "set", "subflow", subflows, "add_addr_accepted", subflows])?;
    }
    if second_path {
        stage.client.ip(&[
            "mptcp",
            "endpoint",
            "add",
            &other.a.v4.to_string(),
            "dev",
            &other.a.device,
            "subflow",
        ])?;
        // The second path ends at the second address: a route tells the way from there.
        stage.server.ip(&[
            "mptcp",
            "endpoint",
            "add",
            &other.b.v4.to_string(),
            "dev",
            &other.b.device,
            "signal",
        ])?;
    }
    let _server = Server::start(&stage.server, &["--listen", "0.0.0.0:80", "--mptcp"])?;
    let shape =
        ["--to", &stage.to(80), "--mptcp", "--requests", "20", "--send", "300000", "--receive", "900000"];
    let report = get(&stage.client, &shape)?;
    assert!(report.errors.is_empty() && report.answered == 20, "{report:?}");
    let truth = Snmp::of(&stage.client)?;
    assert_eq!(truth.get("MPTcpExtMPCapableSYNACKRX")?, 1, "this was no MPTCP connection");
    let joined = truth.get("MPTcpExtMPJoinSynAckRx")?;
    assert_eq!(joined > 0, second_path, "{joined} subflows joined");
    let flows = 1.0 + joined as f64;
    let edge = stage.edge(80);
    let closed = [("connections_closed_total", CLIENT, flows), ("connections_closed_total", SERVER, flows)];
    let metrics = stage.expect(&edge, &closed)?;
    // What MPTCP sends again, on the same subflow or another, is payload of that subflow once more.
    let mut again = 0;
    for host in [&stage.client, &stage.server] {
        again += Snmp::of(host)?.get("MPTcpExtMPTCPRetrans")?;
    }
    let most = if again > 0 { 1.2 } else { 1.0 };
    for (metric, side, truth) in [
        ("sent_bytes_total", CLIENT, report.sent),
        ("received_bytes_total", SERVER, report.sent),
        ("received_bytes_total", CLIENT, report.received),
        ("sent_bytes_total", SERVER, report.received),
    ] {
        let (seen, truth) = (edge.sum(&metrics, metric, side), truth as f64);
        assert!(
            truth <= seen && seen <= truth * most,
            "{metric} of the {side}: {seen} of {truth}, {again} repeated"
        );
    }
    Ok(())
}

#[test]
fn one_subflow() -> Result<()> {
    transfer("0", false)
}

#[test]
fn two_subflows() -> Result<()> {
    transfer("2", true)
}
