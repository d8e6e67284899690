//! Lambda, by ministack, which runs the functions for real.

use std::time::Duration;

use aws_sdk_lambda::Client;
use aws_sdk_lambda::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{FunctionCode, Runtime};
use serde_json::json;

use crate::outage::table;
use crate::server::Server;
use crate::world::{World, assert_in_order, job};

/// Hands what it was sent on to the receiver, at the path of the name or alias by which it was invoked.
/// The event's `n` says what else it does: 1 raises twice, 2 is too slow once, 3 answers with 5 MB, 9 always
/// raises.
const CODE: &str = r#"
import json, time, urllib.request

def handler(event, context):
    assert sorted(event) == ["headers", "payload"], event
    headers = event["headers"]
    n = event["payload"]["events"][0]["n"]
    with open(f"MARKS/{n}", "a") as marks:
        marks.write("x")
        times = marks.tell()
    if n == 1 and times < 3 or n == 9:
        raise RuntimeError("no such\norder")
    if n == 2 and times == 1:
        time.sleep(8)
        return "too late"
    body = json.dumps(event["payload"], separators=(",", ":"), ensure_ascii=False).encode()
    path = context.invoked_function_arn.split(":")[-1]
    urllib.request.urlopen(urllib.request.Request("RECEIVER/" + path, body, headers)).read()
    return "x" * (5 << 20) if n == 3 else "ok"
"#;

fn server() -> Server {
    Server::named("AWS")
}

fn client() -> Client {
    let config = aws_sdk_lambda::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(server().address)
        .credentials_provider(Credentials::new("local", "local", None, None, "test"))
        .build();
    Client::from_conf(config)
}

/// A function, ready to be invoked, with an alias `live`.
struct Function {
    name: String,
    arn: String,
    marks: tempfile::TempDir,
}

impl Function {
    /// How often it was invoked for events of this `n`.
    fn times(&self, n: u64) -> usize {
        std::fs::read(self.marks.path().join(n.to_string())).unwrap().len()
    }
}

async fn function(receiver: &str) -> Function {
    let (dir, marks) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let code = CODE.replace("RECEIVER", receiver).replace("MARKS", marks.path().to_str().unwrap());
    std::fs::write(dir.path().join("main.py"), code).unwrap();
    let zipped = tokio::process::Command::new("python3")
        .args(["-m", "zipfile", "-c", "code.zip", "main.py"])
        .current_dir(dir.path())
        .status()
        .await
        .unwrap();
    assert!(zipped.success());
    let code = Blob::new(std::fs::read(dir.path().join("code.zip")).unwrap());
    let (client, name) = (client(), table());
    let created = client
        .create_function()
        .function_name(&name)
        .runtime(Runtime::Python312)
        .role("arn:aws:iam::000000000000:role/any")
        .handler("main.handler")
        .timeout(30)
        .code(FunctionCode::builder().zip_file(code).build())
        .publish(true)
        .send()
        .await
        .unwrap();
    client.create_alias().function_name(&name).name("live").function_version("1").send().await.unwrap();
    let arn = created.function_arn.unwrap().trim_end_matches(":1").to_owned();
    Function { name, arn, marks }
}

fn variables<'a>(
    webhooks: &'a str,
    endpoint: &'a str,
    more: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    [&[("DEFAULT_APP_WEBHOOKS", webhooks), ("LAMBDA_ENDPOINT", endpoint)], more].concat()
}

/// Reason and detail of every dead letter.
async fn dead(world: &World) -> Vec<(String, String)> {
    let request = world.client.receive_message().queue_url(&world.dead_letters).max_number_of_messages(10);
    let answer = request.message_attribute_names("All").send().await.unwrap();
    let text = |message: &aws_sdk_sqs::types::Message, name: &str| {
        message.message_attributes.as_ref().unwrap()[name].string_value.clone().unwrap()
    };
    let messages = answer.messages.unwrap_or_default();
    messages.iter().map(|message| (text(message, "reason"), text(message, "detail"))).collect()
}

#[tokio::test]
async fn a_function_that_raises_is_too_slow_or_answers_hugely_gets_every_job_once_and_in_order() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    let function = function(&world.receiver).await;
    let webhooks = json!([{"lambda_function": function.name, "lambda": {}}]).to_string();
    let _worker = world.worker(&[], &variables(&webhooks, &server().address, &[]));
    world.send(&(0..5).map(|n| job("g", n)).collect::<Vec<_>>()).await;
    world.wait_for(5).await;
    world.wait_until_empty().await;
    assert_in_order(&world.delivered());
    let arrivals = world.arrivals.lock().unwrap().clone();
    assert_eq!(arrivals.len(), 5, "each once");
    assert!(arrivals.iter().all(|arrival| arrival.verified && arrival.path == format!("/{}", function.name)));
    assert_eq!([0, 1, 2, 3, 4].map(|n| function.times(n)), [1, 3, 2, 1, 1]);
    assert_eq!(dead(&world).await, []);
}

#[tokio::test]
async fn a_function_is_invoked_by_every_form_of_its_name_and_both_ways() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    let Function { name, arn, .. } = &function(&world.receiver).await;
    let account = arn.split(':').nth(4).unwrap();
    let forms = [
        name.clone(),
        format!("{name}:live"),
        format!("{name}:1"),
        arn.clone(),
        format!("{arn}:live"),
        format!("{account}:function:{name}"),
        format!("{account}:function:{name}:live"),
    ];
    let webhook =
        |form: &String, asynchronous| json!({"lambda_function": form, "lambda": {"async": asynchronous}});
    let webhooks: Vec<_> =
        forms.iter().flat_map(|form| [webhook(form, json!(false)), webhook(form, json!("1"))]).collect();
    let webhooks = json!(webhooks).to_string();
    let allowed = format!("{}*,arn:aws:lambda:us-east-1:{account}:function:{name}", &name[..name.len() - 1]);
    // The server starts a process for each of the fourteen at once: none is cut off and invoked again.
    let more = [
        ("WEBHOOKS_ALLOWED_FUNCTIONS", allowed.as_str()),
        ("WEBHOOKS_TIMEOUT_MS", "60000"),
        ("QUEUE_SQS_VISIBILITY_TIMEOUT", "120"),
    ];
    let _worker = world.worker(&[], &variables(&webhooks, &server().address, &more));
    world.send(&[job("g", 0)]).await;
    let arrived = || {
        let arrivals = world.arrivals.lock().unwrap();
        let mut ids: Vec<_> =
            arrivals.iter().filter(|arrival| arrival.verified).map(|a| a.id.clone()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.len()
    };
    crate::world::wait_until(|| arrived() == 14).await;
    world.wait_until_empty().await;
    let count = |path: &str| world.delivered().iter().filter(|d| d.path == path).count();
    assert_eq!((count("/live"), count("/1"), count(&format!("/{name}"))), (6, 2, 6));
    assert_eq!(dead(&world).await, []);
}

#[tokio::test]
async fn what_cannot_be_invoked_is_given_up_with_its_reason() {
    let address = server().address;
    for (n, function_of, allowed, reason, detail) in [
        (9, "", "*", "function_error", "the function failed: Runtime.HandlerError: no such order"),
        (0, "nobody", "*", "function_missing", "Lambda has no such function"),
        (0, ":nobody", "*", "function_missing", "Lambda has no such function"),
        (0, "", "orders-*", "function_refused", "WEBHOOKS_ALLOWED_FUNCTIONS"),
    ] {
        let world = World::new(|_| (200, Duration::ZERO)).await;
        let function = function(&world.receiver).await;
        let named = format!("{}{function_of}", function.name);
        let webhooks = json!([{"lambda_function": named, "lambda": {"async": false}}]).to_string();
        let more = [("WEBHOOKS_RETRY_WINDOW_SECONDS", "0"), ("WEBHOOKS_ALLOWED_FUNCTIONS", allowed)];
        let _worker = world.worker(&[], &variables(&webhooks, &address, &more));
        world.send(&[job("g", n)]).await;
        world.wait_until_empty().await;
        let [(code, text)] = dead(&world).await.try_into().unwrap();
        assert_eq!(code, reason);
        assert!(text.contains(detail) && text.chars().count() <= 256, "{text}");
        assert!(world.arrivals.lock().unwrap().is_empty());
    }
}
