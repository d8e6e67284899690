//! Where spans go: OpenTelemetry's own variables, as its specification reads them. An environment is often
//! shared, and made for SDKs that know more: what cannot be used is a warning, and never keeps a job from being
//! delivered.

use http::HeaderName;
use secrecy::SecretString;

use super::variables::{Otel, Reader};
use crate::aws::endpoint::http_url;
use crate::telemetry::traces::{Sampler, Settings};

/// What is added to `OTEL_EXPORTER_OTLP_ENDPOINT`.
const PATH: &str = "/v1/traces";

pub(super) fn read(raw: &Otel, reader: &mut Reader) -> Option<Settings> {
    let (name, endpoint) = match (&raw.exporter_otlp_traces_endpoint, &raw.exporter_otlp_endpoint) {
        (Some(whole), _) => ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", whole.clone()),
        (None, Some(base)) => {
            ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("{}{PATH}", base.trim_end_matches('/')))
        }
        (None, None) => return None,
    };
    if !cfg!(feature = "otel") {
        reader.warn(format!(
            "{name}: no traces are exported: this build lacks the feature otel (build with --features otel, or unset it)"
        ));
        return None;
    }
    let url =
        http_url(&endpoint).map_err(|error| reader.warn(format!("{name}: {error}; no traces are exported")));
    Some(Settings {
        endpoint: url.ok()?.into(),
        headers: headers(raw.exporter_otlp_headers.as_deref().unwrap_or_default(), reader),
        service: raw.service_name.clone(),
        sampler: sampler(raw, reader),
    })
}

/// `name=value` with commas between. Nothing of a value is told, nor a name that may be a part of one.
fn headers(text: &str, reader: &mut Reader) -> Vec<(String, SecretString)> {
    let mut headers = Vec::new();
    for (n, pair) in text.split(',').map(str::trim).enumerate().filter(|(_, pair)| !pair.is_empty()) {
        let named = pair.split_once('=').and_then(|(name, value)| {
            let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
            Some((name.as_str().to_owned(), SecretString::from(value.trim())))
        });
        match named {
            Some(header) => headers.push(header),
            None => reader.warn(format!(
                "OTEL_EXPORTER_OTLP_HEADERS: entry {} is no header's name=value; it is left out",
                n + 1
            )),
        }
    }
    headers
}

fn sampler(raw: &Otel, reader: &mut Reader) -> Sampler {
    let by_default = Sampler { parent_based: true, ratio: 1.0 };
    let Some(text) = &raw.traces_sampler else { return by_default };
    let name = text.to_ascii_lowercase();
    let (parent_based, root) = match name.strip_prefix("parentbased_") {
        Some(root) => (true, root),
        None => (false, name.as_str()),
    };
    let ratio = match root {
        "always_on" => 1.0,
        "always_off" => 0.0,
        "traceidratio" => ratio(raw.traces_sampler_arg.as_deref(), reader),
        _ => {
            reader.warn(format!(
                "OTEL_TRACES_SAMPLER: {text:?} is not known here, parentbased_always_on is used \
                 (always_on, always_off, traceidratio, or one of them after parentbased_)"
            ));
            return by_default;
        }
    };
    Sampler { parent_based, ratio }
}

fn ratio(text: Option<&str>, reader: &mut Reader) -> f64 {
    let read: Option<f64> = text.and_then(|text| text.parse().ok());
    read.filter(|ratio| (0.0..=1.0).contains(ratio)).unwrap_or_else(|| {
        let text = text.unwrap_or_default();
        reader.warn(format!("OTEL_TRACES_SAMPLER_ARG: {text:?} is no number from 0 to 1, 1 is used"));
        1.0
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(feature = "otel")]
    use secrecy::ExposeSecret;

    fn otel(endpoint: Option<&str>) -> Otel {
        Otel {
            exporter_otlp_endpoint: endpoint.map(str::to_owned),
            exporter_otlp_traces_endpoint: None,
            exporter_otlp_headers: None,
            service_name: None,
            traces_sampler: None,
            traces_sampler_arg: None,
        }
    }

    #[test]
    fn nothing_is_exported_and_nothing_told_without_an_endpoint() {
        let mut reader = Reader::default();
        let raw = Otel { traces_sampler: Some("xray".to_owned()), ..otel(None) };
        assert!(read(&raw, &mut reader).is_none());
        assert!(reader.warnings.is_empty() && reader.errors.is_empty());
    }

    #[cfg(not(feature = "otel"))]
    #[test]
    fn a_build_without_traces_says_which_variable_and_which_feature() {
        let mut reader = Reader::default();
        assert!(read(&otel(Some("http://collector:4318")), &mut reader).is_none());
        let [warning] = &reader.warnings[..] else { panic!("{:?}", reader.warnings) };
        assert!(warning.starts_with("OTEL_EXPORTER_OTLP_ENDPOINT:") && warning.contains("feature otel"));
    }

    #[cfg(feature = "otel")]
    #[test]
    fn the_endpoint_of_traces_goes_before_the_base_of_all() {
        let mut reader = Reader::default();
        for base in ["http://collector:4318", "http://collector:4318/"] {
            let read = read(&otel(Some(base)), &mut reader).unwrap();
            assert_eq!(read.endpoint, "http://collector:4318/v1/traces");
        }
        let whole = Some("https://collector/own".to_owned());
        let raw = Otel { exporter_otlp_traces_endpoint: whole, ..otel(Some("http://collector:4318")) };
        assert_eq!(read(&raw, &mut reader).unwrap().endpoint, "https://collector/own");
        assert!(reader.warnings.is_empty());
        assert!(read(&otel(Some("http://u:hush@collector")), &mut reader).is_none());
        assert!(read(&otel(Some("collector:4318")), &mut reader).is_none());
        assert!(reader.warnings.len() == 2 && !reader.warnings[0].contains("hush"), "{:?}", reader.warnings);
        assert!(reader.errors.is_empty(), "it keeps no worker from its start");
    }

    #[cfg(feature = "otel")]
    #[test]
    fn headers_are_read_one_by_one_and_no_value_is_told() {
        let mut reader = Reader::default();
        let text = Some(" api-key = hush%20x ,hush, X-Scope=a=b,=hush,".to_owned());
        let raw = Otel { exporter_otlp_headers: text, ..otel(Some("http://collector")) };
        let read = read(&raw, &mut reader).unwrap();
        let headers: Vec<_> =
            read.headers.iter().map(|(name, value)| (name.as_str(), value.expose_secret())).collect();
        assert_eq!(headers, [("api-key", "hush%20x"), ("x-scope", "a=b")]);
        assert_eq!(reader.warnings.len(), 2);
        assert!(!format!("{read:?} {:?}", reader.warnings).contains("hush"));
    }

    #[test]
    fn samplers_have_the_names_of_the_specification() {
        let of = |name: &str, arg: Option<&str>| {
            let mut reader = Reader::default();
            let raw = Otel {
                traces_sampler: Some(name.to_owned()),
                traces_sampler_arg: arg.map(str::to_owned),
                ..otel(None)
            };
            let Sampler { parent_based, ratio } = sampler(&raw, &mut reader);
            (parent_based, format!("{ratio}"), reader.warnings.len())
        };
        assert_eq!(of("always_on", None), (false, "1".to_owned(), 0));
        assert_eq!(of("parentbased_always_off", None), (true, "0".to_owned(), 0));
        assert_eq!(of("traceidratio", Some("0.25")), (false, "0.25".to_owned(), 0));
        assert_eq!(of("parentbased_traceidratio", Some("0")), (true, "0".to_owned(), 0));
        for arg in [None, Some("2"), Some("-1"), Some("NaN"), Some("most")] {
            assert_eq!(of("parentbased_traceidratio", arg), (true, "1".to_owned(), 1));
        }
        assert_eq!(of("xray", None), (true, "1".to_owned(), 1));
    }
}
