//! The status page: one document with its style and script in it, made once.
//!
//! The browser is told to load nothing else and to run nothing but that script, by its hash. The script
//! fetches `/status` and writes text nodes alone, so that no name of a tenant's can become markup.

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{Html, IntoResponse};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

const DOCUMENT: &str = include_str!("page/status.html");
const STYLE: &str = include_str!("page/status.css");
const SCRIPT: &str = include_str!("page/status.js");

/// The document and the policy that goes with it.
#[derive(Debug)]
pub(super) struct Page {
    document: String,
    policy: String,
}

impl Page {
    pub(super) fn new() -> Self {
        let document = DOCUMENT.replace("/*STYLE*/", STYLE).replace("/*SCRIPT*/", SCRIPT);
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; \
             img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            hash(STYLE),
            hash(SCRIPT),
        );
        Self { document, policy }
    }

    pub(super) fn answer(&self) -> impl IntoResponse + use<> {
        let named = [
            (CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
            (CONTENT_SECURITY_POLICY, self.policy.clone()),
            (CACHE_CONTROL, "no-cache".to_owned()),
            (REFERRER_POLICY, "no-referrer".to_owned()),
            (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
            (HeaderName::from_static("cross-origin-resource-policy"), "same-origin".to_owned()),
            (HeaderName::from_static("cross-origin-opener-policy"), "same-origin".to_owned()),
        ];
        (named, Html(self.document.clone()))
    }
}

fn hash(text: &str) -> String {
    STANDARD.encode(Sha256::digest(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_holds_its_style_and_script_and_names_nothing_outside() {
        let page = Page::new();
        assert!(page.document.contains(STYLE) && page.document.contains(SCRIPT));
        for outside in
            ["http://", "https://", "src=", "url(", "@import", "innerHTML", "cookie", "localStorage"]
        {
            let allowed = page.document.matches("http://www.w3.org/2000/svg").count();
            let found = page.document.matches(outside).count();
            let expected = if outside == "http://" { allowed } else { 0 };
            assert_eq!(found, expected, "{outside}");
        }
        assert!(!page.policy.contains("unsafe"));
    }
}
