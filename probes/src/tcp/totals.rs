// SPDX-License-Identifier: Apache-2.0
//! How much each key grew: total = closed + live − baseline, never less than nothing.
//!
//! Pure: knows no kernel. Sums of closed sockets arrive once; live sockets are seen afresh in every
//! pass. A socket that a pass missed, or saw twice, makes its key's total wrong for that pass only:
//! what was reported is remembered, so a total that was too low reports nothing and a total that was
//! too high reports nothing until the truth has caught up.

use std::collections::HashMap;
use std::ops::{Index, IndexMut};

use foldhash::fast::RandomState;

use super::FlowKey;

/// A counter that every socket keeps, by its place in [`Counters`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Counter {
    /// Payload bytes that the other end acknowledged (`bytes_acked` less SYN and FIN).
    SentBytes,
    /// Payload bytes received in order (`bytes_received` less FIN).
    ReceivedBytes,
    /// `segs_out`.
    SentSegments,
    /// `segs_in`.
    ReceivedSegments,
    /// `total_retrans`, SYN included.
    RetransmittedSegments,
    /// `rcv_ooopack`.
    OutOfOrderSegments,
    /// `chrono_stat[busy]`, jiffies.
    LimitedBusy,
    /// `chrono_stat[rwnd_limited]`, jiffies.
    LimitedReceiveWindow,
    /// `chrono_stat[sndbuf_limited]`, jiffies.
    LimitedSendBuffer,
    /// Connections established.
    Opened,
    /// Connections attempted (client).
    Attempts,
    /// SYN retransmitted (client).
    SynRetransmits,
    /// `sk_drops` of listeners.
    ListenDrops,
}

impl Counter {
    /// How many there are.
    pub const COUNT: usize = Counter::ListenDrops as usize + 1;

    /// All, in order.
    pub const ALL: [Counter; Counter::COUNT] = [
        Counter::SentBytes,
        Counter::ReceivedBytes,
        Counter::SentSegments,
        Counter::ReceivedSegments,
        Counter::RetransmittedSegments,
        Counter::OutOfOrderSegments,
        Counter::LimitedBusy,
        Counter::LimitedReceiveWindow,
        Counter::LimitedSendBuffer,
        Counter::Opened,
        Counter::Attempts,
        Counter::SynRetransmits,
        Counter::ListenDrops,
    ];

    /// The kernel keeps it in 32 bits: at a million segments a second it wraps every 72 minutes.
    fn wraps(self) -> bool {
        use Counter::*;
        matches!(
            self,
            SentSegments
                | ReceivedSegments
                | RetransmittedSegments
                | OutOfOrderSegments
                | LimitedBusy
                | LimitedReceiveWindow
                | LimitedSendBuffer
                | ListenDrops
        )
    }
}

/// One value for each [`Counter`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters([u64; Counter::COUNT]);

impl Index<Counter> for Counters {
    type Output = u64;
    fn index(&self, counter: Counter) -> &u64 {
        &self.0[counter as usize]
    }
}

impl IndexMut<Counter> for Counters {
    fn index_mut(&mut self, counter: Counter) -> &mut u64 {
        &mut self.0[counter as usize]
    }
}

impl Counters {
    /// Whether all are zero.
    pub fn is_zero(&self) -> bool {
        self.0.iter().all(|value| *value == 0)
    }

    /// Adds another's values, wrapping as the kernel's do.
    pub fn add(&mut self, other: &Counters) {
        for (sum, value) in self.0.iter_mut().zip(other.0) {
            *sum = sum.wrapping_add(value);
        }
    }
}

/// Passes for which a key with nothing open is remembered because it reported too much.
const HEALING_PASSES: u8 = 16;

struct Account<T> {
    /// What was reported, less what closed sockets had counted: a live total above it is growth.
    reported: [i64; Counter::COUNT],
    live: Counters,
    connections: u32,
    /// Sockets in `live`, and in the pass before.
    sockets: (u32, u32),
    /// The pass in which `live` was counted.
    pass: u32,
    /// Counters that fell by more than half of 32 bits in the pass before, a bit each.
    fell: u16,
    /// Of those, the ones that fell while the number of sockets changed.
    left: u16,
    idle: u8,
    tag: T,
}

/// The books: an account for each key that has live sockets or unreported closed ones.
pub struct Totals<T> {
    accounts: HashMap<FlowKey, Account<T>, RandomState>,
    pass: u32,
}

impl<T: Default> Totals<T> {
    /// Empty books.
    pub fn new() -> Self {
        Self { accounts: HashMap::default(), pass: 0 }
    }

    /// Keys with an account.
    pub fn len(&self) -> usize {
        self.accounts.len()
    }

    fn account(&mut self, key: &FlowKey) -> &mut Account<T> {
        self.accounts.entry(*key).or_insert_with(|| Account {
            reported: [0; Counter::COUNT],
            live: Counters::default(),
            connections: 0,
            sockets: (0, 0),
            pass: 0,
            fell: 0,
            left: 0,
            idle: 0,
            tag: T::default(),
        })
    }

    /// Enters what closed sockets of the key had counted in their life. Returns the key's tag.
    pub fn closed(&mut self, key: &FlowKey, counters: &Counters) -> &mut T {
        let account = self.account(key);
        for (reported, closed) in account.reported.iter_mut().zip(counters.0) {
            *reported = reported.wrapping_sub(closed as i64);
        }
        account.idle = 0;
        &mut account.tag
    }

    /// Begins a pass: nothing has been seen alive yet.
    pub fn begin(&mut self) {
        self.pass = self.pass.wrapping_add(1);
    }

    /// Enters one live socket; `connection` if it is an established one. Returns the key's tag.
    pub fn live(&mut self, key: &FlowKey, counters: &Counters, connection: bool) -> &mut T {
        let pass = self.pass;
        let account = self.account(key);
        if account.pass != pass {
            account.pass = pass;
            account.live = Counters::default();
            account.connections = 0;
            account.sockets = (0, account.sockets.0);
        }
        account.live.add(counters);
        account.sockets.0 += 1;
        account.connections += u32::from(connection);
        account.idle = 0;
        &mut account.tag
    }

    /// Whether anything of the key was reported, or waits to be.
    pub fn knows(&self, key: &FlowKey) -> bool {
        self.accounts.contains_key(key)
    }

    /// A live socket is added up by another key from now on: what it has counted was reported under the one it had before.
    pub fn move_live(&mut self, from: &FlowKey, to: &FlowKey, counters: &Counters) {
        for (reported, counted) in self.account(from).reported.iter_mut().zip(counters.0) {
            *reported = reported.wrapping_sub(counted as i64);
        }
        for (reported, counted) in self.account(to).reported.iter_mut().zip(counters.0) {
            *reported = reported.wrapping_add(counted as i64);
        }
    }

    /// Ends the first pass: what live sockets have counted so far was before the start.
    pub fn set_baseline(&mut self) {
        let pass = self.pass;
        for account in self.accounts.values_mut().filter(|account| account.pass == pass) {
            for (reported, live) in account.reported.iter_mut().zip(account.live.0) {
                *reported = reported.wrapping_add(live as i64);
            }
        }
    }

    /// Ends a pass: reports each key that grew or has connections, and forgets those that are done.
    pub fn finish(&mut self, mut report: impl FnMut(&FlowKey, &mut T, &Counters, u32)) {
        let pass = self.pass;
        self.accounts.retain(|key, account| {
            let seen = account.pass == pass;
            if !seen {
                account.live = Counters::default();
                account.connections = 0;
                account.sockets = (0, 0);
            }
            let growth = account.growth();
            if seen || !growth.is_zero() {
                report(key, &mut account.tag, &growth, account.connections);
            }
            if seen {
                return true;
            }
            account.idle += 1;
            account.reported.iter().any(|reported| *reported != 0) && account.idle < HEALING_PASSES
        });
    }
}

impl<T> Account<T> {
    fn growth(&mut self) -> Counters {
        const HALF: i64 = 1 << 31;
        let mut growth = Counters::default();
        for counter in Counter::ALL {
            let (place, bit) = (counter as usize, 1u16 << counter as usize);
            let reported = &mut self.reported[place];
            let mut more = (self.live.0[place] as i64).wrapping_sub(*reported);
            if counter.wraps() && more < -HALF {
                // A socket's 32-bit counter went round, or a very old socket was missed or lost: the next pass
                // tells.
                let same_sockets = self.sockets.0 > 0 && self.sockets.0 == self.sockets.1;
                if self.fell & bit == 0 {
                    self.fell |= bit;
                    self.left |= if same_sockets { 0 } else { bit };
                    continue;
                }
                if same_sockets && self.left & bit == 0 {
                    *reported -= 1 << 32;
                    more += 1 << 32;
                } else {
                    // Its last word never came. Better to report what it still owed never than to invent 4 G.
                    *reported += more;
                    more = 0;
                }
            }
            self.fell &= !bit;
            self.left &= !bit;
            if more > 0 {
                *reported += more;
                growth.0[place] = more as u64;
            }
        }
        growth
    }
}

#[cfg(test)]
mod tests;
