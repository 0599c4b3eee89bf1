//! The admin listener's router: `/livez`, `/readyz`, `/metrics`. It can only be read; nothing can
//! be changed through it. No names and no policy text are in the answers.

use crate::exchange::{Arrival, Handler, Refusal};
use crate::metrics;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderValue, Request, StatusCode, header};
use serde::Serialize;
use std::time::Duration;
use tower::ServiceExt;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::TimeoutLayer;

/// No answer may take longer: a probe or a collector has asked again by then.
const TIME_OUT: Duration = Duration::from_secs(10);

/// One condition of readiness.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What is checked, in the gate's own words: never a configured name.
    pub name: &'static str,
    /// It holds.
    pub ok: bool,
    /// The gate is not ready while it does not hold; without this, it is only shown.
    pub counted: bool,
    /// What else there is to know, such as the version, or what last went wrong at which source;
    /// never a principal or the text of a policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    checks: Vec<Check>,
}

/// Answers on the admin listener.
#[derive(Clone, Debug)]
pub struct Admin(Router);

/// GET and HEAD of `/livez` (the runtime answers), `/readyz` (200 or 503, and the `checks`) and
/// `/metrics` (what `text` returns, told whether the gate is ready). Other methods are 405, other
/// paths 404.
pub fn admin<C, M>(checks: C, text: M) -> Admin
where
    C: Fn() -> Vec<Check> + Clone + Send + Sync + 'static,
    M: Fn(bool) -> String + Clone + Send + Sync + 'static,
{
    let measured = checks.clone();
    let text = move || text(is_ready(&measured()));
    let no_store = HeaderValue::from_static("no-store");
    let router = Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(async move || readiness(checks())))
        .route(
            "/metrics",
            get(async move || ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text())),
        )
        .layer(CompressionLayer::new())
        .layer(CatchPanicLayer::new())
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, TIME_OUT))
        .layer(SetResponseHeaderLayer::overriding(header::CACHE_CONTROL, no_store));
    Admin(router)
}

impl Handler for Admin {
    async fn handle(&self, Arrival { head, fault, .. }: Arrival) -> Response {
        if let Some(fault) = fault {
            return Refusal::Head(fault).status().into_response();
        }
        let answer = self.0.clone().oneshot(Request::from_parts(head, Body::empty())).await;
        answer.unwrap_or_else(|never| match never {})
    }
}

fn is_ready(checks: &[Check]) -> bool {
    checks.iter().all(|it| it.ok || !it.counted)
}

fn readiness(checks: Vec<Check>) -> Response {
    let ready = is_ready(&checks);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let Ok(body) = serde_json::to_string(&Readiness { ready, checks }) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
