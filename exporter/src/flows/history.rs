// SPDX-License-Identifier: Apache-2.0
//! The course of a few numbers over the window, for small charts.

use std::collections::HashMap;
use std::net::IpAddr;

use foldhash::fast::RandomState;

use super::answer::History;
use super::counts::{Counts, at};
use super::query::{By, Query};
use super::rows::Sum;
use super::store::Flows;

/// What rows are found by: the edge, and of addresses the address.
type Rows = HashMap<(u64, Option<IpAddr>), usize, RandomState>;

/// Bytes, retransmitted segments, errors.
type Courses = [Vec<u64>; 3];

impl Flows {
    /// A history for each row.
    pub(super) fn histories(&self, query: &Query, rows: &[Sum]) -> Vec<History> {
        let key = |edge, address| (edge, (query.by == By::Address).then_some(address));
        let by_key: Rows =
            rows.iter().enumerate().map(|(row, sum)| ((sum.end.edge.number, sum.address), row)).collect();
        let first = self.first_slot(query);
        let slots = (self.slot() + 1).saturating_sub(first) as usize;
        let mut courses: Vec<Courses> =
            rows.iter().map(|_| std::array::from_fn(|_| vec![0; slots])).collect();
        let course_of = course_by_place();
        for entry in self.entries.values() {
            if query.takes_address(entry.address)
                && let Some(row) = by_key.get(&key(entry.end.edge.number, entry.address))
                && let Some(courses) = courses.get_mut(*row)
            {
                entry.each(first, |slot, place, value| {
                    let course = course_of.get(place).copied().flatten();
                    let course = course.and_then(|course| courses.get_mut(course));
                    if let Some(sum) = course.and_then(|course| course.get_mut((slot - first) as usize)) {
                        *sum += value;
                    }
                });
            }
        }
        let points = query.window.slots_in_point() as usize;
        courses.into_iter().map(|courses| self.history(courses, first, points)).collect()
    }

    fn history(&self, courses: Courses, first: u32, slots_in_point: usize) -> History {
        let [bytes, retransmitted_segments, errors] = courses.map(|mut values| {
            self.passes.spread(first, &mut values);
            values.chunks(slots_in_point).map(|slots| slots.iter().sum()).collect()
        });
        History { bytes, retransmitted_segments, errors }
    }
}

/// To which course a number of a slot belongs, by its place.
fn course_by_place() -> [Option<usize>; at::COUNT] {
    std::array::from_fn(|place| {
        let mut one = Counts::default();
        one.add(place, 1);
        [one.bytes(), one.get(at::RETRANSMITTED), one.errors()].iter().position(|counted| *counted > 0)
    })
}
