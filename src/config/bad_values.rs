//! What an operator sees of bad values: each with its variable, all at once, no secret among them.

use super::*;

fn read(variables: &[(&str, String)]) -> Result<Config, Errors> {
    let base = [("QUEUE_SQS_URL", "https://sqs.eu-west-1.amazonaws.com/1/jobs.fifo".to_owned())];
    Config::from_env(base.iter().chain(variables).map(|(name, value)| ((*name).to_owned(), value.clone())))
}

#[test]
fn two_spellings_of_one_name_are_two_variables() {
    let config = read(&[
        ("QUEUE_SQS_BATCH_SIZE", "5".to_owned()),
        ("QUEUE_SQS_batch_size", "6".to_owned()),
        ("shutdown_grace_seconds", "7".to_owned()),
        ("SHUTDOWN_GRACE_SECONDS", "20".to_owned()),
    ])
    .unwrap();
    assert_eq!((config.queue.batch, config.grace), (5, Duration::from_secs(20)));
}
