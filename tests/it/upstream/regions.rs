//! Several upstreams: whose project goes where, with which key, and whose breaker opens.

use crate::front::attacks::ALLOW_ALL;
use crate::support::http::{self, Answer};
use crate::support::world::{ACCOUNT, Builder, CLOUD_AK, FINISHED, PROJECT, REGION, World};

use lychgate::emulator::{Config, Emulator, Key, Request};
use std::fs;
use tempfile::TempDir;

const SOUTH_AK: &str = "SOUTHKEY0000000000AA";
const SOUTH_SK: &str = "southSecret0000000000000000000000000000A";

/// Starts as the project of the first upstream does.
const SOUTH: &str = "0a1b2c-south";

/// A second region with an emulator of its own.
struct South {
    emulator: Emulator,
    directory: TempDir,
}

impl South {
    async fn start(keys: Vec<Key>) -> Self {
        let emulator = Emulator::start(Config::new(keys)).await.unwrap();
        let directory = TempDir::new().unwrap();
        let text = format!("ak: {SOUTH_AK}\nsk: {SOUTH_SK}\n");
        fs::write(directory.path().join("south.yaml"), text).unwrap();
        Self { emulator, directory }
    }

    /// A file with the key of this region.
    fn file(&self) -> String {
        format!("'{}'", self.directory.path().join("south.yaml").display())
    }

    /// The first region's gate, with this one as a second upstream.
    fn beside(&self, builder: Builder, first: &str, projects: &str, credentials: &str) -> Builder {
        let endpoint = self.emulator.url();
        let second = format!(
            "  - name: south
    kind: modelarts
    projects: [{projects}]
    endpoint: {endpoint}
    region: cn-south-1
    account: '456'
    credentials: {{file: {credentials}}}
ledger:"
        );
        builder
            .config(&format!("projects: [{PROJECT}]"), &format!("projects: [{first}]"))
            .config("ledger:", &second)
    }
}

fn key(ak: &str, sk: &str, projects: &[&str]) -> Key {
    let projects = projects.iter().map(|it| (*it).to_owned()).collect();
    Key { ak: ak.to_owned(), sk: sk.to_owned(), security_token: None, projects }
}

async fn delete(world: &World, project: &str) -> Answer {
    let head = world.head("alice", FINISHED).replace(PROJECT, project);
    http::send(world.gate, head.as_bytes()).await
}

/// Each request is about one of `projects` and signed with `ak`.
fn check(requests: &[Request], projects: &[&str], ak: &str) {
    for request in requests {
        let project = request.header("x-project-id").unwrap();
        assert!(projects.contains(&project), "{project} is not of {projects:?}");
        assert!(request.target.starts_with(&format!("/v2/{project}/")), "{}", request.target);
        assert!(request.header("authorization").unwrap().contains(ak), "{project}");
    }
}

/// attack 10
#[tokio::test]
async fn each_region_sees_its_own_projects_and_its_own_key() {
    let south = South::start(vec![key(SOUTH_AK, SOUTH_SK, &[SOUTH])]).await;
    let builder = World::builder().policies(ALLOW_ALL).emulator(|it| {
        it.keys.iter_mut().for_each(|it| it.projects.push("0a-north".to_owned()));
    });
    let first = format!("{PROJECT}, '0a*'");
    let world = south.beside(builder, &first, "'0a1b2c*'", &south.file()).start().await;
    for (project, region, account) in [
        // Both patterns fit: an exact name wins.
        (PROJECT, REGION, ACCOUNT),
        ("0a-north", REGION, ACCOUNT),
        // Both patterns fit: the longer one wins.
        (SOUTH, "cn-south-1", "456"),
    ] {
        let north = (world.emulator.counts().all(), south.emulator.counts().all());
        let answer = delete(&world, project).await;
        assert!(matches!(answer.status, 202 | 400), "{project}: {answer:?}");
        let is_south = region != REGION;
        let grown =
            (world.emulator.counts().all() - north.0, south.emulator.counts().all() - north.1);
        assert_eq!(grown, if is_south { (0, 1) } else { (1, 0) }, "{project}");
        let decision = world.records("decision").pop().unwrap();
        let resource = format!("modelarts:{region}:{account}:trainJob:{FINISHED}");
        assert_eq!(decision["resource"], resource.as_str());
        assert_eq!(decision["upstream"], if is_south { "south" } else { "emulator" });
    }
    for project in ["0b", "1", "0A1B2C-south"] {
        let answer = delete(&world, project).await;
        assert_eq!((answer.status, answer.code().as_deref()), (404, Some("Lychgate.4042")));
    }
    check(&world.emulator.requests(), &[PROJECT, "0a-north"], CLOUD_AK);
    check(&south.emulator.requests(), &[SOUTH], SOUTH_AK);
    assert_eq!(world.emulator.requests().len() + south.emulator.requests().len(), 3);
}

#[tokio::test]
async fn upstreams_that_share_a_credential_share_its_breaker() {
    for (shared, code, sent) in [(true, Some("Lychgate.5021"), 0), (false, None, 1)] {
        // The south refuses whatever it is given.
        let south = South::start(Vec::new()).await;
        let credentials = if shared { "cloud.yaml".to_owned() } else { south.file() };
        let builder = World::builder().policies(ALLOW_ALL);
        let world = south.beside(builder, PROJECT, SOUTH, &credentials).start().await;
        let answer = delete(&world, SOUTH).await;
        assert_eq!((answer.status, answer.code().as_deref()), (502, Some("Lychgate.5021")));
        assert_eq!(south.emulator.counts().all(), 1);
        let answer = delete(&world, PROJECT).await;
        assert_eq!(answer.code().as_deref(), code, "shared: {shared}");
        assert_eq!(world.emulator.counts().all(), sent, "shared: {shared}");
        for (upstream, open) in [("south", true), ("emulator", shared)] {
            let open = u8::from(open);
            let name = "lychgate_upstream_breaker_open";
            world.measures(&format!("{name}{{upstream=\"{upstream}\"}} {open}")).await;
        }
        delete(&world, SOUTH).await;
        assert_eq!(south.emulator.counts().all(), 1, "nothing more is sent");
    }
}
