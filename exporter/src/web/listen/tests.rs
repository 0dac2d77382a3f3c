// SPDX-License-Identifier: Apache-2.0
//! Ports, paths and what is left over.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};

use super::{Listener, listen, remove};

fn port_of(listener: &Listener) -> SocketAddr {
    listener.to_string().parse().unwrap()
}

#[test]
fn every_address_means_both_families() {
    let listeners = listen(&[":0".parse().unwrap()]).unwrap();
    let port = port_of(&listeners[0]).port();
    TcpStream::connect(("127.0.0.1", port)).unwrap();
    TcpStream::connect(("::1", port)).unwrap();
    assert_eq!(listeners[0].to_string(), format!("[::]:{port}"));
}

#[test]
fn one_address_means_that_one() {
    for (text, other) in [("127.0.0.1:0", "::1"), ("[::1]:0", "127.0.0.1")] {
        let listeners = listen(&[text.parse().unwrap()]).unwrap();
        let address = port_of(&listeners[0]);
        TcpStream::connect(address).unwrap();
        assert!(TcpStream::connect((other, address.port())).is_err());
    }
    assert!(!listen(&["localhost:0".parse().unwrap()]).unwrap().is_empty());
}

#[test]
fn a_taken_port_is_told_with_flag_and_address() {
    let taken = listen(&["127.0.0.1:0".parse().unwrap()]).unwrap();
    let address = port_of(&taken[0]);
    let error = listen(&["127.0.0.1:0".parse().unwrap(), address.to_string().parse().unwrap()]).unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("--web.listen-address {address}: port {} is in use", address.port())),
        "{text}"
    );
    let error = listen(&["192.0.2.1:0".parse().unwrap()]).unwrap_err().to_string();
    assert!(error.starts_with("--web.listen-address 192.0.2.1:0: this node has no such address"), "{error}");
}

#[test]
fn a_unix_socket_has_its_mode_and_takes_the_place_of_one_left_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let open = |mode: &str| listen(&[format!("unix:{}{mode}", path.display()).parse().unwrap()]);
    let mode = || std::fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o7777;
    drop(UnixListener::bind(&path).unwrap());
    let first = open("?mode=0600").unwrap();
    assert_eq!(mode(), 0o600);
    UnixStream::connect(&path).unwrap();
    let error = open("").unwrap_err().to_string();
    assert!(error.ends_with("is in use, or no socket; choose another path"), "{error}");
    drop(first);
    let [Listener::Unix(_, Some(file))] = &open("").unwrap()[..] else { panic!("no Unix socket") };
    assert_eq!(mode(), 0o660);
    // Of somebody else.
    std::fs::rename(&path, dir.path().join("other")).unwrap();
    std::fs::write(&path, "x").unwrap();
    remove(file).unwrap();
    assert!(open("").unwrap_err().to_string().contains("or no socket"));
    std::fs::rename(dir.path().join("other"), &path).unwrap();
    remove(file).unwrap();
    assert!(!path.exists());
    let error = listen(&["unix:/nowhere/s".parse().unwrap()]).unwrap_err().to_string();
    assert!(error.starts_with("--web.listen-address unix:/nowhere/s: No such file"), "{error}");
}
