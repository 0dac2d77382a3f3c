// SPDX-License-Identifier: Apache-2.0
//! A thread that waits for a ring of the kernel to fill, so that it is emptied before the next tick.

use std::io;
use std::os::fd::OwnedFd;
use std::thread::JoinHandle;

use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::io::Errno;

const RING: epoll::EventData = epoll::EventData::new_u64(0);
const STOP: epoll::EventData = epoll::EventData::new_u64(1);

/// The running thread. Dropping it ends it.
pub struct Waker {
    stop: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

impl Waker {
    /// Calls `confine` on a thread of its own, then `wake` each time that the ring's programs ask for it, until it returns false.
    ///
    /// # Errors
    /// When the kernel has no file descriptors or threads left.
    pub fn start(
        ring: OwnedFd,
        wake: impl Fn() -> bool + Send + 'static,
        confine: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let stop = eventfd(0, EventfdFlags::CLOEXEC)?;
        // Edges only: there is always something in the ring, and most of it can wait.
        epoll::add(&poll, &ring, RING, epoll::EventFlags::IN | epoll::EventFlags::ET)?;
        epoll::add(&poll, &stop, STOP, epoll::EventFlags::IN)?;
        let thread = std::thread::Builder::new().name("waker".to_owned()).spawn(move || {
            let _ring = ring;
            confine();
            while wait(&poll) && wake() {}
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

/// Waits for an edge; false if the thread is to end.
fn wait(poll: &OwnedFd) -> bool {
    let mut events = Vec::with_capacity(2);
    loop {
        match epoll::wait(poll, rustix::buffer::spare_capacity(&mut events), None) {
            Ok(_) => return events.iter().all(|event: &epoll::Event| event.data.u64() != STOP.u64()),
            Err(Errno::INTR) => {}
            Err(error) => {
                tracing::error!(%error, "cannot wait for the ring of HTTP/2 frames");
                return false;
            }
        }
    }
}

impl Drop for Waker {
    fn drop(&mut self) {
        // An eventfd takes eight bytes; there is room for them.
        let _ = rustix::io::write(&self.stop, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the waker thread panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_wakes_at_edges_and_ends_when_dropped() {
        // An eventfd stands for the ring: each write is an edge.
        let ring = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        let (woken, wakes) = channel();
        let waker = Waker::start(ring.try_clone().unwrap(), move || woken.send(()).is_ok(), || ()).unwrap();
        for _ in 0..3 {
            rustix::io::write(&ring, &1u64.to_ne_bytes()).unwrap();
            wakes.recv_timeout(Duration::from_secs(5)).unwrap();
        }
        assert!(wakes.recv_timeout(Duration::from_millis(50)).is_err(), "what is there already is no edge");
        drop(waker);
        assert!(wakes.recv_timeout(Duration::from_millis(50)).is_err());
    }
}
