//! Reads the audit trail, file after file, and keeps the events about training jobs.

use super::calls::Deed;
use super::digest::{Digest, Evidence};
use super::field::User;
use super::frame::{Records, Unreadable};
use super::{Count, Window, field};
use crate::object::Object;

use data_encoding::HEXLOWER;
use flate2::bufread::MultiGzDecoder;
use jiff::Timestamp;
use md5::{Digest as _, Md5};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::{BTreeSet, HashSet};
use std::io;
use std::io::{BufRead, BufReader, Read};
use std::rc::Rc;

/// How many events of training jobs are kept; some 200 bytes each.
pub const EVENTS_MAX: usize = 4_000_000;

/// How much one compressed file may hold, in bytes; the audit service starts a new one every few
/// minutes.
pub const INFLATED_BYTES_MAX: u64 = 1 << 30;

/// How much of a file is read at once, in bytes.
const BUFFER_BYTES: usize = 128 * 1024;

/// How a file that is compressed begins (RFC 1952, 2.3.1).
const GZIP: &[u8] = &[0x1f, 0x8b];

/// What was read of the trail.
#[derive(Debug)]
pub struct Trail {
    pub(super) window: Window,
    pub(super) events: Vec<Event>,
    /// Each once.
    origins: HashSet<Rc<Origin>>,
    pub(super) evidence: Evidence,
    pub(super) count: Count,
    /// Only events of these projects; of all, if empty.
    projects: BTreeSet<String>,
    /// [`INFLATED_BYTES_MAX`], but in tests.
    pub(super) inflated_bytes_max: u64,
}

/// Something that happened to a job, or to something that contains jobs.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) deed: Deed,
    /// The job or whatever it was; nothing where the trace does not say.
    pub(super) subject: Option<Box<str>>,
    pub(super) time: Timestamp,
    pub(super) success: bool,
    pub(super) request_id: Option<Box<str>>,
    pub(super) trace_id: Option<Box<str>>,
    pub(super) origin: Rc<Origin>,
}

/// Where a call came from; many events share one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    pub(super) name: String,
    pub(super) project: Option<String>,
    pub(super) user: User,
    pub(super) source_ip: Option<String>,
    pub(super) trace_type: Option<String>,
}

/// One trace, an answer of the list call (`traces`), what a function is handed (`cts`), or a digest.
#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow, default)]
    code: Option<&'a RawValue>,
    #[serde(borrow, default)]
    cts: Option<&'a RawValue>,
    #[serde(borrow, default)]
    digest_object: Option<&'a RawValue>,
    #[serde(borrow, default)]
    meta_data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    project_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    record_time: Option<&'a RawValue>,
    #[serde(borrow, default)]
    request: Option<&'a RawValue>,
    #[serde(borrow, default)]
    request_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    resource_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    resource_name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    resource_type: Option<&'a RawValue>,
    #[serde(borrow, default)]
    resource_url: Option<&'a RawValue>,
    #[serde(borrow, default)]
    source_ip: Option<&'a RawValue>,
    #[serde(borrow, default)]
    time: Option<&'a RawValue>,
    #[serde(borrow, default)]
    trace_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    trace_name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    trace_rating: Option<&'a RawValue>,
    /// The same; a record may have both.
    #[serde(borrow, default)]
    trace_status: Option<&'a RawValue>,
    #[serde(borrow, default)]
    trace_type: Option<&'a RawValue>,
    #[serde(borrow, default)]
    traces: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    user: Option<&'a RawValue>,
}

impl Trail {
    /// An empty trail for `window`. With `projects`, events that name another project are skipped.
    #[must_use]
    pub fn new(window: Window, projects: BTreeSet<String>) -> Self {
        Self {
            window,
            events: Vec::new(),
            origins: HashSet::new(),
            evidence: Evidence::default(),
            count: Count::default(),
            projects,
            inflated_bytes_max: INFLATED_BYTES_MAX,
        }
    }

    /// Reads one file, compressed or not, to its end. Records that cannot be read are counted.
    ///
    /// # Errors
    /// It cannot be read to its end; what came before counts, and the trail is not whole.
    pub fn read(&mut self, name: &str, file: impl Read) -> Result<(), Unreadable> {
        self.count.files += 1;
        let mut file = BufReader::with_capacity(BUFFER_BYTES, Summed { file, md5: Md5::new() });
        let read = if file.fill_buf()?.starts_with(GZIP) {
            let mut inflated = MultiGzDecoder::new(&mut file).take(self.inflated_bytes_max + 1);
            let read = self.records(BufReader::with_capacity(BUFFER_BYTES, &mut inflated));
            match inflated.limit() {
                0 => Err(Unreadable::Io(io::Error::other(
                    "it inflates to more than a file of the trail can hold",
                ))),
                _ => read,
            }
        } else {
            self.records(&mut file)
        };
        if read.is_err() {
            self.count.unreadable_files += 1;
            return read;
        }
        let md5 = file.into_inner().md5.finalize();
        let md5 = HEXLOWER.encode(&md5);
        self.evidence.read(name, md5);
        Ok(())
    }

    fn records(&mut self, reader: impl BufRead) -> Result<(), Unreadable> {
        let mut records = Records::new(reader);
        while let Some(record) = records.next()? {
            self.record(record, true)?;
        }
        Ok(())
    }

    fn record(&mut self, text: &[u8], outermost: bool) -> Result<(), Unreadable> {
        let Ok(raw) = serde_json::from_slice::<Raw<'_>>(text) else {
            return self.unreadable();
        };
        if let Some(traces) = raw.traces.as_ref().filter(|_| outermost) {
            self.page(raw.meta_data);
            return traces.iter().try_for_each(|it| self.record(it.get().as_bytes(), false));
        }
        if let Some(trace) = raw.cts.filter(|_| outermost) {
            return self.record(trace.get().as_bytes(), false);
        }
        if raw.digest_object.is_some() {
            return match serde_json::from_slice::<Digest>(text) {
                Ok(digest) => {
                    let fits = self.evidence.take(digest);
                    if fits { Ok(()) } else { Err(Unreadable::TooMuch) }
                }
                Err(_) => self.unreadable(),
            };
        }
        self.count.records += 1;
        let time = field::time(raw.time).or_else(|| field::time(raw.record_time));
        let (Some(name), Some(time)) = (field::kept(raw.trace_name), time) else {
            return self.unreadable();
        };
        self.evidence.wrote(time);
        let resource = field::text(raw.resource_type).unwrap_or_default();
        match Deed::of(&name, &resource) {
            Some(deed) => self.event(deed, name, time, &raw),
            None => {
                self.count.other += 1;
                Ok(())
            }
        }
    }

    fn shared(&mut self, origin: Origin) -> Rc<Origin> {
        if let Some(it) = self.origins.get(&origin) {
            return Rc::clone(it);
        }
        let origin = Rc::new(origin);
        self.origins.insert(Rc::clone(&origin));
        origin
    }

    fn unreadable(&mut self) -> Result<(), Unreadable> {
        self.count.unreadable += 1;
        Ok(())
    }

    /// Notes whether a page of a list call says that another one follows, or cannot be understood.
    fn page(&mut self, meta_data: Option<&RawValue>) {
        #[derive(Deserialize)]
        struct MetaData<'a> {
            #[serde(borrow, default)]
            marker: Option<&'a RawValue>,
        }
        let is_some = |it: Object<MetaData<'_>>| it.0.marker.is_some_and(|it| it.get() != r#""""#);
        let goes_on = |it: &RawValue| serde_json::from_str(it.get()).map_or(true, is_some);
        match meta_data.is_some_and(goes_on) {
            true => self.evidence.pages.0 += 1,
            false => self.evidence.pages.1 += 1,
        }
    }

    fn event(
        &mut self,
        deed: Deed,
        name: String,
        time: Timestamp,
        raw: &Raw<'_>,
    ) -> Result<(), Unreadable> {
        let project = field::kept(raw.project_id);
        let is_ours = |it: &String| self.projects.is_empty() || self.projects.contains(it);
        if !self.window.may_matter(time) || !project.as_ref().is_none_or(is_ours) {
            self.count.outside += 1;
            return Ok(());
        }
        let Ok(mut jobs) = field::jobs(raw.resource_id, raw.request, raw.resource_url) else {
            return self.unreadable();
        };
        if deed == Deed::Other {
            // A workspace, an experiment, a job of the old generation: whatever names it.
            jobs.truncate(1);
            if jobs.is_empty() {
                jobs.extend(field::kept(raw.resource_name));
            }
        }
        let origin = self.shared(Origin {
            name,
            project,
            user: User::of(raw.user),
            source_ip: field::kept(raw.source_ip),
            trace_type: field::kept(raw.trace_type),
        });
        let boxed = |it: Option<String>| it.map(String::into_boxed_str);
        let event = |subject: Option<String>| Event {
            deed,
            subject: boxed(subject),
            time,
            success: raw.succeeded(),
            request_id: boxed(field::kept(raw.request_id)),
            trace_id: boxed(field::kept(raw.trace_id)),
            origin: Rc::clone(&origin),
        };
        if jobs.is_empty() {
            self.events.push(event(None));
        }
        self.events.extend(jobs.into_iter().map(|it| event(Some(it))));
        if EVENTS_MAX < self.events.len() { Err(Unreadable::TooMuch) } else { Ok(()) }
    }
}

impl Origin {
    /// Whether the trace is of this type.
    pub(super) fn is(&self, trace_type: &str) -> bool {
        self.trace_type.as_deref().is_some_and(|it| it.eq_ignore_ascii_case(trace_type))
    }
}

impl Raw<'_> {
    /// Whether it succeeded; only a rating or an HTTP status that says otherwise makes it a failure.
    fn succeeded(&self) -> bool {
        let failed =
            |it: &str| ["warning", "incident"].iter().any(|no| it.eq_ignore_ascii_case(no));
        let rating = field::text(self.trace_rating).or_else(|| field::text(self.trace_status));
        let code = field::text(self.code).and_then(|it| it.parse::<u16>().ok());
        !rating.is_some_and(|it| failed(&it)) && code.is_none_or(|it| !(300..600).contains(&it))
    }
}

/// A reader that computes the MD5 of what is read.
struct Summed<R> {
    file: R,
    md5: Md5,
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(to)?;
        self.md5.update(to.get(..read).unwrap_or_default());
        Ok(read)
    }
}
