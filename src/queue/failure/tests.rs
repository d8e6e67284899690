use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::queue::sqs::{AccessKey, Address, Connection, Options, Policies, Usage};
use crate::queue::{AttemptId, Queue};

/// What a receive comes to whose request is read and whose answer is this, and no more.
async fn received(answer: &'static [u8]) -> Result<usize, ReceiveError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        // The request's body is small: it comes with the head or right behind it.
        let mut request = Vec::new();
        while !request.ends_with(b"}") {
            stream.read_buf(&mut request).await.unwrap();
        }
        stream.write_all(answer).await.unwrap();
    });
    let connection = Connection::load(Address {
        url: format!("{endpoint}/1/q.fifo"),
        region: "us-east-1".into(),
        endpoint: Some(endpoint),
        options: Options {
            credentials: Some(AccessKey {
                id: "local".to_owned(),
                secret: "local".into(),
                session_token: None,
            }),
            ..Options::default()
        },
    });
    let usage = Usage {
        wait: Duration::ZERO,
        visibility: None,
        settle_timeout: Duration::from_secs(1),
        policies: Policies::default(),
        traced: false,
    };
    let received = connection.await.queue(usage).receive(1, Duration::ZERO, &AttemptId("a".into())).await;
    serving.await.unwrap();
    received.map(|messages| messages.len())
}

const ASKED: Asked<'static> = Asked { permission: "sqs:ReceiveMessage", region: "eu-west-1" };

fn answer<'a>(status: u16, code: &'a str, message: &'a str) -> Answer<'a> {
    Answer { code: Some(code.into()), message: Some(message.into()), status, body: b"", date: None }
}

fn told(answer: &Answer<'_>) -> (Kind, String) {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_773_600);
    (answer.kind(), answer.text(&ASKED, now))
}

#[test]
fn the_code_decides_before_the_status() {
    for (status, code, kind) in [
        (403, "OverLimit", Kind::Throttled),
        (403, "RequestThrottled", Kind::Throttled),
        (403, "AWS.SimpleQueueService.NonExistentQueue", Kind::Missing),
        (400, "QueueDoesNotExist", Kind::Missing),
        (400, "AWS.SimpleQueueService.QueueDeletedRecently", Kind::Missing),
        (400, "InvalidAddress", Kind::Missing),
        (400, "InvalidSecurity", Kind::Denied),
        (400, "AccessDeniedException", Kind::Denied),
        (400, "KMS.AccessDeniedException", Kind::Denied),
        (400, "KmsAccessDenied", Kind::Denied),
        (400, "KMS.DisabledException", Kind::Denied),
        (400, "KmsInvalidState", Kind::Denied),
        (400, "KMS.NotFoundException", Kind::Denied),
        (400, "KMS.OptInRequired", Kind::Denied),
        (400, "KmsInvalidKeyUsage", Kind::Denied),
        (400, "KMS.ThrottlingException", Kind::Throttled),
        (403, "KmsThrottled", Kind::Throttled),
        (403, "SomethingNew", Kind::Denied),
        (429, "SomethingNew", Kind::Throttled),
        (500, "InternalFailure", Kind::Service),
        (400, "InvalidParameterValue", Kind::Service),
    ] {
        assert_eq!(answer(status, code, "m").kind(), kind, "{status} {code}");
    }
}

#[test]
fn every_throttling_code_of_the_sdks_runtime_is_one_here() {
    for code in aws_runtime::retries::classifiers::THROTTLING_ERRORS {
        assert_eq!(answer(400, code, "m").kind(), Kind::Throttled, "{code}");
    }
}

#[test]
fn errors_of_the_key_service_name_its_permissions() {
    for code in ["KMS.AccessDeniedException", "KmsAccessDenied"] {
        let (_, text) = told(&answer(400, code, "m"));
        assert!(text.contains("kms:Decrypt") && text.contains("kms:GenerateDataKey"), "{text}");
    }
    assert!(told(&answer(400, "KMS.ThrottlingException", "m")).1.contains("KMS throttles"));
    assert!(!told(&answer(403, "OverLimit", "m")).1.contains("sqs:"));
}

#[test]
fn an_expired_signature_names_the_clock_and_how_far_it_is_off() {
    let expired = "Signature expired: 20261127T100000Z is now earlier than 20261127T101000Z (20261127T101500Z - 5 min.)";
    let early = "Signature not yet current: 20261127T103000Z is still later than 20261127T102000Z (20261127T101500Z + 5 min.)";
    for (code, message, off) in [
        ("SignatureDoesNotMatch", expired, "900 s behind"),
        ("InvalidSignatureException", early, "900 s ahead"),
        (
            "SignatureDoesNotMatch",
            "Signature expired: 20261127T100000Z is now earlier than 20261127T101000Z",
            "600 s behind",
        ),
    ] {
        let (kind, text) = told(&answer(403, code, message));
        assert!(kind == Kind::Denied && text.contains("clock") && text.contains(off), "{text}");
    }
    // 10:00:00 here, by `now`; the answer's own Date has the last word.
    let date = http_date("Fri, 27 Nov 2026 10:12:00 GMT");
    let (_, text) = told(&Answer { date, ..answer(403, "SignatureDoesNotMatch", expired) });
    assert!(text.contains("720 s behind"), "{text}");
    assert!(
        !told(&answer(403, "SignatureDoesNotMatch", "The request signature we calculated does not match"))
            .1
            .contains("clock")
    );
}

#[test]
fn a_wrong_regions_signature_names_the_region_and_a_refusal_the_permission() {
    let (_, text) = told(&answer(
        403,
        "SignatureDoesNotMatch",
        "Credential should be scoped to a valid region, not 'eu-west-1'. ",
    ));
    assert!(text.contains("signed for eu-west-1") && text.contains("QUEUE_SQS_REGION"), "{text}");
    let (_, text) = told(&answer(403, "AccessDenied", "Access to the resource is denied."));
    assert!(text.contains("sqs:ReceiveMessage"), "{text}");
}

#[test]
fn an_answer_without_sqs_form_names_what_may_have_answered_whatever_its_status() {
    for (status, body) in [
        (200, &b"<html><title>Sign in to the airport's network"[..]),
        (302, b""),
        (400, b"<html>bad request</html>"),
        (403, b""),
        (403, b"blocked\x1b[31m by\negress policy"),
        (403, b"{\"error\":\"blocked by egress policy\"}"),
        (403, b"<!DOCTYPE html>\n<HTML><body>Access denied"),
        (404, b"<html>"),
        (407, b"who are you"),
        (451, b"<html>"),
        (500, b"<html>"),
    ] {
        let page = Answer { code: None, message: None, status, body, date: None };
        let (kind, text) = told(&page);
        assert_eq!(kind == Kind::Denied, matches!(status, 403 | 407), "{text}");
        assert!(text.contains("proxy") && text.contains(&status.to_string()), "{text}");
        assert!(!text.contains(['\n', '\u{1b}']), "{text}");
        if let Some(word) = std::str::from_utf8(body).unwrap().split_whitespace().next() {
            assert!(
                text.contains(word.trim_start_matches(['{', '"']).get(..3).unwrap_or_default()),
                "{text}"
            );
        }
    }
    let long = vec![b'x'; 100_000];
    let page = Answer { code: None, message: None, status: 403, body: &long, date: None };
    assert!(told(&page).1.len() < 600);
    assert!(!told(&answer(403, "AccessDenied", "m")).1.contains("proxy"));
}

#[tokio::test]
async fn an_error_in_the_query_protocols_xml_is_read() {
    let denied = b"HTTP/1.1 403 Forbidden\r\ncontent-type: text/xml\r\ncontent-length: 148\r\n\r\n\
        <ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>Access to &quot;q&quot; is denied.</Message></Error><RequestId/></ErrorResponse>   ";
    let error = received(denied).await.unwrap_err();
    assert!(
        matches!(&error, ReceiveError::Denied(text)
            if text.contains("AccessDenied: Access to \"q\"") && text.contains("sqs:ReceiveMessage")),
        "{error}"
    );
    let kms = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 111\r\n\r\n\
        <?xml version=\"1.0\"?><ErrorResponse><Error><Code>KMS.AccessDeniedException</Code></Error></ErrorResponse>      ";
    let error = received(kms).await.unwrap_err();
    assert!(matches!(&error, ReceiveError::Denied(text) if text.contains("kms:Decrypt")), "{error}");
    assert_eq!(query_error(b"<html><Code>let x = 1;</Code>"), None);
}

#[tokio::test]
async fn messages_that_all_come_without_a_group_are_an_error_of_the_endpoint() {
    let bare = b"HTTP/1.1 200 OK\r\ncontent-length: 66\r\n\r\n\
        {\"Messages\":[{\"MessageId\":\"m\",\"ReceiptHandle\":\"r\",\"Body\":\"b\"}]}   ";
    let error = received(bare).await.unwrap_err();
    assert!(
        matches!(&error, ReceiveError::Service(text) if text.contains("MessageGroupId") && text.contains("QUEUE_SQS_ENDPOINT")),
        "{error}"
    );
}

#[tokio::test]
async fn a_portals_page_is_told_as_one_though_it_is_a_success() {
    for page in [
        &b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 13\r\n\r\n<html></html>"[..],
        b"HTTP/1.1 302 Found\r\nlocation: http://login/\r\ncontent-length: 0\r\n\r\n",
    ] {
        let error = received(page).await.unwrap_err();
        assert!(matches!(&error, ReceiveError::Service(text) if text.contains("proxy")), "{error}");
    }
}

#[tokio::test]
async fn a_page_instead_of_an_answer_is_told_as_one() {
    let page =
        b"HTTP/1.1 403 Forbidden\r\ncontent-type: text/html\r\ncontent-length: 13\r\n\r\n<html></html>";
    let error = received(page).await.unwrap_err();
    assert!(matches!(&error, ReceiveError::Denied(text) if text.contains("proxy")), "{error}");
    let kms = b"HTTP/1.1 400 Bad Request\r\nx-amzn-query-error: KMS.ThrottlingException;Sender\r\ncontent-length: 0\r\n\r\n";
    let error = received(kms).await.unwrap_err();
    assert!(matches!(&error, ReceiveError::Throttled(_)), "{error}");
    let typed = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 43\r\n\r\n{\"__type\":\"com.amazonaws.sqs#KmsDisabled\"}  ";
    let error = received(typed).await.unwrap_err();
    assert!(matches!(&error, ReceiveError::Denied(text) if text.contains("KMS")), "{error}");
}

#[tokio::test]
async fn an_answer_that_never_comes_or_breaks_off_is_no_response() {
    for answer in [&b""[..], b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{\"Mes"] {
        let error = received(answer).await.unwrap_err();
        assert!(matches!(error, ReceiveError::NoResponse(_)), "{error}");
    }
}

#[tokio::test]
async fn a_whole_answer_is_one_whatever_it_says() {
    let answer = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
    let error = received(answer).await.unwrap_err();
    assert!(matches!(error, ReceiveError::Service(_)), "{error}");
    assert_eq!(received(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await, Ok(0));
}

#[test]
fn an_endpoint_of_the_query_protocol_is_told_as_one() {
    let (_, text) = told(&answer(400, "MissingAction", "MissingAction; see the SQS docs."));
    assert!(text.contains("older query protocol"), "{text}");
    let body = b"<?xml version=\"1.0\"?><ReceiveMessageResponse xmlns=\"http://queue.amazonaws.com/doc/2012-11-05/\"/>";
    let page = Answer { code: None, message: None, status: 200, body, date: None };
    let (kind, text) = told(&page);
    assert!(text.contains("older query protocol") && !text.contains("proxy"), "{text}");
    assert_eq!(kind, Kind::Service);
}

#[test]
fn a_denial_by_another_policy_than_the_roles_names_it() {
    let denied = |message| told(&answer(400, "AccessDeniedException", message)).1;
    let text = denied(
        "User: arn:aws:sts::1:assumed-role/r/x is not authorized to perform: sqs:receivemessage on resource: q with an explicit deny in a service control policy",
    );
    assert!(text.contains("explicit deny in a service control policy forbids it"), "{text}");
    assert!(text.contains("sqs:ReceiveMessage") && !text.contains("the role needs"), "{text}");
    let text = denied(
        "User: x is not authorized to perform: sqs:receivemessage on resource: q because no VPC endpoint policy allows the sqs:receivemessage action",
    );
    assert!(text.contains("no VPC endpoint policy allows it") && !text.contains("the role needs"), "{text}");
    let text = denied(
        "User: x is not authorized to perform: sqs:receivemessage on resource: q because no identity-based policy allows the sqs:receivemessage action",
    );
    assert!(text.contains("the role needs sqs:ReceiveMessage"), "{text}");
}

#[test]
fn a_denial_of_the_queues_key_by_another_policy_names_it_and_no_right_of_the_roles() {
    let denied = |message| told(&answer(400, "KMS.AccessDeniedException", message)).1;
    for (message, policy) in [
        (
            "User: r is not authorized to perform: kms:Decrypt on this resource with an explicit deny in a resource-based policy",
            "an explicit deny in a resource-based policy forbids it",
        ),
        (
            "User: r is not authorized to perform: kms:Decrypt because no VPC endpoint policy allows the kms:Decrypt action",
            "no VPC endpoint policy allows it",
        ),
    ] {
        let text = denied(message);
        assert!(text.contains(policy) && !text.contains("the role needs"), "{text}");
    }
}

#[test]
fn an_entry_without_a_code_says_so() {
    let entry = settling_entry("", None, false, &ASKED);
    assert_eq!(entry, Error::Call("an error without a code: no message (status 500)".to_owned()));
    assert_eq!(sending_entry("", Some("m")), "an error without a code: m");
}
