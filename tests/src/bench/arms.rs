// SPDX-License-Identifier: Apache-2.0

//! Cost of an operation with the exporter against without it.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::floor::EmptyPair;
use super::machine::Cgroup;
use super::rig::{Exporter, Maker};
use super::spread::{Shuffler, Spread};
use super::table::Table;
use super::work::Operation;

/// With what the operations run beside. The second arm without anything shows the noise of the measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Arm {
    Without,
    WithoutAgain,
    /// Two programs where the exporter has its own, that do nothing.
    Empty,
    With,
}

/// Nanoseconds an operation: of the process that does it, and of the whole machine.
type Cost = (f64, f64);

/// Measures operations in both kinds of control group.
///
/// In each repetition all arms and operations run once, in a new order; the ratio is taken within the repetition, which
/// takes out slow changes of the machine, and its median over all of them is the result.
pub fn per_operation(repetitions: u32, operations: &[Operation]) -> Result<Table> {
    let mut table = Table::new(&[
        "operation, both ends",
        "sockets in",
        "CPU with / without",
        "budget",
        "with two empty programs / without",
        "added, ns",
        "whole machine, with / without",
        "noise: without / without",
        "CPU without, µs",
    ]);
    let mut shuffler = Shuffler::new(0x00f1_0369);
    for cgroup in [Cgroup::named("fg-bench.service")?, Cgroup::root()?] {
        let mut costs = BTreeMap::<(Operation, Arm), Vec<Cost>>::new();
        for repetition in 1..=repetitions {
            eprint!("\r{}: {repetition} of {repetitions} ", cgroup.describe());
            let mut arms = [Arm::Without, Arm::WithoutAgain, Arm::Empty, Arm::With];
            shuffler.shuffle(&mut arms);
            for arm in arms {
                let _exporter = (arm == Arm::With).then(|| Exporter::start(&cgroup, &[])).transpose()?;
                let _empty = (arm == Arm::Empty).then(EmptyPair::attach).transpose()?;
                let mut operations = operations.to_vec();
                shuffler.shuffle(&mut operations);
                for operation in operations {
                    let line = Maker::start(&cgroup, &["work", operation.name()])?.line()?;
                    costs.entry((operation, arm)).or_default().push(parse(&line)?);
                }
            }
        }
        eprintln!();
        for operation in operations.iter().copied() {
            row(&mut table, operation, cgroup.describe(), &costs);
        }
    }
    Ok(table)
}

fn parse(line: &str) -> Result<Cost> {
    let (process, machine) = line.split_once(' ').with_context(|| format!("not two numbers: {line}"))?;
    Ok((process.parse()?, machine.parse()?))
}

fn row(table: &mut Table, operation: Operation, cgroup: &str, costs: &BTreeMap<(Operation, Arm), Vec<Cost>>) {
    let of = |arm| costs.get(&(operation, arm)).map_or(&[][..], Vec::as_slice);
    let without = of(Arm::Without);
    let ratio = |arm: Arm, cost: fn(&Cost) -> f64| {
        let pairs = of(arm).iter().zip(without);
        let ratios = Spread::of(&pairs.map(|(with, without)| cost(with) / cost(without)).collect::<Vec<_>>());
        format!("{ratios:.3}")
    };
    let pairs = of(Arm::With).iter().zip(without);
    let added = Spread::of(&pairs.map(|(with, without)| with.0 - without.0).collect::<Vec<_>>());
    let own = Spread::of(&without.iter().map(|cost| cost.0).collect::<Vec<_>>()).scaled(1e-3);
    table.row(&[
        operation.name(),
        cgroup,
        &ratio(Arm::With, |cost| cost.0),
        operation.budget(),
        &ratio(Arm::Empty, |cost| cost.0),
        &format!("{added:.0}"),
        &ratio(Arm::With, |cost| cost.1),
        &ratio(Arm::WithoutAgain, |cost| cost.0),
        &format!("{own:.2}"),
    ]);
}
