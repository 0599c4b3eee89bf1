//! The statements for the database.

use crate::budget::{SENT_WITHIN, Spent, Use};
use crate::policy::{self, Budget, Charge};

use aws_lc_rs::digest;
use deadpool_postgres::ClientWrapper;
use futures_util::future::try_join_all;
use jiff::{SignedDuration, Timestamp};
use std::error::Error as _;
use std::fmt::Write;
use std::sync::Arc;
use tokio_postgres::Error;
use tokio_postgres::types::ToSql;

/// Makes what is missing. Several processes do so at once, hence the lock.
const SCHEMA: &str = "
BEGIN;
SELECT pg_advisory_xact_lock(7812365401226513217);
CREATE SCHEMA IF NOT EXISTS lychgate;
CREATE TABLE IF NOT EXISTS lychgate.budget_units (
    unit text NOT NULL,
    budget text NOT NULL,
    scope text NOT NULL,
    key text NOT NULL,
    holder text NOT NULL,
    counts_from timestamptz NOT NULL,
    leaves timestamptz NOT NULL,
    PRIMARY KEY (budget, scope, key, unit)
);
CREATE INDEX IF NOT EXISTS budget_units_counts_from
    ON lychgate.budget_units (budget, scope, key, counts_from);
CREATE INDEX IF NOT EXISTS budget_units_unit ON lychgate.budget_units (unit);
CREATE INDEX IF NOT EXISTS budget_units_holder ON lychgate.budget_units (holder);
CREATE INDEX IF NOT EXISTS budget_units_leaves ON lychgate.budget_units (leaves);
COMMIT;";

/// Whether the table is there. Who made it need not be who uses it.
const EXISTS: &str = "SELECT to_regclass('lychgate.budget_units') IS NOT NULL";

/// Changes nothing, but needs every right that the statements below need.
const PROBE: &str = "
SELECT unit FROM lychgate.budget_units WHERE false;
INSERT INTO lychgate.budget_units SELECT * FROM lychgate.budget_units WHERE false;
UPDATE lychgate.budget_units SET unit = unit WHERE false;
DELETE FROM lychgate.budget_units WHERE false;";

/// What a commit confirms is on stable storage, whatever the server's default, and each statement
/// sees what was committed before it.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED;
SET LOCAL synchronous_commit TO on;";

/// A row, unless the limit is reached: unit, budget, scope, key, holder, SENT_WITHIN, within, limit.
const TAKE: &str = "
INSERT INTO lychgate.budget_units (unit, budget, scope, key, holder, counts_from, leaves)
SELECT $1, $2, $3, $4, $5, t.now + $6 * interval '1 second',
    t.now + ($6 + $7) * interval '1 second'
FROM (SELECT clock_timestamp() AS now) AS t
WHERE (
    SELECT count(*) FROM lychgate.budget_units
    WHERE budget = $2 AND scope = $3 AND key = $4
        AND counts_from > t.now - $7 * interval '1 second'
) < $8";

/// Now, and from when on the row counts that must leave first: budget, scope, key, limit - 1.
const ROOM: &str = "
SELECT extract(epoch FROM clock_timestamp())::float8, (
    SELECT extract(epoch FROM counts_from)::float8 FROM lychgate.budget_units
    WHERE budget = $1 AND scope = $2 AND key = $3
    ORDER BY counts_from DESC OFFSET $4 LIMIT 1
)";

/// Rows whose work has ended and that count on.
const KEEP: &str = "
UPDATE lychgate.budget_units
SET counts_from = least(counts_from, clock_timestamp()),
    leaves = least(counts_from, clock_timestamp()) + (leaves - counts_from)
WHERE unit = ANY($1)";

const GIVE_BACK: &str = "DELETE FROM lychgate.budget_units WHERE unit = ANY($1)";

const PURGE: &str = "DELETE FROM lychgate.budget_units WHERE leaves < clock_timestamp()";

/// Rows of a holder that its ledger does not know: budget, scope, holder, units of the ledger.
const FORGET: &str = "
DELETE FROM lychgate.budget_units
WHERE budget = $1 AND scope = $2 AND holder = $3 AND NOT unit = ANY($4)";

/// Rows that the ledger knows, at its time: budget, scope, holder, within, units, keys, ages.
const RECALL: &str = "
INSERT INTO lychgate.budget_units (unit, budget, scope, key, holder, counts_from, leaves)
SELECT u.unit, $1, $2, u.key, $3, t.now - u.age * interval '1 second',
    t.now + ($4 - u.age) * interval '1 second'
FROM unnest($5::text[], $6::text[], $7::float8[]) AS u (unit, key, age),
    (SELECT clock_timestamp() AS now) AS t
WHERE u.age < $4
ON CONFLICT (budget, scope, key, unit) DO UPDATE
SET counts_from = least(budget_units.counts_from, excluded.counts_from),
    leaves = least(budget_units.leaves, excluded.leaves)";

/// How much of a budget is used: budget, scope, within.
const USES: &str = "
SELECT key, count(*) FROM lychgate.budget_units
WHERE budget = $1 AND scope = $2 AND counts_from > clock_timestamp() - $3 * interval '1 second'
GROUP BY key ORDER BY key";

/// One delete of the past that counts.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) unit: String,
    /// The budget's place in the list.
    pub(super) budget: usize,
    pub(super) key: String,
    /// For how long it has counted, in seconds.
    pub(super) age: f64,
}

/// Makes the table if it is missing, and tries what it is needed for.
pub(super) async fn prepare(client: &ClientWrapper) -> Result<(), Error> {
    if !client.query_one(EXISTS, &[]).await?.try_get::<_, bool>(0)? {
        client.batch_execute(SCHEMA).await?;
    }
    client.batch_execute(PROBE).await
}

/// Takes a row of each of `charges`, or says which budget has no room.
pub(super) async fn take(
    client: &ClientWrapper,
    holder: &str,
    unit: &str,
    charges: &[Charge<'_>],
) -> Result<Result<(), Spent>, Error> {
    // A request that is refused anyway need not wait for the others.
    if let Some(spent) = spent(client, charges).await? {
        return Ok(Err(spent));
    }
    let mut begin = BEGIN.to_owned();
    let mut locks: Vec<_> = charges.iter().map(lock).collect();
    // In one order, or two requests wait for each other.
    locks.sort_unstable();
    for it in locks {
        // Writing into a String cannot fail.
        let _ = write!(begin, "SELECT pg_advisory_xact_lock({it});");
    }
    client.batch_execute(&begin).await?;
    let statement = client.prepare_cached(TAKE).await?;
    let sent = seconds(SENT_WITHIN);
    let taken = try_join_all(charges.iter().map(async |it| {
        let (name, scope, key) = named(it);
        let (within, limit) = (seconds(it.budget.within()), i64::from(it.budget.share()));
        let values: [&(dyn ToSql + Sync); 8] =
            [&unit, &name, &scope, &key, &holder, &sent, &within, &limit];
        client.execute(&statement, &values).await
    }));
    if taken.await?.iter().all(|rows| *rows == 1) {
        client.batch_execute("COMMIT").await?;
        return Ok(Ok(()));
    }
    client.batch_execute("ROLLBACK").await?;
    // If there is room again this very moment, the next attempt finds it.
    Ok(Err(match spent(client, charges).await? {
        Some(spent) => spent,
        None => return Box::pin(take(client, holder, unit, charges)).await,
    }))
}

/// The budget that stands in the way; of several, the one that has room last.
async fn spent(client: &ClientWrapper, charges: &[Charge<'_>]) -> Result<Option<Spent>, Error> {
    let statement = client.prepare_cached(ROOM).await?;
    let spent = try_join_all(charges.iter().map(async |it| {
        let ((name, scope, key), budget) = (named(it), it.budget);
        let last = i64::from(budget.share()) - 1;
        let row = client.query_one(&statement, &[&name, &scope, &key, &last]).await?;
        let now = time(row.try_get(0)?);
        let Some(counts_from) = row.try_get::<_, Option<f64>>(1)?.map(time) else {
            return Ok(None);
        };
        let full = now.duration_since(counts_from) < budget.within();
        Ok::<_, Error>(full.then(|| {
            Spent {
                budget: Arc::clone(budget.name()),
                key: Arc::from(key),
                limit: budget.share(),
                within: budget.within(),
                // A row whose time is in the future is at work.
                room_at: (counts_from <= now)
                    .then(|| counts_from.checked_add(budget.within()).ok())
                    .flatten(),
                now,
            }
        }))
    }));
    Ok(spent.await?.into_iter().flatten().max_by_key(|it| it.room_at))
}

/// Units that have ended.
pub(super) async fn end(
    client: &ClientWrapper,
    kept: &[&str],
    given_back: &[&str],
) -> Result<(), Error> {
    client.batch_execute(BEGIN).await?;
    let statement = client.prepare_cached(KEEP).await?;
    client.execute(&statement, &[&kept]).await?;
    let statement = client.prepare_cached(GIVE_BACK).await?;
    client.execute(&statement, &[&given_back]).await?;
    client.batch_execute("COMMIT").await
}

/// Makes the rows of `holder` what its ledger says. Only at its start, when nothing of it is at
/// work, are rows removed that the ledger does not know.
pub(super) async fn compare(
    client: &ClientWrapper,
    holder: &str,
    budgets: &policy::Budgets,
    rows: &[Row],
    starting: bool,
) -> Result<(), Error> {
    prepare(client).await?;
    client.batch_execute(BEGIN).await?;
    for (number, budget) in budgets.iter().enumerate() {
        let (name, scope) = (&**budget.name(), budget.scope());
        let within = seconds(budget.within());
        // What has left its window is no longer known: a row left undated would count on.
        let of_budget = || rows.iter().filter(|it| it.budget == number && it.age < within);
        let units: Vec<_> = of_budget().map(|it| it.unit.as_str()).collect();
        if starting {
            client.execute(FORGET, &[&name, &scope, &holder, &units]).await?;
        }
        let keys: Vec<_> = of_budget().map(|it| it.key.as_str()).collect();
        let ages: Vec<_> = of_budget().map(|it| it.age).collect();
        let values: [&(dyn ToSql + Sync); 7] =
            [&name, &scope, &holder, &within, &units, &keys, &ages];
        client.execute(RECALL, &values).await?;
    }
    client.batch_execute("COMMIT").await
}

/// Removes what has left every window.
pub(super) async fn purge(client: &ClientWrapper) -> Result<(), Error> {
    prepare(client).await?;
    client.execute(PURGE, &[]).await.map(|_| ())
}

/// How much of each of `budgets` is used.
pub(super) async fn uses(
    client: &ClientWrapper,
    budgets: &policy::Budgets,
) -> Result<Vec<Use>, Error> {
    let mut res = Vec::new();
    let statement = client.prepare_cached(USES).await?;
    for budget in budgets.iter() {
        let (name, scope) = (&**budget.name(), budget.scope());
        let rows = client.query(&statement, &[&name, &scope, &seconds(budget.within())]).await?;
        for row in rows {
            let used: i64 = row.try_get(1)?;
            res.push(Use {
                budget: Arc::clone(budget.name()),
                key: Arc::from(row.try_get::<_, &str>(0)?),
                used: usize::try_from(used).unwrap_or_default(),
                limit: budget.share(),
                room_at: None,
            });
        }
    }
    Ok(res)
}

fn named<'a>(charge: &'a Charge<'_>) -> (&'a str, &'a str, &'a str) {
    let budget: &Budget = charge.budget;
    (budget.name(), budget.scope(), &charge.key)
}

/// The number under which a counter is locked. Two that have the same only wait for each other.
fn lock(charge: &Charge<'_>) -> i64 {
    let (name, scope, key) = named(charge);
    let text = format!("lychgate\0{name}\0{scope}\0{key}");
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    let first = hash.as_ref().first_chunk().copied().unwrap_or_default();
    i64::from_be_bytes(first)
}

fn seconds(it: SignedDuration) -> f64 {
    it.as_secs_f64()
}

fn time(seconds: f64) -> Timestamp {
    let since = SignedDuration::try_from_secs_f64(seconds).unwrap_or_default();
    Timestamp::from_duration(since).unwrap_or_default()
}

/// Why a statement failed. The messages of a server may hold values, but its codes do not.
pub(super) fn text(error: &Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(it), _) => format!("{} ({})", it.message(), it.code().code()),
        (None, Some(cause)) => format!("{error}: {cause}"),
        (None, None) => error.to_string(),
    }
}
