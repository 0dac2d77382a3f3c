// SPDX-License-Identifier: Apache-2.0
//! What a process name (`comm`) is called as a workload.

use crate::identity::clean;

/// The stable part of a process name, None if there is none.
///
/// A path is reduced to its last component (`/usr/bin/foo` and `./foo` are `foo`). Kernel threads carry a processor or
/// queue after a slash, which is cut off with all that follows: `kworker/3:1H` is `kworker`, `kworker/u8:2-nfsiod` too.
/// So is what systemd puts around the name of a child before it runs its program: `(sd-pam)` is `sd-pam`.
pub(crate) fn process_name(comm: &str) -> Option<String> {
    let mut name = comm.trim();
    if name.starts_with(['/', '.']) {
        name = name.trim_end_matches('/').rsplit('/').next().unwrap_or(name);
    } else if let Some((thread, _)) = name.split_once('/') {
        name = thread;
    }
    if let Some(inner) = name.strip_prefix('(') {
        name = inner.strip_suffix(')').unwrap_or(inner);
    }
    clean(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (comm, name) in [
            ("nginx", Some("nginx")),
            ("Web Content", Some("Web Content")),
            ("/usr/bin/foo", Some("foo")),
            ("./server", Some("server")),
            ("../bin/x/", Some("x")),
            ("kworker/3:1H", Some("kworker")),
            ("kworker/u8:2-nf", Some("kworker")),
            ("ksoftirqd/0", Some("ksoftirqd")),
            ("(sd-pam)", Some("sd-pam")),
            ("(cut-after-15-b", Some("cut-after-15-b")),
            (".hidden", Some(".hidden")),
            ("b\u{fffd}d\u{1b}[0m", Some("b\u{fffd}d\u{fffd}[0m")),
            ("", None),
            ("   ", None),
            ("/", None),
            ("()", None),
        ] {
            assert_eq!(process_name(comm).as_deref(), name, "{comm:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn hostile_names_do_not_panic(comm in ".{0,40}", slashes in "[/.()a ]{0,16}") {
            for comm in [comm, slashes] {
                if let Some(name) = process_name(&comm) {
                    assert!(!name.is_empty() && !name.chars().any(char::is_control));
                }
            }
        }
    }
}
