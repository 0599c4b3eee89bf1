//! A real PostgreSQL on loopback, run by a user without rights, which can be killed and started
//! again. `POSTGRES_BIN` says where its programs are; tests/postgres/run sets it.

use crate::support::pki::Pair;
use crate::support::world::PATIENCE;

use std::ffi::OsStr;
use std::fs;
use std::fs::File;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use tokio_postgres::{Client, NoTls};
use tokio_util::task::TaskTracker;

/// Who runs it where the tests run as root, which PostgreSQL refuses: nobody.
const NOBODY: u32 = 65534;

const PASSWORD: &str = "budgetSecret00000000000000000000000000A";

/// A server and what it keeps.
pub(crate) struct Postgres {
    programs: PathBuf,
    directory: TempDir,
    port: u16,
    child: Option<Child>,
}

impl Postgres {
    /// Where the programs are, if somebody says so.
    #[expect(clippy::print_stdout, reason = "a skip is to be seen")]
    pub(crate) fn programs() -> Option<PathBuf> {
        let res = std::env::var_os("POSTGRES_BIN").map(PathBuf::from);
        if res.is_none() {
            println!("SKIPPED: tests/postgres/run runs this with a real PostgreSQL");
        }
        res
    }

    /// A new, empty database.
    pub(crate) async fn start(programs: PathBuf) -> Self {
        let directory = TempDir::new().unwrap();
        let password = directory.path().join("password");
        fs::write(&password, PASSWORD).unwrap();
        own(directory.path());
        own(&password);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut res = Self { programs, directory, port, child: None };
        let initialised = res
            .command("initdb", &["--username=admin", "--auth=scram-sha-256", "--encoding=UTF8"])
            .arg(format!("--pwfile={}", password.display()))
            .output()
            .unwrap();
        assert!(initialised.status.success(), "{initialised:?}");
        res.run().await;
        let rights = format!(
            "CREATE ROLE gate LOGIN PASSWORD '{PASSWORD}'; GRANT CREATE ON DATABASE postgres TO gate"
        );
        res.client().await.unwrap().batch_execute(&rights).await.unwrap();
        res
    }

    /// What a gate's secret file holds. It may make a schema, as docs/budgets-postgres.md says.
    pub(crate) fn url(&self) -> String {
        self.url_of("gate", "postgres")
    }

    pub(crate) fn url_of(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}:{PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    /// Has the server speak TLS from its next start on.
    pub(crate) fn certify(&self, pair: &Pair) {
        let data = self.directory.path().join("data");
        for (name, text) in [("server.pem", &pair.certificate), ("server.key", &pair.key)] {
            fs::write(data.join(name), text).unwrap();
            own(data.join(name));
            fs::set_permissions(data.join(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        let mut settings = fs::read_to_string(data.join("postgresql.conf")).unwrap();
        settings.push_str("ssl = on\nssl_cert_file = 'server.pem'\nssl_key_file = 'server.key'\n");
        fs::write(data.join("postgresql.conf"), settings).unwrap();
    }

    /// Somebody who may do everything.
    pub(crate) async fn client(&self) -> Option<Client> {
        self.client_of("postgres").await
    }

    pub(crate) async fn client_of(&self, database: &str) -> Option<Client> {
        let url = self.url_of("admin", database);
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.ok()?;
        TaskTracker::new().spawn(connection);
        Some(client)
    }

    /// Starts the server and waits until it answers. After a kill its former self may still be
    /// there for a moment, and it is tried again.
    pub(crate) async fn run(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let exited = self.child.as_mut().is_none_or(|it| it.try_wait().unwrap().is_some());
            if exited {
                let log = File::create(self.directory.path().join("log")).unwrap();
                let mut command = self.command("postgres", &["-c", "listen_addresses=127.0.0.1"]);
                command.args(["-c", &format!("port={}", self.port)]);
                command
                    .arg("-c")
                    .arg(format!("unix_socket_directories={}", self.directory.path().display()));
                command.stdout(log.try_clone().unwrap()).stderr(log);
                self.child = Some(command.spawn().unwrap());
            }
            if self.client().await.is_some() {
                return;
            }
            let log = || fs::read_to_string(self.directory.path().join("log")).unwrap();
            assert!(Instant::now() < deadline, "PostgreSQL does not answer: {}", log());
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends it as a crash would: at once, or as if the machine had lost its first process only.
    pub(crate) fn kill(&mut self, signal: &str) {
        let mut child = self.child.take().unwrap();
        let pid = child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        child.wait().unwrap();
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.arg("-D").arg(self.directory.path().join("data")).args(arguments);
        command.current_dir(self.directory.path()).env_clear();
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill("-QUIT");
        }
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn own(path: impl AsRef<Path> + AsRef<OsStr>) {
    if is_root() {
        chown::<&Path>(path.as_ref(), Some(NOBODY), Some(NOBODY)).unwrap();
    }
}
