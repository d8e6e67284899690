use super::*;
use crate::aws::region::is_region;

const ARN: &str = "arn:aws:lambda:eu-west-1:123456789012:function:orders";

fn function(text: &str) -> Function {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn every_documented_form_is_taken_apart_and_put_together_again() {
    for (text, reference, qualifier) in [
        ("orders", "orders", None),
        (" my_Fn-1.x ", "my_Fn-1.x", None),
        ("orders:live", "orders", Some("live")),
        ("orders:7", "orders", Some("7")),
        ("orders:$LATEST", "orders", Some("$LATEST")),
        ("123456789012:function:orders", ARN, None),
        ("123456789012:function:orders:live", ARN, Some("live")),
        (ARN, ARN, None),
        (&format!("{ARN}:live"), ARN, Some("live")),
        (
            "arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:f",
            "arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:f",
            None,
        ),
    ] {
        let function = function(text);
        assert_eq!(function.reference("eu-west-1"), reference, "{text}");
        assert_eq!(function.qualifier.as_deref(), qualifier, "{text}");
    }
    let china = function("123456789012:function:f").reference("cn-north-1");
    assert_eq!(china, "arn:aws-cn:lambda:cn-north-1:123456789012:function:f");
    assert_eq!(function(ARN).region(), Some("eu-west-1"));
    assert_eq!(function("123456789012:function:f").region(), None);
}

#[test]
fn what_is_no_name_or_can_be_read_in_two_ways_is_refused() {
    for text in [
        "",
        ":",
        "a/b",
        "a b",
        "orders:",
        ":live",
        "orders:li ve",
        "orders:live:1",
        "ördérs",
        "../x",
        "a?b",
        "a#b",
        "function:a:b",
        "12345678901:function:f",
        "123456789012:function:",
        "123456789012:function",
        "arn:aws:lambda:eu-west-1:123456789012:function",
        "arn:aws:lambda:eu-west-1:123456789012:function:f:1:2",
        "arn:aws:lambda::123456789012:function:f",
        "arn:aws:sqs:eu-west-1:123456789012:function:f",
        "arn:aws:lambda:eu-west-1:123456789012:layer:f",
        "arn:evil:lambda:eu-west-1:123456789012:function:f",
        "ARN:aws:lambda:eu-west-1:123456789012:function:f",
        "eu-west-1:123456789012:function:f",
        &"x".repeat(65),
    ] {
        assert!(text.parse::<Function>().is_err(), "{text:?}");
    }
    assert_eq!("https://a.lambda-url.us-east-1.on.aws/".parse::<Function>(), Err(NameError::Url));
    for text in ["function:orders", "123456789012:orders", "123456789012:function"] {
        assert_eq!(text.parse::<Function>(), Err(NameError::Ambiguous), "{text:?}");
    }
}

#[test]
fn a_region_is_one_label_and_nothing_else() {
    for text in ["eu-west-1", "us-gov-west-1", "us-iso-east-1", "local"] {
        assert!(is_region(text), "{text}");
    }
    for text in [
        "",
        "x",
        "-a",
        "a-",
        "eu.west",
        "evil/",
        "a@evil.com",
        "a:1",
        "a#",
        "a?",
        "A-B-1",
        "a b",
        "é-1",
        &"a".repeat(33),
    ] {
        assert!(!is_region(text), "{text}");
    }
}

#[test]
fn a_pattern_of_a_name_is_for_the_own_account_and_one_of_an_arn_for_those_it_names() {
    let allows = |patterns: &str, text: &str| {
        patterns.parse::<Allowed>().unwrap().allows(&function(text), "eu-west-1")
    };
    for text in ["orders", "orders:live", ARN, "999999999999:function:x"] {
        assert!(allows("*", text), "{text}");
        assert!(allows("nothing, *", text), "{text}");
        assert!(!allows("", text) && !allows("nothing", text), "{text}");
    }
    for pattern in ["orders", "ord*", "?rders", "x,orders"] {
        assert!(allows(pattern, "orders") && allows(pattern, "orders:live"), "{pattern}");
        // The name alone would let in another account's function of that name.
        assert!(!allows(pattern, ARN) && !allows(pattern, "999999999999:function:orders"), "{pattern}");
        assert!(!allows(pattern, "reorders") && !allows(pattern, "others"), "{pattern}");
    }
    assert!(!allows("orders", "Orders"), "Lambda tells them apart");
    for pattern in [ARN, "arn:*:lambda:*:123456789012:function:ord*", "arn:aws:lambda:eu-*:*:function:*"] {
        assert!(allows(pattern, ARN) && allows(pattern, &format!("{ARN}:live")), "{pattern}");
        assert!(allows(pattern, "123456789012:function:orders"), "{pattern}: the client's region counts");
        // Whose account that is cannot be told here.
        assert!(!allows(pattern, "orders"), "{pattern}");
    }
    let own = "arn:aws:lambda:eu-west-1:123456789012:function:ord*";
    for text in [
        "arn:aws:lambda:eu-west-1:999999999999:function:orders",
        "arn:aws:lambda:us-east-1:123456789012:function:orders",
        "arn:aws-cn:lambda:eu-west-1:123456789012:function:orders",
        "arn:aws:lambda:eu-west-1:123456789012:function:others",
        "999999999999:function:orders",
    ] {
        assert!(!allows(own, text), "{text}");
    }
    assert!(!own.parse::<Allowed>().unwrap().allows(&function("123456789012:function:orders"), "us-east-1"));
}

#[test]
fn a_pattern_that_can_match_nothing_is_refused() {
    for text in [
        "orders:live",
        "arn:aws:lambda:*",
        "*:orders",
        "arn:aws:lambda:r:1:function:f:live",
        "a,b:c",
        "[\"orders-*\"]",
        "orders-*;b",
        "orders-* b",
        "'orders-*'",
        "orders-[0-9]",
        "arn:aws:lambda:*:12345 6789012:function:f",
        "arn:aws:lambda::123456789012:function:f",
    ] {
        let error = text.parse::<Allowed>().unwrap_err().to_string();
        assert!(error.contains("commas"), "{text}: {error}");
    }
}
