// SPDX-License-Identifier: Apache-2.0

//! `make bench`: measures what the exporter costs, and prints the table. Meant for a machine that does nothing else.
//!
//! `fg-bench [--repetitions=N]` measures; `fg-bench operations N [NAME]` only the operations, or one, `fg-bench web N` only nginx and wrk, `fg-bench flood N` only dropped packets, `fg-bench itself` only what the exporter takes for itself, `fg-bench cluster` only what the names of a cluster cost;
//! `fg-bench work` and `fg-bench hold` are its traffic makers.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use flowgauge_tests::bench::{self, Operation, Table};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => measure(15),
        ["work", operation] => bench::work(operation.parse()?),
        ["hold", connections, ports] => bench::hold(connections.parse()?, ports.parse()?),
        ["operations", repetitions] => {
            println!("{}", bench::per_operation(repetitions.parse()?, &Operation::ALL)?);
            Ok(())
        }
        ["operations", repetitions, operation] => {
            println!("{}", bench::per_operation(repetitions.parse()?, &[operation.parse()?])?);
            Ok(())
        }
        ["web", repetitions] => {
            println!("{}", bench::per_request(repetitions.parse()?)?);
            Ok(())
        }
        ["flood", repetitions] => {
            println!("{}", bench::per_dropped_packet(repetitions.parse()?)?);
            Ok(())
        }
        ["itself"] => {
            println!("{}\n{}", bench::many_sockets()?, itself()?);
            Ok(())
        }
        ["cluster"] => {
            let mut table = table_of_itself();
            bench::cluster(&mut table)?;
            println!("{table}");
            Ok(())
        }
        [option] => match option.strip_prefix("--repetitions=") {
            Some(count) => measure(count.parse().with_context(|| option.to_string())?),
            None => bail!("{option}: the only option is --repetitions=N"),
        },
        _ => bail!("too many arguments; the only option is --repetitions=N"),
    }
}

fn measure(repetitions: u32) -> Result<()> {
    anyhow::ensure!(repetitions > 0, "--repetitions=0 measures nothing");
    let others = bench::other_load()?;
    eprintln!("before the start, {:.0} % of a processor were busy", others * 100.0);
    let started = Instant::now();
    let operations = bench::per_operation(repetitions, &Operation::ALL)?;
    let web = bench::per_request(repetitions)?;
    let flood = bench::per_dropped_packet(repetitions)?;
    let sockets = bench::many_sockets()?;
    let itself = itself()?;
    println!("\n{operations}\n{web}\n{flood}\n{sockets}\n{itself}");
    let minutes = started.elapsed().as_secs_f64() / 60.0;
    println!("Median (quartiles); {repetitions} repetitions in shuffled order; {minutes:.0} minutes.");
    if others > 0.1 {
        println!(
            "Not to be relied on: other work took {:.0} % of a processor before the start.",
            others * 100.0
        );
    }
    Ok(())
}

/// What the exporter takes for itself.
fn itself() -> Result<Table> {
    let mut table = table_of_itself();
    bench::start(&mut table)?;
    bench::many_series(&mut table)?;
    bench::ordinary_node(&mut table)?;
    bench::cluster(&mut table)?;
    Ok(table)
}

fn table_of_itself() -> Table {
    Table::new(&["the exporter itself", "measured", "budget"])
}
