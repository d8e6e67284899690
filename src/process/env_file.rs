//! `--env-file`: variables from a file, for every command.
//!
//! The program starts itself again with them in its environment: there everything finds them that looks
//! for variables, the AWS SDK included. What is set already wins, as with a container's own environment.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::config::{ENV_FILE, Errors};

const OPTION: &str = "--env-file";

/// Starts the program again with the variables of these files; comes back only if that fails.
pub(crate) fn start_again(files: &[PathBuf]) -> Errors {
    let mut variables: HashMap<String, String> = HashMap::new();
    for file in files {
        match read(file) {
            // Of several files the last counts.
            Ok(read) => {
                for name in with_comments(&read) {
                    eprintln!(
                        "configuration warning: {OPTION}: {name} in {:?}: \" #\" and what follows it are part of the value; a comment has \
                         a line of its own, or quotes belong around the value",
                        file.to_string_lossy()
                    );
                }
                variables.extend(read);
            }
            Err(errors) => return errors,
        }
    }
    variables.retain(|name, _| std::env::var_os(name).is_none());
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return Errors(vec![format!("{OPTION}: the program cannot be started again: {error}")]),
    };
    let absolute = |file: &PathBuf| std::path::absolute(file).unwrap_or_else(|_| file.clone());
    let files = std::env::join_paths(files.iter().map(absolute)).unwrap_or_default();
    let error = Command::new(program)
        .args(without_option(std::env::args_os().skip(1)))
        .envs(variables)
        .env(ENV_FILE, files)
        .exec();
    Errors(vec![format!("{OPTION}: the program cannot be started again: {error}")])
}

/// The variables that libraries read by themselves and as they stand: where trusted certificates are, and where the AWS
/// SDK finds credentials.
const OF_LIBRARIES: [&str; 8] = [
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "AWS_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
];

/// Starts the program again where one of those variables is empty or has quotes or blanks around it, without them: to
/// libraries an empty one names a file, too. Comes back where there is nothing to mend, or with why that fails.
pub(crate) fn start_again_with_bare_variables() -> Option<Errors> {
    let mend = |name| {
        let given = std::env::var_os(name)?;
        let given = given.to_str()?;
        let bare = unquoted(given.trim()).trim();
        (bare != given || bare.is_empty()).then(|| (name, bare.to_owned()))
    };
    let mended: Vec<(&str, String)> = OF_LIBRARIES.into_iter().filter_map(mend).collect();
    if mended.is_empty() {
        return None;
    }
    let failed = |error: std::io::Error| {
        let names = mended.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        Some(Errors(vec![format!(
            "{names}: take the quotes and blanks away, or the variable: the program cannot be started again without them: {error}"
        )]))
    };
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return failed(error),
    };
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1));
    for (name, value) in &mended {
        if value.is_empty() {
            command.env_remove(name);
        } else {
            command.env(name, value);
        }
    }
    failed(command.exec())
}

/// The variables of a file, in the format of `docker run --env-file`: `NAME=value` a line, `#` before a
/// comment, values as they stand; a `NAME` alone has the value that it has in the environment, if any. Quotes around a
/// whole value and `export` before a name do not count, as in files that shells read; nor does a byte order mark.
pub(crate) fn read(file: &Path) -> Result<Vec<(String, String)>, Errors> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        Errors(vec![format!("{OPTION}: {:?} cannot be read: {error}", file.to_string_lossy())])
    })?;
    parse(&text).map_err(|line| {
        Errors(vec![format!(
            "{OPTION}: line {line} of {:?} is no NAME=value, no NAME, no comment and not empty",
            file.to_string_lossy()
        )])
    })
}

/// The number of the first line that is none, if one is.
fn parse(text: &str) -> Result<Vec<(String, String)>, usize> {
    let mut variables = Vec::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (n, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t'])).unwrap_or(line);
        let (name, value) = line.split_once('=').map_or((line, None), |(name, value)| (name, Some(value)));
        let name = name.trim();
        // Docker takes more; but the second line of a value that was meant to have several is no name.
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if name.is_empty() || !name.bytes().all(fits) || line.contains('\0') {
            return Err(n + 1);
        }
        // What the environment has stays.
        if let Some(value) = value {
            variables.push((name.to_owned(), unquoted(value.trim()).to_owned()));
        }
    }
    Ok(variables)
}

/// The variables whose values seem to have a comment behind them, which shells and compose files take for one. Values
/// that hold JSON are left out: a `#` may be part of a text there.
fn with_comments(variables: &[(String, String)]) -> Vec<&str> {
    let commented = |value: &str| !value.starts_with(['[', '{', '"', '\'']) && value.contains(" #");
    variables.iter().filter(|(_, value)| commented(value)).map(|(name, _)| name.as_str()).collect()
}

fn unquoted(value: &str) -> &str {
    let inside = |quote| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    // A double quote within would end the value: then the outer ones are part of it.
    let whole = |inner: &&str| !inner.contains(['"', '\\']);
    inside('\'').or_else(|| inside('"').filter(whole)).unwrap_or(value)
}

/// The arguments without the option: the next start must not come here again.
fn without_option(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut left = Vec::new();
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy();
        if text == OPTION {
            arguments.next();
        } else if !text.starts_with(&format!("{OPTION}=")) {
            left.push(argument);
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_docker_and_shells_read_it() {
        let text = "\u{feff}# a comment\n\nA=1\nINHERITED\nexport\tX.Y-Z=1\n export B = two words # not a comment\nC='single'\nD=\"double\"\n\
            E=[{\"url\":\"http://h/?a=b\"}]\nF=\nG=\"a \\\"b\\\"\"\n";
        let read = parse(text).unwrap();
        let expected = [
            ("A", "1"),
            ("X.Y-Z", "1"),
            ("B", "two words # not a comment"),
            ("C", "single"),
            ("D", "double"),
            ("E", r#"[{"url":"http://h/?a=b"}]"#),
            ("F", ""),
            ("G", r#""a \"b\"""#),
        ];
        let expected: Vec<_> = expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(read, expected);
        assert_eq!(with_comments(&read), ["B"]);
        assert_eq!(parse("A=1\nno sense"), Err(2));
        assert_eq!(parse("=1"), Err(1));
        for line in [r#"{"url":"http://h/?a=b"}"#, r#"{"url":"http://h/"}"#, "]"] {
            assert_eq!(parse(&format!("APPS=[\n{line}")), Err(2), "{line}");
        }
        assert_eq!(parse("a b=1"), Err(1));
    }

    #[test]
    fn the_option_is_taken_out_of_the_arguments_however_it_is_written() {
        let arguments = ["--env-file", "a", "check", "--env-file=b", "--json"].map(OsString::from);
        assert_eq!(without_option(arguments.into_iter()), ["check", "--json"]);
    }
}
