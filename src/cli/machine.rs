//! The limits of this machine, as `bench --machine` and `run --profile` show them.

use super::args::{Common, print, print_json};
use super::failure::Failure;
use super::format::{Align, Table, bytes};
use planish_kernels::machine::{Machine, Rate};
use planish_runtime::physical_cores;
use serde_json::{Value as Json, json};

/// Measures the machine and prints its limits.
pub fn run(common: &Common) -> Result<(), Failure> {
    common.apply_isa()?;
    let spinner = common.spinner("measuring".to_owned());
    let machine = Machine::measure(common.threads.map_or_else(physical_cores, usize::from));
    spinner.finish_and_clear();
    if common.json { print_json(&document(&machine)) } else { print(&render(&machine)) }
}

/// The limits for other programs.
pub fn document(machine: &Machine) -> Json {
    let rate = |rate: Rate| json!({"one": rate.one, "all": rate.all});
    let reads = machine.reads.iter().map(|reads| json!({"from": reads.from, "gb_s": rate(reads.gb_s)}));
    let caches = machine.caches.iter().map(|cache| {
        json!({"level": cache.level, "bytes": cache.bytes, "line_bytes": cache.line_bytes, "shared_by": cache.shared_by})
    });
    json!({
        "isa": machine.isa.to_string(), "int8_unit": machine.int8_unit, "threads": machine.threads,
        "f32_gflops": rate(machine.f32_gflops), "int8_gops": rate(machine.int8_gops),
        "reads": reads.collect::<Vec<_>>(), "caches": caches.collect::<Vec<_>>(),
    })
}

fn render(machine: &Machine) -> String {
    let all = format!("{} threads", machine.threads);
    let mut table =
        Table::new(&[("limit", Align::Left), ("", Align::Left), ("one core", Align::Right), (&all, Align::Right)]);
    let mut row = |limit: &str, unit: &str, rate: Rate| {
        table.row(vec![limit.to_owned(), unit.to_owned(), format!("{:.1}", rate.one), format!("{:.1}", rate.all)]);
    };
    row(&format!("f32 multiply-adds, {}", machine.isa), "GFLOP/s", machine.f32_gflops);
    row(&format!("int8 multiply-adds, {}", machine.int8_unit), "GOP/s", machine.int8_gops);
    for reads in &machine.reads {
        let cache = machine.caches.iter().find(|cache| reads.from == format!("L{}", cache.level));
        let size = cache.map_or(String::new(), |cache| match cache.shared_by {
            1 => format!(", {}", bytes(cache.bytes as u64)),
            n => format!(", {} for {n} processors", bytes(cache.bytes as u64)),
        });
        row(&format!("reading {}{size}", reads.from), "GB/s", reads.gb_s);
    }
    table.render()
}
