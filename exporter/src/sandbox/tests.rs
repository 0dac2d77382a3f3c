// SPDX-License-Identifier: Apache-2.0
//! What a thread behind the walls can still do, and what it cannot.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;

use super::{Role, Sandbox};
use crate::flags::Flags;

/// On a thread of its own, as this role, with a names file.
fn as_role<T: Send + 'static>(role: Role, names: &Path, test: impl FnOnce() -> T + Send + 'static) -> T {
    let names = format!("--labels.names-file={}", names.display());
    let flags = Flags::parse_from(["flowgauge", &names].map(OsString::from)).unwrap();
    let sandbox = Sandbox::prepare(&flags, Arc::default());
    std::thread::spawn(move || {
        sandbox.enter(role, &[]);
        test()
    })
    .join()
    .unwrap()
}

fn kind<T>(result: std::io::Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

/// Whether this kernel has it.
fn landlock() -> bool {
    let flags = Flags::parse_from(["flowgauge"].map(OsString::from)).unwrap();
    Sandbox::check(&flags)
        .iter()
        .any(|part| part.name == "landlock" && part.state == crate::source::State::Up)
}

#[test]
fn a_serving_thread_reads_what_it_needs_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (names, secret) = (dir.path().join("a/names.yaml"), dir.path().join("secret"));
    std::fs::create_dir(dir.path().join("a")).unwrap();
    std::fs::write(&names, "[]").unwrap();
    std::fs::write(&secret, "x").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let with_landlock = landlock();
    let at = names.clone();
    as_role(Role::Serving, &names, move || {
        std::fs::read("/proc/self/stat").unwrap();
        std::fs::read_dir("/sys/class/net").unwrap().count();
        assert_eq!(std::fs::read(&at).unwrap(), b"[]");
        std::thread::spawn(|| std::thread::sleep(std::time::Duration::from_millis(1))).join().unwrap();
        // Files, programs, sockets of kinds and to places that are nobody's business.
        if with_landlock {
            for path in [secret.as_path(), Path::new("/etc/passwd"), Path::new("/proc/self/root/etc/passwd")]
            {
                assert_eq!(kind(std::fs::read(path)), Some(ErrorKind::PermissionDenied), "{path:?}");
            }
            assert_eq!(kind(std::fs::write(at.with_extension("new"), "")), Some(ErrorKind::PermissionDenied));
        }
        assert!(std::process::Command::new("/bin/true").status().is_err());
        assert_eq!(kind(TcpStream::connect(address)), Some(ErrorKind::PermissionDenied));
        assert!(TcpListener::bind("127.0.0.1:0").is_err());
        let raw = socket2::Socket::new(socket2::Domain::PACKET, socket2::Type::DGRAM, None);
        assert_eq!(raw.err().and_then(|error| error.raw_os_error()), Some(libc::ENOSYS));
        let killed = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::CONT);
        assert_eq!(killed, Err(rustix::io::Errno::PERM));
        assert_eq!(kind(std::fs::rename(&at, "/nowhere")), Some(ErrorKind::PermissionDenied));
        assert_eq!(kind(std::fs::remove_file(&at)), Some(ErrorKind::PermissionDenied));
    });
    // This thread has kept everything.
    TcpStream::connect(address).unwrap();
    std::fs::read("/etc/passwd").unwrap();
}

#[test]
fn a_file_that_takes_the_place_of_another_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let (names, data) = (dir.path().join("names.yaml"), dir.path().join("..data"));
    let version = |number: u32| {
        let version = dir.path().join(format!("..{number}"));
        std::fs::create_dir(&version).unwrap();
        std::fs::write(version.join("names.yaml"), number.to_string()).unwrap();
        let new = dir.path().join("..new");
        std::os::unix::fs::symlink(&version, &new).unwrap();
        std::fs::rename(new, &data).unwrap();
    };
    version(1);
    std::os::unix::fs::symlink("..data/names.yaml", &names).unwrap();
    let (ask, asked) = std::sync::mpsc::channel::<()>();
    let (tell, told) = std::sync::mpsc::channel();
    let path = names.clone();
    let reading = std::thread::spawn({
        let names = names.clone();
        move || {
            as_role(Role::Netstat, &names, move || {
                while asked.recv().is_ok() {
                    let _ = tell.send(std::fs::read_to_string(&path));
                }
            });
        }
    });
    let read = || {
        ask.send(()).unwrap();
        told.recv().unwrap().unwrap()
    };
    assert_eq!(read(), "1");
    version(2);
    assert_eq!(read(), "2");
    // Another file in the place of the link.
    std::fs::write(dir.path().join("new"), "3").unwrap();
    std::fs::rename(dir.path().join("new"), &names).unwrap();
    assert_eq!(read(), "3");
    drop(ask);
    reading.join().unwrap();
}

#[test]
fn walls_can_be_left_away_and_that_is_told() {
    let flags = ["flowgauge", "--sandbox.landlock=off", "--sandbox.seccomp=off"].map(OsString::from);
    let shown: Vec<_> = Sandbox::check(&Flags::parse_from(flags).unwrap())
        .into_iter()
        .map(|part| format!("{} {}: {}", part.name, part.state.as_str(), part.detail))
        .collect();
    assert!(shown[0].starts_with("capabilities up: web: none"), "{shown:?}");
    assert_eq!(
        shown[1..],
        [
            "landlock disabled: web: switched off by --sandbox.landlock=off",
            "seccomp disabled: web: switched off by --sandbox.seccomp=off"
        ]
    );
}
