//! What is done in the database while nobody waits for it.

use super::sql::{self, Row};
use super::{AGAIN, End, KEEP, Store};

use crate::policy;

use deadpool_postgres::ClientWrapper;
use std::mem;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, sleep};

/// How often to look whether the database is there, and how much of the budgets is used.
const LOOK: Duration = Duration::from_secs(5);

/// One look in this many also removes what has left every window.
const PURGE: u32 = 12;

/// The most ends of units in one transaction.
const ENDS_MAX: usize = 500;

/// For the keeper.
#[derive(Debug)]
pub(super) enum Message {
    End(Arc<str>, End),
    Compare(Comparison),
    Flush(oneshot::Sender<()>),
}

/// The past of a version, to be compared with the rows.
#[derive(Debug)]
pub(super) struct Comparison {
    pub(super) budgets: Arc<policy::Budgets>,
    pub(super) rows: Vec<Row>,
    /// Nothing is at work.
    pub(super) starting: bool,
    pub(super) done: oneshot::Sender<()>,
}

/// One task does everything that nobody waits for, in the order in which it came.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) store: Store,
    pub(super) inbox: mpsc::UnboundedReceiver<Message>,
}

impl Keeper {
    pub(super) async fn run(self) {
        let Self { store, mut inbox } = self;
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut shown, mut looked) = (None, 0_u32);
        let mut messages = Vec::new();
        loop {
            tokio::select! {
                _ = inbox.recv_many(&mut messages, ENDS_MAX) => {
                    let mut ends = Vec::new();
                    for message in messages.drain(..) {
                        match message {
                            Message::End(unit, end) => ends.push((unit, end)),
                            Message::Compare(comparison) => {
                                store.end(&mem::take(&mut ends)).await;
                                shown = Some(Arc::clone(&comparison.budgets));
                                store.compare(comparison).await;
                            }
                            Message::Flush(done) => {
                                store.end(&mem::take(&mut ends)).await;
                                let _ = done.send(());
                            }
                        }
                    }
                    store.end(&ends).await;
                }
                _ = looks.tick() => {
                    store.look(shown.as_deref(), looked.is_multiple_of(PURGE)).await;
                    looked = looked.wrapping_add(1);
                }
            }
        }
    }
}

impl Store {
    /// Ends units, as often as it takes: what is not done would count too long.
    async fn end(&self, ends: &[(Arc<str>, End)]) {
        let of = |given_back| {
            let ends = ends.iter().filter(move |(_, end)| (*end == End::GivenBack) == given_back);
            ends.map(|(unit, _)| &**unit).collect::<Vec<&str>>()
        };
        let (kept, given_back) = (of(false), of(true));
        while !ends.is_empty() {
            let ended = async |it: &ClientWrapper| sql::end(it, &kept, &given_back).await;
            if self.run(KEEP, ended).await.is_ok() {
                return;
            }
            sleep(AGAIN).await;
        }
    }

    async fn compare(&self, comparison: Comparison) {
        let Comparison { budgets, rows, starting, done } = comparison;
        loop {
            let compared = async |it: &ClientWrapper| {
                sql::compare(it, &self.0.holder, &budgets, &rows, starting).await
            };
            if self.run(KEEP, compared).await.is_ok() {
                break;
            }
            sleep(AGAIN).await;
        }
        self.0.comparing.fetch_sub(1, Ordering::AcqRel);
        let _ = done.send(());
    }

    async fn look(&self, shown: Option<&policy::Budgets>, purge: bool) {
        if purge && self.run(KEEP, async |it: &ClientWrapper| sql::purge(it).await).await.is_err() {
            return;
        }
        let Some(budgets) = shown else { return };
        if let Ok(uses) =
            self.run(KEEP, async |it: &ClientWrapper| sql::uses(it, budgets).await).await
        {
            *self.0.uses.lock().unwrap_or_else(PoisonError::into_inner) = uses;
        }
    }
}
