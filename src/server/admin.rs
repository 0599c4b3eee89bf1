//! The admin listener's router: `/livez`, `/readyz`, `/metrics`, to be read and not to be told
//! anything. No names and no policy text are in the answers.

use crate::gateway::{HeadFault, Refusal};
use crate::metrics;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, middleware};
use http::{StatusCode, header};
use serde::Serialize;

/// One condition of readiness.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What is checked, in the gate's own words: never a configured name.
    pub name: &'static str,
    /// It holds.
    pub ok: bool,
    /// The gate is not ready while it does not hold; otherwise it is only shown.
    pub counted: bool,
    /// What there is to know beside it, such as which version; never a configured name or text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    checks: Vec<Check>,
}

/// GET and HEAD of `/livez` (the runtime answers), `/readyz` (200 or 503, and the `checks`) and
/// `/metrics` (what `text` returns, told whether the gate is ready). Other methods are 405, other paths 404.
pub fn router<C, M>(checks: C, text: M) -> Router
where
    C: Fn() -> Vec<Check> + Clone + Send + Sync + 'static,
    M: Fn(bool) -> String + Clone + Send + Sync + 'static,
{
    let measured = checks.clone();
    let text = move || text(is_ready(&measured()));
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(async move || readiness(checks())))
        .route(
            "/metrics",
            get(async move || ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text())),
        )
        .layer(middleware::from_fn(refuse_heads))
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

async fn refuse_heads(request: Request, next: Next) -> Response {
    match request.extensions().get::<HeadFault>() {
        Some(fault) => Refusal::Head(*fault).status().into_response(),
        None => next.run(request).await,
    }
}
