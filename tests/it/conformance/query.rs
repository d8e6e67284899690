//! SQS by the query protocol, which no maintained Rust client speaks: forms that are answered in XML.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hookferry::fifo::{Attribute, AttributeValue, Attributes};
use roxmltree::{Document, Node};

use super::sqs::{Answer, Batch, Failure, Message, Receive, Received, Refused, Sent, Sqs};

/// Emulators tell services apart by the scope of a signature; they do not verify it.
const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/sqs/aws4_request, \
                             SignedHeaders=host, Signature=0";

pub struct Client {
    http: reqwest::Client,
    endpoint: String,
}

impl Client {
    pub fn new(endpoint: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { http, endpoint: endpoint.to_owned() }
    }

    /// Calls an action, and reads what is in its result.
    async fn call<T>(&self, to: &str, form: Form, read: impl FnOnce(Node) -> T) -> Answer<T> {
        let action = form.0[0].1.clone();
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form.0).finish();
        let request = self
            .http
            .post(to)
            .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
            .header("authorization", AUTHORIZATION)
            .body(body);
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        let document = Document::parse(&text).unwrap_or_else(|error| panic!("{error} in {text}"));
        let root = document.root_element();
        if status.is_success() {
            assert_eq!(root.tag_name().name(), format!("{action}Response"), "{text}");
            assert!(!text_of(only(root, "ResponseMetadata"), "RequestId").is_empty());
            return Ok(read(child(root, &format!("{action}Result")).unwrap_or(root)));
        }
        assert_eq!(root.tag_name().name(), "ErrorResponse", "{status}: {text}");
        let error = only(root, "Error");
        assert_eq!(text_of(error, "Type"), "Sender");
        Err(Refused { code: text_of(error, "Code"), message: text_of(error, "Message") })
    }

    async fn do_only(&self, to: &str, form: Form) -> Answer<()> {
        self.call(to, form, |_| ()).await
    }
}

impl Sqs for Client {
    async fn create_queue(&self, name: &str, attributes: &[(&str, &str)]) -> Answer<String> {
        let form = Form::new("CreateQueue").with("QueueName", name).with_attributes(attributes);
        self.call(&self.endpoint, form, |result| text_of(result, "QueueUrl")).await
    }

    async fn delete_queue(&self, queue: &str) -> Answer<()> {
        self.do_only(queue, Form::of("DeleteQueue", queue)).await
    }

    async fn queue_url(&self, name: &str) -> Answer<String> {
        let form = Form::new("GetQueueUrl").with("QueueName", name);
        self.call(&self.endpoint, form, |result| text_of(result, "QueueUrl")).await
    }

    async fn list_queues(
        &self,
        prefix: &str,
        most: Option<i32>,
        after: Option<&str>,
    ) -> Answer<(Vec<String>, Option<String>)> {
        let form = Form::new("ListQueues").with("QueueNamePrefix", prefix);
        let form = form.with_some("MaxResults", most).with_some("NextToken", after);
        let page = |result: Node| (texts(result, "QueueUrl"), child(result, "NextToken").map(text));
        self.call(&self.endpoint, form, page).await
    }

    async fn dead_letter_sources(&self, queue: &str) -> Answer<Vec<String>> {
        let form = Form::of("ListDeadLetterSourceQueues", queue);
        self.call(queue, form, |result| texts(result, "QueueUrl")).await
    }

    async fn purge(&self, queue: &str) -> Answer<()> {
        self.do_only(queue, Form::of("PurgeQueue", queue)).await
    }

    async fn attributes(&self, queue: &str, names: &[&str]) -> Answer<BTreeMap<String, String>> {
        let form = Form::of("GetQueueAttributes", queue).with_list("AttributeName", names);
        self.call(queue, form, named).await
    }

    async fn set_attributes(&self, queue: &str, attributes: &[(&str, &str)]) -> Answer<()> {
        self.do_only(queue, Form::of("SetQueueAttributes", queue).with_attributes(attributes)).await
    }

    async fn send(&self, queue: &str, message: &Message) -> Answer<Sent> {
        self.call(queue, Form::of("SendMessage", queue).with_message("", message), sent).await
    }

    async fn send_batch(&self, queue: &str, entries: &[(&str, Message)]) -> Answer<Batch<Sent>> {
        let mut form = Form::of("SendMessageBatch", queue);
        for (n, (id, message)) in (1..).zip(entries) {
            let entry = format!("SendMessageBatchRequestEntry.{n}.");
            form = form.with(format!("{entry}Id"), *id).with_message(&entry, message);
        }
        self.call(queue, form, |result| batch(result, "SendMessageBatchResultEntry", sent)).await
    }

    async fn receive(&self, queue: &str, receive: &Receive) -> Answer<Vec<Received>> {
        let form = Form::of("ReceiveMessage", queue)
            .with_some("MaxNumberOfMessages", receive.max)
            .with_some("WaitTimeSeconds", receive.wait)
            .with_some("VisibilityTimeout", receive.visibility)
            .with_some("ReceiveRequestAttemptId", receive.attempt.as_ref())
            .with_list("AttributeName", &receive.system)
            .with_list("MessageAttributeName", &receive.attributes);
        self.call(queue, form, |result| children(result, "Message").map(received).collect()).await
    }

    async fn delete(&self, queue: &str, handle: &str) -> Answer<()> {
        self.do_only(queue, Form::of("DeleteMessage", queue).with("ReceiptHandle", handle)).await
    }

    async fn delete_batch(&self, queue: &str, entries: &[(&str, &str)]) -> Answer<Batch<()>> {
        let mut form = Form::of("DeleteMessageBatch", queue);
        for (n, (id, handle)) in (1..).zip(entries) {
            let entry = format!("DeleteMessageBatchRequestEntry.{n}.");
            form = form.with(format!("{entry}Id"), *id).with(format!("{entry}ReceiptHandle"), *handle);
        }
        self.call(queue, form, |result| batch(result, "DeleteMessageBatchResultEntry", |_| ())).await
    }

    async fn change(&self, queue: &str, handle: &str, seconds: i32) -> Answer<()> {
        let form = Form::of("ChangeMessageVisibility", queue).with("ReceiptHandle", handle);
        self.do_only(queue, form.with("VisibilityTimeout", seconds.to_string())).await
    }

    async fn change_batch(&self, queue: &str, entries: &[(&str, &str, i32)]) -> Answer<Batch<()>> {
        let mut form = Form::of("ChangeMessageVisibilityBatch", queue);
        for (n, (id, handle, seconds)) in (1..).zip(entries) {
            let entry = format!("ChangeMessageVisibilityBatchRequestEntry.{n}.");
            form = form.with(format!("{entry}Id"), *id).with(format!("{entry}ReceiptHandle"), *handle);
            form = form.with(format!("{entry}VisibilityTimeout"), seconds.to_string());
        }
        let name = "ChangeMessageVisibilityBatchResultEntry";
        self.call(queue, form, |result| batch(result, name, |_| ())).await
    }
}

/// The parameters of a request, the action first.
struct Form(Vec<(String, String)>);

impl Form {
    fn new(action: &str) -> Self {
        Self(vec![("Action".into(), action.into()), ("Version".into(), "2012-11-05".into())])
    }

    fn of(action: &str, queue: &str) -> Self {
        Self::new(action).with("QueueUrl", queue)
    }

    fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.push((name.into(), value.into()));
        self
    }

    fn with_some(self, name: &str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.with(name, value.to_string()),
            None => self,
        }
    }

    fn with_list(mut self, name: &str, values: &[&str]) -> Self {
        for (n, value) in (1..).zip(values) {
            self = self.with(format!("{name}.{n}"), *value);
        }
        self
    }

    fn with_attributes(mut self, attributes: &[(&str, &str)]) -> Self {
        for (n, (name, value)) in (1..).zip(attributes) {
            self = self.with(format!("Attribute.{n}.Name"), *name);
            self = self.with(format!("Attribute.{n}.Value"), *value);
        }
        self
    }

    fn with_message(mut self, entry: &str, message: &Message) -> Self {
        self = self
            .with(format!("{entry}MessageBody"), &message.body)
            .with_some(&format!("{entry}MessageGroupId"), message.group.as_ref())
            .with_some(&format!("{entry}MessageDeduplicationId"), message.dedup.as_ref())
            .with_some(&format!("{entry}DelaySeconds"), message.delay);
        for (n, (name, attribute)) in (1..).zip(&message.attributes) {
            let prefix = format!("{entry}MessageAttribute.{n}");
            self = self
                .with(format!("{prefix}.Name"), name)
                .with(format!("{prefix}.Value.DataType"), &attribute.data_type);
            self = match &attribute.value {
                AttributeValue::Text(text) => self.with(format!("{prefix}.Value.StringValue"), text),
                AttributeValue::Binary(bytes) => {
                    self.with(format!("{prefix}.Value.BinaryValue"), STANDARD.encode(bytes))
                }
            };
        }
        if let Some(header) = &message.trace_header {
            let prefix = format!("{entry}MessageSystemAttribute.1");
            self = self
                .with(format!("{prefix}.Name"), "AWSTraceHeader")
                .with(format!("{prefix}.Value.DataType"), "String")
                .with(format!("{prefix}.Value.StringValue"), header);
        }
        self
    }
}

fn sent(result: Node) -> Sent {
    Sent {
        id: text_of(result, "MessageId"),
        sequence_number: text_of(result, "SequenceNumber"),
        md5_of_body: text_of(result, "MD5OfMessageBody"),
        md5_of_attributes: child(result, "MD5OfMessageAttributes").map(text),
    }
}

fn received(message: Node) -> Received {
    Received {
        id: text_of(message, "MessageId"),
        handle: text_of(message, "ReceiptHandle"),
        body: text_of(message, "Body"),
        md5_of_body: text_of(message, "MD5OfBody"),
        md5_of_attributes: child(message, "MD5OfMessageAttributes").map(text),
        system: named(message),
        attributes: message_attributes(message),
    }
}

fn message_attributes(message: Node) -> Attributes {
    let attribute = |node: Node| {
        let value = only(node, "Value");
        let content = match (child(value, "StringValue"), child(value, "BinaryValue")) {
            (Some(text_value), None) => AttributeValue::Text(text(text_value)),
            (None, Some(base64)) => {
                AttributeValue::Binary(Bytes::from(STANDARD.decode(text(base64)).unwrap()))
            }
            _ => panic!("an attribute without one value"),
        };
        (text_of(node, "Name"), Attribute { data_type: text_of(value, "DataType"), value: content })
    };
    children(message, "MessageAttribute").map(attribute).collect()
}

fn batch<T>(result: Node, entries: &str, read: impl Fn(Node) -> T) -> Batch<T> {
    let failure = |entry: Node| Failure {
        id: text_of(entry, "Id"),
        code: text_of(entry, "Code"),
        sender_fault: text_of(entry, "SenderFault") == "true",
    };
    Batch {
        successful: children(result, entries).map(|entry| (text_of(entry, "Id"), read(entry))).collect(),
        failed: children(result, "BatchResultErrorEntry").map(failure).collect(),
    }
}

/// `<Attribute><Name/><Value/></Attribute>`, as often as there.
fn named(node: Node) -> BTreeMap<String, String> {
    children(node, "Attribute").map(|pair| (text_of(pair, "Name"), text_of(pair, "Value"))).collect()
}

fn children<'a, 'b>(node: Node<'a, 'b>, name: &str) -> impl Iterator<Item = Node<'a, 'b>> {
    node.children().filter(move |child| child.tag_name().name() == name)
}

fn child<'a, 'b>(node: Node<'a, 'b>, name: &str) -> Option<Node<'a, 'b>> {
    children(node, name).next()
}

fn only<'a, 'b>(node: Node<'a, 'b>, name: &str) -> Node<'a, 'b> {
    child(node, name).unwrap_or_else(|| panic!("no {name} in {}", node.tag_name().name()))
}

fn text(node: Node) -> String {
    node.text().unwrap_or_default().to_owned()
}

fn text_of(node: Node, name: &str) -> String {
    text(only(node, name))
}

fn texts(node: Node, name: &str) -> Vec<String> {
    children(node, name).map(text).collect()
}
