//! Texts that stand for a secret or a key which something else was to put in their place, and did not.

use serde_json::Value;

/// What a text is that is plainly no secret and no key: a reference to one, or what holds one.
#[must_use]
pub fn placeholder(text: &str) -> Option<&'static str> {
    let text = text.trim();
    let between = |start, end| text.strip_prefix(start).and_then(|rest| rest.strip_suffix(end));
    let is_name = |name: &str| {
        !name.starts_with(|c: char| c.is_ascii_digit())
            && !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
    };
    let of_service = |service: &str| text.starts_with("arn:aws") && text.split(':').nth(2) == Some(service);
    if of_service("secretsmanager") {
        Some("the ARN of a secret")
    } else if of_service("ssm") {
        Some("the ARN of a parameter")
    } else if between("{{resolve:", "}}").is_some() {
        Some("a dynamic reference of CloudFormation's")
    } else if between("{{", "}}").is_some() || between("${{", "}}").is_some() {
        Some("an expression of a template's")
    } else if between("${", "}").is_some() || text.strip_prefix('$').is_some_and(is_name) {
        Some("a reference to a variable")
    } else if between("%", "%").is_some_and(is_name) {
        Some("a reference to a variable of Windows'")
    } else if text.starts_with('{') && matches!(serde_json::from_str(text), Ok(Value::Object(_))) {
        Some("a JSON object")
    } else {
        None
    }
}

/// Whether a text is what a program writes that has no value to write.
#[must_use]
pub fn is_nothing(text: &str) -> bool {
    ["null", "undefined", "None", "nil"].contains(&text.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_for_a_secret_is_told_and_no_secret_is_taken_for_it() {
        for text in [
            r#"{"secret":"s"}"#,
            "arn:aws:secretsmanager:eu-west-1:123456789012:secret:soketi-AbCdEf",
            "arn:aws-cn:ssm:cn-north-1:123456789012:parameter/soketi",
            "{{resolve:secretsmanager:soketi:SecretString:secret}}",
            "$APP_SECRET",
            " $S_D\n",
            "${S:?must be set}",
            "${S-def}",
            "${{ secrets.S }}",
            "${env:S}",
            "{{ S }}",
            "%S%",
        ] {
            assert!(placeholder(text).is_some(), "{text}");
        }
        for text in [
            "",
            "s",
            "app-secret",
            "null",
            "$ecret",
            "$",
            "$2y$10$abc",
            "100%",
            "%",
            "{",
            "{}x",
            "{secret}",
            "a${B}",
            "arn",
            "arn:aws:iam::123456789012:role/x",
            "7",
            "'s'",
        ] {
            assert!(placeholder(text).is_none(), "{text}");
        }
        assert!(is_nothing("null") && is_nothing(" undefined") && !is_nothing("nullified"));
    }
}
