// SPDX-License-Identifier: Apache-2.0
//! Is it all of this provider's addresses, or three of them? In a sentence, and two bars to compare.

use super::chart;
use crate::flows::{Measure, Share};
use crate::web::html::Page;
use crate::web::units::{grouped, percent};

/// How much more of a measure than of the bytes some addresses must have to stand out.
const STANDS_OUT: f64 = 3.0;

/// Fewer of something are chance.
const FEW: u64 = 5;

fn what(measure: Measure) -> &'static str {
    match measure {
        Measure::Bytes => "bytes",
        Measure::Retransmits => "retransmits",
        Measure::ConnectFailures => "failed connects",
        Measure::Errors => "errors",
    }
}

/// Says for each measure how it is shared out. Nothing if there is nothing that fails.
pub fn summary(page: &mut Page, shares: &[Share]) {
    let worth = |share: &&Share| share.measure != Measure::Bytes;
    if shares.iter().filter(worth).count() == 0 {
        return;
    }
    page.raw("<section class=\"summary\" aria-label=\"Who has it\">\n");
    for share in shares.iter().filter(worth) {
        one(page, share);
    }
    page.raw("</section>\n");
}

/// Whether a few addresses have far more than their part.
pub fn stand_out(share: &Share) -> bool {
    let Share { total, addresses, few, theirs, of_bytes, measure, .. } = share;
    // Where connecting fails there are no bytes to compare with: the number of addresses has to do.
    let part = match measure {
        Measure::ConnectFailures => *few as f64 / *addresses as f64,
        _ => of_bytes.max(*few as f64 / *addresses as f64 / STANDS_OUT),
    };
    *total >= FEW && few * 2 <= *addresses && *theirs > part * STANDS_OUT
}

fn one(page: &mut Page, share: &Share) {
    let Share { measure, total, addresses, few, theirs, of_bytes, ratios, .. } = share;
    let out = stand_out(share);
    page.raw(if out { "<div class=\"finding out\">" } else { "<div class=\"finding\">" });
    page.raw("<p><b>").text(&sentence(share)).raw("</b> ");
    if let (true, Measure::Retransmits, (Some(theirs), Some(others))) = (out, measure, ratios) {
        page.raw("They sent ").text(&percent(*theirs)).raw(" of their segments again, all others ");
        page.text(&percent(*others)).raw(".");
    } else if !out {
        page.raw(if *total < FEW { "Too few to tell." } else { "No address stands out." });
    }
    page.raw("</p>\n");
    if few < addresses && *total >= FEW {
        page.raw("<dl>");
        // Where connecting fails there are no bytes to compare with.
        let beside = match measure {
            Measure::ConnectFailures => ("addresses", *few as f64 / *addresses as f64, ""),
            _ => ("bytes", *of_bytes, ""),
        };
        for (name, part, class) in [(what(*measure), *theirs, "bad"), beside] {
            page.raw("<div><dt>").raw(name).raw("</dt><dd>");
            chart::share(page, part, class);
            page.raw("<span>").text(&percent(part)).raw("</span></dd></div>");
        }
        page.raw("</dl>");
    }
    page.raw("</div>\n");
}

/// `3 of 40 addresses have 98 % of the retransmits.`
pub fn sentence(share: &Share) -> String {
    let Share { measure, total, addresses, few, theirs, .. } = share;
    let what = what(*measure);
    let (few, all) = (grouped(*few as u64), grouped(*addresses as u64));
    let have = if share.few == 1 { "has" } else { "have" };
    if *theirs >= 1.0 {
        return format!("{few} of {all} addresses {have} all {} {what}.", grouped(*total));
    }
    format!("{few} of {all} addresses {have} {} of the {} {what}.", percent(*theirs), grouped(*total))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(few: usize, theirs: f64, of_bytes: f64, total: u64) -> Share {
        let ratios = (Some(0.048), Some(0.0001));
        Share { measure: Measure::Retransmits, total, addresses: 40, few, theirs, of_bytes, ratios }
    }

    #[test]
    fn sentences() {
        let plain = |share: &Share| sentence(share).replace('\u{202f}', " ");
        assert_eq!(
            plain(&share(3, 0.98, 0.07, 1234)),
            "3 of 40 addresses have 98 % of the 1 234 retransmits."
        );
        assert_eq!(plain(&share(1, 1.0, 0.0, 9)), "1 of 40 addresses has all 9 retransmits.");
    }

    #[test]
    fn who_has_the_bytes_has_the_retransmits() {
        assert!(stand_out(&share(3, 0.98, 0.07, 1000)));
        assert!(!stand_out(&share(3, 0.98, 0.95, 1000)), "they have all the traffic as well");
        assert!(!stand_out(&share(36, 0.9, 0.9, 1000)), "all alike");
        assert!(!stand_out(&share(1, 1.0, 0.02, 1)), "chance");
        let failures = Share { measure: Measure::ConnectFailures, ..share(2, 1.0, 0.0, 31) };
        assert!(stand_out(&failures));
        assert!(!stand_out(&Share { few: 39, ..failures }));
    }
}
