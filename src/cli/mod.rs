//! The command line: one file a command, arguments they share, and how results are printed.
//!
//! Exit codes: 0 good; 1 the model, data or comparison is bad; 2 wrong usage; 3 a limit was hit. A broken pipe is 0.

mod args;
mod bench;
mod bisect;
mod calibration;
mod check;
mod compare;
mod diff;
mod failure;
mod format;
mod inspect;
mod machine;
mod ops;
mod optimize;
mod perplexity;
mod profile;
mod quantize;
mod run;
mod test;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Make ONNX models smaller and faster, prove they still compute the same thing, and run them on a CPU.
#[derive(Parser)]
#[command(
    name = "planish",
    version,
    max_term_width = 110,
    after_help = "Every command has its own --help with examples."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Inspect(inspect::Inspect),
    Check(check::Check),
    Run(run::Run),
    Test(test::Test),
    Bench(bench::Bench),
    Optimize(optimize::Optimize),
    Compare(compare::Compare),
    Diff(diff::Diff),
    Bisect(bisect::Bisect),
    Quantize(quantize::Quantize),
    Perplexity(perplexity::PerplexityOf),
    Ops(ops::Ops),
}

/// Runs the command that the process's arguments ask for, and tells how the process is to end.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too; printing them to a closed pipe is no failure.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let result = match cli.command {
        Command::Inspect(command) => command.run(),
        Command::Check(command) => command.run(),
        Command::Run(command) => command.run(),
        Command::Test(command) => command.run(),
        Command::Bench(command) => command.run(),
        Command::Optimize(command) => command.run(),
        Command::Compare(command) => command.run(),
        Command::Diff(command) => command.run(),
        Command::Bisect(command) => command.run(),
        Command::Quantize(command) => command.run(),
        Command::Perplexity(command) => command.run(),
        Command::Ops(command) => command.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
