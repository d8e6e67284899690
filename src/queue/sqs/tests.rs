use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::queue::NewMessage;

/// A queue whose endpoint answers every request with this success.
async fn answering(body: &'static str) -> Connection {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // One request a connection; its body is small, and comes with the head or right behind it.
            let mut request = Vec::new();
            while !request.ends_with(b"}") {
                stream.read_buf(&mut request).await.unwrap();
            }
            let head = format!(
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(head.as_bytes()).await.unwrap();
        }
    }));
    let key = AccessKey { id: "local".to_owned(), secret: "local".into(), session_token: None };
    let options = Options { credentials: Some(key), ..Options::default() };
    let url = format!("{endpoint}/1/q.fifo");
    let address = Address { url, region: "us-east-1".into(), endpoint: Some(endpoint), options };
    Connection::load(address).await
}

async fn queue_answering(body: &'static str) -> Sqs {
    let connection = answering(body).await;
    let usage = Usage {
        wait: Duration::ZERO,
        visibility: None,
        settle_timeout: Duration::from_secs(10),
        dead_letter_url: Some(connection.url().replace("q.fifo", "dead.fifo")),
        traced: false,
    };
    connection.queue(usage)
}

/// Successes of an endpoint that is not SQS, or not the whole of it.
const NO_ANSWERS: [&str; 4] = ["", "{}", "{\"status\":\"ok\"}", "{\"MessageId\":\"\"}"];

#[tokio::test]
async fn a_dead_letter_is_confirmed_by_its_message_id_alone() {
    let letter = DeadLetter {
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
    };
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
        let body: &'static str = format!("{{\"Attributes\":{{{attribute}}}}}").leak();
        assert_eq!(answering(body).await.describe().await.unwrap().visibility, Duration::from_secs(30));
    }
}

#[tokio::test]
async fn a_message_that_an_answer_names_no_id_of_is_not_sent() {
    let job = [NewMessage::new("g".to_owned(), "b".to_owned())];
    for body in ["", "{}", "{\"status\":\"ok\"}", "{\"Successful\":[{\"Id\":\"0\"}]}"] {
        let sent = queue_answering(body).await.send_each(&job).await.unwrap();
        assert!(
            sent[0].as_ref().is_err_and(|why| why.contains("no answer of SQS' form")),
            "{body:?}: {sent:?}"
        );
    }
    let sent =
        queue_answering("{\"Successful\":[{\"Id\":\"0\",\"MessageId\":\"m\"}]}").await.send_each(&job).await;
    assert_eq!(sent, Ok(vec![Ok("m".to_owned())]));
}
