//! Databases and schemas of their own.

use selvedge_postgres_server::{TestDatabase, TestSchema, execute_sql};

#[test]
fn each_database_is_empty_and_its_own() {
    let (Some(one), Some(two)) = (TestDatabase::fresh(), TestDatabase::fresh()) else { return };
    assert_ne!(one.url(), two.url());
    one.execute("CREATE TABLE things AS SELECT 1 AS thing");
    assert_eq!(one.execute("SELECT current_database()"), one.name());
    assert_eq!(one.execute("SELECT thing FROM things"), "1");
    let count = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(two.execute(count), "0");
}

#[test]
fn a_database_ends_with_its_value() {
    let Some(database) = TestDatabase::fresh() else { return };
    let Some(other) = TestDatabase::fresh() else { return };
    let url = database.url();
    drop(database);
    let exists = || execute_sql(&url, &["SELECT 1"]).is_ok();
    for _ in 0..500 {
        if !exists() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("{url} still exists, beside {}", other.url());
}

#[test]
fn each_schema_has_a_name_of_its_own_and_does_not_exist_yet() {
    let (Some(one), Some(two)) = (TestSchema::fresh(), TestSchema::fresh()) else { return };
    assert_ne!(one.name(), two.name());
    for schema in [&one, &two] {
        schema.execute(&format!("CREATE SCHEMA {}", schema.name()));
        schema.execute(&format!("CREATE TABLE {}.things (thing int)", schema.name()));
    }
}

/// A store may promise what survives a crash only if its server writes to the disk.
#[test]
fn the_shared_server_is_durable() {
    let Some(schema) = TestSchema::fresh() else { return };
    for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
        assert_eq!(schema.execute(&format!("SHOW {setting}")), "on", "{setting}");
    }
}
