// SPDX-License-Identifier: Apache-2.0

//! The result, as Markdown tables that the README can take as they are.

use std::fmt;

/// Rows of figures under a heading.
#[derive(Debug)]
pub struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty one with these columns.
    pub fn new(head: &[&str]) -> Self {
        Self { head: head.iter().map(ToString::to_string).collect(), rows: Vec::new() }
    }

    /// Adds a row, which is shown at once for whoever waits.
    pub fn row(&mut self, cells: &[&str]) {
        assert_eq!(cells.len(), self.head.len(), "a cell for each column");
        eprintln!("{}", cells.join("; "));
        self.rows.push(cells.iter().map(ToString::to_string).collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| {} |", self.head.join(" | "))?;
        writeln!(f, "|{}", "---|".repeat(self.head.len()))?;
        self.rows.iter().try_for_each(|row| writeln!(f, "| {} |", row.join(" | ")))
    }
}
