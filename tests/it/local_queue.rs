//! What the conformance suite does not see of the local queue.

use tokio_util::sync::CancellationToken;

use crate::world::{client, create, local_queue, unique};

#[tokio::test]
async fn errors_are_of_the_types_that_the_sdk_knows() {
    let shutdown = CancellationToken::new();
    let sqs = client(&local_queue(&shutdown).await);
    let name = format!("{}.fifo", unique());
    let queue = create(&sqs, &name, &[]).await;
    let missing = sqs.receive_message().queue_url(queue.replace(".fifo", "x.fifo")).send().await.unwrap_err();
    assert!(missing.into_service_error().is_queue_does_not_exist());
    let invalid = sqs.delete_message().queue_url(&queue).receipt_handle("nonsense").send().await.unwrap_err();
    assert!(invalid.into_service_error().is_receipt_handle_is_invalid());
    let empty =
        sqs.delete_message_batch().queue_url(&queue).set_entries(Some(Vec::new())).send().await.unwrap_err();
    assert!(empty.into_service_error().is_empty_batch_request());
    let unlike = sqs.create_queue().queue_name(&name).attributes("FifoQueue".into(), "true");
    let exists = unlike.send().await.unwrap_err();
    assert!(exists.into_service_error().is_queue_name_exists());
    sqs.purge_queue().queue_url(&queue).send().await.unwrap();
    let again = sqs.purge_queue().queue_url(&queue).send().await.unwrap_err();
    assert!(again.into_service_error().is_purge_queue_in_progress());
}

/// The status line of an answer to a request with these headers.
async fn answered(endpoint: &str, headers: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let address = endpoint.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let body = "Action=ListQueues";
    let length = body.len();
    let request = format!(
        "POST / HTTP/1.1\r\n{headers}Content-Type: application/x-www-form-urlencoded\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.lines().next().unwrap().to_owned()
}

#[tokio::test]
async fn no_web_page_reaches_it_by_its_own_origin_or_by_a_name_that_leads_here() {
    let shutdown = CancellationToken::new();
    let endpoint = local_queue(&shutdown).await;
    let host = endpoint.strip_prefix("http://").unwrap();
    let own = format!("Host: {host}\r\n");
    assert!(answered(&endpoint, &own).await.contains("200"));
    for foreign in [
        "Host: rebound.example\r\n".to_owned(),
        format!("{own}Origin: https://page.example\r\n"),
        format!("{own}Origin: http://localhost:3000\r\n"),
        format!("{own}Sec-Fetch-Site: cross-site\r\n"),
    ] {
        assert!(answered(&endpoint, &foreign).await.contains("403"), "{foreign}");
    }
}
