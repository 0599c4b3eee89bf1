//! What the `OTEL_*` variables say (OpenTelemetry specification, "Environment Variable
//! Specification" and "OTLP Exporter Configuration"). Those that make sense here win over the file;
//! every other one that is set gets a warning, because whoever set it believes that it counts.

use super::variables;

use std::collections::BTreeMap;

/// Read elsewhere: by [`otlp_headers`](super::otlp_headers), and by the SDK for spans and resource.
const READ_ELSEWHERE: [&str; 5] = [
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_LOGS_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_SERVICE_NAME",
];

pub(super) const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const DISABLED: &str = "OTEL_SDK_DISABLED";
const EXPORTER: &str = "OTEL_TRACES_EXPORTER";
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"];
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARG: &str = "OTEL_TRACES_SAMPLER_ARG";

/// What the variables settle.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Otel {
    /// The base URL of the collector.
    pub(super) endpoint: Option<String>,
    /// The share of requests without a caller's trace that is sampled, 0 to 1.
    pub(super) ratio: Option<f64>,
    /// No traces.
    pub(super) disabled: bool,
    /// What is set and does nothing.
    pub(super) remarks: Vec<String>,
}

impl Otel {
    /// Reads the process's environment.
    pub(super) fn of_environment() -> Self {
        Self::read(variables("OTEL_"))
    }

    fn read(mut variables: BTreeMap<String, String>) -> Self {
        let mut res = Self { endpoint: variables.remove(ENDPOINT), ..Self::default() };
        for name in READ_ELSEWHERE {
            variables.remove(name);
        }
        if let Some(value) = variables.remove(DISABLED) {
            // Whatever is not `true` is false, and gets a warning if it is not `false` either.
            res.disabled = value.eq_ignore_ascii_case("true");
            if !res.disabled && !value.eq_ignore_ascii_case("false") {
                res.without_effect(DISABLED, "it must be `true` or `false`");
            }
        }
        match variables.remove(EXPORTER).as_deref() {
            None | Some("otlp") => (),
            Some("none") => res.disabled = true,
            Some(_) => res.without_effect(EXPORTER, "it must be `otlp` or `none` here"),
        }
        for name in PROTOCOLS {
            if variables.remove(name).is_some_and(|it| it != "http/protobuf") {
                res.without_effect(name, "the gate speaks `http/protobuf` only");
            }
        }
        let argument = variables.remove(SAMPLER_ARG);
        if let Some(sampler) = variables.remove(SAMPLER) {
            res.sampler(&sampler, argument.as_deref());
        } else if argument.is_some() {
            res.without_effect(SAMPLER_ARG, "OTEL_TRACES_SAMPLER is not set");
        }
        for name in variables.keys() {
            res.without_effect(name, "see docs/configuration.md for those that have one");
        }
        res
    }

    fn sampler(&mut self, sampler: &str, argument: Option<&str>) {
        self.ratio = match (sampler, argument) {
            ("parentbased_always_on", _) | ("parentbased_traceidratio", None) => Some(1.0),
            ("parentbased_always_off", _) => Some(0.0),
            ("parentbased_traceidratio", Some(argument)) => {
                let ratio = argument.parse().ok().filter(|it| (0.0..=1.0).contains(it));
                if ratio.is_none() {
                    self.without_effect(SAMPLER_ARG, "it must be a share, 0 to 1");
                }
                ratio
            }
            _ => {
                const WHY: &str = "a caller's decision is followed: write parentbased_always_on, parentbased_always_off or parentbased_traceidratio";
                self.without_effect(SAMPLER, WHY);
                None
            }
        };
    }

    fn without_effect(&mut self, name: &str, why: &str) {
        self.remarks.push(format!("{name} has no effect: {why}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_sense_counts_and_the_rest_is_named() {
        let otel = |endpoint: Option<&str>, ratio, disabled, silent: &[&str]| {
            (endpoint.map(str::to_owned), ratio, disabled, silent.join(" "))
        };
        for (set, expected) in [
            ("", otel(None, None, false, &[])),
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318",
                otel(Some("http://c:4318"), None, false, &[]),
            ),
            ("OTEL_SDK_DISABLED=TRUE", otel(None, None, true, &[])),
            ("OTEL_SDK_DISABLED=false", otel(None, None, false, &[])),
            ("OTEL_SDK_DISABLED=1", otel(None, None, false, &[DISABLED])),
            ("OTEL_TRACES_EXPORTER=none", otel(None, None, true, &[])),
            ("OTEL_TRACES_EXPORTER=otlp", otel(None, None, false, &[])),
            ("OTEL_TRACES_EXPORTER=zipkin", otel(None, None, false, &[EXPORTER])),
            ("OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", otel(None, None, false, &[])),
            (
                "OTEL_EXPORTER_OTLP_PROTOCOL=grpc OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/json",
                otel(None, None, false, &PROTOCOLS),
            ),
            ("OTEL_TRACES_SAMPLER=parentbased_always_on", otel(None, Some(1.0), false, &[])),
            ("OTEL_TRACES_SAMPLER=parentbased_always_off", otel(None, Some(0.0), false, &[])),
            (
                "OTEL_TRACES_SAMPLER=parentbased_traceidratio OTEL_TRACES_SAMPLER_ARG=0.25",
                otel(None, Some(0.25), false, &[]),
            ),
            ("OTEL_TRACES_SAMPLER=parentbased_traceidratio", otel(None, Some(1.0), false, &[])),
            (
                "OTEL_TRACES_SAMPLER=parentbased_traceidratio OTEL_TRACES_SAMPLER_ARG=2",
                otel(None, None, false, &[SAMPLER_ARG]),
            ),
            ("OTEL_TRACES_SAMPLER=always_off", otel(None, None, false, &[SAMPLER])),
            ("OTEL_TRACES_SAMPLER_ARG=0.5", otel(None, None, false, &[SAMPLER_ARG])),
            (
                "OTEL_SERVICE_NAME=x OTEL_RESOURCE_ATTRIBUTES=a=b OTEL_EXPORTER_OTLP_HEADERS=k=v",
                otel(None, None, false, &[]),
            ),
            (
                "OTEL_BSP_SCHEDULE_DELAY=5 OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://c OTEL_NEW=1",
                otel(
                    None,
                    None,
                    false,
                    &["OTEL_BSP_SCHEDULE_DELAY", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_NEW"],
                ),
            ),
        ] {
            let pairs = set.split_whitespace().filter_map(|it| it.split_once('='));
            let read = Otel::read(pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect());
            let names: Vec<_> =
                read.remarks.iter().filter_map(|it| it.split(" has no effect: ").next()).collect();
            assert_eq!(
                (read.endpoint, read.ratio, read.disabled, names.join(" ")),
                expected,
                "{set}"
            );
        }
    }
}
