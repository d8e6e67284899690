//! Bodies and ids: what is taken, and that it comes back as it was.

use hookferry::fifo::{Attribute, AttributeValue};

use super::sqs::{Message, Receive, Sqs, bodies, code, message, now};

/// Everything that SQS allows in an id but letters and digits.
const PUNCTUATION: &str = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
const MEBIBYTE: usize = 1_048_576;

pub async fn bodies_come_back_byte_for_byte(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    let sent = [
        "{\"a\":\"\\ud83d\\ude00\",\"n\":1.50e+21}",
        "é 漢字 \u{1F600} \u{10FFFF} \u{FFFD} \u{E000} \u{D7FF}",
        "<&>\"' ]]> <![CDATA[ &amp; %25 a+b",
        "\u{2028}\u{2029}\u{85}\u{A0}\u{FEFF}",
        "\t tabs, spaces and\nlines  \n ",
        " ",
    ];
    sqs.put(&queue, "g", &sent).await;
    assert_eq!(bodies(&sqs.take(&queue, 10).await), sent);
}

pub async fn carriage_returns_come_back(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    sqs.put(&queue, "g", &["\r\n a line \r\n and \r a bare one"]).await;
    assert_eq!(bodies(&sqs.take(&queue, 10).await), ["\r\n a line \r\n and \r a bare one"]);
}

pub async fn characters_that_xml_has_not_are_refused(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    for bad in ["\u{0}", "a\u{1}", "\u{8}b", "\u{b}", "\u{c}", "\u{1f}", "\u{fffe}", "\u{ffff}"] {
        let refused = code(sqs.send(&queue, &message("g", bad)).await);
        assert_eq!(refused, "InvalidMessageContents", "{bad:?}");
    }
    assert_eq!(sqs.take(&queue, 10).await, []);
}

pub async fn an_empty_body_is_refused(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    assert_eq!(code(sqs.send(&queue, &message("g", "")).await), "MissingParameter");
}

pub async fn a_message_without_a_group_is_refused(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    let refused = code(sqs.send(&queue, &Message { group: None, ..message("g", "1") }).await);
    assert_eq!(refused, "MissingParameter");
    assert_eq!(sqs.take(&queue, 10).await, []);
}

pub async fn ids_of_other_characters_and_longer_ones_are_refused(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    for bad in ["a b", "é", "tab\t", &"x".repeat(129)] {
        let group = message(bad, "1");
        assert_eq!(code(sqs.send(&queue, &group).await), "InvalidParameterValue", "group {bad}");
        let dedup = Message { dedup: Some(bad.into()), ..message("g", "1") };
        assert_eq!(code(sqs.send(&queue, &dedup).await), "InvalidParameterValue", "deduplication id {bad}");
    }
    assert_eq!(sqs.take(&queue, 10).await, []);
}

pub async fn ids_have_128_characters_and_all_punctuation(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    let longest = format!("{PUNCTUATION}{}", "aZ0".repeat(32));
    assert_eq!(longest.len(), 128);
    let fine = Message { dedup: Some(longest.clone()), ..message(&longest, "1") };
    sqs.send(&queue, &fine).await.unwrap();
    let wanted = Receive { system: vec!["All"], ..now(10) };
    let received = sqs.receive(&queue, &wanted).await.unwrap();
    assert_eq!(bodies(&received), ["1"]);
    assert_eq!(received[0].system["MessageGroupId"], longest);
    assert_eq!(received[0].system["MessageDeduplicationId"], longest);
}

pub async fn a_message_of_a_mebibyte_is_taken_and_a_byte_more_is_not(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    // Two bytes each: the limit is one of bytes.
    let largest = "é".repeat(MEBIBYTE / 2);
    let refused = code(sqs.send(&queue, &message("g", &format!("{largest}x"))).await);
    assert_eq!(refused, "InvalidParameterValue");
    sqs.send(&queue, &message("g", &largest)).await.unwrap();
    let received = sqs.take(&queue, 10).await;
    assert!(bodies(&received) == [largest], "it comes back whole");
}

pub async fn a_queue_may_take_shorter_messages_only(sqs: impl Sqs) {
    let queue = sqs.queue(&[("MaximumMessageSize", "1024")]).await;
    let refused = code(sqs.send(&queue, &message("g", &"x".repeat(1025))).await);
    assert_eq!(refused, "InvalidParameterValue");
    sqs.send(&queue, &message("g", &"x".repeat(1024))).await.unwrap();
    assert_eq!(sqs.take(&queue, 10).await.len(), 1);
}

pub async fn a_message_of_a_fifo_queue_has_no_delay_of_its_own(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    let refused = code(sqs.send(&queue, &Message { delay: Some(1), ..message("g", "1") }).await);
    assert_eq!(refused, "InvalidParameterValue");
    sqs.send(&queue, &Message { delay: Some(0), ..message("g", "2") }).await.unwrap();
    assert_eq!(bodies(&sqs.take(&queue, 10).await), ["2"]);
}

pub async fn digests_are_those_of_what_was_sent(sqs: impl Sqs) {
    // Known beforehand: MD5 of the body, and of the attributes as the developer guide lays them out.
    const BODY: &str = "6e2baaf3b97dbeef01c0043275f9a0e7";
    const ATTRIBUTES: &str = "4c360f3fdafd970e05fae2f149d997f5";
    const ONE: &str = "a311262e065454b75da111d535b8dacd";
    const BINARY: &str = "8cbe4db156db8a94db8b801b7addb984";
    let queue = sqs.queue(&[]).await;
    let mut texts = message("g", "msg");
    for (name, value) in [("Help.Me", "Me"), ("Hello", "There"), ("General", "Kenobi")] {
        let value = AttributeValue::Text(value.into());
        texts.attributes.insert(name.into(), Attribute { data_type: "String".into(), value });
    }
    let mut binary = message("g", "msg");
    let trace = b"traceparent\x1e00-774062d6c37081a5a0b9b5b88e30627c-2d2482211f6489da-01";
    let value = AttributeValue::Binary(bytes::Bytes::from_static(trace));
    binary.attributes.insert("attr1".into(), Attribute { data_type: "Binary".into(), value });
    let sent = sqs.send(&queue, &texts).await.unwrap();
    assert_eq!((sent.md5_of_body.as_str(), sent.md5_of_attributes.as_deref()), (BODY, Some(ATTRIBUTES)));
    let sent = sqs.send_batch(&queue, &[("a", binary), ("b", message("g", "msg"))]).await.unwrap().successful;
    assert_eq!(
        (sent[0].1.md5_of_body.as_str(), sent[0].1.md5_of_attributes.as_deref()),
        (BODY, Some(BINARY))
    );
    assert_eq!(sent[1].1.md5_of_attributes, None);
    let asked = |names: Vec<&'static str>| Receive { attributes: names, visibility: Some(0), ..now(1) };
    for (names, digest) in [(vec!["All"], Some(ATTRIBUTES)), (vec!["Hello"], Some(ONE)), (vec!["no"], None)] {
        let received = sqs.receive(&queue, &asked(names)).await.unwrap();
        assert_eq!(
            (received[0].md5_of_body.as_str(), received[0].md5_of_attributes.as_deref()),
            (BODY, digest)
        );
    }
}
