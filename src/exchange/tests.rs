//! The life of an exchange, with a middle that never ends.

use super::*;

use crate::telemetry::TraceConfig;

use http_body_util::BodyExt;
use std::future::pending;
use std::time::Duration;
use tokio::runtime::Handle;

/// Begins to send or not, and then hangs.
struct Hangs {
    desk: Desk,
    sends: bool,
}

impl Middle for Hangs {
    type Work = ();

    const OUTCOME_UNKNOWN: Refusal = Refusal::OutcomeUnknown;

    fn desk(&self) -> &Desk {
        &self.desk
    }

    async fn judge(&self, _: &mut Exchange, _: (&Parts, &Peer), _: Asked) -> Result<(), Refusal> {
        Ok(())
    }

    async fn carry_out(&self, exchange: &mut Exchange, (): ()) -> Result<Reply, Refusal> {
        exchange.watch(Arc::new(AtomicBool::new(self.sends)));
        pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_given_up_is_told_whether_anything_was_sent() {
    for (sends, code) in [(false, "Lychgate.5036"), (true, "Lychgate.5042")] {
        let metrics = Metrics::new();
        let desk = Desk {
            job_ids: JobIds::default(),
            slots: Arc::new(Semaphore::new(1)),
            tracer: Tracer::new(&TraceConfig::default(), &metrics, &Handle::current()).unwrap(),
            metrics,
            clock: Clock::system(),
            tracker: TaskTracker::new(),
            give_up: CancellationToken::new(),
        };
        let give_up = desk.give_up.clone();
        let path = "/v2/p/training-jobs/3faf5c03-aaa1-4cbe-879d-24b05d997347";
        let (head, ()) = http::Request::delete(path).body(()).unwrap().into_parts();
        let peer =
            Peer { address: None, local: true, secure: false, principal: None, certificate: None };
        let arrival = Arrival { head, peer, fault: None, body: Body::empty() };
        let end = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            give_up.cancel();
        };
        let (response, ()) = tokio::join!(run(Arc::new(Hangs { desk, sends }), arrival), end);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["error_code"], code);
    }
}
