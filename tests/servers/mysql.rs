//! MySQL, by MariaDB.

use std::time::Duration;

use hookferry::app::Target;
use hookferry::apps::settings::{Sql, Tls};
use hookferry::apps::sql::MySql;
use hookferry::apps::{Apps, LookUpError};
use secrecy::ExposeSecret;
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::{AssertSqlSafe, Connection, MySqlConnection};

use crate::outage::{Source, goes_down_and_comes_back, is_down_at_start, table};
use crate::server::{DEADLINE, PASSWORD, Server, authority};

const HOOKS: &str = r#"[{"url":"http://h/","event_types":["client_event"]}]"#;

fn server() -> Server {
    Server::named("MARIADB")
}

async fn run(sql: &str) {
    let options = MySqlConnectOptions::new()
        .host("127.0.0.1")
        .port(server().port().parse().unwrap())
        .username("plain")
        .password(PASSWORD)
        .database("main")
        .ssl_mode(MySqlSslMode::Disabled);
    let mut connection = MySqlConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

fn open(table: &str) -> MySql {
    MySql::new(&server().table(table, "encrypted", Tls::Prefer), DEADLINE)
}

/// soketi's own table, as its documentation has it for MySQL.
async fn create(table: &str) {
    run(&format!(
        "CREATE TABLE IF NOT EXISTS {table} (`id` varchar(255) NOT NULL, `key` varchar(255) NOT NULL, \
         `secret` varchar(255) NOT NULL, `max_connections` integer(10) NOT NULL, \
         `enable_client_messages` tinyint(1) NOT NULL, `enabled` tinyint(1) NOT NULL, \
         `max_backend_events_per_sec` integer(10) NOT NULL, `max_client_events_per_sec` integer(10) NOT NULL, \
         `max_read_req_per_sec` integer(10) NOT NULL, `webhooks` json, PRIMARY KEY (`id`), UNIQUE (`key`)) \
         CHARACTER SET utf8mb4"
    ))
    .await;
}

async fn put(table: &str, key: &str, webhooks: &str) {
    create(table).await;
    run(&format!(
        "REPLACE INTO {table} VALUES ('id-{key}', '{key}', 'app-secret', -1, 1, 1, -1, -1, -1, '{webhooks}')"
    ))
    .await;
}

#[tokio::test]
async fn soketis_table_is_read() {
    let table = table();
    put(&table, "app-key", HOOKS).await;
    put(&table, "without", "null").await;
    put(&table, "é\u{1f600}", HOOKS).await;
    let apps = open(&table);
    let mut keys = apps.keys(10).await.unwrap();
    keys.sort_unstable();
    assert_eq!(keys, ["app-key", "without", "é\u{1f600}"]);
    assert_eq!(apps.keys(1).await.unwrap().len(), 1);
    let app = apps.find_by_key("app-key").await.unwrap().unwrap();
    assert_eq!((app.id.as_str(), app.key.as_str()), ("id-app-key", "app-key"));
    assert_eq!(app.webhooks[0].event_types.as_deref().unwrap(), ["client_event"]);
    assert!(apps.find_by_key("without").await.unwrap().unwrap().webhooks.is_empty());
    assert_eq!(apps.find_by_key("é\u{1f600}").await.unwrap().unwrap().id, "id-é\u{1f600}");
    for unknown in ["", "other", "' OR 1=1 --", "\0"] {
        assert!(apps.find_by_key(unknown).await.unwrap().is_none(), "{unknown:?}");
    }
}

#[tokio::test]
async fn a_key_that_the_column_cannot_hold_is_nobodys() {
    let table = table();
    run(&format!(
        "CREATE TABLE {table} (id varchar(9), `key` varchar(20), secret varchar(9), webhooks text) CHARACTER SET latin1"
    ))
    .await;
    run(&format!("INSERT INTO {table} VALUES ('a', 'k', 's', '[]')")).await;
    let apps = open(&table);
    assert!(apps.find_by_key("k\u{1f600}").await.unwrap().is_none());
    assert_eq!(apps.find_by_key("k").await.unwrap().unwrap().id, "a");
}

#[tokio::test]
async fn of_keys_that_are_the_same_to_the_column_the_very_one_is_found() {
    let table = table();
    run(&format!(
        "CREATE TABLE {table} (id varchar(9), `key` varchar(20), secret varchar(9), webhooks text) CHARACTER SET utf8mb4"
    ))
    .await;
    run(&format!("INSERT INTO {table} VALUES ('a', 'key', 's', '[]'), ('b', 'KEY', 's', '[]'), ('c', 'k\u{e9}y', 's', '[]')"))
        .await;
    let apps = open(&table);
    for (key, id) in [("key", "a"), ("KEY", "b"), ("k\u{e9}y", "c"), ("Key", "a")] {
        assert_eq!(apps.find_by_key(key).await.unwrap().unwrap().id, id, "{key}");
    }
}

#[tokio::test]
async fn every_shape_of_column_is_read() {
    let encoded = serde_json::to_string(HOOKS).unwrap();
    for (columns, id, key, id_reads) in [
        ("`id` int, `key` text, secret text, webhooks text, enabled boolean", "7", "k", "7"),
        (
            "id bigint unsigned, `key` varchar(9), secret char(1), webhooks json, maxConnections decimal(10,2)",
            "18446744073709551615",
            "k",
            "18446744073709551615",
        ),
        (
            "id decimal(10,2), `key` varbinary(9), secret blob, webhooks longblob, max_connections double",
            "7.5",
            "k",
            "7.50",
        ),
        (
            "id tinyint(1), `key` enum('k','l'), secret tinytext, webhooks mediumtext, enabled bit",
            "1",
            "k",
            "1",
        ),
        ("id smallint unsigned, `key` int, secret varchar(5), webhooks text, enabled date", "7", "4711", "7"),
        ("id double, `key` bigint, secret varchar(5), webhooks text, enabled date", "0.5", "4711", "0.5"),
        (
            "AppId varchar(9), AppKey varchar(9), AppSecret varchar(9), Webhooks json, Enabled text",
            "'a'",
            "k",
            "a",
        ),
        (
            "app_id varchar(9), app_key varchar(9), app_secret varchar(9), webhooks json, enabled year",
            "'a'",
            "k",
            "a",
        ),
        (
            "appId varchar(9), appKey varchar(9), appSecret varchar(9), webhooks json, enabled text",
            "'a'",
            "k",
            "a",
        ),
    ] {
        for hooks in [HOOKS, &encoded.replace('\\', "\\\\")] {
            let table = table();
            run(&format!("CREATE TABLE {table} ({columns})")).await;
            run(&format!("INSERT INTO {table} VALUES ({id}, '{key}', 's', '{hooks}', NULL)")).await;
            let app = open(&table).find_by_key(key).await.unwrap();
            let app = app.unwrap_or_else(|| panic!("no app in a table of {columns}"));
            assert_eq!((app.id.as_str(), app.key.as_str()), (id_reads, key), "{columns}");
            assert_eq!(app.secret.expose_secret(), "s", "{columns}");
            assert_eq!(app.webhooks[0].target, Target::Http("http://h/".into()), "{columns}");
        }
    }
}

#[tokio::test]
async fn a_table_of_another_database_and_one_with_an_odd_name_are_read_and_nothing_of_a_name_is_sql() {
    let database = table();
    run(&format!("CREATE DATABASE {database}")).await;
    for (sql, name) in [
        (format!("{database}.apps"), format!("{database}.apps")),
        (format!("{database}.`my ``apps; DROP`"), format!("{database}.my `apps; DROP")),
    ] {
        put(&sql, "app-key", HOOKS).await;
        assert!(open(&name).find_by_key("app-key").await.unwrap().is_some(), "{name}");
    }
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_told_and_takes_no_other_app_with_it() {
    let table = table();
    run(&format!("CREATE TABLE {table} (id text, `key` text, secret blob, webhooks text)")).await;
    run(&format!(
        "INSERT INTO {table} VALUES ('1', 'bad', 'hush', '[{{hush'), ('2', 'empty', NULL, '[]'), \
         ('3', 'binary', x'ff00', '[]'), ('4', 'k', 's', '[]')"
    ))
    .await;
    let apps = open(&table);
    for (key, says) in [("bad", "webhooks"), ("empty", "secret"), ("binary", "secret")] {
        let failure = apps.find_by_key(key).await.unwrap_err();
        assert!(matches!(failure, LookUpError::Unusable(_)), "{failure:?}");
        let text = failure.to_string();
        assert!(text.contains(&format!("{key:?}")) && text.contains(says), "{text}");
        assert!(!text.contains("hush"), "{text}");
    }
    assert!(apps.find_by_key("k").await.unwrap().is_some());
}

#[tokio::test]
async fn tls_is_used_where_it_is_offered_and_checked_where_an_authority_is_named() {
    let table = table();
    put(&table, "app-key", HOOKS).await;
    let asks = async |username: &str, tls: Tls| {
        let apps = MySql::new(&server().table(&table, username, tls), DEADLINE);
        apps.find_by_key("app-key").await.map(|app| app.is_some())
    };
    // The server lets `encrypted` in by TLS alone.
    for tls in [Tls::Prefer, Tls::Require, Tls::Verify(Some(authority()))] {
        assert_eq!(asks("encrypted", tls.clone()).await, Ok(true), "{tls:?}");
    }
    assert!(asks("encrypted", Tls::Off).await.is_err());
    assert_eq!(asks("plain", Tls::Off).await, Ok(true));
    let another = tempfile::NamedTempFile::new().unwrap();
    let failure = asks("encrypted", Tls::Verify(Some(another.path().into()))).await.unwrap_err();
    assert!(failure.to_string().contains("DB_MYSQL_CA_FILE"), "{failure}");
    let by_name = Sql {
        host: "localhost".into(),
        ..server().table(&table, "encrypted", Tls::Verify(Some(authority())))
    };
    let failure = MySql::new(&by_name, DEADLINE).find_by_key("k").await.unwrap_err();
    assert!(failure.to_string().contains("DB_MYSQL_CA_FILE"), "not the certificate's host: {failure}");

    server().stop().await;
    server().start(&["--skip-ssl"]).await;
    let offered_none = asks("plain", Tls::Prefer).await;
    let required = asks("plain", Tls::Require).await;
    server().stop().await;
    server().start(&[]).await;
    assert_eq!(offered_none, Ok(true), "plain where the server offers no TLS");
    assert!(required.unwrap_err().to_string().contains("TLS"));
}

#[tokio::test]
async fn every_failure_names_what_to_check_and_never_the_password() {
    let sound = server().table("apps", "encrypted", Tls::Prefer);
    let nobody_listens = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for (settings, says) in [
        (Sql { port: nobody_listens, ..sound.clone() }, "DB_MYSQL_PORT"),
        (Sql { host: "nowhere.invalid".into(), ..sound.clone() }, "DB_MYSQL_HOST"),
        (Sql { password: "wrong-hush".to_owned().into(), ..sound.clone() }, "DB_MYSQL_PASSWORD"),
        (Sql { database: "nowhere".into(), ..sound.clone() }, "DB_MYSQL_DATABASE"),
        (Sql { table: "nowhere".parse().unwrap(), ..sound.clone() }, "APP_MANAGER_MYSQL_TABLE"),
        (
            Sql { table: "information_schema.tables".parse().unwrap(), ..sound.clone() },
            "soketi's table of apps",
        ),
    ] {
        let failure = MySql::new(&settings, Duration::from_secs(1)).find_by_key("k").await.unwrap_err();
        assert!(matches!(failure, LookUpError::Unreachable(_)), "{failure:?}");
        let text = failure.to_string();
        assert!(text.contains(says) && text.contains("MySQL at "), "{text}");
        assert!(!text.contains("hush") && !text.contains(PASSWORD), "{text}");
    }
}

fn source(table: &str) -> Source<'static> {
    let server = server();
    let variables = vec![
        ("APP_MANAGER_DRIVER", "mysql".to_owned()),
        ("SOKETI_DB_MYSQL_HOST", "127.0.0.1".to_owned()),
        ("SOKETI_DB_MYSQL_PORT", server.port().to_owned()),
        ("SOKETI_DB_MYSQL_USERNAME", "encrypted".to_owned()),
        ("SOKETI_DB_MYSQL_PASSWORD", PASSWORD.to_owned()),
        ("SOKETI_APP_MANAGER_MYSQL_TABLE", table.to_owned()),
    ];
    Source { server, variables }
}

#[tokio::test]
async fn a_database_that_goes_down_and_comes_back_costs_no_job() {
    let table = table();
    goes_down_and_comes_back(source(&table), async |key, hooks| put(&table, key, hooks).await).await;
}

#[tokio::test]
async fn a_database_that_is_down_at_start_is_waited_for() {
    let table = table();
    is_down_at_start(source(&table), async |key, hooks| put(&table, key, hooks).await).await;
}
