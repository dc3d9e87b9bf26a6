//! The queries behind the lists: filters, orders, words.
//!
//! Every list goes on from a place, never from a number of rows to skip: the ten-thousandth page costs what the first one costs.

use std::sync::{Arc, PoisonError};

use dora::Rollout;
use model::{Timestamp, event::Outcome};
use projections::{MAX_PAGE, ReadError, ReceiptFilter, ReleaseFilter, ReleaseList, ReleaseRow, SortBy, StoreSize};
use sqlx::{QueryBuilder, Row as _, Sqlite, sqlite::SqliteRow};

use crate::{
    SqliteStore,
    fold::outcome,
    log_store::index,
    read_model::{failed, store},
};

/// Rollouts that metrics are computed from: ten a minute for a week. Of more, the newest count.
const MAX_ROLLOUTS: i64 = 100_000;
/// So many receipts in a row may stand later in the log than their times say (written down after a crash, or at once with others), and a list
/// by time still finds all.
const LATE: u32 = 1_000;
/// Words of one search; more are not looked at.
const MAX_WORDS: usize = 8;
/// Characters of a word; the longest that is stored is an id of 80.
const MAX_WORD: usize = 80;
/// Digits from which a word may be the beginning of a digest: pages show so many. It may be a word all the same.
const MIN_DIGITS: usize = 4;
/// Letters from which a word may be the beginning of a state.
const MIN_STATE: usize = 4;
/// The rollouts in memory begin so much before what was asked for, so that the next question finds them there.
const EARLIER_MS: i64 = 60 * 60 * 1000;

/// Rollouts read last, as long as no other has ended.
pub(crate) struct ReadRollouts {
    last: Option<i64>,
    since: Timestamp,
    rollouts: Arc<Vec<Rollout>>,
}

/// The conditions of a filter, without its place.
fn releases_where(query: &mut QueryBuilder<Sqlite>, filter: &ReleaseFilter) {
    if let Some(service) = &filter.service {
        query.push(" AND service = ").push_bind(service.as_str().to_owned());
    }
    if let Some(state) = &filter.state {
        query.push(" AND state = ").push_bind(state.clone());
    }
    if let Some(environment) = &filter.environment {
        query.push(" AND environment = ").push_bind(environment.as_str().to_owned());
    }
    if let Some(actor) = &filter.actor {
        query.push(" AND actor = ").push_bind(actor.as_str().to_owned());
    }
    if let Some(from) = filter.from {
        query.push(" AND started >= ").push_bind(from.as_millis());
    }
    if let Some(before) = filter.before {
        query.push(" AND started < ").push_bind(before.as_millis());
    }
    let Some(text) = filter.text.as_deref().map(str::trim).filter(|text| !text.is_empty()) else { return };
    let digest = digest_prefix(text);
    query.push(" AND (");
    match &digest {
        Some((prefix, end)) => {
            // One past the last that begins so: the digits are ASCII.
            query.push("(digest >= ").push_bind(prefix.clone());
            query.push(" AND digest < ").push_bind(format!("{prefix}~"));
            if !end.is_empty() {
                query.push(" AND digest LIKE ").push_bind(format!("%{end}"));
            }
            query.push(")");
        }
        None => {
            query.push("false");
        }
    }
    if text.len() >= MIN_STATE && text.bytes().all(|b| b.is_ascii_alphabetic() || b == b' ' || b == b'-') {
        let state = text.to_ascii_lowercase().replace(' ', "-");
        query.push(" OR state LIKE ").push_bind(format!("{state}%"));
    }
    if let Some(words) = match_words(text) {
        query
            .push(" OR seq IN (SELECT rowid FROM p_release_text WHERE p_release_text MATCH ")
            .push_bind(words)
            .push(")");
    }
    query.push(")");
}

/// `sha256:4f2c…` or its digits alone, as digests are stored; and how it ends, when it was typed as pages show it: `4f2c…be19`.
fn digest_prefix(text: &str) -> Option<(String, String)> {
    let named = text.strip_prefix("sha256:");
    let digits = named.unwrap_or(text);
    let (digits, end) = digits.split_once('…').or_else(|| digits.split_once("...")).unwrap_or((digits, ""));
    let enough = if named.is_some() { 1 } else { MIN_DIGITS };
    let is = (enough..=64).contains(&digits.len()) && end.len() <= 64;
    let is = is && digits.bytes().chain(end.bytes()).all(|b| b.is_ascii_hexdigit());
    is.then(|| (format!("sha256:{}", digits.to_ascii_lowercase()), end.to_ascii_lowercase()))
}

/// In the language of the text index: each word, as something that begins so. Everything is quoted, so that nothing of what a person
/// types is an operator there. `None` when there is no letter or digit to look for.
fn match_words(text: &str) -> Option<String> {
    let words = text.split_whitespace().filter(|word| word.chars().any(char::is_alphanumeric)).take(MAX_WORDS);
    let quoted: Vec<String> = words
        .map(|word| format!("\"{}\"*", word.chars().take(MAX_WORD).collect::<String>().replace('"', "\"\"")))
        .collect();
    (!quoted.is_empty()).then(|| quoted.join(" "))
}

fn column(by: SortBy) -> &'static str {
    match by {
        SortBy::Started => "started",
        SortBy::Took => "took",
        SortBy::Exposed => "exposed",
        SortBy::Energy => "joules",
    }
}

/// The list of releases, as one statement.
fn releases_query(filter: &ReleaseFilter) -> QueryBuilder<Sqlite> {
    let mut query: QueryBuilder<Sqlite> = QueryBuilder::new("SELECT row FROM p_release WHERE true");
    releases_where(&mut query, filter);
    let (column, by) = (column(filter.sort.by), filter.sort.by);
    let (beyond, order) = if filter.sort.ascending { (">", "ASC") } else { ("<", "DESC") };
    if let Some(place) = &filter.after {
        query.push(format!(" AND ({column}, id) {beyond} ("));
        match by {
            SortBy::Energy => query.push_bind(place.value),
            // Whole numbers of their columns, and far below what the cast could not hold.
            _ => query.push_bind(place.value as i64),
        };
        query.push(", ").push_bind(place.id.as_str().to_owned()).push(")");
    }
    query.push(format!(" ORDER BY {column} {order}, id {order} LIMIT {}", page(filter.limit)));
    query
}

/// The columns of a receipt in a list; the conditions follow.
pub(crate) const RECEIPT_COLUMNS: &str = "SELECT e.idx, e.bytes, n.hash, r.kind, r.actor, r.time, r.release";
/// Where they are.
pub(crate) const RECEIPT_TABLES: &str =
    " FROM p_receipt r JOIN entry e ON e.idx = r.idx LEFT JOIN node n ON n.id = r.idx WHERE true";

/// The list of receipts, as one statement.
pub(crate) fn receipts_query(filter: &ReceiptFilter) -> QueryBuilder<Sqlite> {
    let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(RECEIPT_COLUMNS);
    query.push(RECEIPT_TABLES);
    if let Some(release) = &filter.release {
        query.push(" AND r.release = ").push_bind(release.as_str().to_owned());
    }
    if let Some(kind) = filter.kind {
        query.push(" AND r.kind = ").push_bind(kind.as_str());
    }
    if let Some(actor) = &filter.actor {
        query.push(" AND r.actor = ").push_bind(actor.as_str().to_owned());
    }
    if let Some(subject) = &filter.subject {
        query.push(" AND r.idx IN (SELECT idx FROM p_subject WHERE subject = ");
        query.push_bind(subject.as_str().to_owned()).push(")");
    }
    let place = |index: u64| i64::try_from(index).unwrap_or(i64::MAX);
    if let Some(before) = filter.before {
        query.push(" AND r.idx < ").push_bind(place(before));
    }
    if let Some(least) = filter.least {
        query.push(" AND r.idx >= ").push_bind(place(least));
    }
    // The log runs with time but for receipts that were written late, so the least and the greatest index of the first and the last ones
    // of a range bound it; the times themselves are held against the range after that, by the rows and not by the index of times (`+`),
    // which would have all of them sorted first.
    if let Some(from) = filter.from {
        query.push(" AND r.idx >= coalesce((SELECT min(idx) FROM (SELECT idx FROM p_receipt WHERE time >= ");
        query.push_bind(from.as_millis());
        query.push(format!(" ORDER BY time, idx LIMIT {LATE})), 9223372036854775807) AND +r.time >= "));
        query.push_bind(from.as_millis());
    }
    if let Some(until) = filter.until {
        query.push(" AND r.idx <= coalesce((SELECT max(idx) FROM (SELECT idx FROM p_receipt WHERE time < ");
        query.push_bind(until.as_millis());
        query.push(format!(" ORDER BY time DESC, idx DESC LIMIT {LATE})), -1) AND +r.time < "));
        query.push_bind(until.as_millis());
    }
    query.push(format!(" ORDER BY r.idx DESC LIMIT {}", page(filter.limit)));
    query
}

/// Rows of a page. It stands in the statement as a number: one that is bound has SQLite prepare the statement again for each value.
fn page(limit: u32) -> u32 {
    limit.clamp(1, MAX_PAGE)
}

impl SqliteStore {
    pub(crate) async fn list_releases(&self, filter: &ReleaseFilter) -> Result<Vec<ReleaseRow>, ReadError> {
        let rows: Vec<String> =
            releases_query(filter).build_query_scalar().fetch_all(&self.inner.readers).await.map_err(store)?;
        rows.iter().map(|json| release_row(json)).collect()
    }

    pub(crate) async fn list_with_number(&self, filter: &ReleaseFilter) -> Result<ReleaseList, ReadError> {
        // One transaction is one snapshot: rows, number and index belong together.
        let mut transaction = self.inner.readers.begin().await.map_err(store)?;
        let cursor = sqlx::query("SELECT next FROM p_cursor").fetch_one(&mut *transaction).await.map_err(store)?;
        let mut count: QueryBuilder<Sqlite> = QueryBuilder::new("SELECT count(*) FROM p_release WHERE true");
        releases_where(&mut count, filter);
        let count = count.build().fetch_one(&mut *transaction).await.map_err(store)?;
        let rows: Vec<String> =
            releases_query(filter).build_query_scalar().fetch_all(&mut *transaction).await.map_err(store)?;
        transaction.rollback().await.map_err(store)?;
        Ok(ReleaseList {
            rows: rows.iter().map(|json| release_row(json)).collect::<Result<_, _>>()?,
            of: index(&count, 0).map_err(failed)?,
            as_of: index(&cursor, 0).map_err(failed)?.checked_sub(1),
        })
    }

    pub(crate) async fn ended_since(&self, since: Timestamp) -> Result<Arc<Vec<Rollout>>, ReadError> {
        let last: Option<i64> =
            sqlx::query_scalar("SELECT max(idx) FROM p_rollout").fetch_one(&self.inner.readers).await.map_err(store)?;
        let kept = || self.inner.rollouts.lock().unwrap_or_else(PoisonError::into_inner);
        let near =
            |read: &ReadRollouts| read.last == last && read.since <= since && since.since(read.since) <= 2 * EARLIER_MS;
        if let Some(rollouts) = kept().as_ref().filter(|read| near(read)).map(|read| read.rollouts.clone()) {
            return Ok(rollouts);
        }
        let since = since.plus_millis(-EARLIER_MS);
        let rows = sqlx::query(
            "SELECT idx, release, service, environment, version, ended, outcome, restore_ms FROM p_rollout
             WHERE ended >= ?1 AND idx <= ?2 ORDER BY idx DESC LIMIT ?3",
        )
        .bind(since.as_millis())
        .bind(last.unwrap_or(-1))
        .bind(MAX_ROLLOUTS)
        .fetch_all(&self.inner.readers)
        .await
        .map_err(store)?;
        let rollouts = rows.iter().rev().map(rollout).collect::<Result<Vec<_>, _>>()?;
        let rollouts = Arc::new(rollouts);
        *kept() = Some(ReadRollouts { last, since, rollouts: rollouts.clone() });
        Ok(rollouts)
    }

    pub(crate) async fn stored(&self) -> Result<StoreSize, ReadError> {
        let row = sqlx::query("SELECT (SELECT next FROM p_cursor), (SELECT count(*) FROM p_release)")
            .fetch_one(&self.inner.readers)
            .await
            .map_err(store)?;
        let on_disk = |suffix: &str| {
            let mut path = self.path().as_os_str().to_owned();
            path.push(suffix);
            std::fs::metadata(path).map_or(0, |file| file.len())
        };
        Ok(StoreSize {
            receipts: index(&row, 0).map_err(failed)?,
            releases: index(&row, 1).map_err(failed)?,
            bytes: on_disk("") + on_disk("-wal"),
        })
    }
}

pub(crate) fn release_row(json: &str) -> Result<ReleaseRow, ReadError> {
    serde_json::from_str(json).map_err(|error| ReadError::Damaged(error.to_string()))
}

fn rollout(row: &SqliteRow) -> Result<Rollout, ReadError> {
    let text = |column| row.try_get::<String, _>(column).map_err(store);
    let damaged = |why: String| ReadError::Damaged(format!("a stored rollout: {why}"));
    let unreadable = |error: model::ParseError| damaged(error.to_string());
    let word = text(6)?;
    let outcomes = [Outcome::Promoted, Outcome::Aborted, Outcome::RolledBack];
    Ok(Rollout {
        receipt: index(row, 0).map_err(failed)?,
        release: text(1)?.parse().map_err(unreadable)?,
        service: text(2)?.parse().map_err(unreadable)?,
        environment: text(3)?.parse().map_err(unreadable)?,
        version: text(4)?.parse().map_err(unreadable)?,
        ended: Timestamp::from_millis(row.try_get(5).map_err(store)?),
        outcome: outcomes
            .into_iter()
            .find(|known| outcome(*known) == word)
            .ok_or_else(|| damaged(format!("{word:?} is no outcome")))?,
        restore_ms: row.try_get(7).map_err(store)?,
    })
}

#[cfg(test)]
mod tests {
    use projections::{Place, ReleaseSort};

    use super::*;

    #[test]
    fn what_people_type_is_quoted() {
        for (typed, asked) in [
            ("checkout", Some("\"checkout\"*")),
            ("  v2026.05  dana ", Some("\"v2026.05\"* \"dana\"*")),
            ("a\" OR \"b", Some("\"a\"\"\"* \"OR\"* \"\"\"b\"*")),
            ("- * \"", None),
            ("", None),
        ] {
            assert_eq!(match_words(typed).as_deref(), asked, "{typed}");
        }
        let long = "x".repeat(500);
        assert!(match_words(&long).unwrap().len() < 100);
    }

    /// How SQLite goes about it, one line a step.
    async fn plan(store: &SqliteStore, sql: &str) -> String {
        let explained = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
        let rows = sqlx::query(explained).fetch_all(&store.inner.readers).await.unwrap();
        rows.iter().map(|row| row.get::<String, _>("detail")).collect::<Vec<_>>().join("\n")
    }

    #[tokio::test]
    async fn no_list_sorts_or_reads_all_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path()).await.unwrap();
        let all = ReleaseFilter { limit: 50, ..Default::default() };
        let after = Some(Place { value: 1.0, id: "a-1".parse().unwrap() });
        let took = ReleaseSort { by: SortBy::Took, ascending: false };
        for (filter, index) in [
            (all.clone(), "p_release_started"),
            (ReleaseFilter { after: after.clone(), ..all.clone() }, "p_release_started"),
            (ReleaseFilter { sort: took, after, ..all.clone() }, "p_release_took"),
            (ReleaseFilter { state: Some("aborted".to_owned()), ..all.clone() }, "p_release_state"),
            (ReleaseFilter { service: Some("a".parse().unwrap()), ..all.clone() }, "p_release_service"),
            (ReleaseFilter { environment: Some("a".parse().unwrap()), ..all.clone() }, "p_release_environment"),
            (ReleaseFilter { actor: Some("a".parse().unwrap()), ..all.clone() }, "p_release_actor"),
        ] {
            let plan = plan(&store, releases_query(&filter).sql().as_str()).await;
            assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{filter:?}: {plan}");
        }
        let all = ReceiptFilter { limit: 50, ..Default::default() };
        let at = Some(Timestamp::from_millis(0));
        for (filter, index) in [
            (all.clone(), "r"),
            (ReceiptFilter { before: Some(9), least: Some(3), ..all.clone() }, "r USING INTEGER PRIMARY KEY"),
            (ReceiptFilter { from: at, until: at, ..all.clone() }, "r USING INTEGER PRIMARY KEY"),
            (ReceiptFilter { kind: Some(model::Kind::CanaryStepped), ..all.clone() }, "p_receipt_kind"),
            (ReceiptFilter { actor: Some("a".parse().unwrap()), ..all.clone() }, "p_receipt_actor"),
            (ReceiptFilter { release: Some("a-1".parse().unwrap()), ..all.clone() }, "p_receipt_release"),
        ] {
            let plan = plan(&store, receipts_query(&filter).sql().as_str()).await;
            assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{filter:?}: {plan}");
        }
    }

    #[test]
    fn digests_are_told_from_words() {
        for (typed, prefix) in [
            ("sha256:4f", Some(("sha256:4f", ""))),
            ("4F2C00", Some(("sha256:4f2c00", ""))),
            ("4f2c", Some(("sha256:4f2c", ""))),
            ("4f2c…BE19", Some(("sha256:4f2c", "be19"))),
            ("sha256:4f2c...be19", Some(("sha256:4f2c", "be19"))),
            ("4f2", None),
            ("4f2c…xy", None),
            ("4f2c…%", None),
            ("checkout", None),
            ("sha256:", None),
            ("sha256:xyz", None),
        ] {
            let found = digest_prefix(typed);
            let found = found.as_ref().map(|(prefix, end)| (prefix.as_str(), end.as_str()));
            assert_eq!(found, prefix, "{typed}");
        }
    }
}
