//! Enqueues webhook jobs in order: `cargo run --example produce -- QUEUE_URL [ENDPOINT]`.
//!
//! As a crate of its own: hookferry with `default-features = false, features = ["producer"]`, and
//! aws-config for the client.

use std::error::Error;

use aws_config::BehaviorVersion;
use hookferry::producer::{Event, Producer, Signer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let queue_url = arguments.next().ok_or("usage: produce QUEUE_URL [ENDPOINT]")?;
    let mut config = aws_config::defaults(BehaviorVersion::latest());
    if let Some(endpoint) = arguments.next() {
        config = config.endpoint_url(endpoint);
    }
    let producer = Producer::new(aws_sdk_sqs::Client::new(&config.load().await), queue_url);
    let app = Signer::new("app-id", "app-key", "app-secret");

    for n in 0..3 {
        let joined = Event::member_added("presence-lobby", &format!("é{n} 😀"))?;
        // Goes on at once; the confirmation is the queue's message id.
        let confirmation = producer.enqueue(app.job(&joined)).await?;
        tokio::spawn(async move { println!("{:?}", confirmation.await) });
    }
    let paid =
        Event::own("order.paid")?.with("order", "7")?.with("total", "12.50")?.in_group("app-id_order-7");
    println!("{}", producer.enqueue(app.job(&paid)).await?.await?);
    producer.flush().await?;
    Ok(())
}
