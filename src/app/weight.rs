//! How much memory an app takes.

use secrecy::ExposeSecret;

use super::{App, Filter, Lambda, Pattern, Target, Webhook};

/// Matching keeps what it works with, once for each thread that has matched at the same time.
const PATTERN_COPIES: usize = 2;

impl App {
    /// About so many bytes of memory it takes, whoever else shares it.
    #[must_use]
    pub fn weight(&self) -> usize {
        let secrets: usize = self.secrets().map(|secret| secret.expose_secret().len()).sum();
        let remarks: usize = self.remarks.iter().map(|remark| size_of_val(remark) + remark.text.len()).sum();
        let webhooks: usize = self.webhooks.iter().map(Webhook::weight).sum();
        size_of::<Self>() + self.id.len() + self.key.len() + 2 * secrets + remarks + webhooks
    }
}

impl Webhook {
    fn weight(&self) -> usize {
        let headers =
            self.headers.iter().map(|(name, value)| size_of::<(String, String)>() + name.len() + value.len());
        let types = self.event_types.as_deref().map_or(0, names);
        size_of::<Self>() + self.target.weight() + headers.sum::<usize>() + types + self.filter.weight()
    }
}

impl Target {
    fn weight(&self) -> usize {
        match self {
            Self::Http(url) => url.len(),
            Self::Lambda(Lambda { function, region, client_options, .. }) => {
                function.len() + part(region.as_ref()) + part(client_options.as_ref())
            }
            Self::Missing => 0,
            Self::Unusable { registered, why } => size_of::<Self>() + registered.weight() + why.len(),
        }
    }
}

impl Filter {
    fn weight(&self) -> usize {
        let parts = [
            &self.channel_name_starts_with,
            &self.channel_name_ends_with,
            &self.channel_prefix,
            &self.channel_suffix,
            &self.channel_namespace,
        ];
        let parts: usize = parts.into_iter().map(|text| part(text.as_ref())).sum();
        let pattern = self.channel_pattern.as_ref().map_or(0, Pattern::size);
        parts + self.channel_namespaces.as_deref().map_or(0, names) + pattern * (1 + PATTERN_COPIES)
    }
}

fn part(text: Option<&String>) -> usize {
    text.map_or(0, String::len)
}

fn names(names: &[String]) -> usize {
    names.iter().map(|name| size_of::<String>() + name.len()).sum()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_app_weighs_what_its_owner_wrote_and_what_became_of_it() {
        let app = |webhook: serde_json::Value| -> usize {
            let app = json!({"id": "a", "key": "k", "secret": "s", "webhooks": [webhook]});
            serde_json::from_value::<App>(app).unwrap().weight()
        };
        let long = "x".repeat(150);
        let plain = app(json!({"url": "http://h/"}));
        assert!(plain < 2_000, "{plain}");
        for webhook in [
            json!({"url": format!("http://h/{long}")}),
            json!({"url": "http://h/", "headers": {"a": long}}),
            json!({"url": "http://h/", "event_types": [long]}),
            json!({"url": "http://h/", "filter": {"channel_namespaces": [long]}}),
            json!({"url": "http://h/", "filter": {"channel_prefix": long}}),
            json!({"lambda_function": "f", "lambda": {"client_options": {"a": long}}}),
        ] {
            let heavier = app(webhook.clone()) - plain;
            assert!((130..2_000).contains(&heavier), "{webhook}: {heavier}");
        }
        let pattern = app(json!({"url": "http://h/", "filter": {"channel_pattern": r"\w+"}}));
        assert!(pattern > plain + 30_000, "{pattern}");
    }
}
