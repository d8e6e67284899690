//! DynamoDB, by ministack.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType,
    Projection, ProjectionType, ScalarAttributeType,
};
use hookferry::app::Target;
use hookferry::apps::dynamodb::DynamoDb;
use hookferry::apps::settings::DynamoDb as Settings;
use hookferry::apps::{Apps, LookUpError};
use secrecy::ExposeSecret;

use crate::outage::{Source, goes_down_and_comes_back, is_down_at_start, table};
use crate::server::{DEADLINE, Server};

const HOOKS: &str = r#"[{"url":"http://h/","event_types":["client_event"]}]"#;

fn server() -> Server {
    Server::named("AWS")
}

fn client() -> Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(server().address)
        .credentials_provider(Credentials::new("local", "local", None, None, "test"))
        .build();
    Client::from_conf(config)
}

/// soketi's own table: by `AppId`, with the index `AppKeyIndex`.
async fn create(table: &str) {
    create_keyed(table, "AppId", "AppKeyIndex", "AppKey").await;
}

async fn create_keyed(table: &str, id: &str, index: &str, app_key: &str) {
    let text = |name| {
        let kind = ScalarAttributeType::S;
        AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build().unwrap()
    };
    let key =
        |name| KeySchemaElement::builder().attribute_name(name).key_type(KeyType::Hash).build().unwrap();
    let index = GlobalSecondaryIndex::builder()
        .index_name(index)
        .key_schema(key(app_key))
        .projection(Projection::builder().projection_type(ProjectionType::All).build());
    let request = client().create_table().table_name(table).billing_mode(BillingMode::PayPerRequest);
    let request = request.attribute_definitions(text(id)).attribute_definitions(text(app_key));
    let request = request.key_schema(key(id)).global_secondary_indexes(index.build().unwrap());
    if let Err(error) = request.send().await {
        assert!(error.into_service_error().is_resource_in_use_exception());
    }
}

async fn put(table: &str, key: &str, more: &[(&str, AttributeValue)]) {
    create(table).await;
    let text = |text: &str| AttributeValue::S(text.into());
    let mut request = client().put_item().table_name(table).item("AppId", text(&format!("id-{key}")));
    request = request.item("AppKey", text(key)).item("AppSecret", text("app-secret"));
    for (name, value) in more {
        request = request.item(*name, value.clone());
    }
    request.send().await.unwrap();
}

async fn open(table: &str) -> DynamoDb {
    let endpoint = Some(server().address);
    DynamoDb::load(Settings { table: table.into(), region: "us-east-1".into(), endpoint }, DEADLINE).await
}

#[tokio::test]
async fn soketis_table_is_read() {
    let table = table();
    let hooks = AttributeValue::S(HOOKS.into());
    let numbers =
        [("MaxConnections", AttributeValue::N("-1".into())), ("Enabled", AttributeValue::Bool(true))];
    put(&table, "app-key", &[&numbers[..], &[("Webhooks", hooks)]].concat()).await;
    let hook = [("url".to_owned(), AttributeValue::S("http://h/".into()))];
    let list = AttributeValue::L(vec![AttributeValue::M(hook.into())]);
    put(
        &table,
        "listed",
        &[("Webhooks", list), ("EnableClientMessages", AttributeValue::B(Blob::new("true")))],
    )
    .await;
    put(&table, "without", &[("Webhooks", AttributeValue::Null(true))]).await;
    let apps = open(&table).await;
    let mut keys = apps.keys(10).await.unwrap();
    keys.sort_unstable();
    assert_eq!(keys, ["app-key", "listed", "without"]);
    assert_eq!(apps.keys(1).await.unwrap().len(), 1);
    let app = apps.find_by_key("app-key").await.unwrap().unwrap();
    assert_eq!((app.id.as_str(), app.key.as_str()), ("id-app-key", "app-key"));
    assert_eq!(app.secret.expose_secret(), "app-secret");
    assert_eq!(app.webhooks[0].event_types.as_deref().unwrap(), ["client_event"]);
    let listed = apps.find_by_key("listed").await.unwrap().unwrap();
    assert_eq!(listed.webhooks[0].target, Target::Http("http://h/".into()));
    assert!(apps.find_by_key("without").await.unwrap().unwrap().webhooks.is_empty());
    for unknown in ["", "other", "App-Key", "\0", "é\u{1f600}", &"k".repeat(2049)] {
        assert!(apps.find_by_key(unknown).await.unwrap().is_none(), "{unknown:?}");
    }
}

/// By `id`, with the index `KeyIndex` on `key`, and the policy as text.
#[tokio::test]
async fn sockudos_table_is_read() {
    let table = table();
    create_keyed(&table, "id", "KeyIndex", "key").await;
    let policy = format!(r#"{{"webhooks":{HOOKS}}}"#);
    let item = [("id", "i"), ("key", "app-key"), ("secret", "s"), ("policy", policy.as_str())];
    let mut request = client().put_item().table_name(&table);
    for (name, value) in item {
        request = request.item(name, AttributeValue::S(value.into()));
    }
    request.send().await.unwrap();
    let apps = open(&table).await;
    for _ in 0..2 {
        let app = apps.find_by_key("app-key").await.unwrap().unwrap();
        assert_eq!(app.webhooks[0].event_types.as_deref().unwrap(), ["client_event"]);
        assert!(apps.find_by_key("other").await.unwrap().is_none());
    }
}

#[tokio::test]
async fn an_item_that_cannot_be_read_is_told_and_takes_no_other_app_with_it() {
    let table = table();
    put(&table, "bad", &[("Webhooks", AttributeValue::S("[{hush".into()))]).await;
    put(&table, "empty", &[("AppSecret", AttributeValue::Null(true))]).await;
    put(&table, "k", &[]).await;
    let apps = open(&table).await;
    for (key, says) in [("bad", "webhooks"), ("empty", "secret")] {
        let failure = apps.find_by_key(key).await.unwrap_err();
        assert!(matches!(failure, LookUpError::Unusable(_)), "{failure:?}");
        let text = failure.to_string();
        assert!(text.contains(&format!("{key:?}")) && text.contains(says), "{text}");
        assert!(!text.contains("hush"), "{text}");
    }
    assert!(apps.find_by_key("k").await.unwrap().is_some());
}

#[tokio::test]
async fn every_failure_names_what_to_check() {
    let sound =
        Settings { table: "nowhere".into(), region: "us-east-1".into(), endpoint: Some(server().address) };
    let nobody_listens = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let elsewhere = Settings { endpoint: Some(format!("http://{nobody_listens}")), ..sound.clone() };
    for (settings, says) in
        [(sound, "APP_MANAGER_DYNAMODB_TABLE"), (elsewhere, "APP_MANAGER_DYNAMODB_REGION")]
    {
        let apps = DynamoDb::load(settings, Duration::from_secs(2)).await;
        let failure = apps.find_by_key("k").await.unwrap_err();
        assert!(matches!(failure, LookUpError::Unreachable(_)), "{failure:?}");
        assert!(failure.to_string().contains(says), "{failure}");
    }
}

fn source(table: &str) -> Source<'static> {
    let server = server();
    let variables = vec![
        ("APP_MANAGER_DRIVER", "dynamodb".to_owned()),
        ("APP_MANAGER_DYNAMODB_TABLE", table.to_owned()),
        ("APP_MANAGER_DYNAMODB_ENDPOINT", server.address.clone()),
    ];
    Source { server, variables }
}

#[tokio::test]
async fn a_database_that_goes_down_and_comes_back_costs_no_job() {
    let table = table();
    let put = async |key: &str, hooks: &str| {
        put(&table, key, &[("Webhooks", AttributeValue::S(hooks.into()))]).await;
    };
    goes_down_and_comes_back(source(&table), put).await;
}

#[tokio::test]
async fn a_database_that_is_down_at_start_is_waited_for() {
    let table = table();
    let put = async |key: &str, hooks: &str| {
        put(&table, key, &[("Webhooks", AttributeValue::S(hooks.into()))]).await;
    };
    is_down_at_start(source(&table), put).await;
}
