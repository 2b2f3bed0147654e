//! Creating and updating the tables, the status of a store, and settings that a server cannot fulfil.

use std::sync::Arc;

use selvedge_postgres_server::PostgresServer;
use selvedge_protocol::{CwdFilter, Durability, HistoryMode, ThreadMetadataPatch, ThreadQuery};
use selvedge_thread_store::{MetadataOrigin, StoreError, ThreadLookup, ThreadReader, ThreadStore};
use selvedge_thread_store_conformance::fixtures::{id, record};
use selvedge_thread_store_conformance::{RunOptions, run};
use selvedge_thread_store_postgres::{PostgresThreadStore, SchemaState};
use sqlx::migrate::{MigrateError, Migrator};

use crate::place::{PostgresPlace, new_place, new_restartable_place, new_schema, options_of};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_processes_create_the_tables_at_once() {
    let place = PostgresPlace::new(new_schema());
    assert_eq!(PostgresThreadStore::status(&place.options).await.unwrap().schema, SchemaState::Missing);
    let error = PostgresThreadStore::connect(&place.options).await.unwrap_err();
    assert!(error.to_string().contains("has no tables"), "{error}");
    let migrations = (0..10).map(|_| {
        let options = place.options.clone();
        tokio::spawn(async move { PostgresThreadStore::migrate(&options).await.unwrap() })
    });
    for migration in migrations.collect::<Vec<_>>() {
        assert!(matches!(migration.await.unwrap(), SchemaState::Current { .. }));
    }
    let status = PostgresThreadStore::status(&place.options).await.unwrap();
    assert!(matches!(status.schema, SchemaState::Current { .. }));
    assert!(status.is_synced);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_program_stops_at_newer_tables() {
    let place = new_place().await;
    place.schema.execute(&place.sql(
        "INSERT INTO @._sqlx_migrations (version, description, success, checksum, execution_time)
        VALUES (9999, 'of the future', true, '\\x00', 0)",
    ));
    for outcome in [
        PostgresThreadStore::connect(&place.options).await.map(drop),
        PostgresThreadStore::migrate(&place.options).await.map(drop),
    ] {
        let error = outcome.unwrap_err();
        assert!(error.to_string().contains("version 9999, which is newer than this program"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_the_first_version_are_updated() {
    let place = PostgresPlace::new(new_schema());
    let all = sqlx::migrate!();
    let first = Migrator { migrations: all.migrations[..1].to_vec().into(), ..Migrator::DEFAULT };
    let mut connection = place.connection().await;
    for statement in ["CREATE SCHEMA @", "SET search_path TO @"] {
        sqlx::query(&place.sql(statement)).execute(&mut connection).await.unwrap();
    }
    first.run_direct(&mut connection).await.unwrap();
    // Threads as a program of that version stored them: the rows of a store of today, as far as there were columns.
    let today = new_place().await;
    let store = today.open().await;
    for number in 1..=3 {
        record(&store, number, HistoryMode::Paginated, &["a"]).await;
    }
    let name = ThreadMetadataPatch { name: Some(Some("named".into())), ..ThreadMetadataPatch::default() };
    store.update_thread_metadata(id(2), &name, MetadataOrigin::Explicit).await.unwrap();
    for table in ["threads", "segments", "lines", "segment_owners"] {
        let columns = place.schema.execute(&place.sql(&format!(
            "SELECT string_agg(attname, ', ') FROM pg_attribute WHERE attrelid = '@.{table}'::regclass AND attnum > 0"
        )));
        let rows = format!("INSERT INTO @.{table} ({columns}) SELECT {columns} FROM {}.{table}", today.options.schema);
        place.schema.execute(&place.sql(&rows));
    }
    place.schema.execute(&place.sql(&format!(
        "UPDATE @.threads SET record_version = 1; UPDATE @.threads SET namespace = '{0}'; UPDATE @.segments SET namespace = '{0}';
        UPDATE @.lines SET namespace = '{0}'; UPDATE @.segment_owners SET namespace = '{0}'",
        place.options.namespace
    )));

    let older = SchemaState::Older { version: 1, needed: all.migrations.last().unwrap().version };
    assert_eq!(PostgresThreadStore::status(&place.options).await.unwrap().schema, older);
    let error = PostgresThreadStore::connect(&place.options).await.unwrap_err();
    assert!(error.to_string().contains("update them with `selvedge store migrate`"), "{error}");

    PostgresThreadStore::migrate(&place.options).await.unwrap();
    let updated = PostgresThreadStore::connect(&place.options).await.unwrap();
    let missing = place.sql("SELECT count(*) FROM @.threads WHERE record_version <> 2 OR record_updated_at IS NULL");
    assert_eq!(place.schema.execute(&missing), "0");
    let in_project = vec![CwdFilter::Exactly("/srv/project/".into())];
    let query = ThreadQuery { limit: 2, cwd: in_project, ..ThreadQuery::default() };
    assert_eq!(updated.list_threads(&query).await.unwrap(), store.list_threads(&query).await.unwrap());
    assert_eq!(updated.find_threads(&ThreadLookup::Name("named".into())).await.unwrap(), [id(2)]);
    assert_eq!(updated.load_history(id(3)).await.unwrap(), store.load_history(id(3)).await.unwrap());
    // A program with the first version only does not touch the tables any more.
    let outcome = first.run_direct(&mut connection).await;
    assert!(matches!(outcome, Err(MigrateError::VersionMissing(2))), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_counts_namespaces_and_tries_extras() {
    let place = new_place().await;
    let other = PostgresPlace::new(Arc::clone(&place.schema));
    record(&place.open().await, 1, HistoryMode::Paginated, &["a"]).await;
    for number in 1..3 {
        record(&other.open().await, number, HistoryMode::Paginated, &["a"]).await;
    }
    let status = PostgresThreadStore::status(&place.options).await.unwrap();
    let mut counts = vec![(place.options.namespace.clone(), 1), (other.options.namespace.clone(), 2)];
    counts.sort();
    assert_eq!((status.threads, status.namespaces), (1, counts));
    assert!(status.extras.notifications && status.extras.advisory_locks);
    assert_eq!((status.synchronous_commit.as_deref(), status.fsync.as_deref()), (Some("on"), Some("on")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_fsync_cannot_sync() {
    for setting in ["synchronous_commit", "fsync"] {
        let Some(server) = PostgresServer::start(&[(setting, "off")]) else { return };
        let mut options = options_of(&server.url(), "");
        PostgresThreadStore::migrate(&options).await.unwrap();
        assert!(!PostgresThreadStore::status(&options).await.unwrap().is_synced);
        PostgresThreadStore::connect(&options).await.unwrap();
        options.durability = Durability::Synced;
        let error = PostgresThreadStore::connect(&options).await.unwrap_err();
        assert!(matches!(error, StoreError::Unsupported { .. }), "{setting}: {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_the_server_changes_no_answer() {
    let only = vec!["reopened.after-a-restart".to_owned()];
    let report = run(new_restartable_place, &RunOptions { only, ..RunOptions::default() }).await;
    assert_eq!((report.counts().passed, report.rules.len()), (1, 1), "{report}");
}

#[tokio::test]
async fn no_error_has_the_password() {
    let options = options_of("postgres://anna:s3cret@127.0.0.1:1/none", "connect_timeout=0.3");
    let error = PostgresThreadStore::connect(&options).await.unwrap_err();
    let mut text = format!("{error} {error:?}");
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    assert!(!text.contains("s3cret"), "{text}");
}
