use aws_sdk_sqs::config::endpoint::{DefaultResolver, Params, ResolveEndpoint};

use super::*;

fn to(host: &str) -> Destination {
    destination(&Url::parse(&format!("https://{host}/123456789012/w.fifo")).unwrap())
}

#[test]
fn the_table_of_what_url_leads_where() {
    for (host, region) in [
        ("sqs.eu-west-1.amazonaws.com", "eu-west-1"),
        ("SQS.EU-WEST-1.amazonaws.com.", "eu-west-1"),
        ("sqs.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("sqs.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("sqs.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1"),
        ("sqs.us-iso-east-1.c2s.ic.gov", "us-iso-east-1"),
        ("sqs.us-isob-east-1.sc2s.sgov.gov", "us-isob-east-1"),
        ("sqs.eu-isoe-west-1.cloud.adc-e.uk", "eu-isoe-west-1"),
        ("sqs.us-isof-south-1.csp.hci.ic.gov", "us-isof-south-1"),
        ("queue.amazonaws.com", "us-east-1"),
        ("eu-central-1.queue.amazonaws.com", "eu-central-1"),
        ("cn-north-1.queue.amazonaws.com.cn", "cn-north-1"),
    ] {
        assert_eq!(to(host), Destination::Regional(region.into()), "{host}");
    }
    for (host, region) in [
        ("sqs-fips.us-west-2.amazonaws.com", "us-west-2"),
        ("sqs-fips.us-west-2.api.aws", "us-west-2"),
        ("sqs.eu-west-1.api.aws", "eu-west-1"),
        ("sqs.cn-northwest-1.api.amazonwebservices.com.cn", "cn-northwest-1"),
        ("sqs.eusc-de-east-1.api.amazonwebservices.eu", "eusc-de-east-1"),
        ("vpce-0abc-1234.sqs.eu-west-1.vpce.amazonaws.com", "eu-west-1"),
        ("vpce-0abc-1234-eu-west-1a.sqs.eu-west-1.vpce.amazonaws.com", "eu-west-1"),
        ("vpce-0abc-1234.sqs-fips.us-east-1.vpce.amazonaws.com", "us-east-1"),
        ("vpce-0abc-1234.sqs.cn-north-1.vpce.amazonaws.com.cn", "cn-north-1"),
        ("sqs.eu-west-1.vpce.amazonaws.com", "eu-west-1"),
        ("sqs.eu-west-1.amazonaws.com:8443", "eu-west-1"),
    ] {
        assert_eq!(to(host), Destination::Named(region.into()), "{host}");
    }
    for host in [
        "127.0.0.1:4566",
        "localhost",
        "sqs",
        "sqs.us-east-1.localhost.localstack.cloud:4566",
        "sqs.eu-west-1.amazonaws.com.example.net",
        "xsqs.example.amazonaws.org",
        "abc.execute-api.eu-west-1.amazonaws.com",
        "amazonaws.com",
        "[::1]:9324",
    ] {
        assert_eq!(to(host), Destination::Foreign, "{host}");
    }
    for host in
        ["sqs.eu-west-1a.amazonaws.com", "sqs.eu_west_1.amazonaws.com", "sqs.aws-global.amazonaws.com"]
    {
        assert!(matches!(to(host), Destination::NoRegion(_)), "{host}");
    }
}

#[tokio::test]
async fn a_regional_host_is_the_one_that_the_sdk_finds_by_itself() {
    for host in [
        "sqs.eu-west-1.amazonaws.com",
        "sqs.us-gov-west-1.amazonaws.com",
        "sqs.cn-north-1.amazonaws.com.cn",
        "sqs.eusc-de-east-1.amazonaws.eu",
        "sqs.us-iso-east-1.c2s.ic.gov",
        "sqs.us-isob-east-1.sc2s.sgov.gov",
        "sqs.eu-isoe-west-1.cloud.adc-e.uk",
        "sqs.us-isof-south-1.csp.hci.ic.gov",
    ] {
        let Destination::Regional(region) = to(host) else { panic!("{host}") };
        let params = Params::builder().region(region).use_fips(false).use_dual_stack(false).build().unwrap();
        let found = DefaultResolver::new().resolve_endpoint(&params).await.unwrap();
        assert_eq!(found.url(), format!("https://{host}"));
    }
}

#[test]
fn an_availability_zone_is_no_region_and_its_region_is_told() {
    for (zone, region) in
        [("eu-west-1a", "eu-west-1"), ("us-gov-west-1b", "us-gov-west-1"), ("us-west-2-lax-1a", "us-west-2")]
    {
        for aws in [true, false] {
            let error = named_region(zone, aws).unwrap_err();
            assert!(error.contains(zone) && error.ends_with(region), "{error}");
        }
    }
}

#[test]
fn an_emulator_may_have_a_region_of_any_name_and_aws_may_not() {
    for name in ["elasticmq", "local", "us-east", "eu-west-1-2", "mars-north-1-1"] {
        assert_eq!(named_region(name, false), Ok(name.to_owned()));
        assert!(named_region(name, true).is_err(), "{name}");
    }
    for region in
        ["eu-west-1", "ap-southeast-7", "us-gov-east-1", "eusc-de-east-1", "mx-central-1", "il-central-1"]
    {
        assert_eq!(named_region(region, true), Ok(region.to_owned()));
    }
}

#[test]
fn the_region_in_an_emulators_host_is_a_hint() {
    let hint = |host: &str| region_hint(&Url::parse(&format!("http://{host}/1/q.fifo")).unwrap());
    assert_eq!(hint("sqs.eu-west-2.localhost.localstack.cloud:4566").as_deref(), Some("eu-west-2"));
    assert_eq!(hint("eu-west-2.queue.localhost.localstack.cloud:4566").as_deref(), Some("eu-west-2"));
    assert_eq!(hint("sqs.example.net"), None);
    assert_eq!(hint("127.0.0.1"), None);
}
