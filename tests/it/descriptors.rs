//! A process with few file descriptors.

use serde_json::json;
use tempfile::NamedTempFile;
use tokio::process::Command;

use crate::peer::{OK, Peer};
use crate::world::{World, signed};

/// Far fewer than there are receivers that keep their connections.
const LIMIT: &str = "96";
const RECEIVERS: usize = 150;

#[tokio::test]
async fn receivers_that_keep_their_connections_take_no_descriptor_from_others_and_fail_no_attempt() {
    let world = World::new(|_| (200, std::time::Duration::ZERO)).await;
    let peer = Peer::at("0.0.0.0:0", |mut peer| async move {
        while peer.read_request().await.is_some() {
            peer.write(OK).await;
        }
    })
    .await;
    let apps: Vec<_> = (0..RECEIVERS)
        .map(|n| {
            let url = format!("http://127.0.1.{}:{}/{n}", n + 1, peer.address.port());
            json!({"id": format!("app-{n}"), "key": format!("key-{n}"), "secret": "s", "webhooks": [{"url": url}]})
        })
        .collect();
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), json!(apps).to_string()).unwrap();
    let jobs: Vec<_> =
        (0..RECEIVERS).map(|n| signed(&format!("g{n}"), 0, &format!("key-{n}"), "s")).collect();
    world.send(&jobs).await;
    let own = world.command(
        &["/"],
        // A failed attempt would end a job.
        &[("APPS_FILE", file.path().to_str().unwrap()), ("WEBHOOKS_RETRY_WINDOW_SECONDS", "0")],
    );
    let mut limited = Command::new("sh");
    limited
        .args(["-c", &format!("ulimit -n {LIMIT} && exec \"$0\" run"), env!("CARGO_BIN_EXE_hookferry")])
        .env_clear()
        .envs(own.as_std().get_envs().filter_map(|(name, value)| Some((name, value?))))
        .kill_on_drop(true);
    let _worker = limited.spawn().unwrap();
    world.wait_until_empty().await;
    assert_eq!(world.dead().await, []);
    assert_eq!(peer.seen(), RECEIVERS);
}
