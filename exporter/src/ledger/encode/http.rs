// SPDX-License-Identifier: Apache-2.0
//! The families of HTTP and gRPC, in the order of [`http::FAMILIES`].

use std::fmt;

use flowgauge_probes::packets::{HTTP_FAILURES, HTTP_POWERS};
use prometheus_client::encoding::DescriptorEncoder;

use super::{Row, Writer, all, count};
use crate::exposition::RenderedLabels;
use crate::http_families as http;
use crate::ledger::http::HttpPart;
use crate::ledger::{Entry, Ledger};

impl Ledger {
    pub(super) fn encode_http(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        entries: &[(&Entry, RenderedLabels)],
    ) -> fmt::Result {
        let mut out = Writer::new(encoder, entries, |entry| entry.http.as_deref());
        out.each(&http::RESPONSES, all, |metric, part, labels| {
            let [by_method, by_code] = [http::RESPONSES.labels[0], http::RESPONSES.labels[1]];
            for (method, code, responses) in part.responses() {
                count(metric, &labels.with_all([(by_method, method), (by_code, &code)]), responses)?;
            }
            Ok(())
        })?;
        let has_durations = |row: &Row<'_, HttpPart>| row.part.has_durations();
        out.histogram(&http::DURATION, has_durations, HTTP_POWERS, |part| {
            (&part.durations, part.duration_sum)
        })?;
        out.by_reason(&http::FAILED, all, HTTP_FAILURES, |part| part.failed)?;
        out.each(&http::GRPC_RESPONSES, all, |metric, part, labels| {
            for (status, responses) in part.grpc() {
                count(metric, &labels.with(http::GRPC_RESPONSES.labels[0], status), responses)?;
            }
            Ok(())
        })
    }
}
