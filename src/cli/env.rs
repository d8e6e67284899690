//! `env`: the variables, and the values in force.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::Failure;
use super::env_file;
use crate::config::{self, ENV_FILE, Effective, Origin};

/// The annotated list, as it is in the repository.
const EXAMPLE: &str = include_str!("../../.env.example");

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The values in force and where each came from, secrets masked, instead of the annotated list.
    #[arg(long)]
    effective: bool,
    /// As JSON, one object a line.
    #[arg(long, requires = "effective")]
    json: bool,
}

pub(super) fn main(options: &Options) -> Result<ExitCode, Failure> {
    if !options.effective {
        print!("{EXAMPLE}");
        return Ok(ExitCode::SUCCESS);
    }
    let environment = config::environment();
    let files = from_files(environment.get(ENV_FILE).map(String::as_str).unwrap_or_default())?;
    for shown in config::effective(environment.clone()) {
        let Effective { name, value, origin } = shown;
        let file = files.iter().rev().find(|set| {
            let of = |prefix: &str| {
                set.name == format!("{prefix}{name}") && environment.get(&set.name) == Some(&set.value)
            };
            match origin {
                Origin::Environment => of(""),
                Origin::Soketi => of("SOKETI_"),
                Origin::Default => false,
            }
        });
        let origin = file.map_or_else(|| origin.word().to_owned(), |set| format!("file {}", set.file));
        if options.json {
            println!("{}", json!({"name": name, "value": value, "origin": origin}));
        } else {
            println!("{:<60} # {origin}", format!("{name}={value}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A variable that a file sets.
struct Set {
    file: String,
    name: String,
    value: String,
}

/// What the files of `--env-file` hold.
fn from_files(files: &str) -> Result<Vec<Set>, Failure> {
    let mut all = Vec::new();
    for path in std::env::split_paths(files).filter(|path| !path.as_os_str().is_empty()) {
        let set = |(name, value)| Set { file: path.display().to_string(), name, value };
        all.extend(env_file::read(&path)?.into_iter().map(set));
    }
    Ok(all)
}
