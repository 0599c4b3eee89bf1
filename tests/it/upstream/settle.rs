//! Deletes whose outcome nobody saw: they are looked after until the ledger says how they ended.

use crate::front::attacks::ALLOW_ALL;
use crate::support::world::{FINISHED, World, poll};

use lychgate::emulator::{Effect, Emulator, Fault, Operation, Reset};
use serde_json::Value;

/// A world in which one delete was sent and got no answer; the look-up right after it met `blind`.
async fn world_in_doubt(when: Reset, blind: Option<Fault>, window: &str) -> World {
    let settings = format!("ledger: {{directory: ledger}}\nsettle: {{window: {window}}}");
    let world = World::builder()
        // Without a look-up, so that each look-up is one that looks after a delete.
        .policies(ALLOW_ALL)
        .config("ledger: {directory: ledger}", &settings)
        .start()
        .await;
    world.emulator.fault(Fault::new(Effect::Reset { when }).at(Operation::Delete).times(1));
    if let Some(blind) = blind {
        world.emulator.fault(blind.at(Operation::Details));
    }
    let answer = world.delete("alice", FINISHED).await;
    assert_eq!((answer.status, answer.code().as_deref()), (504, Some("Lychgate.5042")));
    assert_eq!(world.outcomes(1).await[0]["result"], "unknown");
    world
}

async fn settlement(world: &World) -> Value {
    let settlements = poll(|| Some(world.records("settlement")).filter(|it| !it.is_empty())).await;
    assert_eq!(settlements.len(), 1);
    assert_eq!(settlements[0]["of"], world.records("decision")[0]["seq"]);
    settlements[0].clone()
}

async fn pending(world: &World) -> String {
    let text = world.metrics().await;
    let line = text.lines().find(|it| it.starts_with("lychgate_ledger_pending_decisions "));
    line.unwrap().rsplit(' ').next().unwrap().to_owned()
}

/// Attack 76.
#[tokio::test]
async fn a_delete_in_doubt_is_settled_by_looking_at_the_job() {
    let once = Fault::new(Effect::Internal).times(1);
    for (when, blind, window, expected) in
        [(Reset::Done, Some(once), "15m", "gone"), (Reset::Arrived, None, "500ms", "present")]
    {
        let world = world_in_doubt(when, blind, window).await;
        assert_eq!(settlement(&world).await["result"], expected);
        assert_eq!(world.emulator.exists(FINISHED), expected == "present");
        assert_eq!(world.emulator.counts().delete, 1, "settling never deletes");
        assert_eq!(pending(&world).await, "0");
    }
}

#[tokio::test]
async fn what_cannot_be_looked_up_stays_open_and_the_next_run_settles_it() {
    // Neither of the two tells whether the job is there.
    for blind in [Effect::Internal, Effect::OtherJob] {
        let when = if blind == Effect::OtherJob { Reset::Arrived } else { Reset::Done };
        let world = world_in_doubt(when, Some(Fault::new(blind)), "0s").await;
        // The request's own look, and the settler's.
        poll(|| Some(()).filter(|()| world.emulator.counts().details == 2)).await;
        assert_eq!(pending(&world).await, "1");
        assert!(world.records("settlement").is_empty());
        let world = world.restart(Emulator::clear_faults).await;
        assert_eq!(world.ready().await, 200, "readiness does not wait for settlements");
        let expected = if when == Reset::Done { "gone" } else { "present" };
        assert_eq!(settlement(&world).await["result"], expected);
    }
}
