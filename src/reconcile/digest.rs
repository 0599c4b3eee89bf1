//! Is the trail whole? Where the audit service writes digests, they say so for every hour; else the
//! hours of its records and of its file names do.

use super::Window;
use super::field::utc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// How many digests are read; a year of one stream has 8784.
const DIGESTS_MAX: usize = 100_000;

/// How far the end of a digest and the beginning of the next may be apart.
const SEAM: SignedDuration = SignedDuration::from_secs(1);

const HOUR: i64 = 3600;

/// A file that lists files and their sums: what was transferred in one hour.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Digest {
    #[serde(default)]
    project_id: String,
    digest_start_time: String,
    digest_end_time: String,
    digest_object: String,
    #[serde(default)]
    previous_digest_object: Option<String>,
    #[serde(default)]
    previous_digest_hash_value: Option<String>,
    #[serde(default)]
    previous_digest_hash_algorithm: Option<String>,
    #[serde(default)]
    log_files: Option<Vec<Listed>>,
}

#[derive(Clone, Debug, Deserialize)]
struct Listed {
    object: String,
    log_hash_value: String,
    log_hash_algorithm: String,
}

/// A time in which something may have happened that the trail does not have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Gap {
    /// Its beginning; `None` if the time is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Before then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// What is missing.
    pub why: String,
}

impl Gap {
    pub(super) fn because(why: impl Into<String>) -> Self {
        Self { since: None, until: None, why: why.into() }
    }

    pub(super) fn between(since: Timestamp, until: Timestamp, why: impl Into<String>) -> Self {
        Self { since: Some(since), until: Some(until), why: why.into() }
    }
}

/// The evidence that the trail is whole.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    digests: Vec<Digest>,
    /// The MD5 sums of the files that were read, by the last part of their names.
    sums: HashMap<String, Vec<String>>,
    /// Hours since 1970 in which something is known to have been written.
    hours: BTreeSet<i64>,
    /// Pages of list calls: those that name a next one, and last ones.
    pub(super) pages: (u64, u64),
}

impl Evidence {
    /// Notes that the trail has something of `time`.
    pub(super) fn wrote(&mut self, time: Timestamp) {
        self.hours.insert(time.as_second().div_euclid(HOUR));
    }

    /// Notes a file that was read to its end, with the MD5 of its bytes.
    pub(super) fn read(&mut self, name: &str, md5: String) {
        let name = last_part(name);
        if let Some(time) = name.split(['_', '.']).find_map(utc) {
            self.wrote(time);
        }
        self.sums.entry(name.to_owned()).or_default().push(md5);
    }

    /// Takes a digest; `false` if it is one too many.
    pub(super) fn take(&mut self, digest: Digest) -> bool {
        self.digests.push(digest);
        self.digests.len() <= DIGESTS_MAX
    }

    /// How many digests there are.
    pub(super) fn digests(&self) -> usize {
        self.digests.len()
    }

    /// What is missing in `window`; `complete` says that hours without a record were quiet.
    pub(super) fn gaps(&self, window: &Window, complete: bool) -> Vec<Gap> {
        let mut res = BTreeSet::new();
        if 0 < self.pages.0 && self.pages.1 == 0 {
            res.insert(Gap::because("answers of the list call, and the last page is missing"));
        }
        for digest in &self.digests {
            self.check(digest, window, &mut res);
        }
        if !self.digests.is_empty() {
            self.check_streams(window, &mut res);
        } else if !complete {
            self.check_hours(window, &mut res);
        }
        res.into_iter().collect()
    }

    /// Whether the files that a digest lists are there, unchanged.
    fn check(&self, digest: &Digest, window: &Window, gaps: &mut BTreeSet<Gap>) {
        let Some((since, until)) = digest.span() else {
            let why = format!("the digest {}: its times cannot be read", digest.digest_object);
            gaps.insert(Gap::because(why));
            return;
        };
        if until <= window.since || window.settled() <= since {
            return;
        }
        for it in digest.log_files.iter().flatten() {
            if let Some(fault) = self.fault(&it.object, &it.log_hash_algorithm, &it.log_hash_value)
            {
                gaps.insert(Gap::between(since, until, format!("{}: {fault}", it.object)));
            }
        }
        let previous = [
            &digest.previous_digest_object,
            &digest.previous_digest_hash_algorithm,
            &digest.previous_digest_hash_value,
        ];
        // In the first digest these are empty. A digest before the window may be missing.
        if let [Some(object), Some(algorithm), Some(value)] = previous
            && !object.is_empty()
            && self.sums.contains_key(last_part(object))
            && let Some(fault) = self.fault(object, algorithm, value)
        {
            gaps.insert(Gap::between(since, until, format!("the digest {object}: {fault}")));
        }
    }

    fn fault(&self, object: &str, algorithm: &str, value: &str) -> Option<&'static str> {
        if !algorithm.eq_ignore_ascii_case("MD5") {
            return Some("its sum is of a kind that is not known here");
        }
        match self.sums.get(last_part(object)) {
            None => Some("the file is missing"),
            Some(sums) if sums.iter().any(|it| it.eq_ignore_ascii_case(value)) => None,
            Some(_) => Some("the file is not the one that was written"),
        }
    }

    /// Whether every stream has a digest of every hour.
    fn check_streams(&self, window: &Window, gaps: &mut BTreeSet<Gap>) {
        let mut streams: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for it in self.digests.iter().filter(|it| it.is_of_modelarts()) {
            streams.entry((&it.project_id, it.directory())).or_default().extend(it.span());
        }
        if streams.is_empty() {
            gaps.insert(Gap::because("there are digests, and none of ModelArts"));
        }
        for ((project, directory), mut spans) in streams {
            let mut missing = |since, until| {
                let why = format!("no digest of project {project} in {directory}");
                gaps.insert(Gap::between(since, until, why));
            };
            spans.sort_unstable();
            let mut covered = window.since;
            for (since, until) in spans {
                if window.settled() <= since {
                    break;
                }
                if SEAM < since.duration_since(covered) {
                    missing(covered, since);
                }
                covered = covered.max(until);
            }
            if covered < window.settled() {
                missing(covered, window.settled());
            }
        }
    }

    /// Whether something was written in every hour; hours without are joined.
    fn check_hours(&self, window: &Window, gaps: &mut BTreeSet<Gap>) {
        let end = window.until.as_second();
        let mut hour = window.since.as_second().div_euclid(HOUR);
        let why = "nothing was written in this time, and no digest says that it was quiet";
        // From one hour with a record to the next, however many lie between.
        while hour * HOUR < end {
            let next = self.hours.range(hour..).next().copied().unwrap_or(i64::MAX);
            let until = next.saturating_mul(HOUR).min(end);
            if hour < next
                && let Ok(since) = Timestamp::from_second(hour * HOUR)
                && let Ok(until) = Timestamp::from_second(until)
            {
                gaps.insert(Gap::between(since.max(window.since), until, why));
            }
            hour = next.saturating_add(1).min(i64::MAX / HOUR);
        }
    }
}

impl Digest {
    fn span(&self) -> Option<(Timestamp, Timestamp)> {
        Some((utc(&self.digest_start_time)?, utc(&self.digest_end_time)?))
    }

    /// The directories of the object, without those of the day: one per region, tracker and service.
    fn directory(&self) -> String {
        let (directory, _) = self.digest_object.rsplit_once('/').unwrap_or_default();
        let parts = directory.split('/').filter(|it| it.parse::<u32>().is_err());
        parts.filter(|it| !it.is_empty()).collect::<Vec<_>>().join("/")
    }

    /// Whether it can be about ModelArts: `…/Digest/<service>/…`, or no service at all.
    fn is_of_modelarts(&self) -> bool {
        let directory = self.directory();
        let mut parts = directory.split('/').skip_while(|it| *it != "Digest");
        let service = parts.nth(1).filter(|it| !it.contains("CloudTrace-Digest"));
        service.is_none_or(|it| it.to_ascii_lowercase().contains("modelarts"))
    }
}

fn last_part(object: &str) -> &str {
    object.rsplit('/').next().unwrap_or(object)
}
