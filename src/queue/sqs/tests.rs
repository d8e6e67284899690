use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::queue::NewMessage;

/// A queue whose endpoint answers every request with this success.
async fn answering(body: &str) -> Connection {
    answering_with("", body).await
}

/// A queue whose endpoint answers every request with this success and these header lines.
async fn answering_with(lines: &str, body: &str) -> Connection {
    let answer = format!(
        "HTTP/1.1 200 OK\r\n{lines}connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    answering_by(move |_| answer.clone()).await
}

/// A queue whose endpoint answers each request by what is in it.
async fn answering_by(answer: impl Fn(&str) -> String + Send + 'static) -> Connection {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // One request a connection; its body is small, and comes with the head or right behind it.
            let mut request = Vec::new();
            while !request.ends_with(b"}") {
                stream.read_buf(&mut request).await.unwrap();
            }
            let answer = answer(&String::from_utf8_lossy(&request));
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    }));
    let key = AccessKey { id: "local".to_owned(), secret: "local".into(), session_token: None };
    let options = Options { credentials: Some(key), ..Options::default() };
    let url = format!("{endpoint}/1/q.fifo");
    let address = Address { url, region: "us-east-1".into(), endpoint: Some(endpoint), options };
    Connection::load(address).await
}

async fn queue_answering(body: &str) -> Sqs {
    for_use(&answering(body).await)
}

fn for_use(connection: &Connection) -> Sqs {
    let policies = Policies::new(Some(connection.url().replace("q.fifo", "dead.fifo")));
    policies.follow(&Description {
        visibility: Duration::from_secs(30),
        dead_letter_url: None,
        max_receive_count: None,
        dead_letter_arn: None,
        attributes: BTreeMap::from([("MessageRetentionPeriod".to_owned(), "86400".to_owned())]),
    });
    connection.queue(used_with(policies))
}

fn used_with(policies: Policies) -> Usage {
    Usage {
        wait: Duration::ZERO,
        visibility: None,
        settle_timeout: Duration::from_secs(10),
        policies,
        traced: false,
    }
}

/// Successes of an endpoint that is not SQS, or not the whole of it.
const NO_ANSWERS: [&str; 4] = ["", "{}", "{\"status\":\"ok\"}", "{\"MessageId\":\"\"}"];

fn letter() -> DeadLetter {
    DeadLetter {
        id: "m".into(),
        source: "m".into(),
        group: "g".into(),
        body: "b".into(),
        reason: "gone",
        detail: String::new(),
        attempts: 1,
        delivered: Vec::new(),
        app_id: String::new(),
        webhook: None,
        destination: String::new(),
        first_sent: None,
        given_up: None,
    }
}

/// An answer with this status and body.
fn with_status(status: u16, body: &str) -> String {
    format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// What a queue says whose policy names this dead-letter queue.
fn described(dead_letters: Option<&str>) -> String {
    let mut attributes = serde_json::json!({"QueueArn": "arn:aws:sqs:us-east-1:1:q.fifo"});
    if let Some(name) = dead_letters {
        let target = format!("arn:aws:sqs:us-east-1:1:{name}");
        let policy = serde_json::json!({"deadLetterTargetArn": target, "maxReceiveCount": 1000});
        attributes["RedrivePolicy"] = policy.to_string().into();
    }
    with_status(200, &serde_json::json!({ "Attributes": attributes }).to_string())
}

const DENIED: &str = r#"{"__type":"com.amazonaws.sqs#AccessDeniedException","message":"no"}"#;
const TAKEN: &str = r#"{"MessageId":"m"}"#;

#[tokio::test]
async fn before_a_job_is_deleted_for_want_of_a_dead_letter_queue_the_queue_is_asked_whether_it_has_one_by_now()
 {
    for (answer, expected) in [
        (described(Some("dead.fifo")), Ok(())),
        (described(None), Err(Error::NoDeadLetterQueue)),
        (with_status(400, DENIED), Err(Error::Denied(String::new()))),
    ] {
        let connection = answering_by(move |request| {
            if request.contains("GetQueueAttributes") { answer.clone() } else { with_status(200, TAKEN) }
        });
        let queue = connection.await.queue(used_with(Policies::default()));
        let came = queue.dead_letter(&letter()).await;
        let came = came.map_err(|error| match error {
            Error::Denied(why) if why.contains("sqs:GetQueueAttributes") => Error::Denied(String::new()),
            other => other,
        });
        assert_eq!(came, expected);
    }
}

#[tokio::test]
async fn letters_follow_the_policy_to_another_queue_and_stay_with_the_last_where_it_names_none() {
    for (named, expected) in [(Some("new.fifo"), true), (None, false)] {
        let connection = answering_by(move |request| {
            let missing = r#"{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"no"}"#;
            match request {
                asked if asked.contains("GetQueueAttributes") => described(named),
                sent if sent.contains("new.fifo") => with_status(200, TAKEN),
                _ => with_status(400, missing),
            }
        });
        let connection = connection.await;
        let policies = Policies::default();
        policies.follow(&Description {
            visibility: Duration::from_secs(30),
            dead_letter_url: Some(connection.url().replace("q.fifo", "old.fifo")),
            max_receive_count: None,
            dead_letter_arn: None,
            attributes: BTreeMap::new(),
        });
        let came = connection.queue(used_with(policies.clone())).dead_letter(&letter()).await;
        assert_eq!(came.is_ok(), expected, "{came:?}");
        assert_ne!(came, Err(Error::NoDeadLetterQueue), "the job would be deleted");
        let url = policies.dead_letter_url().unwrap();
        assert!(url.ends_with(if expected { "/1/new.fifo" } else { "/1/old.fifo" }), "{url}");
    }
}

#[tokio::test]
async fn a_letter_that_is_refused_without_attributes_too_is_told_apart_from_a_call_that_failed() {
    for (says, too_long) in [
        ("One or more parameters are invalid. Reason: Message must be shorter than 1024 bytes.", true),
        ("The request include parameter that is not valid for this queue type", false),
    ] {
        let refused =
            serde_json::json!({"__type": "com.amazonaws.sqs#InvalidParameterValue", "message": says})
                .to_string();
        let connection = answering_by(move |_| with_status(400, &refused)).await;
        let came = for_use(&connection).dead_letter(&letter()).await;
        let Err(Error::LetterRefused { bytes: 1, too_long: told, why }) = came else { panic!("{came:?}") };
        assert!(told == too_long && why.contains(says), "{why}");
    }
}

#[tokio::test]
async fn a_dead_letter_is_confirmed_by_its_message_id_alone() {
    let letter = letter();
    for body in NO_ANSWERS {
        let Err(Error::Call(why)) = queue_answering(body).await.dead_letter(&letter).await else {
            panic!("{body:?} confirms nothing");
        };
        assert!(why.contains("no answer of SQS' form") && why.contains("MessageId"), "{why}");
    }
    assert_eq!(queue_answering("{\"MessageId\":\"m\"}").await.dead_letter(&letter).await, Ok(()));
}

#[tokio::test]
async fn an_answer_without_attributes_describes_no_queue() {
    for body in ["", "{}", "{\"status\":\"ok\"}", "{\"Attributes\":{}}"] {
        let Err(ReceiveError::Service(why)) = answering(body).await.describe().await else {
            panic!("{body:?} describes nothing");
        };
        assert!(why.contains("no answer of SQS' form") && why.contains("QUEUE_SQS_ENDPOINT"), "{why}");
    }
    for attribute in ["\"QueueArn\":\"arn:aws:sqs:us-east-1:1:q.fifo\"", "\"VisibilityTimeout\":\"30\""] {
        let body = format!("{{\"Attributes\":{{{attribute}}}}}");
        assert_eq!(answering(&body).await.describe().await.unwrap().visibility, Duration::from_secs(30));
    }
}

#[tokio::test]
async fn a_message_that_an_answer_names_no_id_of_is_not_sent() {
    let job = [NewMessage::new("g".to_owned(), "b".to_owned())];
    for body in ["", "{}", "{\"status\":\"ok\"}", "{\"Successful\":[{\"Id\":\"0\"}]}"] {
        let sent = queue_answering(body).await.send(&job).await.unwrap();
        assert!(
            sent[0].as_ref().is_err_and(|unsent| unsent.why.contains("no answer of SQS' form")),
            "{body:?}: {sent:?}"
        );
    }
    let sent =
        queue_answering("{\"Successful\":[{\"Id\":\"0\",\"MessageId\":\"m\"}]}").await.send(&job).await;
    assert_eq!(sent, Ok(vec![Ok("m".to_owned())]));
}

#[tokio::test]
async fn an_age_beyond_the_queues_retention_is_unknown() {
    let sent_ago = |seconds: u64| {
        let now = crate::wall::since_epoch();
        now.saturating_sub(Duration::from_secs(seconds)).as_millis().to_string()
    };
    for (lines, sent, age) in [
        ("", sent_ago(86_400 - 10), Some(86_390)),
        ("", sent_ago(86_400 + 120), None),
        // In seconds.
        ("", sent_ago(10)[..10].to_owned(), None),
        ("", "0".to_owned(), None),
        ("date: Fri, 01 Jan 2100 00:00:00 GMT\r\n", sent_ago(10), None),
    ] {
        let attributes = serde_json::json!({"MessageGroupId": "g", "SentTimestamp": sent, "ApproximateFirstReceiveTimestamp": sent});
        let message = serde_json::json!({"MessageId": "m", "ReceiptHandle": "r", "Body": "b", "Attributes": attributes});
        let body = serde_json::json!({ "Messages": [message] }).to_string();
        let queue = for_use(&answering_with(lines, &body).await);
        let attempt = AttemptId("a".into());
        // `Date` is read off an answer before its messages.
        let message = queue.receive(1, Duration::ZERO, &attempt).await.unwrap().remove(0);
        let of_age = message.sent.map(|_| message.age.as_secs());
        assert!(of_age == age || of_age == age.map(|age| age + 1), "{sent}: {message:?}");
        if age.is_none() {
            assert_eq!(
                (message.age, message.since_first_receive),
                (Duration::ZERO, Duration::ZERO),
                "{sent}"
            );
        }
    }
}
