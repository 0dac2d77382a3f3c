// SPDX-License-Identifier: Apache-2.0
//! What a systemd unit is called as a workload.
//!
//! - A service goes without its suffix, as Kubernetes workloads have none: `nginx.service` is `nginx`.
//! - An instance keeps its name: `postgresql@15-main`. Not so the instances that are made for each connection
//!   (`sshd@7-192.0.2.1:22-192.0.2.9:51514.service` is `sshd`): they would make a series for each, with addresses in it.
//! - Slices, sockets and mounts keep their suffix.
//! - `\x2d` and the like are decoded.
//! - Desktop applications go by their application's name, without launcher and random part.
//! - Numbers that make a scope unique are cut off.

use crate::cgroup::container::{is_hex, is_number, is_uuid};

/// What one component of a path says about the unit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Unit {
    /// Nothing: `init.scope`, `system.slice` and their like.
    Silent,
    /// Somebody's login: the user's slice follows from elsewhere in the path.
    Login,
    /// A user's slice, `user-1000.slice`.
    User(String),
    /// Made for one run of one command by `systemd-run` or a terminal: its name says nothing.
    Transient,
    /// Any other slice, with its suffix.
    Slice(String),
    /// A service, scope or other unit that says who it is.
    Named(String),
}

/// What `component` says, or None if it is no systemd unit. `in_user_manager`: it lies below `user@<uid>.service`.
pub(crate) fn unit(component: &str, in_user_manager: bool) -> Option<Unit> {
    let (name, kind) = component.rsplit_once('.')?;
    if name.is_empty() {
        return None;
    }
    Some(match kind {
        "service" => service(name, in_user_manager),
        "scope" => scope(name),
        "slice" => slice(name, component),
        "socket" | "mount" | "swap" => Unit::Named(unescape(component)),
        _ => return None,
    })
}

fn service(name: &str, in_user_manager: bool) -> Unit {
    if is_run(name) {
        return Unit::Transient;
    }
    let (template, instance) = name.split_once('@').unwrap_or((name, ""));
    if template == "user" && is_number(instance) {
        return Unit::User(format!("user-{instance}.slice"));
    }
    // D-Bus activation: `dbus-:1.2-org.example.Thing@0`.
    if let Some((_, bus_name)) = template.strip_prefix("dbus-:").and_then(|rest| rest.split_once('-')) {
        return Unit::Named(unescape(bus_name));
    }
    if in_user_manager && let Some(app) = template.strip_prefix("app-") {
        return Unit::Named(application(app));
    }
    Unit::Named(unescape(if is_connection(instance) { template } else { name }))
}

/// The instance names that systemd makes for `Accept=yes` sockets: `<n>-<local>:<port>-<remote>:<port>`, or
/// `<n>-<pid>-<uid>` for local sockets, with `_<id>` after the pid in newer versions.
fn is_connection(instance: &str) -> bool {
    let mut parts = instance.splitn(3, '-');
    let (Some(number), Some(second), Some(third)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let has_port = |end: &str| end.rsplit_once(':').is_some_and(|(_, port)| is_number(port));
    let is_pid = |text: &str| text.split('_').all(is_number);
    is_number(number) && (has_port(second) && has_port(third) || is_pid(second) && is_number(third))
}

fn scope(name: &str) -> Unit {
    if name == "init" {
        return Unit::Silent;
    }
    let login = name.strip_prefix("session-").map(|rest| rest.strip_prefix('c').unwrap_or(rest));
    if login.is_some_and(is_number) {
        return Unit::Login;
    }
    if is_run(name) {
        return Unit::Transient;
    }
    let stable = without_random(name);
    match stable.strip_prefix("app-") {
        Some(app) => Unit::Named(application(app)),
        None if stable == "vte-spawn" => Unit::Transient,
        None => Unit::Named(unescape(stable)),
    }
}

fn slice(name: &str, component: &str) -> Unit {
    let user = name.strip_prefix("user-").filter(|uid| is_number(uid));
    match name {
        "-" | "system" | "user" | "machine" | "app" | "session" | "background" => Unit::Silent,
        _ if user.is_some() => Unit::User(component.to_owned()),
        _ if name.split('-').any(|part| part == "kubepods") => Unit::Silent,
        _ => Unit::Slice(unescape(component)),
    }
}

/// `run-u12`, `run-1234`, `run-p12-i34`, `run-r<32 digits>`: what `systemd-run` makes up.
fn is_run(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("run-") else { return false };
    let pid = |text: &str| {
        text.strip_prefix('p')
            .and_then(|t| t.split_once("-i"))
            .is_some_and(|(pid, id)| is_number(pid) && is_number(id))
    };
    is_number(rest.strip_prefix('u').unwrap_or(rest))
        || rest.strip_prefix('r').is_some_and(|id| is_hex(id, 32))
        || pid(rest)
}

/// A scope's name without what made it unique: `-<uuid>` or `.<uuid>`, then `-<number>` or `.<number>`.
fn without_random(name: &str) -> &str {
    let mut stable = name;
    if let Some(at) = stable.len().checked_sub(36)
        && stable.get(at..).is_some_and(is_uuid)
    {
        stable = stable[..at].strip_suffix(['-', '.']).unwrap_or(stable);
    }
    if let Some((before, number)) = stable.rsplit_once(['-', '.'])
        && is_number(number)
    {
        stable = before;
    }
    if stable.is_empty() { name } else { stable }
}

/// `[<launcher>-]<application>`, as the desktop specifications build it: blanks and dashes of the application itself are
/// escaped.
fn application(rest: &str) -> String {
    unescape(rest.rsplit_once('-').map_or(rest, |(_, application)| application))
}

/// Decodes systemd's `\xHH`. What is then no text becomes U+FFFD.
pub(crate) fn unescape(name: &str) -> String {
    if !name.contains('\\') {
        return name.to_owned();
    }
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let [first, tail @ ..] = rest {
        let decoded = match rest {
            [b'\\', b'x', high, low, ..] => hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        match decoded {
            Some(byte) => {
                bytes.push(byte);
                rest = &rest[4..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}
