// SPDX-License-Identifier: Apache-2.0
//! Takes samples of DNS messages and hands each to those that can learn from it.

use std::collections::HashMap;

use flowgauge_probes::packets::{DnsSample, NXDOMAIN};
use flowgauge_probes::{FlowKey, Role};
use foldhash::fast::RandomState;

use super::name::Question;
use super::resolv_conf::SearchList;
use super::search::{Client, SearchNoise};
use crate::ledger::{Ledger, Place};

/// Takes a client's answers: its network namespace and the message.
pub type NoteAnswer = Box<dyn FnMut(u32, &[u8]) + Send>;

/// What is learned from samples, from one pass to the next.
pub struct Messages {
    search: SearchNoise<FlowKey>,
    /// Where the NXDOMAIN answers of a flow are counted, while some are undecided.
    places: HashMap<FlowKey, Place, RandomState>,
    /// What was found of flows in the last pass whose counts had not come yet.
    unplaced: HashMap<FlowKey, u64, RandomState>,
    note_answer: Option<NoteAnswer>,
}

impl Messages {
    /// `list` is the host's search list.
    pub fn new(list: SearchList) -> Self {
        let (places, unplaced) = (HashMap::default(), HashMap::default());
        Self { search: SearchNoise::new(list), places, unplaced, note_answer: None }
    }

    /// Hands the first answers that clients on this host got to somebody else as well, each whole or its begin. It must stand
    /// anything.
    pub fn with_answers(self, note_answer: NoteAnswer) -> Self {
        Self { note_answer: Some(note_answer), ..self }
    }

    /// Learns from a message.
    pub fn take(&mut self, sample: &DnsSample<'_>, ledger: &mut Ledger) {
        let DnsSample { key, time, is_answer, message, length: _ } = sample;
        let Some(question) = Question::read(message) else { return };
        // A response that is no first answer may be forged.
        if question.response != *is_answer {
            return;
        }
        let name = question.name.as_ref();
        if !question.response {
            if let Some(name) = name {
                self.search.query(Client::of(key), *time, name, question.qtype);
            }
            return;
        }
        if let Some(name) = name
            && usize::from(question.rcode) == NXDOMAIN
        {
            self.search.nxdomain(Client::of(key), *key, *time, name, question.qtype);
        }
        if key.role == Role::Client {
            ledger.domains().count(name, usize::from(question.rcode));
            if let Some(note_answer) = &mut self.note_answer {
                note_answer(key.netns, message);
            }
        }
    }

    /// A flow's NXDOMAIN answers are counted at this place.
    pub fn counted(&mut self, key: &FlowKey, place: Place) {
        self.places.insert(*key, place);
    }

    /// Tells the ledger what became of NXDOMAIN answers; once in each pass, after the counts. `now` is a time before which all samples
    /// have been taken.
    pub fn conclude(&mut self, now: u64, ledger: &mut Ledger) {
        let mut found = self.search.take(now);
        let unplaced =
            found.iter().filter(|(key, found)| found.made_up > 0 && !self.places.contains_key(key));
        let unplaced = unplaced.map(|(key, found)| (*key, found.made_up)).collect();
        for (key, made_up) in std::mem::replace(&mut self.unplaced, unplaced) {
            if self.places.contains_key(&key) {
                found.entry(key).or_default().made_up += made_up;
            }
        }
        let placed = found.iter().filter_map(|(key, findings)| Some((*self.places.get(key)?, findings)));
        ledger.decide_nxdomain(placed.map(|(place, found)| (place, found.made_up, found.undecided)));
        self.places.retain(|key, _| found.get(key).is_some_and(|findings| findings.undecided > 0));
    }
}

impl std::fmt::Debug for Messages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Messages").field("search", &self.search).finish_non_exhaustive()
    }
}
