//! The forwarder: a gate's little brother beside a workload. It judges nothing and holds no cloud
//! key; it checks what a request asks for, puts its own token for the central gate in place of any
//! credential, and sends the same request there. The central gate's answer is handed back as it came.
//!
//! The life of one request: `exchange::run` → `judge` (is it a route?) → [`gate::Gate`] (send
//! it, once it is under way whatever the caller's connection does).

mod gate;
mod token;

pub use self::gate::{Config, Gate};
pub use self::token::{FILE_BYTES_MAX, Token, fault, follow};

use crate::authn::{self, Peer};
use crate::exchange::{
    self, Arrival, Asked, Desk, Exchange, ForwardFault, Handler, Middle, Refusal, Reply,
};
use crate::metrics::AuthMethod;
use crate::upstream;

use axum::body::Body;
use http::Response;
use http::request::Parts;
use std::sync::Arc;

/// One for all listeners.
#[derive(Debug)]
pub struct Forwarder {
    desk: Desk,
    gate: Gate,
}

impl Forwarder {
    /// Sends deletes to `gate`.
    #[must_use]
    pub fn new(desk: Desk, gate: Gate) -> Self {
        Self { desk, gate }
    }

    /// There is a token for the central gate.
    #[must_use]
    pub fn has_token(&self) -> bool {
        self.gate.has_token()
    }
}

impl Handler for Arc<Forwarder> {
    fn handle(&self, arrival: Arrival) -> impl Future<Output = Response<Body>> + Send {
        exchange::run(Self::clone(self), arrival)
    }
}

impl Middle for Forwarder {
    type Work = Asked;

    const OUTCOME_UNKNOWN: Refusal = Refusal::Forward(ForwardFault::OutcomeUnknown);

    fn desk(&self) -> &Desk {
        &self.desk
    }

    /// Is it for a project of the central gate's?
    async fn judge(
        &self,
        exchange: &mut Exchange,
        (_, peer): (&Parts, &Peer),
        asked: Asked,
    ) -> Result<Asked, Refusal> {
        // Its name is for logs and spans; for the central gate the caller is whoever the token
        // names.
        let principal = peer.principal.as_ref().ok_or(authn::Error::NoCredential)?;
        self.desk.metrics.authentication(AuthMethod::Local, None);
        exchange.facts.principal = Some(principal.id().to_owned());
        let config = self.gate.config();
        if upstream::claim(&config.projects, asked.project_id()).is_none() {
            return Err(Refusal::ProjectNotServed);
        }
        exchange.facts.upstream = Some(config.name.clone());
        Ok(asked)
    }

    async fn carry_out(&self, exchange: &mut Exchange, asked: Asked) -> Result<Reply, Refusal> {
        Ok(Reply::Relayed(self.gate.ask(&asked, exchange).await?))
    }
}
