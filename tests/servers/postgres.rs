//! PostgreSQL.

use std::time::Duration;

use hookferry::app::Target;
use hookferry::apps::settings::{Sql, Tls};
use hookferry::apps::sql::Postgres;
use hookferry::apps::{Apps, LookUpError};
use secrecy::ExposeSecret;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::outage::{Source, goes_down_and_comes_back, is_down_at_start, table};
use crate::server::{DEADLINE, PASSWORD, Server, authority};

const HOOKS: &str = r#"[{"url":"http://h/","event_types":["client_event"]}]"#;

fn server() -> Server {
    Server::named("POSTGRES")
}

async fn run(sql: &str) {
    let options = PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(server().port().parse().unwrap())
        .username("encrypted")
        .password(PASSWORD)
        .database("main")
        .ssl_mode(PgSslMode::Require);
    let mut connection = PgConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

fn open(table: &str) -> Postgres {
    Postgres::new(&server().table(table, "encrypted", Tls::Prefer), DEADLINE)
}

/// soketi's own table, as its documentation has it for PostgreSQL.
async fn create(table: &str) {
    run(&format!(
        "CREATE TABLE IF NOT EXISTS {table} (id varchar(255) PRIMARY KEY, \"key\" varchar(255) NOT NULL UNIQUE, \
         secret varchar(255) NOT NULL, max_connections integer NOT NULL, enable_client_messages smallint NOT NULL, \
         enabled smallint NOT NULL, max_backend_events_per_sec integer NOT NULL, \
         max_client_events_per_sec integer NOT NULL, max_read_req_per_sec integer NOT NULL, webhooks json)"
    ))
    .await;
}

async fn put(table: &str, key: &str, webhooks: &str) {
    create(table).await;
    run(&format!(
        "INSERT INTO {table} VALUES ('id-{key}', '{key}', 'app-secret', -1, 1, 1, -1, -1, -1, '{webhooks}') \
         ON CONFLICT (id) DO UPDATE SET webhooks = EXCLUDED.webhooks"
    ))
    .await;
}

/// Whether there is an app with the key `k` and one webhook in the table of these columns and values.
async fn reads(columns: &str, values: &str) {
    let table = table();
    run(&format!("CREATE TABLE {table} ({columns}); INSERT INTO {table} VALUES ({values})")).await;
    for key in ["k", "4711", "00000000-0000-0000-0000-000000004711"] {
        if let Some(app) = open(&table).find_by_key(key).await.unwrap() {
            assert_eq!(app.key, key, "{columns}");
            assert_eq!(app.secret.expose_secret(), "s", "{columns}");
            assert_eq!(app.webhooks[0].target, Target::Http("http://h/".into()), "{columns}");
            return;
        }
    }
    panic!("no app in a table of {columns}");
}

#[tokio::test]
async fn soketis_table_is_read() {
    let table = table();
    put(&table, "app-key", HOOKS).await;
    put(&table, "without", "null").await;
    let apps = open(&table);
    let mut keys = apps.keys(10).await.unwrap();
    keys.sort_unstable();
    assert_eq!(keys, ["app-key", "without"]);
    assert_eq!(apps.keys(1).await.unwrap().len(), 1);
    let app = apps.find_by_key("app-key").await.unwrap().unwrap();
    assert_eq!((app.id.as_str(), app.key.as_str()), ("id-app-key", "app-key"));
    assert_eq!(app.webhooks[0].event_types.as_deref().unwrap(), ["client_event"]);
    assert!(apps.find_by_key("without").await.unwrap().unwrap().webhooks.is_empty());
    for unknown in ["", "App-Key", "app-key ", "' OR 1=1 --", "\0", "é\u{1f600}"] {
        assert!(apps.find_by_key(unknown).await.unwrap().is_none(), "{unknown:?}");
    }
}

/// The columns that its app manager creates and that a worker looks at, and the nested record that it writes.
#[tokio::test]
async fn sockudos_table_is_read() {
    let table = table();
    let policy = format!(r#"{{"limits":{{"max_connections":1}},"webhooks":{HOOKS}}}"#);
    run(&format!(
        "CREATE TABLE {table} (id varchar(255) PRIMARY KEY, key varchar(255) UNIQUE NOT NULL, \
         secret varchar(255) NOT NULL, enabled boolean NOT NULL, policy jsonb, webhooks jsonb, allowed_origins jsonb); \
         INSERT INTO {table} VALUES ('i', 'app-key', 's', true, '{policy}', 'null', 'null'), \
         ('j', 'flat', 's', true, NULL, '{HOOKS}', NULL)"
    ))
    .await;
    for key in ["app-key", "flat"] {
        let app = open(&table).find_by_key(key).await.unwrap().unwrap();
        assert_eq!(app.webhooks[0].target, Target::Http("http://h/".into()), "{key}");
    }
}

#[tokio::test]
async fn every_shape_of_column_is_read() {
    for columns in [
        "id int, \"key\" text, secret text, webhooks text, enabled boolean",
        "id uuid, \"key\" varchar(9), secret char(1), webhooks jsonb, \"maxConnections\" numeric(10,2)",
        "id bigint, \"key\" name, secret varchar(5), webhooks json, max_connections float8",
        "id numeric(10,2), \"AppKey\" text, \"AppSecret\" text, \"Webhooks\" text, \"Enabled\" text",
        "app_id text, app_key text, app_secret text, webhooks text, enabled bit",
        "\"appId\" text, \"appKey\" text, \"appSecret\" text, webhooks text, enabled date",
    ] {
        let id =
            if columns.starts_with("id uuid") { "'00000000-0000-0000-0000-000000000007'" } else { "'7'" };
        reads(columns, &format!("{id}, 'k', 's', '{HOOKS}', NULL")).await;
    }
    // A JSON column that holds the list as text, as programs write it that encode for themselves.
    let encoded = serde_json::to_string(HOOKS).unwrap();
    reads("id int, \"key\" text, secret text, webhooks jsonb", &format!("7, 'k', 's', '{encoded}'")).await;
    reads("id int, \"key\" int, secret text, webhooks text", &format!("7, 4711, 's', '{HOOKS}'")).await;
    let uuid = "'00000000-0000-0000-0000-000000004711'";
    reads("id int, \"key\" uuid, secret text, webhooks text", &format!("7, {uuid}, 's', '{HOOKS}'")).await;
}

#[tokio::test]
async fn a_table_in_a_schema_and_one_with_an_odd_name_are_read_and_nothing_of_a_name_is_sql() {
    let schema = table();
    run(&format!("CREATE SCHEMA {schema}")).await;
    for (sql, name) in [
        (format!("{schema}.apps"), format!("{schema}.apps")),
        (format!("{schema}.\"my \"\"apps; DROP\""), format!("{schema}.my \"apps; DROP")),
    ] {
        put(&sql, "app-key", HOOKS).await;
        assert!(open(&name).find_by_key("app-key").await.unwrap().is_some(), "{name}");
    }
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_told_and_takes_no_other_app_with_it() {
    let table = table();
    run(&format!("CREATE TABLE {table} (id text, \"key\" text, secret text, webhooks text)")).await;
    run(&format!(
        "INSERT INTO {table} VALUES ('1', 'bad', 'hush', '[{{hush'), ('2', 'empty', NULL, '[]'), ('3', 'k', 's', '[]')"
    ))
    .await;
    let apps = open(&table);
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
async fn tls_is_used_where_it_is_offered_and_checked_where_an_authority_is_named() {
    let table = table();
    put(&table, "app-key", HOOKS).await;
    let asks = async |username: &str, tls: Tls| {
        let apps = Postgres::new(&server().table(&table, username, tls), DEADLINE);
        apps.find_by_key("app-key").await.map(|app| app.is_some())
    };
    // The server lets `encrypted` in by TLS alone, and `plain` without it alone.
    for tls in [Tls::Prefer, Tls::Require, Tls::Verify(Some(authority()))] {
        assert_eq!(asks("encrypted", tls.clone()).await, Ok(true), "{tls:?}");
        assert!(asks("plain", tls).await.is_err());
    }
    assert_eq!(asks("plain", Tls::Off).await, Ok(true));
    assert!(asks("encrypted", Tls::Off).await.is_err());
    let another = tempfile::NamedTempFile::new().unwrap();
    let failure = asks("encrypted", Tls::Verify(Some(another.path().into()))).await.unwrap_err();
    assert!(failure.to_string().contains("DB_POSTGRES_CA_FILE"), "{failure}");
    let by_name = Sql {
        host: "localhost".into(),
        ..server().table(&table, "encrypted", Tls::Verify(Some(authority())))
    };
    let failure = Postgres::new(&by_name, DEADLINE).find_by_key("k").await.unwrap_err();
    assert!(failure.to_string().contains("DB_POSTGRES_CA_FILE"), "not the certificate's host: {failure}");

    run("ALTER SYSTEM SET ssl = off").await;
    run("SELECT pg_reload_conf()").await;
    let plain = async || {
        // A reload takes the server a moment.
        while asks("plain", Tls::Prefer).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let offered_none = tokio::time::timeout(Duration::from_secs(20), plain()).await;
    let required = asks("plain", Tls::Require).await;
    // Back by a restart of what was written before.
    server().stop().await;
    reset_ssl().await;
    offered_none.expect("plain where the server offers no TLS");
    assert!(required.unwrap_err().to_string().contains("TLS"));
}

/// The server refuses `encrypted` while TLS is off: `plain` turns it on again.
async fn reset_ssl() {
    server().start(&[]).await;
    let options = PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(server().port().parse().unwrap())
        .username("plain")
        .password(PASSWORD)
        .database("main")
        .ssl_mode(PgSslMode::Disable);
    let mut connection = PgConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql("ALTER SYSTEM RESET ssl").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    server().stop().await;
    server().start(&[]).await;
}

#[tokio::test]
async fn every_failure_names_what_to_check_and_never_the_password() {
    let sound = server().table("apps", "encrypted", Tls::Prefer);
    let nobody_listens = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for (settings, says) in [
        (Sql { port: nobody_listens, ..sound.clone() }, "DB_POSTGRES_PORT"),
        (Sql { host: "nowhere.invalid".into(), ..sound.clone() }, "DB_POSTGRES_HOST"),
        (Sql { password: "wrong-hush".to_owned().into(), ..sound.clone() }, "DB_POSTGRES_PASSWORD"),
        (Sql { database: "nowhere".into(), ..sound.clone() }, "DB_POSTGRES_DATABASE"),
        (Sql { table: "nowhere".parse().unwrap(), ..sound.clone() }, "APP_MANAGER_POSTGRES_TABLE"),
        (Sql { table: "pg_class".parse().unwrap(), ..sound.clone() }, "soketi's table of apps"),
    ] {
        let failure = Postgres::new(&settings, Duration::from_secs(1)).find_by_key("k").await.unwrap_err();
        assert!(matches!(failure, LookUpError::Unreachable(_)), "{failure:?}");
        let text = failure.to_string();
        assert!(text.contains(says) && text.contains("PostgreSQL at "), "{text}");
        assert!(!text.contains("hush") && !text.contains(PASSWORD), "{text}");
    }
}

fn source(table: &str) -> Source<'static> {
    let server = server();
    let variables = vec![
        ("APP_MANAGER_DRIVER", "postgres".to_owned()),
        ("DB_POSTGRES_HOST", "127.0.0.1".to_owned()),
        ("DB_POSTGRES_PORT", server.port().to_owned()),
        ("DB_POSTGRES_USERNAME", "encrypted".to_owned()),
        ("DB_POSTGRES_PASSWORD", PASSWORD.to_owned()),
        ("APP_MANAGER_POSTGRES_TABLE", table.to_owned()),
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
