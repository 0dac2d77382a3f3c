// SPDX-License-Identifier: Apache-2.0
//! What DNS did on one edge.

use flowgauge_probes::packets::{DNS_BUCKETS, DnsCounts, NXDOMAIN, RCODES};

use super::entry::add;

/// Where SERVFAIL is among [`RCODES`].
const SERVFAIL: usize = 2;

/// Response codes that every edge with DNS shows, though there were none: a rate of errors needs a zero to begin with.
const ALWAYS: [usize; 3] = [0, SERVFAIL, NXDOMAIN];

/// Everything counted of the edge's DNS messages since the start.
#[derive(Debug, Clone, Default)]
pub struct DnsPart {
    /// What the kernel counted.
    pub counts: DnsCounts,
    nxdomain: Nxdomain,
}

/// NXDOMAIN answers: what is known of the names they are about. The kernel counts each answer exactly; that its name was made
/// up by a search list is found out from samples, about a second later. An answer is served once that is decided, and never
/// as anything else afterwards.
#[derive(Debug, Clone, Default)]
struct Nxdomain {
    /// Served as real errors.
    real: u64,
    /// Served as made up.
    search: u64,
    /// Found to be made up, and not yet among those counted: a sample may come before its count.
    credit: u64,
    /// What was left of `credit` when the pass before ended.
    old_credit: u64,
    /// Not decided yet.
    held: u64,
}

impl DnsPart {
    /// Adds what the flows grew.
    pub fn add(&mut self, growth: &DnsCounts) {
        let DnsCounts {
            queries,
            responses,
            retransmits,
            timeouts,
            late,
            unsolicited,
            truncated,
            tcp_queries,
            malformed,
            durations,
            duration_sum,
        } = growth;
        let counts = &mut self.counts;
        add(&mut counts.queries, *queries);
        add(&mut counts.responses, *responses);
        counts.retransmits += retransmits;
        counts.timeouts += timeouts;
        counts.late += late;
        counts.unsolicited += unsolicited;
        counts.truncated += truncated;
        counts.tcp_queries += tcp_queries;
        counts.malformed += malformed;
        add(&mut counts.durations, *durations);
        counts.duration_sum += duration_sum;
    }

    /// Adds all that another edge counted.
    pub fn absorb(&mut self, other: &DnsPart) {
        self.add(&other.counts);
        let Nxdomain { real, search, credit, old_credit, held } = &other.nxdomain;
        self.nxdomain.real += real;
        self.nxdomain.search += search;
        self.nxdomain.credit += credit;
        self.nxdomain.old_credit += old_credit;
        self.nxdomain.held += held;
    }

    /// Forgets how many answers are undecided, before that is told anew.
    pub fn release(&mut self) {
        self.nxdomain.held = 0;
    }

    /// Takes what became of NXDOMAIN answers: so many were `made_up` by a search list, so many are still `undecided`.
    pub fn decide(&mut self, made_up: u64, undecided: u64) {
        self.nxdomain.credit += made_up;
        self.nxdomain.held += undecided;
    }

    /// Distributes the NXDOMAIN answers counted since the last time, as far as they are decided.
    pub fn settle(&mut self) {
        let nxdomain = &mut self.nxdomain;
        let served = nxdomain.real + nxdomain.search;
        let waiting = self.counts.responses[NXDOMAIN].saturating_sub(served);
        let made_up = waiting.min(nxdomain.old_credit + nxdomain.credit);
        nxdomain.search += made_up;
        nxdomain.real += (waiting - made_up).saturating_sub(nxdomain.held);
        let of_old = made_up.min(nxdomain.old_credit);
        nxdomain.old_credit -= of_old;
        nxdomain.credit -= made_up - of_old;
    }

    /// Ends a pass over DNS messages: answers found to be made up in the one before, whose counts have not come until now,
    /// were lost by the kernel.
    pub fn lapse(&mut self) {
        self.nxdomain.old_credit = std::mem::take(&mut self.nxdomain.credit);
    }

    /// Responses as they are served: by code, whether a search list made the name up, and how many.
    pub fn responses(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let real = RCODES.iter().enumerate().map(|(at, rcode)| {
            let count = if at == NXDOMAIN { self.nxdomain.real } else { self.counts.responses[at] };
            (*rcode, "false", count, ALWAYS.contains(&at))
        });
        let made_up = (RCODES[NXDOMAIN], "true", self.nxdomain.search, false);
        real.chain([made_up])
            .filter(|(_, _, count, always)| *always || *count > 0)
            .map(|(rcode, search, count, _)| (rcode, search, count))
    }

    /// Whether any response time was measured.
    pub fn has_durations(&self) -> bool {
        self.counts.durations.iter().any(|count| *count > 0)
    }

    /// How many series it is served as.
    pub fn series(&self) -> usize {
        // Timeouts, unmatched by reason, truncated, retransmits, over TCP, malformed.
        const FIXED: usize = 1 + 2 + 1 + 1 + 1 + 1;
        let queries = self.counts.queries.iter().filter(|count| **count > 0).count();
        // Sum and count come on top of the buckets.
        let durations = if self.has_durations() { DNS_BUCKETS + 2 } else { 0 };
        FIXED + queries + self.responses().count() + durations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A part to which so many NXDOMAIN answers are counted, and found made up or undecided, in each of some passes; what it serves
    /// as real and as made up after each.
    fn served(passes: &[(u64, u64, u64)]) -> Vec<(u64, u64)> {
        let mut part = DnsPart::default();
        let pass = |(counted, made_up, undecided): &(u64, u64, u64)| {
            let mut growth = DnsCounts::default();
            growth.responses[NXDOMAIN] = *counted;
            part.add(&growth);
            part.release();
            part.decide(*made_up, *undecided);
            part.settle();
            part.lapse();
            let of = |search| {
                let mut counts =
                    part.responses().filter(|(rcode, made, _)| *rcode == "NXDOMAIN" && *made == search);
                counts.next().map_or(0, |(_, _, count)| count)
            };
            (of("false"), of("true"))
        };
        passes.iter().map(pass).collect()
    }

    #[test]
    fn an_answer_is_served_once_it_is_decided() {
        // Three undecided; two of them turn out to be made up, the third to be real.
        assert_eq!(served(&[(3, 0, 3), (0, 2, 1), (0, 0, 0)]), [(0, 0), (0, 2), (1, 2)]);
        // Answers without a sample count as real at once.
        assert_eq!(served(&[(5, 0, 1), (0, 0, 0)]), [(4, 0), (5, 0)]);
    }

    #[test]
    fn a_sample_may_come_before_its_count() {
        assert_eq!(served(&[(0, 0, 2), (2, 2, 0)]), [(0, 0), (0, 2)]);
        assert_eq!(served(&[(0, 2, 0), (2, 0, 0)]), [(0, 0), (0, 2)]);
        // One whose count never comes does not excuse a later error.
        assert_eq!(served(&[(0, 2, 0), (0, 0, 0), (2, 0, 0)]), [(0, 0), (0, 0), (2, 0)]);
        assert_eq!(served(&[(0, 2, 0), (1, 1, 0), (2, 0, 0)]), [(0, 0), (0, 1), (1, 2)]);
    }

    #[test]
    fn nothing_falls_and_all_is_served_in_the_end() {
        let mut seed = 7_u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % below
        };
        let mut passes: Vec<_> = (0..1000).map(|_| (random(9), random(5), random(5))).collect();
        passes.extend([(0, 0, 0); 2]);
        let served = served(&passes);
        assert!(served.windows(2).all(|pair| pair[0].0 <= pair[1].0 && pair[0].1 <= pair[1].1));
        let (real, made_up) = served[served.len() - 1];
        assert_eq!(real + made_up, passes.iter().map(|(counted, ..)| counted).sum::<u64>());
    }

    #[test]
    fn codes_that_errors_are_measured_against_are_always_there() {
        let codes = |part: &DnsPart| part.responses().map(|(rcode, ..)| rcode).collect::<Vec<_>>();
        let mut part = DnsPart::default();
        assert_eq!(codes(&part), ["NOERROR", "SERVFAIL", "NXDOMAIN"]);
        part.counts.responses[5] = 1;
        assert_eq!(codes(&part), ["NOERROR", "SERVFAIL", "NXDOMAIN", "REFUSED"]);
        part.counts.responses[NXDOMAIN] = 2;
        part.decide(1, 0);
        part.settle();
        assert_eq!(codes(&part), ["NOERROR", "SERVFAIL", "NXDOMAIN", "REFUSED", "NXDOMAIN"]);
    }
}
