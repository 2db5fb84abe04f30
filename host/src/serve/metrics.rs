//! Metrics, in the text format of OpenMetrics 1.0. Names follow OpenTelemetry's semantic
//! conventions where these have one. No label holds what a caller chose.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What an answer was: `allow`, `deny`, or `unavailable` where the host could not decide or record.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CheckLabels {
    profile: &'static str,
    effect: &'static str,
    http_response_status_code: u16,
}

/// What a reload came to: `taken` or `refused`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReloadLabels {
    outcome: &'static str,
}

/// Everything that is counted.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    checks: Family<CheckLabels, Counter>,
    callers_refused: Counter,
    reloads: Family<ReloadLabels, Counter>,
    pub(super) connections: Gauge,
    pub(super) connections_evicted: Counter,
    pub(super) connections_refused: Counter,
    pub(super) streams: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("keyward");
        let checks = Family::default();
        registry.register("checks", "Checks that were answered", checks.clone());
        let callers_refused = Counter::default();
        registry.register(
            "callers_refused",
            "Requests of callers that may not call",
            callers_refused.clone(),
        );
        let reloads = Family::default();
        registry.register("reloads", "Reloads of the configuration", reloads.clone());
        let connections = Gauge::default();
        registry.register("connections", "Open connections", connections.clone());
        let connections_evicted = Counter::default();
        registry.register(
            "connections_evicted",
            "Idle connections that were closed because others needed their places",
            connections_evicted.clone(),
        );
        let connections_refused = Counter::default();
        registry.register(
            "connections_refused",
            "Connections that were closed because there are too many",
            connections_refused.clone(),
        );
        let streams = Gauge::default();
        registry.register(
            "event_streams",
            "Open streams of the events of keys",
            streams.clone(),
        );
        Self {
            registry,
            checks,
            callers_refused,
            reloads,
            connections,
            connections_evicted,
            connections_refused,
            streams,
        }
    }
}

impl Metrics {
    /// The content type of [`Metrics::text`].
    pub(super) const CONTENT_TYPE: &str =
        "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// Counts an answer.
    pub(super) fn answered(&self, profile: &'static str, effect: &'static str, status: u16) {
        let labels = CheckLabels {
            profile,
            effect,
            http_response_status_code: status,
        };
        self.checks.get_or_create(&labels).inc();
    }

    /// Counts a caller that may not call.
    pub(super) fn caller_refused(&self) {
        self.callers_refused.inc();
    }

    /// Counts a reload.
    pub(super) fn reloaded(&self, is_taken: bool) {
        let outcome = if is_taken { "taken" } else { "refused" };
        self.reloads.get_or_create(&ReloadLabels { outcome }).inc();
    }

    /// All of them as text.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a text does not fail.
        let _never = encode(&mut text, &self.registry);
        text
    }
}
