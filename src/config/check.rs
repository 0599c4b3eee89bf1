//! From the file as written to the checked configuration; collects every complaint.

mod credentials;
mod forwarder;
mod identity;
mod listen;
mod telemetry;
mod upstream;

use super::file::File;
use super::unit::Span;
use super::{Budgets, Complaint, Config, Gate, Listen, Role, file};
use crate::attributes::PoolWords;
use crate::budget;
use crate::client::{self, Roots};
use crate::gateway::{self, Rate, Tombstones};
use crate::ledger::{self, Checkpoints};
use crate::route::JobIds;
use crate::text::is_deceptive;
use crate::yaml::Spanned;

use http::Uri;
use ipnet::IpNet;
use jiff::SignedDuration;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The default of `ledger.reserve`, in bytes.
const LEDGER_RESERVE: u64 = 64 << 20;

/// The default of `ledger.segment`, in bytes.
const LEDGER_SEGMENT: u64 = 64 << 20;

/// The default of `ledger.retain`: a year and a month.
const LEDGER_RETAIN: SignedDuration = SignedDuration::from_hours(400 * 24);

/// The default of `ledger.checkpoint_records`.
const CHECKPOINT_RECORDS: u64 = 1000;

/// The default of `ledger.checkpoint_interval`.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(60);

/// The longest `timeouts.request`: a budget counts a delete that a crash cut off for a little longer
/// ([`budget::SENT_WITHIN`]).
const REQUEST_MAX: Duration = Duration::from_secs(4 * 60);

/// The smallest `ledger.segment`, in bytes.
const SEGMENT_BYTES_MIN: u64 = 1 << 20;

/// The least `attributes.max_age`: with less, no delete that depends on a look-up would leave in
/// time.
const ATTRIBUTES_AGE_MIN: Duration = Duration::from_millis(100);

/// The most `attributes.max_age`: with more, what a decision relies on might have changed.
const ATTRIBUTES_AGE_MAX: Duration = Duration::from_secs(60);

/// The longest `policies.help`, in characters.
const HELP_CHARACTERS_MAX: usize = 256;

/// What the checks share: where relative paths start, and what was found so far.
struct Checker<'a> {
    base: &'a Path,
    complaints: Vec<Complaint>,
}

pub(super) fn check(file: File, base: &Path) -> Result<Config, Vec<Complaint>> {
    let mut checker = Checker { base, complaints: Vec::new() };
    let config = checker.config(file);
    checker.complaints.sort_by_key(|it| (it.line, it.column));
    match config {
        Some(config) if checker.complaints.is_empty() => Ok(config),
        _ => Err(checker.complaints),
    }
}

impl Checker<'_> {
    /// `None` only with a complaint.
    fn config(&mut self, mut file: File) -> Option<Config> {
        let forwards = file.upstreams.value.iter().any(|it| it.kind.value == file::Kind::Gate);
        if forwards {
            self.forwarding_listeners(&file.listen.value);
        }
        let listeners = place(&file.listen);
        let listen = self.listen(std::mem::take(&mut file.listen.value), &listeners);
        let admin = self.address(&file.admin.address);
        let trusted_proxies = file.trusted_proxies.iter().filter_map(|it| self.network(it));
        let trusted_proxies: Vec<_> = trusted_proxies.collect();
        let connections_max = self.positive(&file.limits.connections, "connections") as usize;
        let connections_per_peer_max =
            self.positive(&file.limits.connections_per_peer, "connections_per_peer") as usize;
        let in_flight_max = self.positive(&file.limits.in_flight, "in_flight") as usize;
        let telemetry = self.telemetry(&file.telemetry);
        let ship = file.ledger.as_ref().and_then(|it| it.value.ship.as_ref());
        let names_none = file.telemetry.otlp.is_none() && telemetry.records.is_none();
        if let Some(ship) = ship.filter(|it| it.value && names_none) {
            self.complain(ship, "name the collector that takes the records in `telemetry.otlp`");
        }
        self.timeouts(&file.timeouts);
        let drain = file.timeouts.drain.value.0;
        let job_ids = match file.route.job_id {
            file::JobIds::Token => JobIds::Token,
            file::JobIds::Uuid => JobIds::Uuid,
        };
        let role = match forwards {
            true => self.forwarder(file).map(|it| Role::Forwarder(Box::new(it))),
            false => {
                let gate = self.gate(file, &listen, &listeners, trusted_proxies.clone());
                gate.map(|it| Role::Gate(Box::new(it)))
            }
        };
        Some(Config {
            listen,
            admin: admin?,
            trusted_proxies,
            job_ids,
            role: role?,
            in_flight_max,
            connections_max,
            connections_per_peer_max,
            drain,
            telemetry,
        })
    }

    /// `listeners` is where the listeners of `listen` are in the file.
    fn gate(
        &mut self,
        file: File,
        listen: &[Listen],
        listeners: &Spanned<()>,
        trusted_proxies: Vec<IpNet>,
    ) -> Option<Gate> {
        let nobody = || Spanned { value: file::Identity::default(), place: listeners.place };
        let identity = self.identity(file.identity.unwrap_or_else(nobody), listen);
        let has_fixed = listen.iter().any(|it| it.principal.is_some());
        let upstreams = self.upstreams(file.upstreams, &file.timeouts, has_fixed);
        let file::PerPrincipal { rate, burst } = file.limits.per_principal.value;
        let per_principal =
            Rate { rate: self.positive(&rate, "rate"), burst: self.positive(&burst, "burst") };
        let policies = file.policies.map(|it| it.value);
        if policies.is_none() {
            self.complain_of_file(
                "no `policies`: name the directory that says who may delete what",
            );
        }
        let tombstones = file.ledger.as_ref().map(|it| it.value.tombstones).unwrap_or_default();
        let ledger = file.ledger.map(|it| self.ledger(&it.value));
        if ledger.is_none() {
            self.complain_of_file(
                "no `ledger`: name the directory for the record of all decisions",
            );
        }
        let budgets = self.budgets(file.budgets);
        let attributes = file.attributes.map(|it| it.value).unwrap_or_default();
        let policies = policies?;
        let directory = self.path(&policies.directory);
        if ledger.as_ref().is_some_and(|it| it.directory.starts_with(&directory)) {
            self.complain_of_file(
                "the ledger's directory lies in the policies': its files would count as policies",
            );
        }
        Some(Gate {
            identity: identity?,
            policies: directory,
            shadow: policies.shadow.as_ref().map(|it| self.path(&it.directory)),
            settings: gateway::Settings {
                named_denials: policies.denials == file::Denials::Full,
                help: policies.help.map(|it| self.help(it)),
                trusted_proxies,
                per_principal,
                attributes_max_age: self.attributes_max_age(&attributes.max_age),
                pool_words: PoolWords {
                    dedicated: attributes.pool_types.dedicated,
                    public: attributes.pool_types.public,
                },
                tombstones: match tombstones {
                    file::Tombstones::Always => Tombstones::Always,
                    file::Tombstones::Details => Tombstones::LookedUp,
                    file::Tombstones::Off => Tombstones::Off,
                },
            },
            upstreams,
            ledger: ledger?,
            budgets,
            settle_window: file.settle.map(|it| it.value).unwrap_or_default().window.0,
        })
    }

    fn attributes_max_age(&mut self, written: &Spanned<Span>) -> Duration {
        let age = written.value.0;
        if !(ATTRIBUTES_AGE_MIN..=ATTRIBUTES_AGE_MAX).contains(&age) {
            self.complain(
                written,
                "`max_age` must be 100ms to 60s: look-ups and the ledger need time, and jobs change",
            );
        }
        age
    }

    fn help(&mut self, written: Spanned<String>) -> String {
        let text = &written.value;
        let long = HELP_CHARACTERS_MAX < text.chars().count();
        if text.trim().is_empty() || long || text.contains(is_deceptive) {
            self.complain(
                &written,
                format!(
                    "`help` must be one line of visible text, of at most {HELP_CHARACTERS_MAX} characters"
                ),
            );
        }
        written.value
    }

    /// Complains of something that is nowhere in the file.
    fn complain_of_file(&mut self, message: &str) {
        self.complaints.push(Complaint::of_file(message));
    }

    fn complain<T>(&mut self, at: &Spanned<T>, message: impl Into<String>) {
        let (line, column) = (at.place.line, at.place.column);
        self.complaints.push(Complaint { line, column, message: message.into(), hint: None });
    }

    fn path(&mut self, path: &Path) -> PathBuf {
        // An empty one would be the directory of the configuration.
        if path.as_os_str().is_empty() {
            self.complain_of_file("a path is empty: name the file or directory that is meant");
        }
        self.base.join(path)
    }

    fn address(&mut self, written: &Spanned<String>) -> Option<SocketAddr> {
        let address = written.value.parse().ok();
        if address.is_none() {
            let message =
                format!("`{}` is not an address: write it as `127.0.0.1:8480`", written.value);
            self.complain(written, message);
        }
        address
    }

    fn network(&mut self, written: &Spanned<String>) -> Option<IpNet> {
        let text = &written.value;
        let network = text.parse::<IpNet>().ok();
        let network = network.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        match network {
            Some(network) if network.addr() == network.network() => Some(network),
            Some(network) => {
                let message = format!("`{text}` has host bits set: write `{}`", network.trunc());
                self.complain(written, message);
                None
            }
            None => {
                self.complain(written, format!("`{text}` is neither an address nor a network"));
                None
            }
        }
    }

    fn timeouts(&mut self, written: &file::Timeouts) {
        let file::Timeouts { connect, lookup, request, drain } = written;
        for timeout in [connect, lookup, request, drain] {
            if timeout.value.0.is_zero() {
                self.complain(timeout, "a time-out must be longer than 0");
            }
        }
        if REQUEST_MAX < request.value.0 {
            self.complain(request, "the gate gives up a delete after 4m: write at most `4m`");
        }
    }

    fn positive<T: Copy + Default + PartialEq>(&mut self, written: &Spanned<T>, name: &str) -> T {
        if written.value == T::default() {
            self.complain(written, format!("`{name}` must be at least 1"));
        }
        written.value
    }

    /// An absolute URI that a secret may be sent to: https, or http on this machine.
    fn endpoint(&mut self, written: &Spanned<String>) -> Option<Uri> {
        let Some(uri) = client::absolute(&written.value) else {
            let message = format!(
                "`{}` is not a URL such as `https://host` or `https://host:8443`, with a port up to 65535",
                written.value
            );
            self.complain(written, message);
            return None;
        };
        match uri.scheme_str() {
            Some("https") => (),
            Some("http") if is_loopback(&uri) => (),
            _ => self.complain(written, "use https; http is for loopback addresses only"),
        }
        if uri.authority().is_some_and(|it| it.as_str().contains('@')) {
            self.complain(written, "a URL here must not hold a user name");
        }
        // `Uri` drops it.
        if written.value.contains('#') {
            self.complain(written, "a URL here must not hold a `#`");
        }
        Some(uri)
    }

    fn roots(&mut self, ca: Option<&Spanned<String>>, endpoint: &Uri) -> Roots {
        match endpoint.scheme_str() {
            Some("http") => Roots::Nobody,
            _ => self.bundle(ca),
        }
    }

    fn bundle(&mut self, ca: Option<&Spanned<String>>) -> Roots {
        match ca.map(|it| it.value.as_str()) {
            None | Some("system") => Roots::System,
            Some(path) => Roots::File(self.path(Path::new(path))),
        }
    }

    fn ledger(&mut self, written: &file::Ledger) -> ledger::Config {
        let segment = written.segment.as_ref();
        if let Some(written) = segment
            && written.value.0 < SEGMENT_BYTES_MIN
        {
            self.complain(written, "a segment must be at least 1MiB");
        }
        ledger::Config {
            directory: self.path(&written.directory),
            reserve: written.reserve.map_or(LEDGER_RESERVE, |it| it.0),
            segment: segment.map_or(LEDGER_SEGMENT, |it| it.value.0),
            retain: written
                .retain
                .and_then(|it| SignedDuration::try_from(it.0).ok())
                .unwrap_or(LEDGER_RETAIN),
            checkpoints: self.checkpoints(written),
            ship: written.ship.as_ref().is_some_and(|it| it.value),
            echo: written.echo,
        }
    }

    fn budgets(&mut self, written: Option<Spanned<file::Budgets>>) -> Budgets {
        let mut res = Budgets { replicas: 1, store: None };
        let Some(written) = written else { return res };
        match (&written.value.replicas, &written.value.store) {
            (Some(replicas), None) => res.replicas = self.positive(replicas, "replicas"),
            (None, Some(store)) => {
                let file::Store { postgres, ca } = &store.value;
                let roots = self.bundle(ca.as_ref());
                res.store = Some(budget::Config { file: self.path(postgres), roots });
            }
            (Some(_), Some(store)) => self.complain(
                store,
                "`replicas` gives each gate a part, `store` counts for all of them: write one of the two",
            ),
            (None, None) => self.complain(
                &written,
                "write `replicas` or `store`; a single gate needs no `budgets`",
            ),
        }
        res
    }

    fn checkpoints(&mut self, written: &file::Ledger) -> Option<Checkpoints> {
        let records = written.checkpoint_records.as_ref();
        let interval = written.checkpoint_interval.as_ref();
        if let Some(written) = records {
            self.positive(written, "checkpoint_records");
        }
        if let Some(written) = interval.filter(|it| it.value.0.is_zero()) {
            self.complain(written, "`checkpoint_interval` must be longer than 0");
        }
        let Some(key) = &written.checkpoint_key else {
            const NO_KEY: &str = "without `checkpoint_key` nothing is signed";
            if let Some(written) = records {
                self.complain(written, NO_KEY);
            }
            if let Some(written) = interval {
                self.complain(written, NO_KEY);
            }
            return None;
        };
        Some(Checkpoints {
            key: self.path(key),
            records: records.map_or(CHECKPOINT_RECORDS, |it| it.value),
            interval: interval.map_or(CHECKPOINT_INTERVAL, |it| it.value.0),
        })
    }
}

/// Where something stands, without it.
fn place<T>(it: &Spanned<T>) -> Spanned<()> {
    Spanned { value: (), place: it.place }
}

fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|it| it.is_loopback())
}

/// A short name for records, metrics and principals.
fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-')
}
