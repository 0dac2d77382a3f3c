// SPDX-License-Identifier: Apache-2.0

//! What is printed on the console for the test outside to read.

use std::fmt::Display;

/// Counts the checks made.
#[derive(Default)]
pub struct Report {
    made: usize,
}

impl Report {
    /// `got` has to be `expected`.
    pub fn equal<T: PartialEq + Display>(&mut self, what: &str, got: T, expected: T) {
        if got == expected {
            self.ok(what, &got.to_string());
        } else {
            self.fail(what, &format!("{got}, expected {expected}"));
        }
    }

    /// `condition` has to hold; `seen` is what was seen.
    pub fn holds(&mut self, what: &str, condition: bool, seen: &str) {
        if condition { self.ok(what, seen) } else { self.fail(what, seen) }
    }

    /// A check that cannot even be made.
    pub fn fail(&mut self, what: &str, why: &str) {
        self.made += 1;
        println!("CHECK FAIL {what}: {why}");
    }

    /// Ends the report.
    pub fn finish(self) {
        println!("CHECKS MADE: {}", self.made);
    }

    fn ok(&mut self, what: &str, seen: &str) {
        self.made += 1;
        println!("CHECK ok {what}: {seen}");
    }
}
