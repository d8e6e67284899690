//! What the error codes mean that AWS' services share: the SDK gives them as text.
//!
//! The codes are those of SQS' model in the SDK (`aws-sdk-sqs`, `protocol_serde`), of its shapes (an endpoint without
//! `x-amzn-query-error` sends those), of `aws-runtime`'s list of throttling errors, of Lambda's and DynamoDB's models, and
//! AWS' common errors, which are in no model.

/// What a service's error code means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    /// The caller is known, and may not do this.
    NoRight,
    /// The credentials or the account cannot be used.
    Credentials,
    /// The credentials have expired.
    Expired,
    /// The request is too old or too new: a clock is wrong.
    Clock,
    /// There were too many requests.
    Throttled,
    /// The queue, function or table does not exist.
    Missing,
    /// The key service refused to use the resource's key.
    Key(KeyError),
    /// Anything else.
    Other,
}

/// What the key service said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyError {
    /// The caller may not use the key.
    NoRight,
    /// The key is disabled, gone or of another use.
    Unusable,
    /// There were too many requests.
    Throttled,
    /// Anything else.
    Other,
}

/// A code without the namespace of SQS' older protocol.
pub(crate) fn plain(code: &str) -> &str {
    code.strip_prefix("AWS.SimpleQueueService.").unwrap_or(code)
}

/// What a code means, with or without the suffix of its shape.
pub(crate) fn kind(code: &str) -> ErrorKind {
    let code = plain(code);
    let code = code.strip_suffix("Exception").unwrap_or(code);
    // `KMS.Disabled`, `KmsDisabled`, `KMSDisabled`.
    if let Some(own) = ["KMS.", "Kms", "KMS"].iter().find_map(|prefix| code.strip_prefix(prefix)) {
        return ErrorKind::Key(match own {
            "AccessDenied" => KeyError::NoRight,
            "Disabled" | "InvalidKeyUsage" | "InvalidState" | "NotFound" | "OptInRequired" => {
                KeyError::Unusable
            }
            "Throttled" | "Throttling" => KeyError::Throttled,
            _ => KeyError::Other,
        });
    }
    match code {
        "AccessDenied" | "NotAuthorized" => ErrorKind::NoRight,
        "AuthFailure"
        | "IncompleteSignature"
        | "InvalidAccessKeyId"
        | "InvalidClientTokenId"
        | "InvalidSecurity"
        | "InvalidSignature"
        | "MissingAuthenticationToken"
        | "OptInRequired"
        | "SignatureDoesNotMatch"
        | "SubscriptionRequired"
        | "UnrecognizedClient" => ErrorKind::Credentials,
        "ExpiredToken" => ErrorKind::Expired,
        "RequestExpired" | "RequestTimeTooSkewed" => ErrorKind::Clock,
        "BandwidthLimitExceeded"
        | "EC2Throttled"
        | "LimitExceeded"
        | "OverLimit"
        | "PriorRequestNotComplete"
        | "ProvisionedThroughputExceeded"
        | "RequestLimitExceeded"
        | "RequestThrottled"
        | "SlowDown"
        | "Throttled"
        | "Throttling"
        | "TooManyRequests"
        | "TransactionInProgress" => ErrorKind::Throttled,
        "InvalidAddress"
        | "NonExistentQueue"
        | "QueueDeletedRecently"
        | "QueueDoesNotExist"
        | "ResourceNotFound" => ErrorKind::Missing,
        _ => ErrorKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_means_the_same_with_and_without_its_namespace_and_suffix() {
        for (code, meant) in [
            ("AccessDenied", ErrorKind::NoRight),
            ("NotAuthorized", ErrorKind::NoRight),
            ("InvalidSignature", ErrorKind::Credentials),
            ("UnrecognizedClient", ErrorKind::Credentials),
            ("ExpiredToken", ErrorKind::Expired),
            ("RequestTimeTooSkewed", ErrorKind::Clock),
            ("TooManyRequests", ErrorKind::Throttled),
            ("EC2Throttled", ErrorKind::Throttled),
            ("QueueDoesNotExist", ErrorKind::Missing),
            ("ResourceNotFound", ErrorKind::Missing),
            ("KMS.Disabled", ErrorKind::Key(KeyError::Unusable)),
            ("KmsAccessDenied", ErrorKind::Key(KeyError::NoRight)),
            ("KMSNotFound", ErrorKind::Key(KeyError::Unusable)),
            ("KmsThrottled", ErrorKind::Key(KeyError::Throttled)),
            ("KMSInternal", ErrorKind::Key(KeyError::Other)),
            ("InvalidParameterValue", ErrorKind::Other),
            ("", ErrorKind::Other),
        ] {
            for spelling in
                [code.to_owned(), format!("{code}Exception"), format!("AWS.SimpleQueueService.{code}")]
            {
                assert_eq!(kind(&spelling), meant, "{spelling}");
            }
        }
    }
}
