//! Produces jobs of every event type with sockudo's own code, for two apps, into the queue `webhooks.fifo`.
//!
//! hookferry-sockudo-interop ENDPOINT [ROUNDS]
//! Set up as docs/producing.md says for sockudo beside hookferry: a FIFO queue, and no consumers of its own.

use std::error::Error;
use std::sync::Arc;

use sockudo_app::MemoryAppManager;
use sockudo_core::app::App;
use sockudo_core::options::SqsQueueConfig;
use sockudo_queue::sqs_queue_manager::SqsQueueManager;
use sockudo_webhook::integration::{QueueManager, WebhookConfig, WebhookIntegration};

const EVENTS: [&str; 18] = [
    "channel_occupied",
    "channel_vacated",
    "member_added",
    "member_removed",
    "member_updated",
    "client_event",
    "cache_miss",
    "subscription_count",
    "ai_stream_cancelled",
    "ai_run_started",
    "ai_turn_started",
    "ai_run_ended",
    "ai_turn_ended",
    "ai_cancel_requested",
    "ai_stream_orphaned",
    "message_version_created",
    "annotation_created",
    "annotation_deleted",
];

fn app(id: &str) -> Result<App, Box<dyn Error>> {
    let types = EVENTS.map(|name| format!("{name:?}")).join(",");
    Ok(sonic_rs::from_str(&format!(
        r#"{{"id":"{id}","key":"{id}-key","secret":"{id}-secret","enabled":true,
            "policy":{{"webhooks":[{{"url":"http://127.0.0.1/","event_types":[{types}]}}]}}}}"#
    ))?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let endpoint = arguments.next().ok_or("usage: hookferry-sockudo-interop ENDPOINT [ROUNDS]")?;
    let rounds: usize = arguments.next().map_or(Ok(1), |rounds| rounds.parse())?;
    let queue = SqsQueueManager::new(SqsQueueConfig {
        endpoint_url: Some(endpoint),
        fifo: true,
        // QUEUE_SQS_CONCURRENCY=0: sockudo starts no consumer.
        concurrency: 0,
        ..SqsQueueConfig::default()
    })
    .await?;
    let queue = Arc::new(QueueManager::new(Box::new(queue)));
    let apps = Arc::new(MemoryAppManager::new());
    let hooks = WebhookIntegration::new(WebhookConfig::default(), apps, Some(queue)).await?;
    for n in 0..rounds {
        for app in [app("one")?, app("two")?] {
            produce(&hooks, &app, n).await?;
        }
    }
    println!("{}", rounds * 2 * EVENTS.len());
    Ok(())
}

async fn produce(hooks: &WebhookIntegration, app: &App, n: usize) -> Result<(), Box<dyn Error>> {
    let text = n.to_string();
    let id = text.as_str();
    hooks.send_channel_occupied(app, "presence-a").await?;
    hooks.send_member_added(app, "presence-a", id).await?;
    hooks.send_member_updated(app, "presence-a", id, sonic_rs::json!({"name": "é 😀"})).await?;
    let data = sonic_rs::json!({"n": n, "text": "é 😀 \u{2028}", "number": 1.5e21});
    hooks.send_client_event(app, "presence-a", "client-a", data, Some("1.2"), Some(id)).await?;
    hooks.send_cache_missed(app, "cache-news").await?;
    hooks.send_subscription_count_changed(app, "presence-a", 1).await?;
    hooks.send_ai_run_started(app, "private-ai", Some(id), Some("c")).await?;
    hooks.send_ai_turn_started(app, "private-ai", Some(id), Some("c")).await?;
    hooks.send_ai_turn_ended(app, "private-ai", Some(id), "done", None).await?;
    hooks.send_ai_run_ended(app, "private-ai", Some(id), "done", None).await?;
    hooks.send_ai_cancel_requested(app, "private-ai", Some(id), None).await?;
    hooks.send_ai_stream_cancelled(app, "private-ai", id, "asked").await?;
    hooks.send_ai_stream_orphaned(app, "private-ai", id, "gone").await?;
    hooks.send_message_version_created(app, "private-a", id, "2", "update").await?;
    hooks.send_annotation_created(app, "private-a", id, "1", "like").await?;
    hooks.send_annotation_deleted(app, "private-a", id, "2", "1", "like").await?;
    hooks.send_member_removed(app, "presence-a", id).await?;
    hooks.send_channel_vacated(app, "presence-a").await?;
    Ok(())
}
