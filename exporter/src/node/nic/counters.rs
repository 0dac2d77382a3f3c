// SPDX-License-Identifier: Apache-2.0
//! Which of a driver's counters are served, and under which name.

/// What a counter tells; the order of the families.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An allowance that was exceeded.
    Exceeded,
    /// What is left of an allowance.
    Available,
    /// Something that costs packets or time.
    Event,
}

/// Names of whole allowances (AWS ENA), and their labels.
const ALLOWANCES: [(&str, Kind, &str); 6] = [
    ("bw_in_allowance_exceeded", Kind::Exceeded, "bw_in"),
    ("bw_out_allowance_exceeded", Kind::Exceeded, "bw_out"),
    ("pps_allowance_exceeded", Kind::Exceeded, "pps"),
    ("conntrack_allowance_exceeded", Kind::Exceeded, "conntrack"),
    ("linklocal_allowance_exceeded", Kind::Exceeded, "linklocal"),
    ("conntrack_allowance_available", Kind::Available, "conntrack"),
];

/// Events, by the counter's name without the queue's number.
const EVENTS: [&str; 40] = [
    // virtio_net.
    "rx_drops",
    "rx_hw_drops",
    "rx_hw_drop_overruns",
    "rx_hw_drop_ratelimits",
    "tx_hw_drops",
    "tx_hw_drop_ratelimits",
    "tx_tx_timeouts",
    // gve (Google).
    "rx_dropped",
    "tx_dropped",
    "tx_timeouts",
    "rx_skb_alloc_fail",
    "rx_buf_alloc_fail",
    "rx_desc_err_dropped_pkt",
    "rx_queue_drop_cnt",
    "rx_no_buffers_posted",
    "rx_drops_packet_over_mru",
    "rx_drops_invalid_checksum",
    "dma_mapping_error",
    "page_alloc_fail",
    // ena (AWS).
    "tx_timeout",
    "rx_overruns",
    "rx_page_alloc_fail",
    "rx_dma_mapping_err",
    "rx_bad_csum",
    "rx_csum_bad",
    "rx_empty_rx_ring",
    "tx_dma_mapping_err",
    "tx_queue_stop",
    // hv_netvsc (Azure).
    "tx_no_memory",
    "tx_no_space",
    "tx_too_big",
    "tx_busy",
    "tx_send_full",
    "rx_no_memory",
    "rx_comp_busy",
    "stop_queue",
    // mana and mlx5_core (Azure).
    "hc_rx_discards_no_wqe",
    "rx_out_of_buffer",
    "rx_discards_phy",
    "tx_discards_phy",
];

/// One counter of those served: where it is among the driver's.
#[derive(Debug)]
struct Selected {
    kind: Kind,
    label: &'static str,
    /// The total of the interface alone, if the driver has one; else the counters of all queues.
    places: Vec<usize>,
    is_total: bool,
}

/// What is served of a driver's counters.
#[derive(Debug, Default)]
pub struct Selection(Vec<Selected>);

impl Selection {
    /// From the driver's names.
    pub fn of(names: &[String]) -> Self {
        let mut selection = Self::default();
        for (place, name) in names.iter().enumerate() {
            let allowance = ALLOWANCES.iter().find(|(known, ..)| known == name);
            let allowance = allowance.map(|(_, kind, label)| (*kind, *label, true));
            let (base, of_queue) = without_queue(name);
            let event = EVENTS.iter().find(|known| **known == base);
            let event = event.map(|event| (Kind::Event, *event, !of_queue));
            if let Some((kind, label, total)) = allowance.or(event) {
                selection.add(kind, label, total, place);
            }
        }
        selection.0.sort_by_key(|selected| (selected.kind, selected.label));
        selection
    }

    fn add(&mut self, kind: Kind, label: &'static str, is_total: bool, place: usize) {
        let known = self.0.iter_mut().find(|known| known.kind == kind && known.label == label);
        match known {
            None => self.0.push(Selected { kind, label, places: vec![place], is_total }),
            Some(known) if known.is_total => {}
            Some(known) if is_total => (known.places, known.is_total) = (vec![place], true),
            Some(known) => known.places.push(place),
        }
    }

    /// Whether nothing of it is served.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The sums, by kind.
    pub fn sums(&self, values: &[u64]) -> Vec<(Kind, &'static str, f64)> {
        let sum =
            |places: &[usize]| places.iter().filter_map(|place| values.get(*place)).map(|v| *v as f64).sum();
        self.0.iter().map(|selected| (selected.kind, selected.label, sum(&selected.places))).collect()
    }
}

/// A counter's name without the number of its queue, and whether it had one: `rx_queue_3_drops`, `rx3_drops`,
/// `queue_3_rx_bad_csum`, `rx_queue_drop_cnt[3]`.
fn without_queue(name: &str) -> (String, bool) {
    if let Some((base, number)) = name.strip_suffix(']').and_then(|name| name.split_once('[')) {
        return (base.to_owned(), is_number(number));
    }
    if let Some((number, base)) = name.strip_prefix("queue_").and_then(|rest| rest.split_once('_')) {
        return if is_number(number) { (base.to_owned(), true) } else { (name.to_owned(), false) };
    }
    for direction in ["rx", "tx"] {
        let rest = name.strip_prefix(direction);
        let rest = rest.map(|rest| rest.strip_prefix("_queue_").unwrap_or(rest));
        if let Some((number, base)) = rest.and_then(|rest| rest.split_once('_'))
            && is_number(number)
        {
            return (format!("{direction}_{base}"), true);
        }
    }
    (name.to_owned(), false)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::{Kind, Selection};

    fn served(counters: &[(&str, u64)]) -> Vec<(Kind, &'static str, f64)> {
        let names: Vec<String> = counters.iter().map(|(name, _)| (*name).to_owned()).collect();
        let values: Vec<u64> = counters.iter().map(|(_, value)| *value).collect();
        Selection::of(&names).sums(&values)
    }

    #[test]
    fn ena() {
        let counters = [
            ("total_resets", 0),
            ("tx_timeout", 1),
            ("bw_in_allowance_exceeded", 2),
            ("bw_out_allowance_exceeded", 3),
            ("pps_allowance_exceeded", 4),
            ("conntrack_allowance_exceeded", 5),
            ("linklocal_allowance_exceeded", 6),
            ("conntrack_allowance_available", 7),
            ("queue_0_tx_cnt", 1000),
            ("queue_0_tx_queue_stop", 8),
            ("queue_0_rx_bad_csum", 9),
            ("queue_1_tx_queue_stop", 10),
            ("queue_1_rx_bad_csum", 0),
        ];
        let expected = [
            (Kind::Exceeded, "bw_in", 2.0),
            (Kind::Exceeded, "bw_out", 3.0),
            (Kind::Exceeded, "conntrack", 5.0),
            (Kind::Exceeded, "linklocal", 6.0),
            (Kind::Exceeded, "pps", 4.0),
            (Kind::Available, "conntrack", 7.0),
            (Kind::Event, "rx_bad_csum", 9.0),
            (Kind::Event, "tx_queue_stop", 18.0),
            (Kind::Event, "tx_timeout", 1.0),
        ];
        assert_eq!(served(&counters), expected);
    }

    #[test]
    fn virtio_with_and_without_totals() {
        let old = [("rx_queue_0_packets", 9), ("rx_queue_0_drops", 1), ("rx_queue_10_drops", 2)];
        assert_eq!(served(&old), [(Kind::Event, "rx_drops", 3.0)]);
        // Since 6.10, of the driver on this machine among others: the total is not added to what it is the total of.
        let new =
            [("rx_drops", 3), ("rx_kicks", 9), ("rx0_drops", 1), ("rx1_drops", 2), ("tx0_tx_timeouts", 4)];
        assert_eq!(served(&new), [(Kind::Event, "rx_drops", 3.0), (Kind::Event, "tx_tx_timeouts", 4.0)]);
    }

    #[test]
    fn gve_netvsc_and_mana() {
        let gve = [("rx_packets", 7), ("rx_no_buffers_posted[0]", 1), ("rx_no_buffers_posted[1]", 2)];
        assert_eq!(served(&gve), [(Kind::Event, "rx_no_buffers_posted", 3.0)]);
        let azure = [
            ("tx_send_full", 1),
            ("tx_queue_0_packets", 9),
            ("hc_rx_discards_no_wqe", 2),
            ("vf_rx_bytes", 9),
        ];
        assert_eq!(
            served(&azure),
            [(Kind::Event, "hc_rx_discards_no_wqe", 2.0), (Kind::Event, "tx_send_full", 1.0)]
        );
    }

    #[test]
    fn odd_names_are_left_out() {
        let names = [
            "",
            "[",
            "]",
            "[]",
            "queue_",
            "queue__",
            "rx",
            "rx_",
            "rx_queue_",
            "rx_queue__drops",
            "rx_queue_x_drops",
            "tx99999999999999999999_",
        ];
        assert!(Selection::of(&names.map(str::to_owned)).is_empty());
        assert!(Selection::of(&[]).is_empty());
    }
}
