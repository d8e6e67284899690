//! `completions` and `man`: what a shell and a manual need of the commands.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;

use super::Cli;
use crate::process::{Failure, output};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The shell.
    shell: Shell,
}

pub(super) fn completions(options: &Options) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "hookferry", &mut script);
    print(&script)
}

/// What the exit codes of all commands mean.
const EXIT_STATUS: &str = r#".SH "EXIT STATUS"
.TP
0
It did what was asked for.
.TP
1
It did not, or not all of it; what is missing is said on standard error.
.TP
2
The arguments cannot be read.
.TP
130, 143
enqueue was stopped by SIGINT or SIGTERM; what it sent is printed.
.TP
70
The worker's poll loop stood still for a minute: its jobs come back when their visibility timeout ends.
.TP
78
The configuration cannot be used, or would break a promise.
"#;

/// One page, all commands in it.
pub(super) fn man() -> Result<ExitCode, Failure> {
    let mut page = Vec::new();
    let mut command = Cli::command();
    command.build();
    let written = clap_mangen::Man::new(command.clone())
        .render(&mut page)
        .and_then(|()| each(&mut page, "hookferry", &command))
        .and_then(|()| page.write_all(EXIT_STATUS.as_bytes()));
    written.context("the manual")?;
    print(&page)
}

/// A section for each command below one, and for those below that.
fn each(page: &mut Vec<u8>, above: &str, command: &Command) -> std::io::Result<()> {
    for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
        let name = format!("{above} {}", command.get_name());
        let man = clap_mangen::Man::new(command.clone().bin_name(name.clone()));
        writeln!(page, ".SH \"{}\"", name.to_uppercase())?;
        man.render_description_section(page)?;
        man.render_options_section(page)?;
        each(page, &name, command)?;
    }
    Ok(())
}

fn print(text: &[u8]) -> Result<ExitCode, Failure> {
    output::print(&String::from_utf8_lossy(text))?;
    Ok(ExitCode::SUCCESS)
}
