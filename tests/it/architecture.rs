//! Which module may know which: the `use` lines and paths of the sources.

use std::path::{Path, PathBuf};

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

/// The sources under `src/` whose path begins with one of `names`, tests left out.
fn of(names: &[&str]) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&root, &mut found);
    let with_text = |path: PathBuf| {
        let name = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
        (name, text)
    };
    let wanted = |name: &String| {
        let stem = name.trim_end_matches(".rs");
        !name.ends_with("tests.rs") && names.iter().any(|n| stem == *n || name.starts_with(&format!("{n}/")))
    };
    let found: Vec<_> = found.into_iter().map(with_text).filter(|(name, _)| wanted(name)).collect();
    assert!(!found.is_empty(), "{names:?} are nowhere");
    found
}

fn assert_without(sources: &[(String, String)], forbidden: &[&str]) {
    for (name, text) in sources {
        for word in forbidden {
            assert!(!text.contains(word), "{name} must not know {word}");
        }
    }
}

const ADAPTERS: [&str; 12] = [
    "crate::queue::sqs",
    "crate::transport::http",
    "crate::transport::lambda",
    "crate::apps::array",
    "crate::apps::dynamodb",
    "crate::apps::sql",
    "crate::aws",
    "aws_",
    "hyper",
    "rustls",
    "axum",
    "sqlx",
];

#[test]
fn what_decides_is_pure() {
    let pure = of(&["job", "app", "plan", "policy", "local/fifo"]);
    assert_without(&pure, &ADAPTERS);
    assert_without(&pure, &["SystemTime", "tokio::net", "std::net", "tokio::spawn", "Instant::now()"]);
}

#[test]
fn lane_and_worker_know_the_ports_and_no_adapter() {
    assert_without(&of(&["lane", "worker", "ledger", "producer"]), &ADAPTERS);
}

#[test]
fn no_module_but_an_adapter_names_aws_or_http_crates() {
    assert_without(
        &of(&["queue"]).into_iter().filter(|(name, _)| name == "queue.rs").collect::<Vec<_>>(),
        &["aws_"],
    );
    let but = |mut sources: Vec<(String, String)>, adapter: &str| {
        sources.retain(|(name, _)| !name.trim_end_matches(".rs").starts_with(adapter));
        sources
    };
    let aws = ["aws_sdk", "aws_config", "aws_smithy", "crate::aws"];
    assert_without(&but(of(&["transport"]), "transport/lambda"), &aws);
    assert_without(&but(of(&["apps"]), "apps/dynamodb"), &aws);
    assert_without(&but(of(&["apps"]), "apps/sql"), &["sqlx"]);
    assert_without(&of(&["local"]), &aws);
    assert_without(&of(&["ops", "queue", "apps"]), &["hyper"]);
    assert_without(&of(&["ops", "queue", "transport", "local"]), &["sqlx"]);
}
