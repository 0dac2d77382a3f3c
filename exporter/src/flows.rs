// SPDX-License-Identifier: Apache-2.0
//! The drill-down: what was counted of each remote address behind each edge, over the last minutes.
//!
//! Fed by the same growth that goes to the ledger, asked by `/flows`. Makes no series.

mod answer;
mod column;
mod counts;
mod entry;
mod history;
mod log;
mod query;
mod rows;
mod shares;
mod store;
mod window;

pub use answer::{Answer, EdgeLabels, Row};
pub use column::Column;
pub use counts::is_grpc_error;
pub use entry::Entry;
pub use query::{By, DEFAULT_LIMIT, Filter, MOST_ROWS, Order, Query};
pub use shares::{Measure, Share};
pub use store::{FlowTag, Flows, FlowsUse};
pub use window::Window;

#[cfg(test)]
pub mod fixture;
#[cfg(test)]
mod tests;
