//! Whether tests on PostgreSQL can run here. The output of this test is always shown (see `.config/nextest.toml`).

use selvedge_postgres_server::{TestSchema, skip_reason};

#[test]
fn tests_on_postgresql_run_or_say_why_not() {
    let schema = TestSchema::fresh();
    assert_eq!(schema.is_none(), skip_reason().is_some());
}
