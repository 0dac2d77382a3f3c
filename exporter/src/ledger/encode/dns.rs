// SPDX-License-Identifier: Apache-2.0
//! The families of DNS, in the order of [`dns::FAMILIES`].

use std::fmt;

use flowgauge_probes::packets::{DNS_POWERS, QTYPES, RCODES};
use prometheus_client::encoding::DescriptorEncoder;

use super::{Row, Writer, all, count};
use crate::dns_families as dns;
use crate::exposition::RenderedLabels;
use crate::ledger::dns::DnsPart;
use crate::ledger::{Entry, Ledger};

impl Ledger {
    pub(super) fn encode_dns(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        entries: &[(&Entry, RenderedLabels)],
    ) -> fmt::Result {
        let mut out = Writer::new(encoder, entries, |entry| entry.dns.as_deref());
        out.each(&dns::QUERIES, all, |metric, part, labels| {
            let asked = QTYPES.iter().zip(part.counts.queries).filter(|(_, queries)| *queries > 0);
            for (qtype, queries) in asked {
                count(metric, &labels.with(dns::QUERIES.labels[0], qtype), queries)?;
            }
            Ok(())
        })?;
        out.each(&dns::RESPONSES, all, |metric, part, labels| {
            let [code, search] = [dns::RESPONSES.labels[0], dns::RESPONSES.labels[1]];
            for (rcode, made_up, responses) in part.responses() {
                count(metric, &labels.with_all([(code, rcode), (search, made_up)]), responses)?;
            }
            Ok(())
        })?;
        out.counter(&dns::TIMEOUTS, all, |part| part.counts.timeouts)?;
        let has_durations = |row: &Row<'_, DnsPart>| row.part.has_durations();
        out.histogram(&dns::DURATION, has_durations, DNS_POWERS, |part| {
            (&part.counts.durations, part.counts.duration_sum)
        })?;
        out.by_reason(&dns::UNMATCHED, all, ["late", "unsolicited"], |part| {
            [part.counts.late, part.counts.unsolicited]
        })?;
        out.counter(&dns::TRUNCATED, all, |part| part.counts.truncated)?;
        out.counter(&dns::RETRANSMITS, all, |part| part.counts.retransmits)?;
        out.counter(&dns::TCP_QUERIES, all, |part| part.counts.tcp_queries)?;
        out.counter(&dns::MALFORMED, all, |part| part.counts.malformed)?;
        if self.config.dns_names > 0 { self.encode_domains(encoder) } else { Ok(()) }
    }

    fn encode_domains(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut metric = dns::DOMAIN_RESPONSES.describe(encoder)?;
        let [by_domain, by_code] = [dns::DOMAIN_RESPONSES.labels[0], dns::DOMAIN_RESPONSES.labels[1]];
        for (domain, answers) in self.domains.served() {
            for (rcode, count_of) in RCODES.iter().zip(answers).filter(|(_, answers)| **answers > 0) {
                count(&mut metric, &[(by_domain, domain), (by_code, *rcode)], *count_of)?;
            }
        }
        Ok(())
    }
}
