//! Which room of the sources may know which: an allow-list, held against every path in the code.
//!
//! A room is a module below `src/`, by its path. A file belongs to the longest room that its own path
//! begins with, and may name its own room, the rooms above it with all that those may know, and those that are listed for it. `main.rs` and
//! `lib.rs` are the map and name everything.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A room, the rooms that it may know, and the crates that it may name besides those that anyone may.
type Room = (&'static str, &'static [&'static str], &'static [&'static str]);

/// Pure: no clock, no I/O, no randomness. They know each other alone.
const PURE: [&str; 13] = [
    "app", "backoff", "hash", "job", "json", "lease", "fifo", "outcome", "plan", "policy", "quotes", "shown",
    "standard",
];

const ROOMS: &[Room] = &[
    // What decides.
    ("json", &[], &[]),
    ("shown", &["hash"], &[]),
    ("hash", &[], &[]),
    ("backoff", &[], &[]),
    ("error_chain", &[], &[]),
    ("quotes", &[], &[]),
    ("job", &["json", "quotes"], &["base64", "hmac", "sha2", "hex"]),
    (
        "app",
        &["job", "json", "shown", "standard"],
        &["http", "regex_automata", "regex_syntax", "strsim", "url"],
    ),
    ("outcome", &["job"], &[]),
    ("plan", &["app", "job", "json", "outcome", "standard"], &[]),
    ("policy", &["app", "backoff", "lease", "outcome", "plan"], &[]),
    ("lease", &[], &[]),
    // The ports.
    ("queue", &["job", "shown"], &[]),
    ("apps", &["app"], &[]),
    ("delivery", &["app", "hash", "outcome", "plan"], &[]),
    // Threads of their own for receivers that may flood.
    ("bulkhead", &[], &["rustix"]),
    // What is known of receivers, and what each may have under way.
    ("receivers", &["descriptors", "hash", "outcome"], &[]),
    // Their adapters.
    ("queue/entry", &[], &["aws_sdk_sqs"]),
    ("queue/failure", &["aws", "error_chain", "wall"], &["aws_sdk_sqs", "rustls"]),
    (
        "queue/sqs",
        &["app", "aws", "queue/entry", "queue/failure", "wall"],
        &["aws_config", "aws_sdk_sqs", "aws_smithy_http_client", "url"],
    ),
    ("apps/cache", &["hash"], &["arc_swap"]),
    ("apps/settings", &[], &[]),
    ("apps/array", &["json"], &["arc_swap", "toml"]),
    ("apps/dynamodb", &["app", "apps/settings", "aws", "shown"], &["aws_sdk_dynamodb"]),
    ("apps/sql", &["apps/settings", "json", "shown"], &["base64", "rustls", "rustls_native_certs", "sqlx"]),
    (
        "delivery/http",
        &["bulkhead", "descriptors", "egress", "error_chain", "hash", "receivers", "shown", "tls", "wall"],
        &["base64", "httpdate", "hyper", "hyper_util", "percent_encoding", "reqwest", "rustls", "url"],
    ),
    (
        "delivery/lambda",
        &[
            "aws",
            "bulkhead",
            "delivery/lambda/function_name",
            "descriptors",
            "aws/region",
            "egress",
            "error_chain",
            "flow",
            "json",
            "receivers",
            "shown",
        ],
        &[
            "aws_config",
            "aws_sdk_lambda",
            "aws_smithy_http_client",
            "aws_smithy_runtime_api",
            "http_body",
            "url",
        ],
    ),
    ("delivery/standard", &["standard"], &[]),
    ("delivery/lambda/function_name", &["aws/region"], &["wildmatch"]),
    ("aws/region", &["app"], &[]),
    ("aws/endpoint", &[], &["url"]),
    // Which authorities are trusted, and what TLS says when it fails.
    ("tls", &["shown"], &["httpdate", "rustls", "rustls_native_certs", "webpki"]),
    ("egress", &[], &["hickory_resolver", "ipnet", "url"]),
    ("descriptors", &["flow", "hash"], &["rustix"]),
    (
        "aws",
        &["error_chain", "quotes", "shown", "wall"],
        &["aws_config", "aws_credential_types", "aws_sdk_sqs", "aws_sdk_sts", "aws_smithy_http_client"],
    ),
    // What is known of messages that may come back.
    ("ledger", &["app", "outcome", "queue"], &[]),
    // How much is taken, and what is attempted.
    ("flow", &["app", "backoff", "hash", "outcome", "queue", "shown"], &[]),
    // The worker, which knows the ports and no adapter.
    (
        "worker",
        &[
            "apps",
            "delivery",
            "flow",
            "job",
            "delete_batcher",
            "in_flight",
            "lane",
            "lease",
            "ledger",
            "policy",
            "queue",
            "random",
            "telemetry",
            "telemetry/traces",
        ],
        &[],
    ),
    // The jobs of one group from one receive, on their way through it.
    (
        "lane",
        &[
            "app",
            "apps",
            "board",
            "delete_batcher",
            "delivery",
            "flow",
            "in_flight",
            "job",
            "lease",
            "ledger",
            "outcome",
            "plan",
            "policy",
            "queue",
            "random",
            "shown",
            "telemetry",
            "telemetry/traces",
        ],
        &["url"],
    ),
    // What a lane and the worker share: a message while it is worked, and the deletes over all lanes.
    (
        "in_flight",
        &["app", "flow", "ledger", "policy", "queue", "shown", "telemetry", "telemetry/traces"],
        &[],
    ),
    ("delete_batcher", &["in_flight", "lease", "queue", "shown", "telemetry"], &[]),
    // Those who look after dead letters.
    ("letters", &["backoff", "job", "queue", "random"], &[]),
    // Beside it.
    ("random", &[], &["rand", "uuid"]),
    ("wall", &[], &[]),
    // What is shown of apps, destinations and groups; and the counters.
    ("board", &["hash", "outcome", "shown"], &["prometheus_client"]),
    ("telemetry", &["apps", "board", "descriptors", "outcome", "queue", "wall"], &["prometheus_client"]),
    (
        "telemetry/traces",
        &["shown"],
        &[
            "opentelemetry",
            "opentelemetry_http",
            "opentelemetry_otlp",
            "opentelemetry_sdk",
            "percent_encoding",
            "reqwest",
        ],
    ),
    (
        "admin",
        &["board", "shown", "telemetry", "visitors", "wall"],
        &["axum", "base64", "hyper", "hyper_util"],
    ),
    ("standard", &["job"], &["base64"]),
    ("producer", &["backoff", "hash", "job", "queue", "random", "wall"], &["aws_sdk_sqs"]),
    ("producer/sqs", &["aws", "error_chain", "queue/entry", "queue/failure"], &["aws_sdk_sqs"]),
    ("fifo", &["job"], &["uuid"]),
    ("local/protocol", &["fifo"], &["base64", "hex", "md5", "url"]),
    ("local/connections", &[], &["axum", "hyper", "hyper_util"]),
    // Who may talk to what listens on this machine.
    ("visitors", &[], &["axum"]),
    (
        "local/server",
        &["job", "local/connections", "fifo", "local/protocol", "visitors", "wall"],
        &["axum", "uuid", "base64", "url"],
    ),
    ("local/receiver", &["job", "local/connections", "fifo", "visitors", "plan", "standard"], &["axum"]),
    // Settings of adapters, but no type of an SDK.
    (
        "config",
        &[
            "app",
            "apps/array",
            "apps/cache",
            "apps/settings",
            "aws",
            "aws/endpoint",
            "aws/region",
            "delivery/http",
            "delivery/lambda/function_name",
            "egress",
            "json",
            "lease",
            "plan",
            "policy",
            "queue/sqs",
            "telemetry/traces",
            "tls",
        ],
        &["envy", "http", "strsim", "url", "ipnet", "tracing_subscriber"],
    ),
    // What every command shares.
    ("process", &["admin", "config"], &["anyhow", "clap", "reqwest", "tracing_subscriber"]),
    // All wiring of adapters to ports: the worker, and whether it may start.
    (
        "run",
        &[
            "admin",
            "app",
            "apps",
            "apps/array",
            "apps/cache",
            "apps/dynamodb",
            "apps/sql",
            "board",
            "config",
            "delivery",
            "delivery/http",
            "delivery/lambda",
            "delivery/standard",
            "descriptors",
            "egress",
            "flow",
            "lease",
            "outcome",
            "plan",
            "policy",
            "process",
            "queue",
            "queue/sqs",
            "random",
            "shown",
            "telemetry",
            "telemetry/traces",
            "worker",
            "wall",
        ],
        &["anyhow", "url"],
    ),
    // The commands of some size.
    (
        "check",
        &[
            "app",
            "apps",
            "apps/array",
            "config",
            "delivery/http",
            "delivery/lambda",
            "descriptors",
            "egress",
            "outcome",
            "process",
            "queue",
            "queue/sqs",
            "run",
            "shown",
            "tls",
        ],
        &["anyhow", "clap", "rustls", "url"],
    ),
    (
        "dlq",
        &[
            "app",
            "apps",
            "config",
            "job",
            "letters",
            "outcome",
            "plan",
            "process",
            "queue",
            "queue/sqs",
            "random",
            "run",
            "shown",
            "wall",
        ],
        &["anyhow", "clap", "indicatif"],
    ),
    (
        "dev",
        &[
            "board",
            "config",
            "fifo",
            "job",
            "local/receiver",
            "local/server",
            "process",
            "producer",
            "run",
            "telemetry",
            "wall",
        ],
        &["anyhow", "clap", "ratatui", "url"],
    ),
    // The command line, and the smaller commands.
    (
        "cli",
        &[
            "admin",
            "app",
            "board",
            "check",
            "config",
            "dev",
            "dlq",
            "job",
            "json",
            "local/receiver",
            "plan",
            "process",
            "producer",
            "queue",
            "queue/sqs",
            "random",
            "run",
            "shown",
            "standard",
            "wall",
        ],
        &["anyhow", "axum", "base64", "clap", "clap_complete", "clap_mangen", "indicatif"],
    ),
];

/// Crates that say nothing of where a room stands.
const ANYONE: [&str; 15] = [
    "std",
    "core",
    "bytes",
    "futures_util",
    "hex",
    "rand",
    "secrecy",
    "serde",
    "serde_json",
    "thiserror",
    "tokio",
    "tokio_util",
    "tracing",
    "md5",
    "sha2",
];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Every source file by its module path (`lane/attempt`), without its tests, comments and strings.
fn files() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&root, &mut found);
    found
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(&root).unwrap().with_extension("").to_string_lossy().into_owned();
            (name, code(&std::fs::read_to_string(&path).unwrap()))
        })
        .filter(|(name, _)| name.split('/').all(|part| part != "tests") && name != "main" && name != "lib")
        .collect()
}

/// The code before a file's tests, without comments.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The room that a module path lies in.
fn room(path: &str) -> Option<&'static Room> {
    let inside = |room: &&Room| path == room.0 || path.starts_with(&format!("{}/", room.0));
    ROOMS.iter().filter(inside).max_by_key(|room| room.0.len())
}

/// Every `a::b::c` in some code that begins at the crate, at the module above or at one below, and what a `use` opens in
/// braces, as `a/b/c`.
fn paths(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let below = code.lines().filter_map(|line| {
        let (before, name) = line.split_once("mod ")?;
        let is_declared = before.is_empty() || before.starts_with("pub") && before.ends_with(' ');
        Some(format!("{}::", name.strip_suffix(';')?)).filter(|_| is_declared)
    });
    for root in ["crate::", "super::"].map(str::to_owned).into_iter().chain(below) {
        for (at, _) in code.match_indices(&root) {
            if code[..at].ends_with(|c: char| is_word(c) || c == ':') {
                continue;
            }
            let rest = &code[at..];
            let end = rest.find(|c: char| !is_word(c) && c != ':').unwrap_or(rest.len());
            let stem = rest[..end].trim_end_matches(':').replace("::", "/");
            if rest[end..].starts_with('{') {
                let list = rest[end + 1..].split(';').next().unwrap();
                // Nested braces are not resolved further: their first parts say which room it is.
                for part in list.split(['{', '}', ',']).map(str::trim).filter(|part| !part.is_empty()) {
                    let part = part.split(" as ").next().unwrap().replace("::", "/");
                    found.insert(format!("{stem}/{part}"));
                }
            } else {
                found.insert(stem);
            }
        }
    }
    found
}

/// A path as seen from a module, from the crate's root on.
fn absolute(module: &str, path: &str) -> String {
    let mut at: Vec<&str> = module.split('/').collect();
    let mut rest = path;
    if let Some(stripped) = rest.strip_prefix("crate/") {
        return stripped.to_owned();
    }
    while let Some(stripped) = rest.strip_prefix("super/") {
        at.pop();
        rest = stripped;
    }
    at.push(rest);
    at.join("/")
}

#[test]
fn a_room_knows_only_the_rooms_that_are_listed_for_it() {
    let mut wrong = Vec::new();
    for (module, code) in files() {
        let Some((own, may, _)) = room(&module) else {
            if !["egress", "local", "aws"].contains(&module.as_str()) {
                wrong.push(format!("{module} is in no room of the list"));
            }
            continue;
        };
        for path in paths(&code) {
            let Some((met, ..)) = room(&absolute(&module, &path)) else { continue };
            let above = own.starts_with(&format!("{met}/"));
            // An adapter may know what its port may.
            let by_port =
                ROOMS.iter().any(|(port, may, _)| own.starts_with(&format!("{port}/")) && may.contains(met));
            let allowed = own == met || above || by_port || may.contains(met);
            if !allowed {
                wrong.push(format!("{module} names {path}: {own} may not know {met}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The table of rooms in the document: every top-level module is in its first column, and nothing else.
#[test]
fn the_document_has_every_room() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/architecture.md");
    let text = std::fs::read_to_string(document).unwrap();
    let table = text.split("\n## Rooms\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let cells = table.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let named: std::collections::BTreeSet<&str> = cells
        .flat_map(|cell| cell.split('`'))
        .filter(|name| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || "_/{},".contains(c))
        })
        .filter_map(|name| name.split('/').next())
        .collect();
    let modules = files().into_iter().map(|(module, _)| module.split('/').next().unwrap().to_owned());
    let modules: std::collections::BTreeSet<String> = modules.collect();
    assert!(modules.iter().map(String::as_str).eq(named.iter().copied()), "{named:?} and {modules:?}");
}

/// Whoever opens a room reads it in an hour.
const MAX_LINES: usize = 2_500;

#[test]
fn no_room_is_too_large() {
    let mut lines = std::collections::BTreeMap::<String, usize>::new();
    for (module, _) in files() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(&module).with_extension("rs");
        let top = module.split('/').next().unwrap().to_owned();
        // Tests beside the code in files of their own are left out, those within a file are not.
        *lines.entry(top).or_default() += std::fs::read_to_string(path).unwrap().lines().count();
    }
    let large: Vec<_> = lines.iter().filter(|(_, lines)| **lines > MAX_LINES).collect();
    assert!(large.is_empty(), "{large:?}");
}

/// Far beyond the 300 lines that CONTRIBUTING asks for: past it a file is split.
const MAX_FILE_LINES: usize = 550;

/// Files that were longer when this began to be held; none may come to them.
const LONG_FILES: [&str; 5] =
    ["app/registration/webhook", "board", "flow/shares", "lane/attempt", "lane/settle"];

#[test]
fn no_file_is_too_long() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let long = files().into_iter().map(|(module, _)| module).filter(|module| {
        let text = std::fs::read_to_string(root.join(module).with_extension("rs")).unwrap();
        text.split("#[cfg(test)]\nmod tests").next().unwrap().lines().count() > MAX_FILE_LINES
    });
    let new: Vec<_> = long.filter(|module| !LONG_FILES.contains(&module.as_str())).collect();
    assert!(new.is_empty(), "{new:?}");
}

#[test]
fn what_a_room_may_know_is_a_room() {
    for (own, may, _) in ROOMS {
        for other in *may {
            assert!(ROOMS.iter().any(|(name, ..)| name == other), "{own} may know {other}, which is no room");
        }
    }
}

/// The rooms that each room names in its code, but for those above and below it: a port holds its adapters.
fn imports() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let mut imports = BTreeMap::<_, BTreeSet<_>>::new();
    for (module, code) in files() {
        let Some((own, ..)) = room(&module) else { continue };
        for path in paths(&code) {
            let Some((met, ..)) = room(&absolute(&module, &path)) else { continue };
            let apart = |a: &str, b: &str| a != b && !a.starts_with(&format!("{b}/"));
            if apart(own, met) && apart(met, own) {
                imports.entry(*own).or_default().insert(*met);
            }
        }
    }
    imports
}

/// Walks on from the last room of a way; the circle that it comes upon, if there is one.
fn circle<'a>(
    way: &mut Vec<&'a str>,
    done: &mut BTreeSet<&'a str>,
    imports: &BTreeMap<&'a str, BTreeSet<&'a str>>,
) -> Option<Vec<&'a str>> {
    let here = *way.last()?;
    for next in imports.get(here).into_iter().flatten().copied() {
        if let Some(at) = way.iter().position(|room| *room == next) {
            return Some(way[at..].to_vec());
        }
        if !done.contains(next) {
            way.push(next);
            if let Some(found) = circle(way, done, imports) {
                return Some(found);
            }
            way.pop();
        }
    }
    done.insert(here);
    None
}

#[test]
fn no_circle_of_rooms() {
    let imports = imports();
    assert!(imports["worker"].contains("queue"), "{imports:?}");
    let mut done = BTreeSet::new();
    for (room, ..) in ROOMS {
        let found = circle(&mut vec![room], &mut done, &imports);
        assert!(found.is_none(), "these know each other in a circle: {found:?}");
    }
    let in_a_circle = BTreeMap::from([("a", ["b"].into()), ("b", ["c"].into()), ("c", ["b"].into())]);
    assert_eq!(circle(&mut vec!["a"], &mut BTreeSet::new(), &in_a_circle), Some(vec!["b", "c"]));
}

#[test]
fn what_decides_is_pure() {
    for (module, code) in files() {
        if !PURE.contains(&room(&module).map_or("", |room| room.0)) {
            continue;
        }
        for word in
            ["SystemTime", "std::net", "std::fs", "std::env", "tokio::net", "tokio::spawn", "Instant::now()"]
        {
            assert!(!code.contains(word), "{module} must not know {word}");
        }
    }
}

#[test]
fn the_wall_clock_is_read_in_one_room() {
    let read = files().into_iter().filter(|(_, code)| code.contains("SystemTime::now"));
    assert_eq!(read.map(|(module, _)| module).collect::<Vec<_>>(), ["wall"]);
}

#[test]
fn a_crate_is_named_only_where_it_is_listed() {
    let manifest = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let table = manifest.split("[dependencies]").nth(1).unwrap().split("[dev-dependencies]").next().unwrap();
    let crates: Vec<String> = table
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| Some(line.split_once(" =")?.0.replace('-', "_")))
        .map(|name| match name.as_str() {
            "md_5" => "md5".to_owned(),
            "rustls_webpki" => "webpki".to_owned(),
            _ => name,
        })
        .collect();
    assert!(crates.len() > 20, "{crates:?}");
    let mut wrong = Vec::new();
    for (module, code) in files() {
        let (_, _, may) = room(&module).copied().unwrap_or(("", &[], &[]));
        for name in &crates {
            let named = code
                .match_indices(&format!("{name}::"))
                .any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'));
            if named && !may.contains(&name.as_str()) && !ANYONE.contains(&name.as_str()) {
                wrong.push(format!("{module} names the crate {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
