use super::*;

#[test]
fn a_proxy_is_an_http_url_and_never_shows_its_password() {
    let proxy = Proxy::parse("http://user:hush%21@proxy.internal:3128").unwrap();
    assert_eq!(format!("{proxy:?}"), "Proxy(proxy.internal:3128)");
    assert_eq!(proxy.credentials.unwrap(), "Basic dXNlcjpodXNoIQ==");
    assert_eq!(Proxy::parse("http://10.0.0.1").unwrap().port, 80);
    for text in
        ["hush", "socks5://hush:1", "https://hush", "http://", "http://h/hush", "http://h?hush", "hush:3128"]
    {
        let error = Proxy::parse(text).unwrap_err();
        assert!(error.contains("http://[user:password@]host:port") && !error.contains("hush"), "{error}");
    }
}
