use super::*;
use crate::app::Target;
use bytes::Bytes;

fn request(url: &str, headers: &[(&str, &str)]) -> Result<Request, Reason> {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let delivery = Delivery {
        app_id: "a".to_owned(),
        webhook: "0".into(),
        target: Target::Missing,
        body: Bytes::from_static(b"{}"),
        headers,
        standard: None,
        timeout: None,
    };
    RequestTarget::parse(url)?.post(&delivery, 3)
}

#[test]
fn a_url_that_cannot_be_requested_is_named_without_its_secrets() {
    for url in [
        "",
        "nonsense",
        "ftp://u:hush@h/",
        "http://",
        "http://h:hush/",
        "http://hush@/",
        "data:hush",
        "https://a_b.-c-/hush",
    ] {
        let reason = RequestTarget::parse(url).err().unwrap().to_string();
        assert!(!reason.contains("hush"), "{reason}");
    }
}

#[test]
fn credentials_of_the_url_become_a_header_unless_the_webhook_has_one() {
    let url = "https://u:p%40@Exämple.com:444/a b?c={d}|e^#f";
    let sent = request(url, &[]).unwrap();
    assert_eq!(sent.url().as_str(), "https://xn--exmple-cua.com:444/a%20b?c={d}|e^");
    assert_eq!(sent.headers()[AUTHORIZATION], "Basic dTpwQA==");
    assert_eq!(sent.headers()["x-hookferry-attempt"], "3");
    let own = request(url, &[("authorization", "Bearer own")]).unwrap();
    assert_eq!(own.headers()[AUTHORIZATION], "Bearer own");
    assert!(request("http://h/", &[]).unwrap().headers().get(AUTHORIZATION).is_none());
}

#[test]
fn the_connections_own_headers_are_not_the_webhooks_to_set() {
    let headers = [("Expect", "100-continue"), ("TE", "trailers"), ("Upgrade", "h2c"), ("X-Own", "é")];
    let sent = request("http://h/", &headers).unwrap();
    let names: Vec<_> = sent.headers().keys().map(HeaderName::as_str).collect();
    assert_eq!(names, ["x-own", "x-hookferry-attempt"]);
    assert_eq!(sent.headers()["x-own"].as_bytes(), "é".as_bytes());
    let refused = |name, value| request("http://h/", &[(name, value)]).err().unwrap();
    assert!(matches!(refused("a b", ""), Reason::Header(name) if name == "a b"));
    assert!(matches!(refused("a", "b\r\nc: d"), Reason::Header(_)));
    let long = " é".repeat(50_000);
    assert!(matches!(refused(&long, ""), Reason::Header(name) if name.chars().count() == MAX_SHOWN));
}
