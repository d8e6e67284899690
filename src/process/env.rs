//! `env`: the variables, and the values in force.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::Failure;
use super::env_file;
use super::output::print;
use crate::admin::status::Setting;
use crate::config::{self, Config, ENV_FILE, Effective, Origin};

/// The annotated list, as it is in the repository.
const EXAMPLE: &str = include_str!("../../.env.example");

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The values in force and where each came from, secrets masked, instead of the annotated list.
    #[arg(long)]
    effective: bool,
    /// As JSON, one object a line.
    #[arg(long, requires = "effective")]
    json: bool,
}

pub(crate) fn main(options: &Options) -> Result<ExitCode, Failure> {
    if !options.effective {
        print(EXAMPLE)?;
        return Ok(ExitCode::SUCCESS);
    }
    for Setting { name, value, source } in in_force(Config::from_env(config::environment()).ok().as_ref())? {
        if options.json {
            print(&format!("{}\n", json!({"name": name, "value": value, "origin": source})))?;
        } else {
            print(&format!("{:<60} # {source}\n", format!("{name}={value}")))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Every variable with its value in this process, secrets masked, and where it comes from; with what the configuration
/// makes of it beside the others, where it can be used.
pub(crate) fn in_force(config: Option<&Config>) -> Result<Vec<Setting>, Failure> {
    let environment = config::environment();
    let files = from_files(environment.get(ENV_FILE).map(String::as_str).unwrap_or_default())?;
    let setting = |Effective { name, value, origin, note }: Effective| {
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
        let source = file.map_or_else(|| origin.word().to_owned(), |set| format!("file {}", set.file));
        let source = note.map_or_else(|| source.clone(), |note| format!("{source}: {note}"));
        Setting { name: name.to_string(), value, source }
    };
    Ok(config::effective(environment.clone(), config).into_iter().map(setting).collect())
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
