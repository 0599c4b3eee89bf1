//! What docs/budgets-postgres.md says of the schema and of rights, held against a gate.

use super::{HOUR, Postgres, database, process, query, take};

use lychgate::budget::{Config, End, Past, PastEnd, Refused};
use lychgate::client::Roots;
use lychgate::clock::Clock;
use lychgate::policy::Attributes;
use std::fs;

/// What a database has in the schema: columns, then indexes.
const SHAPE: &str = "
SELECT concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull)
FROM pg_attribute a WHERE a.attrelid = 'lychgate.budget_units'::regclass AND a.attnum > 0
UNION ALL
SELECT pg_get_indexdef(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
WHERE c.relnamespace = 'lychgate'::regnamespace
UNION ALL
SELECT concat_ws(' ', c.relkind, c.relname) FROM pg_class c
WHERE c.relnamespace = 'lychgate'::regnamespace
ORDER BY 1";

/// The commands of the page.
fn documented() -> String {
    let page = include_str!("../../../../docs/budgets-postgres.md");
    let (_, block) = page.split_once("```sql\n").unwrap();
    block.split_once("```").unwrap().0.to_owned()
}

async fn shape(postgres: &Postgres, database: &str) -> Vec<String> {
    let client = postgres.client_of(database).await.unwrap();
    client.query(SHAPE, &[]).await.unwrap().iter().map(|it| it.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_has_the_schema_and_the_rights_that_a_gate_needs() {
    let Some((postgres, directory)) = database().await else { return };
    let file = directory.path().join("url");
    let config = Config { file: file.clone(), roots: Roots::Nobody };

    // A gate that may make it makes what the page says.
    config.check().await.unwrap();
    let client = postgres.client().await.unwrap();
    client.batch_execute("CREATE ROLE dba").await.unwrap();
    client.batch_execute("CREATE DATABASE made").await.unwrap();
    let client = postgres.client_of("made").await.unwrap();
    client.batch_execute(&documented()).await.unwrap();
    assert_eq!(shape(&postgres, "made").await, shape(&postgres, "postgres").await);

    // A gate that may not finds it and needs no more.
    fs::write(&file, postgres.url_of("gate", "made")).unwrap();
    config.check().await.unwrap();
    let now = Clock::system().now();
    let past = Past {
        seq: 1,
        unit: None,
        query: query("eve"),
        attributes: Attributes::default(),
        end: PastEnd::Kept(now),
    };
    let (budgets, room) = process(&file, "a", HOUR, &[past]).await;
    take(&budgets, &room, "alice").await.unwrap().end(End::Kept);
    take(&budgets, &room, "alice").await.unwrap().end(End::GivenBack);
    budgets.flush().await;
    let text = "SELECT count(*) FROM lychgate.budget_units
                WHERE budget = 'person' AND counts_from <= clock_timestamp()";
    assert_eq!(client.query_one(text, &[]).await.unwrap().get::<_, i64>(0), 2);
    assert!(budgets.is_there());

    // It needs each of them.
    for right in ["USAGE ON SCHEMA lychgate"].into_iter().map(str::to_owned).chain(
        ["SELECT", "INSERT", "UPDATE", "DELETE"].map(|it| format!("{it} ON lychgate.budget_units")),
    ) {
        client.batch_execute(&format!("REVOKE {right} FROM gate")).await.unwrap();
        let error = config.check().await.unwrap_err().to_string();
        assert!(error.contains("permission denied"), "{right}: {error}");
        client.batch_execute(&format!("GRANT {right} TO gate")).await.unwrap();
    }
    config.check().await.unwrap();
    client.batch_execute("REVOKE INSERT ON lychgate.budget_units FROM gate").await.unwrap();
    assert_eq!(take(&budgets, &room, "bob").await.err(), Some(Refused::Away));
}
