//! Compares the trail with the ledgers: each event and each delete gets its class.

use super::book::{Book, Fate, Mention, Sent};
use super::calls::Deed;
use super::digest::Gap;
use super::trail::{Event, Origin, Trail};
use super::{Class, Count, Window};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

/// How far the gate's clock and the cloud's may be apart: signatures older than that are refused.
pub const MARGIN: SignedDuration = SignedDuration::from_mins(15);

/// How long after the first the second record of an asynchronous call is still its twin.
const TWIN_WITHIN: SignedDuration = SignedDuration::from_mins(15);

/// How many earlier events of a job one event is compared with to find its twin.
const TWINS_MAX: usize = 64;

/// How long before a delete through the gate a change of the job's tags is reported.
const RETAGGED_WITHIN: SignedDuration = SignedDuration::from_hours(1);

/// The result.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The period that was compared.
    #[serde(flatten)]
    pub window: Window,
    /// How many of each class there are.
    pub classes: BTreeMap<Class, u64>,
    /// What was read.
    pub read: Count,
    /// How many decisions the ledgers hold.
    pub decisions: u64,
    /// What is missing in the trail; if anything is, there may be bypasses that it does not show.
    pub gaps: Vec<Gap>,
    /// What is worth a look, in the order of time: all classes but [`Class::Matched`].
    pub findings: Vec<Finding>,
}

/// One event, or one delete of the ledgers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it was.
    pub class: Class,
    /// When: of the event, or of the decision.
    pub time: Timestamp,
    /// The job, or what else the event is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// The event's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// The project, where the event names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Who, as the audit service names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The caller's URN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal_urn: Option<String>,
    /// The ID of the key that signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key: Option<String>,
    /// From where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_ip: Option<String>,
    /// `ApiCall`, `ConsoleAction`, `SystemAction`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_type: Option<String>,
    /// The event's own ID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The cloud's request ID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The ledger that has a record of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ledger_id: Option<String>,
    /// The decision there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// Who asked the gate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
}

/// An event with its twins.
struct Head {
    event: Event,
    /// How many records it had, without copies.
    records: usize,
}

/// How an event and a delete of the ledgers belong together, the surest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tie {
    /// They name the same request.
    Request,
    /// The gate sent it, at about the time.
    Gate,
    /// The event names nobody, at about the time.
    Time,
}

struct Join<'a> {
    trail: &'a Trail,
    book: &'a Book,
    classes: BTreeMap<Class, u64>,
    findings: Vec<Finding>,
}

/// Compares `trail` with `book`; `complete` says that the trail's hours without records were quiet.
#[must_use]
pub fn reconcile(mut trail: Trail, mut book: Book, complete: bool) -> Report {
    book.end();
    let gaps = gaps(&trail, complete);
    let mut events = std::mem::take(&mut trail.events);
    // All of one job stand together, in the order of time, copies side by side.
    events.sort_by(|a, b| {
        let by_job = a.subject.cmp(&b.subject).then_with(|| a.time.cmp(&b.time));
        by_job.then_with(|| a.trace_id.cmp(&b.trace_id))
    });
    let mut sent = std::mem::take(&mut book.sent);
    let classes = Class::ALL.into_iter().map(|it| (it, 0)).collect();
    let mut join = Join { trail: &trail, book: &book, classes, findings: Vec::new() };
    let mut folded = 0;
    let mut events = events.into_iter().peekable();
    while let Some(first) = events.next() {
        let subject = first.subject.clone();
        let mut of_job = vec![first];
        while let Some(it) = events.next_if(|it| it.subject == subject) {
            of_job.push(it);
        }
        folded += of_job.len();
        let heads = Join::fold(of_job);
        folded -= heads.len();
        let mut sent = subject.and_then(|it| sent.remove(&it)).unwrap_or_default();
        sent.sort_by_key(|it| it.at.time);
        join.job(&heads, &sent);
    }
    sent.values().flatten().for_each(|it| join.unmatched(it));
    let Join { classes, mut findings, .. } = join;
    findings.sort_by(|a, b| a.time.cmp(&b.time).then_with(|| a.job.cmp(&b.job)));
    let mut read = trail.count;
    read.folded = u64::try_from(folded).unwrap_or(u64::MAX);
    read.digests = trail.evidence.digests();
    Report { window: trail.window, classes, read, decisions: book.decisions, gaps, findings }
}

fn gaps(trail: &Trail, complete: bool) -> Vec<Gap> {
    let Window { since, until, wanted } = trail.window;
    let mut res = trail.evidence.gaps(&trail.window, complete);
    if trail.count.files == 0 {
        res.push(Gap::because("no file of the trail was found"));
    }
    if until <= since {
        res.push(Gap::because(
            "no time is left to look at: what is younger than --lateness may be late",
        ));
    } else if until < wanted {
        res.push(Gap::between(
            until,
            wanted,
            "younger than --lateness: records may be on their way",
        ));
    }
    for (count, what) in [
        (trail.count.unreadable_files, "files of the trail that cannot be read to their end"),
        (trail.count.unreadable, "records of the trail that cannot be read"),
    ] {
        if count != 0 {
            res.push(Gap::because(format!("{what}: {count}")));
        }
    }
    res
}

impl Join<'_> {
    /// Puts copies and twins together: the service delivers at least once, and writes an
    /// asynchronous call when it is asked for and again when it is done.
    fn fold(events: Vec<Event>) -> Vec<Head> {
        let mut heads: Vec<Head> = Vec::new();
        for event in events {
            let mut recent = heads.iter_mut().rev().take(TWINS_MAX);
            let found = recent.find_map(|it| Some((Self::likeness(&it.event, &event)?, it)));
            let Some((likeness, head)) = found else {
                heads.push(Head { event, records: 1 });
                continue;
            };
            head.records += usize::from(likeness == Likeness::Twin);
            head.event.success |= event.success;
            if head.event.origin.user.is_nobody() {
                head.event.origin = event.origin;
            }
            if head.event.request_id.is_none() {
                head.event.request_id = event.request_id;
            }
        }
        heads
    }

    fn likeness(a: &Event, b: &Event) -> Option<Likeness> {
        fn agree<T: PartialEq>(a: Option<&T>, b: Option<&T>) -> bool {
            a.is_none() || b.is_none() || a == b
        }
        let (from, to) = (&a.origin, &b.origin);
        let same_user = agree(from.user.name.as_ref(), to.user.name.as_ref())
            && agree(from.user.urn.as_ref(), to.user.urn.as_ref())
            && agree(from.user.access_key.as_ref(), to.user.access_key.as_ref())
            && agree(from.source_ip.as_ref(), to.source_ip.as_ref());
        if a.deed != b.deed || !same_user || !agree(a.request_id.as_ref(), b.request_id.as_ref()) {
            return None;
        }
        if a.trace_id.is_some() && a.trace_id == b.trace_id {
            return Some(Likeness::Copy);
        }
        let close = b.time.duration_since(a.time).abs() <= TWIN_WITHIN;
        // Two events that name no job may be two jobs.
        (close && a.subject.is_some()).then_some(Likeness::Twin)
    }

    /// Classifies the events of one job; `sent` is in the order of time.
    fn job(&mut self, heads: &[Head], sent: &[Sent]) {
        let mut requests: HashMap<&str, Vec<usize>> = HashMap::new();
        for (at, it) in sent.iter().enumerate() {
            if let Some(id) = &it.request_id {
                requests.entry(id).or_default().push(at);
            }
        }
        let mut of: Vec<Option<usize>> = vec![None; heads.len()];
        let mut free = vec![true; sent.len()];
        for tie in [Tie::Request, Tie::Gate, Tie::Time] {
            for (head, of) in heads.iter().zip(&mut of) {
                if of.is_none() && head.event.deed == Deed::Delete {
                    *of = self.best(tie, &head.event, (sent, &requests), &free);
                    take(&mut free, *of);
                }
            }
        }
        for (head, of) in heads.iter().zip(of) {
            let Some(it) = of.and_then(|it| sent.get(it)) else {
                self.stranger(&head.event, sent);
                continue;
            };
            self.matched(&head.event, it);
            // Deletes of a job that follow each other look like twins.
            for _ in 1..head.records {
                let twin = [Tie::Gate, Tie::Time]
                    .into_iter()
                    .find_map(|tie| self.best(tie, &head.event, (sent, &requests), &free));
                take(&mut free, twin);
                if let Some(it) = twin.and_then(|it| sent.get(it)) {
                    self.matched(&head.event, it);
                }
            }
        }
        let left = sent.iter().zip(free).filter_map(|(it, free)| free.then_some(it));
        left.for_each(|it| self.unmatched(it));
    }

    /// The delete that the event belongs to by `tie`: one whose end agrees, then the nearest. A client
    /// that repeats may have made very many, so only those are looked at that can be it.
    fn best(
        &self,
        tie: Tie,
        event: &Event,
        (sent, requests): (&[Sent], &HashMap<&str, Vec<usize>>),
        free: &[bool],
    ) -> Option<usize> {
        let (of_request, near) = match tie {
            Tie::Request => (requests.get(event.request_id.as_deref()?)?.as_slice(), 0..0),
            Tie::Gate | Tie::Time => {
                let after = |it: &Sent| it.at.time.duration_since(event.time);
                let end = sent.partition_point(|it| after(it) <= MARGIN);
                ([].as_slice(), sent.partition_point(|it| after(it) < -MARGIN)..end)
            }
        };
        let candidates = of_request
            .iter()
            .copied()
            .chain(near)
            .filter(|at| free.get(*at) == Some(&true))
            .filter_map(|at| Some((at, sent.get(at)?)))
            .filter(|(_, it)| self.is_tied(tie, event, it));
        let best = candidates.min_by_key(|(_, it)| {
            let contradicts = match it.fate {
                Fate::Accepted => !event.success,
                Fate::Refused => event.success,
                Fate::Unknown => false,
            };
            (contradicts, event.time.duration_since(it.at.time).abs())
        });
        best.map(|(at, _)| at)
    }

    fn is_tied(&self, tie: Tie, event: &Event, sent: &Sent) -> bool {
        let user = &event.origin.user;
        let close = event.time.duration_since(sent.at.time).abs() <= MARGIN;
        match tie {
            Tie::Request => event.request_id.is_some() && event.request_id == sent.request_id,
            Tie::Gate => {
                close
                    && match (&user.access_key, &sent.access_key) {
                        (Some(key), Some(sent)) => **key == **sent,
                        _ => self.book.is_gates(user),
                    }
            }
            Tie::Time => close && user.is_nobody(),
        }
    }

    fn matched(&mut self, event: &Event, sent: &Sent) {
        let class = match (sent.fate, event.success) {
            (Fate::Accepted, true) | (Fate::Refused, false) => Class::Matched,
            (Fate::Accepted, false) => Class::Failed,
            (Fate::Refused, true) => Class::Differs,
            (Fate::Unknown, _) => Class::Settled,
        };
        self.found(class, event, Some(&sent.at));
    }

    /// Classifies an event that belongs to no delete of the ledgers.
    fn stranger(&mut self, event: &Event, sent: &[Sent]) {
        let origin = &event.origin;
        let by_itself = origin.is("SystemAction") && origin.user.is_nobody();
        let denied = event.subject.as_ref().and_then(|it| self.book.denied.get(it));
        let denied =
            denied.filter(|it| event.deed == Deed::Delete && it.time <= event.time).cloned();
        let class = if event.deed == Deed::Tags {
            let later = sent.partition_point(|it| it.at.time < event.time);
            let in_time = |it: &&Sent| it.at.time.duration_since(event.time) <= RETAGGED_WITHIN;
            let mut follow = sent.iter().skip(later).take_while(in_time);
            let found = follow.find(|it| it.fate != Fate::Refused).filter(|_| event.success);
            if let Some(sent) = found {
                self.found(Class::Retagged, event, Some(&sent.at));
            }
            return;
        } else if !event.success {
            Class::Attempt
        } else if by_itself {
            Class::System
        } else if self.book.is_gates(&origin.user) {
            Class::GateKey
        } else if denied.is_some() {
            Class::DeniedHere
        } else if origin.user.console || origin.is("ConsoleAction") {
            Class::Console
        } else {
            Class::Bypass
        };
        let of = denied.filter(|_| class == Class::DeniedHere);
        self.found(class, event, of.as_ref());
    }

    fn found(&mut self, class: Class, event: &Event, of: Option<&Mention>) {
        if !self.count(class, event.time) {
            return;
        }
        let text = |it: &Option<Box<str>>| it.as_deref().map(str::to_owned);
        let Origin { name, project, user, source_ip, trace_type } = Origin::clone(&event.origin);
        self.findings.push(Finding {
            class,
            time: event.time,
            job: text(&event.subject),
            event: Some(name),
            project,
            user: user.name,
            principal_urn: user.urn,
            access_key: user.access_key,
            source_ip,
            trace_type,
            trace_id: text(&event.trace_id),
            request_id: text(&event.request_id),
            ledger_id: of.map(|it| it.ledger.to_string()),
            seq: of.map(|it| it.seq),
            principal: of.map(|it| it.principal.to_string()),
        });
    }

    /// Classifies a delete of the ledgers that has no event in the trail.
    fn unmatched(&mut self, sent: &Sent) {
        let class = match sent.fate {
            Fate::Accepted => Class::Missing,
            // The service may leave out calls that it refused.
            Fate::Refused => return,
            Fate::Unknown => Class::Unsettled,
        };
        if !sent.is_compared || !self.count(class, sent.at.time) {
            return;
        }
        let Mention { ledger, seq, time, principal } = sent.at.clone();
        self.findings.push(Finding {
            class,
            time,
            job: Some(sent.job.to_string()),
            event: None,
            project: None,
            user: None,
            principal_urn: None,
            access_key: sent.access_key.as_deref().map(str::to_owned),
            source_ip: None,
            trace_type: None,
            trace_id: None,
            request_id: sent.request_id.as_deref().map(str::to_owned),
            ledger_id: Some(ledger.to_string()),
            seq: Some(seq),
            principal: Some(principal.to_string()),
        });
    }

    /// Counts it if it is in the window; returns whether to report it.
    fn count(&mut self, class: Class, time: Timestamp) -> bool {
        if time < self.trail.window.since || self.trail.window.until <= time {
            return false;
        }
        *self.classes.entry(class).or_default() += 1;
        class != Class::Matched
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Likeness {
    /// The same record, delivered again.
    Copy,
    /// Another record of the same call.
    Twin,
}

fn take(free: &mut [bool], at: Option<usize>) {
    if let Some(free) = at.and_then(|it| free.get_mut(it)) {
        *free = false;
    }
}
