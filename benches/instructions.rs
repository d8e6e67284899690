//! How many instructions decoding, planning, signing and deciding take, whatever the machine does:
//!
//! ```sh
//! cargo bench --bench instructions               # against benches/instructions.txt
//! cargo bench --bench instructions -- --write    # writes it
//! ```
//!
//! This program runs itself under callgrind, N and 2N operations of each case; the difference over N is
//! what one operation costs, without the start of the process and the making of the case. A count that is
//! more than 3 % above the kept one is a regression, and fails. Counts depend on the compiler, the C
//! library and the instructions that valgrind offers (none for SHA, so that signing counts for more than
//! it takes): where those are others than those of the kept counts, differences are told and fail nothing.

#![allow(clippy::print_stdout, reason = "a bench prints")]

mod cases;

use std::collections::BTreeMap;
use std::error::Error;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

use cases::Case;

/// How far above the kept count is still none: of a thousand. The counts themselves repeat to 1.
const TOLERANCE: u64 = 30;
/// As many bytes are gone through in N operations; some tenths of a second under callgrind.
const BYTES: usize = 512 * 1024;
/// The flag with which this program runs itself: a case's number and how often.
const RUN: &str = "--run";

type Counts = BTreeMap<String, u64>;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).filter(|a| *a != "--bench").collect();
    let cases = cases::all();
    match arguments.as_slice() {
        [RUN, number, times] => {
            let case = cases.get(number.parse::<usize>()?).ok_or("there is no such case")?;
            (0..times.parse()?).for_each(|_| (case.run)());
            Ok(ExitCode::SUCCESS)
        }
        ["--write"] => {
            let (tools, counted) = (tools()?, count(&cases)?);
            std::fs::write(kept_in(), written(&tools, &cases, &counted))?;
            println!("{} is written", kept_in().display());
            Ok(ExitCode::SUCCESS)
        }
        [] => {
            let (tools, counted) = (tools()?, count(&cases)?);
            let (kept_tools, kept) = read(&std::fs::read_to_string(kept_in())?)?;
            let worse = compare(&cases, &counted, &kept);
            if tools != kept_tools {
                println!("NOT COMPARABLE, nothing fails: kept by {kept_tools}; counted by {tools}.");
                return Ok(ExitCode::SUCCESS);
            }
            Ok(if worse { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        }
        _ => Err("usage: cargo bench --bench instructions [-- --write]".into()),
    }
}

fn kept_in() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.txt")
}

/// What the counts depend on besides the sources.
fn tools() -> Result<String, Box<dyn Error>> {
    let version = |program: &str, argument: &str| -> Result<String, Box<dyn Error>> {
        Ok(String::from_utf8(output(program, Command::new(program).arg(argument))?.stdout)?.trim().to_owned())
    };
    let (rustc, libc) = (version("rustc", "--version")?, version("getconf", "GNU_LIBC_VERSION")?);
    #[cfg(target_arch = "x86_64")]
    let vectors = if std::arch::is_x86_feature_detected!("avx2") { " with AVX2" } else { "" };
    #[cfg(not(target_arch = "x86_64"))]
    let vectors = "";
    let machine = std::env::consts::ARCH;
    Ok(format!("{rustc}, {libc}, {}, {machine}{vectors}", version("valgrind", "--version")?))
}

fn output(program: &str, command: &mut Command) -> Result<Output, Box<dyn Error>> {
    let output = command.output().map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            let package = if program == "getconf" { "libc-bin" } else { program };
            format!("there is no {program}; install it, on Debian: apt-get install {package}")
        }
        _ => format!("{program} cannot be run: {error}"),
    })?;
    if output.status.success() {
        return Ok(output);
    }
    Err(format!("{program}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr)).into())
}

fn count(cases: &[Case]) -> Result<Counts, Box<dyn Error>> {
    let mut counts = Counts::new();
    for (number, case) in cases.iter().enumerate() {
        let times = BYTES / case.bytes.max(1024) + 2;
        let once = instructions(number, times)?;
        let twice = instructions(number, 2 * times)?;
        let times = times as u64;
        counts.insert(case.name.clone(), (twice.saturating_sub(once) + times / 2) / times);
    }
    Ok(counts)
}

/// The instructions of a whole process that carries out a case so many times.
fn instructions(number: usize, times: usize) -> Result<u64, Box<dyn Error>> {
    let profile = tempfile::NamedTempFile::new()?;
    let mut valgrind = Command::new("valgrind");
    valgrind
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", profile.path().display()))
        .arg(std::env::current_exe()?)
        .args([RUN, &number.to_string(), &times.to_string()]);
    output("valgrind", &mut valgrind)?;
    let text = std::fs::read_to_string(profile.path())?;
    let totals = text.lines().find_map(|line| line.strip_prefix("totals: "));
    Ok(totals.ok_or("callgrind's profile has no totals")?.trim().parse()?)
}

/// Prints a table; says whether a case takes more than was kept.
fn compare(cases: &[Case], counted: &Counts, kept: &Counts) -> bool {
    println!("{:<36} {:>12} {:>12} {:>8}", "instructions per operation", "kept", "now", "%");
    let mut worse = false;
    for case in cases {
        let now = counted.get(&case.name).copied().unwrap_or_default();
        let Some(&before) = kept.get(&case.name) else {
            worse = true;
            println!("{:<36} {:>12} {now:>12}          NOT KEPT, run with --write", case.name, "-");
            continue;
        };
        let verdict = if now * 1000 > before * (1000 + TOLERANCE) {
            worse = true;
            "  REGRESSION"
        } else if now * (1000 + TOLERANCE) < before * 1000 {
            "  better: keep it with --write"
        } else {
            ""
        };
        #[allow(clippy::cast_precision_loss, reason = "shown with one digit")]
        let change = (now as f64 / before as f64 - 1.0) * 100.0;
        println!("{:<36} {before:>12} {now:>12} {change:>+8.1}{verdict}", case.name);
    }
    for name in kept.keys().filter(|name| !counted.contains_key(*name)) {
        worse = true;
        println!("{name:<36} is kept and no case any more, run with --write");
    }
    worse
}

fn written(tools: &str, cases: &[Case], counted: &Counts) -> String {
    let count = |case: &Case| counted.get(&case.name).copied().unwrap_or_default();
    let lines: Vec<String> =
        cases.iter().map(|case| format!("{:<36} {:>12}", case.name, count(case))).collect();
    format!(
        "# Instructions per operation. Checked by `cargo bench --bench instructions`, written by the same\n\
         # with `-- --write`.\n\
         tools: {tools}\n{}\n",
        lines.join("\n")
    )
}

fn read(text: &str) -> Result<(String, Counts), Box<dyn Error>> {
    let mut tools = String::new();
    let mut counts = Counts::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some(named) = line.strip_prefix("tools: ") {
            named.clone_into(&mut tools);
            continue;
        }
        let (name, count) = line.rsplit_once(' ').ok_or("a line of the kept counts has no count")?;
        counts.insert(name.trim_end().to_owned(), count.parse()?);
    }
    Ok((tools, counts))
}
