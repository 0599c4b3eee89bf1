//! The life of one request, from the listener to the ledger. It reads from top to bottom:
//! `exchange::run` → `judge` (who asks for what, and may it be?) → `carry_out` (write it down, then do
//! it).
//!
//! What holds here, and by what:
//!
//! 1. Nothing is sent without a [`Permit`], which only an evaluation makes and sending spends.
//! 2. Nothing is sent without a ledger [`Entry`], which exists only once it is on stable storage.
//! 3. Every entry gets exactly one outcome: `close` or `Drop`.
//! 4. A client that hangs up cancels nothing that was decided: from the record on the work runs in
//!    a tracked task of its own, and the handler only waits for it.

mod batch;
mod look;
mod rate;
mod resolve;
mod send;
mod shadow;
mod source;
mod spend;

pub use self::rate::{OTHERS, PRINCIPALS_MAX, Rate};
pub use self::shadow::Shadow;

use self::rate::Buckets;
use self::resolve::{Answered, Basis, Question};

use crate::attributes::{PoolWords, Resolver, Unknown};
use crate::authn::{self, Authenticator, Claimed, Peer};
use crate::budget::Budgets;
use crate::exchange::{
    self, Arrival, Asked, CameWith, Denied, Desk, Exchange, Handler, Middle, Refusal, Reply,
};
use crate::ledger::{self, Entry, Ledger, Recorded, Undecided, record};
use crate::metrics::{self, AuthMethod, Decision as Word};
use crate::policy::{Action, Attribute, Decision, Denial, Job, Method, Permit, Principal, Query};
use crate::reload::Policies;
use crate::sign;
use crate::telemetry::Stage;
use crate::upstream::{LookUpError, Upstreams};

use axum::body::Body;
use http::Response;
use http::request::Parts;
use ipnet::IpNet;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What a gateway does differently from another.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Denials name the deciding statement.
    pub named_denials: bool,
    /// What a caller who is denied is told to do.
    pub help: Option<String>,
    /// Whose `X-Forwarded-*` counts.
    pub trusted_proxies: Vec<IpNet>,
    /// How often one principal may ask.
    pub per_principal: Rate,
    /// How old looked-up attributes may be when the delete leaves.
    pub attributes_max_age: Duration,
    /// What `modelarts:poolType` is called.
    pub pool_words: PoolWords,
    /// For which jobs tombstones are written.
    pub tombstones: Tombstones,
}

/// For which accepted deletes the ledger keeps what is lost with the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tombstones {
    /// For all; the details are looked up where the policies did not ask for them.
    Always,
    /// For those whose details the policies asked for.
    LookedUp,
    /// For none.
    Off,
}

/// The parts that a gateway works with.
#[derive(Debug)]
pub struct Dependencies {
    /// What it shares with a forwarder.
    pub desk: Desk,
    /// Who asks.
    pub authenticator: Authenticator,
    /// The policies in force.
    pub policies: Policies,
    /// A candidate that is evaluated beside them.
    pub shadow: Option<Shadow>,
    /// How much may be deleted.
    pub budgets: Budgets,
    /// The clouds.
    pub upstreams: Upstreams,
    /// Where decisions are recorded.
    pub ledger: Ledger,
}

/// The enforcement point; one for all listeners.
#[derive(Debug)]
pub struct Gateway {
    settings: Settings,
    parts: Dependencies,
    resolver: Resolver,
    buckets: Buckets,
}

impl Gateway {
    /// Puts a gateway together.
    #[must_use]
    pub fn new(settings: Settings, parts: Dependencies) -> Self {
        let words = settings.pool_words.clone();
        let (metrics, clock) = (parts.desk.metrics.clone(), parts.desk.clock.clone());
        let resolver = Resolver { words, metrics, clock };
        let buckets = Buckets::new(settings.per_principal, PRINCIPALS_MAX);
        Self { settings, parts, resolver, buckets }
    }

    /// What it works with.
    #[must_use]
    pub fn parts(&self) -> &Dependencies {
        &self.parts
    }

    /// Records how many requests were refused for their rate since the last call; to be called
    /// every minute, and before the ledger is closed.
    pub fn record_suppressed(&self) {
        for (principal, refused) in self.buckets.take_refused(Instant::now()) {
            self.parts.ledger.suppressed(&principal, refused.since, refused.count);
        }
    }

    /// Records decisions as one group, in their order, and says of each what it permits or how it
    /// ends.
    async fn record(
        &self,
        exchange: &Exchange,
        judged: Vec<Answered>,
    ) -> Result<Vec<Ruling>, Refusal> {
        let shadows = shadow::beside(self.parts.shadow.as_ref(), &judged);
        let (mut decisions, mut bases) = (Vec::new(), Vec::new());
        for (it, shadow) in judged.into_iter().zip(shadows) {
            let (Answered { decision, basis }, unit, spent) = self.spend(it).await?;
            decisions.push((decision, unit, shadow));
            bases.push((basis, spent));
        }
        let id = exchange.request_id.as_str();
        let rows = decisions.into_iter().zip(&bases);
        let records = rows.map(|((decision, unit, shadow), (basis, _))| {
            let word = resolve::word(&decision, &basis.look_ups);
            self.note(exchange, &basis.question.query, word, &decision);
            let Question { query, upstream, policies, place } = &basis.question;
            ledger::Judged {
                request_id: id,
                caller_request_id: exchange.caller_request_id.as_deref(),
                trace_id: exchange.trace.trace_id(),
                peer: exchange.peer,
                upstream: &upstream.config().name,
                query,
                attributes: &basis.attributes,
                decision,
                policies,
                look_ups: &basis.look_ups,
                unit,
                batch: place.map(|(index, of)| record::Batch { id: id.into(), index, of }),
                shadow,
            }
        });
        let recording = self.parts.ledger.record_all(records.collect());
        let started = Instant::now();
        let recorded = exchange.trace.during(Stage::Record, recording).await.map_err(|error| {
            if !matches!(error, ledger::Error::Closed) {
                tracing::error!(%error, "the decision was not recorded");
            }
            match error {
                ledger::Error::Closed => Refusal::Stopping,
                ledger::Error::TooLarge => batch::too_much(bases.iter().map(|(it, _)| it)),
                _ => Refusal::Ledger,
            }
        })?;
        let recorded_in = started.elapsed();
        let ruled = recorded.into_iter().zip(bases);
        let ruled = ruled.map(|(recorded, (basis, spent))| match recorded {
            Recorded::Permitted(permit, entry) => {
                let Basis { question, attributes, known_since, mut tombstone, .. } = basis;
                if let (Some(it), Attribute::Value(tags)) = (&mut tombstone, attributes.tags) {
                    it.tags = Some(Cow::Owned(tags));
                }
                Ruling::Permitted(Permitted {
                    question,
                    permit,
                    entry,
                    known_since,
                    tombstone,
                    recorded_in,
                })
            }
            Recorded::Denied(denial) => Ruling::Ended(Err(match spent {
                Some(spent) => Refusal::OverBudget { spent, named: self.settings.named_denials },
                None => self.denied(exchange, &basis.question, denial),
            })),
            Recorded::Undecided(open) => Ruling::Ended(self.undecided(exchange, open, basis)),
        });
        Ok(ruled.collect())
    }

    /// Counts a decision, and hands it to logs and spans.
    fn note(&self, exchange: &Exchange, query: &Query, word: Word, decision: &Decision) {
        let action = match query.action {
            Action::Delete => metrics::Action::Delete,
            Action::BatchDelete => metrics::Action::BatchDelete,
            Action::Get => metrics::Action::Get,
        };
        self.parts.desk.metrics.decision(action, word);
        exchange.decided(word, decision.statement().map(ToString::to_string));
    }

    /// Records one decision, and acts on it.
    async fn delete(&self, exchange: &Exchange, judged: Answered) -> Result<Reply, Refusal> {
        match self.record(exchange, vec![judged]).await?.pop() {
            Some(Ruling::Permitted(permitted)) => self.send(exchange, permitted).await,
            Some(Ruling::Ended(ended)) => ended,
            None => Err(Refusal::Internal),
        }
    }

    fn denied(&self, exchange: &Exchange, question: &Question, denial: Denial) -> Refusal {
        let Question { query, policies, .. } = question;
        let named = self.settings.named_denials;
        Refusal::Denied(Box::new(Denied {
            principal: query.principal.id().to_owned(),
            action: query.action,
            resource: query.urn(),
            named,
            came_with: named.then(|| CameWith {
                groups: query.principal.groups().len(),
                policies: policies.attached_count(query),
            }),
            denial,
            help: self.help(exchange),
        }))
    }

    /// Ends a decision that stayed undecided. Only a caller who might have been allowed gets here,
    /// so this caller may learn that the job does not exist.
    fn undecided(
        &self,
        exchange: &Exchange,
        open: Undecided,
        basis: Basis,
    ) -> Result<Reply, Refusal> {
        let (status, request_id) = match &basis.unknown_because {
            Some(Unknown::NotFound(answer)) => {
                (Some(answer.status.as_u16()), answer.request_id().map(str::to_owned))
            }
            _ => (None, None),
        };
        open.close(status, request_id);
        self.doubtful(exchange, basis)
    }

    /// The answer to a caller who might have been allowed.
    fn doubtful(&self, exchange: &Exchange, basis: Basis) -> Result<Reply, Refusal> {
        let Basis { question: Question { query, policies, .. }, attributes, .. } = basis;
        Err(match basis.unknown_because {
            Some(Unknown::NotFound(answer)) => return Ok(Reply::Answered(*answer)),
            Some(Unknown::Failed(LookUpError::BreakerOpen | LookUpError::KeyRefused(_))) => {
                Refusal::CloudRefusesKey
            }
            Some(Unknown::Failed(LookUpError::NoCredential)) => Refusal::NoCloudCredential,
            Some(Unknown::Failed(_) | Unknown::Unreadable(_)) => Refusal::AttributesUnavailable,
            // All look-ups were answered, and the answers do not hold what the policies ask for.
            None => {
                let keys = policies.undecided(&query, &attributes);
                let listed = keys.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                tracing::warn!(undecided = listed, "undecided for good: no repeat can help");
                Refusal::Undecidable { keys, help: self.help(exchange) }
            }
        })
    }

    fn help(&self, exchange: &Exchange) -> Option<String> {
        let help = self.settings.help.as_ref()?;
        Some(format!("{help} (request ID {})", exchange.request_id))
    }
}

impl Handler for Arc<Gateway> {
    fn handle(&self, arrival: Arrival) -> impl Future<Output = Response<Body>> + Send {
        exchange::run(Self::clone(self), arrival)
    }
}

impl Middle for Gateway {
    type Work = Work;

    const OUTCOME_UNKNOWN: Refusal = Refusal::OutcomeUnknown;

    fn desk(&self) -> &Desk {
        &self.parts.desk
    }

    async fn judge(
        &self,
        exchange: &mut Exchange,
        (head, peer): (&Parts, &Peer),
        asked: Asked,
    ) -> Result<Work, Refusal> {
        let Dependencies { desk, authenticator, policies, upstreams, ledger, .. } = &self.parts;
        let project_id = asked.project_id();

        let now = desk.clock.now();
        let authenticating =
            authenticator.authenticate((head, asked.body()), project_id, peer, now);
        let authenticated = exchange.trace.during(Stage::Authenticate, authenticating).await;
        let method = auth_method(&authenticated, head);
        let principal = match authenticated {
            Ok(principal) => principal,
            Err(error) => {
                let fault = error.fault();
                exchange.facts.stranger = Some((fault, Claimed::by(head)));
                let refusal = Refusal::Identity(error);
                desk.metrics.authentication(method, Some((refusal.code(), fault)));
                return Err(refusal);
            }
        };
        desk.metrics.authentication(method, None);
        exchange.facts.principal = Some(principal.id().to_owned());
        // The rate after the identity: a rate per claimed name would let strangers use up somebody
        // else's. And before anything is looked up or written, because that is the work that the
        // rate limits.
        let count = asked.count();
        if !self.buckets.admit(principal.id(), count, Instant::now(), now) {
            return Err(Refusal::Rate);
        }

        let upstream = upstreams.for_project(project_id);
        let upstream = Arc::clone(upstream.ok_or(Refusal::ProjectNotServed)?);
        exchange.facts.upstream = Some(upstream.config().name.clone());
        // One cloud that answers slowly must not take the slots of the others.
        exchange.upstream_slot = Some(upstream.enter().ok_or(Refusal::Overloaded)?);
        // One version for the whole request: a reload must not change the rules half way, and the
        // record names the version that judged.
        let policies = policies.current().ok_or(Refusal::NoPolicies)?;
        let trusted = &self.settings.trusted_proxies;
        let (source_ip, secure_transport) = source::source(peer, &head.headers, trusted);
        let question = |job: &Arc<Job>, place| {
            let query = Query {
                principal: Arc::clone(&principal),
                action: action(&asked),
                job: Arc::clone(job),
                region: upstream.config().region.clone(),
                account: upstream.config().account.clone(),
                now,
                source_ip,
                secure_transport,
                user_agent: source::user_agent(head),
            };
            // `fits` before the look-ups: what cannot be recorded is not worth a call to the cloud. A
            // look is not recorded.
            if !matches!(asked, Asked::Get(_)) {
                ledger.fits(&query).map_err(|_| Refusal::TooMuch)?;
            }
            let (upstream, policies) = (Arc::clone(&upstream), Arc::clone(&policies));
            Ok(Question { query, upstream, policies, place })
        };
        match &asked {
            Asked::Delete(job) => {
                let judged = self.resolve(&exchange.trace, question(job, None)?).await;
                Ok(Work::Delete(Box::new(judged)))
            }
            Asked::Get(job) => {
                let looked = self.look(exchange, question(job, None)?).await?;
                Ok(Work::Looked(Box::new(looked)))
            }
            Asked::BatchDelete(batch) => {
                let questions = (0..).zip(&batch.jobs);
                let questions =
                    questions.map(|(index, it)| question(&it.job, Some((index, count))));
                let questions = questions.collect::<Result<_, Refusal>>()?;
                let judged = self.judge_all(&exchange.trace, questions).await?;
                let kinds = batch.jobs.iter().map(|it| it.kind).collect();
                Ok(Work::BatchDelete { judged, kinds })
            }
        }
    }

    /// Writes down what was decided, then acts on it.
    async fn carry_out(&self, exchange: &mut Exchange, work: Work) -> Result<Reply, Refusal> {
        match work {
            Work::Delete(judged) => self.delete(exchange, *judged).await,
            Work::Looked(reply) => Ok(*reply),
            Work::BatchDelete { judged, kinds } => self.delete_all(exchange, judged, &kinds).await,
        }
    }
}

fn action(asked: &Asked) -> Action {
    match asked {
        Asked::BatchDelete(_) => Action::BatchDelete,
        Asked::Delete(_) => Action::Delete,
        Asked::Get(_) => Action::Get,
    }
}

/// What was judged, and is to be carried out.
#[derive(Debug)]
pub(crate) enum Work {
    /// A look, which is answered already.
    Looked(Box<Reply>),
    /// Each job with the kind that the caller takes it for.
    BatchDelete {
        judged: Vec<Answered>,
        kinds: Vec<&'static str>,
    },
    Delete(Box<Answered>),
}

/// A recorded decision: what it permits, or how the request ends.
#[derive(Debug)]
enum Ruling {
    Permitted(Permitted),
    Ended(Result<Reply, Refusal>),
}

/// A recorded decision to send a delete.
#[derive(Debug)]
struct Permitted {
    question: Question,
    permit: Permit,
    entry: Entry,
    known_since: Option<Instant>,
    /// What to remember of the job.
    tombstone: Option<Box<record::Tombstone<'static>>>,
    /// How long the record took.
    recorded_in: Duration,
}

/// The method by which the caller proved who it is, or tried to.
fn auth_method(authenticated: &Result<Arc<Principal>, authn::Error>, head: &Parts) -> AuthMethod {
    let presented = || head.headers.get(http::header::AUTHORIZATION)?.to_str().ok();
    match authenticated {
        Ok(principal) => match principal.method() {
            Method::Jwt => AuthMethod::Jwt,
            Method::Key => AuthMethod::Key,
            Method::Local => AuthMethod::Local,
            Method::Mtls => AuthMethod::Mtls,
        },
        Err(authn::Error::NoCredential | authn::Error::SeveralCredentials) => AuthMethod::None,
        Err(authn::Error::Certificate(_)) => AuthMethod::Mtls,
        Err(_) if presented().is_some_and(sign::Authorization::is_signature) => AuthMethod::Key,
        Err(_) => AuthMethod::Jwt,
    }
}
