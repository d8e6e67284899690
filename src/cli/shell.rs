//! `completions` and `man`: what a shell and a manual need of the commands.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, CommandFactory};
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

/// One page, all commands in it.
pub(super) fn man() -> Result<ExitCode, Failure> {
    let mut page = Vec::new();
    let mut command = Cli::command();
    command.build();
    let written = clap_mangen::Man::new(command.clone()).render(&mut page).and_then(|()| {
        let mut each = command.get_subcommands().filter(|command| command.get_name() != "help");
        each.try_for_each(|command| {
            let man =
                clap_mangen::Man::new(command.clone().bin_name(format!("hookferry {}", command.get_name())));
            writeln!(page, ".SH \"HOOKFERRY {}\"", command.get_name().to_uppercase())?;
            man.render_description_section(&mut page)?;
            man.render_options_section(&mut page)
        })
    });
    written.context("the manual")?;
    print(&page)
}

fn print(text: &[u8]) -> Result<ExitCode, Failure> {
    output::print(&String::from_utf8_lossy(text))?;
    Ok(ExitCode::SUCCESS)
}
