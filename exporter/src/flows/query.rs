// SPDX-License-Identifier: Apache-2.0
//! What can be asked of the addresses behind edges.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::column::Column;
use super::window::Window;

/// What a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum By {
    /// One remote address of one edge.
    #[default]
    Address,
    /// One edge.
    Edge,
}

impl By {
    /// As it is asked for.
    pub const fn as_str(self) -> &'static str {
        match self {
            By::Address => "address",
            By::Edge => "edge",
        }
    }
}

/// In which direction rows are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// The largest first.
    #[default]
    Descending,
    /// The smallest first.
    Ascending,
}

impl Order {
    /// As it is asked for.
    pub const fn as_str(self) -> &'static str {
        match self {
            Order::Descending => "desc",
            Order::Ascending => "asc",
        }
    }

    /// The other one.
    pub const fn reversed(self) -> Self {
        match self {
            Order::Descending => Order::Ascending,
            Order::Ascending => Order::Descending,
        }
    }
}

/// A condition on labels: one of `labels` (places in the plan) has one of `values`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// What it is called in a question: a label, or `workload`, `namespace`, `zone` of either end.
    pub name: &'static str,
    /// Places of the labels in the plan.
    pub labels: Vec<usize>,
    /// Values, any of which will do.
    pub values: Vec<String>,
}

impl Filter {
    fn takes(&self, labels: &[Arc<str>]) -> bool {
        let values = self.labels.iter().filter_map(|place| labels.get(*place));
        values.into_iter().any(|label| self.values.iter().any(|value| **label == **value))
    }
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// How far back.
    pub window: Window,
    /// What a row is.
    pub by: By,
    /// By what rows are sorted.
    pub sort: Column,
    /// In which direction.
    pub order: Order,
    /// Most rows.
    pub limit: usize,
    /// Only these remote addresses.
    pub network: Option<IpNet>,
    /// All of these conditions hold.
    pub filters: Vec<Filter>,
    /// Whether it is told how each measure is shared out, which takes another look at all addresses.
    pub shares: bool,
    /// Least number of TCP segments sent, for ratios to mean something. Not to be asked for from outside.
    pub least_segments: u64,
}

/// Rows if nothing else is asked for.
pub const DEFAULT_LIMIT: usize = 100;

/// Most rows that may be asked for.
pub const MOST_ROWS: usize = 1000;

impl Default for Query {
    fn default() -> Self {
        Self {
            window: Window::default(),
            by: By::default(),
            sort: Column::default(),
            order: Order::default(),
            limit: DEFAULT_LIMIT,
            network: None,
            filters: Vec::new(),
            shares: false,
            least_segments: 0,
        }
    }
}

impl Query {
    /// Whether an edge is asked for.
    pub fn takes_edge(&self, labels: &[Arc<str>]) -> bool {
        self.filters.iter().all(|filter| filter.takes(labels))
    }

    /// Whether an address is.
    pub fn takes_address(&self, address: IpAddr) -> bool {
        self.network.is_none_or(|network| network.contains(&address))
    }
}
