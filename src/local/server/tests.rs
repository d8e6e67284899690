use axum::body::to_bytes;

use super::*;

fn endpoint() -> Endpoint {
    Endpoint::new(Broker::new(1, "us-east-1", ACCOUNT), Clock::Since(Instant::now()))
}

async fn query(endpoint: &Endpoint, body: &str) -> (StatusCode, String) {
    let answer = endpoint
        .answer(&Method::POST, &Uri::from_static("/0/q.fifo"), &HeaderMap::new(), body.as_bytes())
        .await;
    let status = answer.status();
    let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn call(endpoint: &Endpoint, action: &str, body: &str) -> (StatusCode, serde_json::Value) {
    let target = HeaderValue::from_str(&format!("AmazonSQS.{action}")).unwrap();
    let headers = HeaderMap::from_iter([(HeaderName::from_static("x-amz-target"), target)]);
    let answer = endpoint.answer(&Method::POST, &Uri::from_static("/"), &headers, body.as_bytes()).await;
    let status = answer.status();
    let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_parameter_with_a_million_dots_in_its_name_is_passed_over() {
    let body = format!("Action=ListQueues&{}x=1&{}=1", "a.".repeat(1_000_000), ".".repeat(1_000_000));
    assert_eq!(query(&endpoint(), &body).await.0, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn an_answer_holds_no_character_that_xml_does_not_have() {
    let (status, text) = query(&endpoint(), "Action=%00%0B%EF%BF%BF%F0%9F%92%A9%0D%3C").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(text.contains("The action \u{fffd}\u{fffd}\u{fffd}💩&#xD;&lt; is"), "{text:?}");
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_not_there_has_no_tags_and_no_permissions() {
    for (action, body) in [
        ("TagQueue", r#"{"QueueUrl":"http://h/0/q.fifo","Tags":{"a":"b"}}"#),
        ("UntagQueue", r#"{"QueueUrl":"http://h/0/q.fifo","TagKeys":["a"]}"#),
        ("ListQueueTags", r#"{"QueueUrl":"http://h/0/q.fifo"}"#),
        ("AddPermission", r#"{"QueueUrl":"http://h/0/q.fifo","Label":"l"}"#),
    ] {
        let (status, answer) = call(&endpoint(), action, body).await;
        assert_eq!(
            (status, &answer["__type"]),
            (StatusCode::BAD_REQUEST, &serde_json::json!("com.amazonaws.sqs#QueueDoesNotExist")),
            "{action}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_changes_something_is_taken_by_post_alone() {
    let endpoint = endpoint();
    let made = call(&endpoint, "CreateQueue", r#"{"QueueName":"q.fifo","Attributes":{"FifoQueue":"true"}}"#);
    assert_eq!(made.await.0, StatusCode::OK);
    let get = async |action: &str, method: Method| {
        let uri = format!("/000000000000/q.fifo?Action={action}&QueueName=q.fifo").parse().unwrap();
        let body = format!("Action={action}");
        endpoint.answer(&method, &uri, &HeaderMap::new(), body.as_bytes()).await
    };
    for action in [
        "DeleteQueue",
        "PurgeQueue",
        "SendMessage",
        "SendMessageBatch",
        "ReceiveMessage",
        "DeleteMessage",
        "DeleteMessageBatch",
        "ChangeMessageVisibility",
        "ChangeMessageVisibilityBatch",
        "SetQueueAttributes",
        "CreateQueue",
        "TagQueue",
        "UntagQueue",
        "AddPermission",
        "RemovePermission",
    ] {
        for method in [Method::GET, Method::HEAD, Method::PUT] {
            let answer = get(action, method.clone()).await;
            let allow = answer.headers().get(header::ALLOW).and_then(|allow| allow.to_str().ok());
            assert_eq!(
                (answer.status(), allow),
                (StatusCode::METHOD_NOT_ALLOWED, Some("POST")),
                "{method} {action}"
            );
        }
    }
    let target = HeaderValue::from_static("AmazonSQS.DeleteQueue");
    let headers = HeaderMap::from_iter([(HeaderName::from_static("x-amz-target"), target)]);
    let body = br#"{"QueueUrl":"http://h/0/q.fifo"}"#;
    let answer = endpoint.answer(&Method::GET, &Uri::from_static("/"), &headers, body).await;
    assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
    for action in READING {
        assert_eq!(get(action, Method::GET).await.status(), StatusCode::OK, "{action}");
    }
}
