// SPDX-License-Identifier: Apache-2.0
use super::super::Verdict;
use super::super::testing::{assert, host};
use super::{item, lockdown, memory};

#[test]
fn kernels_by_release() {
    let table = [
        ("6.1.0-28-amd64\n", Verdict::Ok, "6.1.0-28-amd64"),
        ("6.18.44", Verdict::Ok, "6.18.44"),
        ("7.0-rc1", Verdict::Ok, "7.0-rc1"),
        ("5.15.0-1\n", Verdict::Fail, "older than 6.1"),
        ("6.0.19", Verdict::Fail, "older than 6.1"),
        ("weird", Verdict::Warn, "weird"),
        ("", Verdict::Warn, "no version"),
        ("99999999999.1", Verdict::Warn, "no version"),
    ];
    for (release, verdict, finding) in table {
        let (_root, paths) = host(&[("proc/sys/kernel/osrelease", release)]);
        assert(&super::release(&paths), verdict, finding);
    }
    assert(&super::release(&host(&[]).1), Verdict::Fail, "osrelease cannot be read: No such file");
}

#[test]
fn lockdown_modes() {
    let table = [
        ("[none] integrity confidentiality\n", Verdict::Ok, "none"),
        ("none [integrity] confidentiality\n", Verdict::Ok, "integrity"),
        ("none integrity [confidentiality]\n", Verdict::Fail, "confidentiality"),
        ("garbage", Verdict::Ok, "unknown"),
    ];
    for (modes, verdict, finding) in table {
        let (_root, paths) = host(&[("sys/kernel/security/lockdown", modes)]);
        assert(&lockdown(&paths), verdict, finding);
    }
    assert(&lockdown(&host(&[]).1), Verdict::Ok, "not there");
}

#[test]
fn memory_limits() {
    let limits = "Limit  Soft Limit  Hard Limit  Units\nMax locked memory         8388608  8388608   bytes\n";
    let (_root, paths) = host(&[("proc/self/limits", limits)]);
    assert(&memory(&paths), Verdict::Ok, "limit 8388608 bytes");
    assert(&memory(&host(&[]).1), Verdict::Warn, "limits cannot be read");
}

#[test]
fn features_of_what_is_wanted() {
    let feature = |probes, found| flowgauge_probes::Feature { name: "queues", probes, found };
    let refused = || Err("refused".to_owned());
    assert(&item(&feature(&["udp", "dns"], Ok(())), &["dns"]).unwrap(), Verdict::Ok, "for dns");
    assert(&item(&feature(&["udp"], refused()), &["udp"]).unwrap(), Verdict::Fail, "refused; for udp");
    assert(&item(&feature(&[], refused()), &["udp"]).unwrap(), Verdict::Warn, "control groups");
    assert_eq!(item(&feature(&["udp"], refused()), &["tcp"]), None);
}
