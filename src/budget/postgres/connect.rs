//! From a secret file with a connection string to a pool of connections.

use crate::client::{self, Roots};
use crate::mounted::{Mounted, ReadError};

use deadpool_postgres::{Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime};
use std::error::Error as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

/// The most connections of one process.
const CONNECTIONS_MAX: usize = 8;

/// The limit for name look-up, TCP, TLS and authentication together.
const CONNECT: Duration = Duration::from_secs(2);

/// The largest connection string, in bytes.
const TEXT_BYTES_MAX: u64 = 16 * 1024;

/// Which database holds the budgets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file with the connection string.
    pub file: PathBuf,
    /// Whom to trust over TLS.
    pub roots: Roots,
}

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Its file.
    #[error("the connection string of the budgets' database cannot be read: {0}")]
    Read(#[from] ReadError),
    /// It does not answer, or not as expected.
    #[error("the database of the budgets cannot be used: {0}")]
    Away(String),
    /// What is wrong in the connection string. The string is a secret and is not shown.
    #[error("{0}")]
    Text(String),
    /// Whom to trust.
    #[error("cannot set up TLS to the budgets' database")]
    Tls(#[from] client::Error),
}

impl Config {
    fn file(&self) -> Mounted {
        Mounted {
            what: "the connection string of the budgets' database",
            path: self.file.clone(),
            max: TEXT_BYTES_MAX,
        }
    }

    /// Reads the connection string, and makes a pool from it that connects on demand.
    pub(super) async fn read(&self) -> Result<(Vec<u8>, Pool), ConfigError> {
        let file = self.file();
        let text = file.read().await?;
        file.warn_of_others();
        let pool = self.pool(&text)?;
        Ok((text, pool))
    }

    /// Connects, and makes the table if it is missing.
    ///
    /// # Errors
    /// What stands in the way.
    pub async fn check(&self) -> Result<(), ConfigError> {
        let (_, pool) = self.read().await?;
        let client = pool.get().await.map_err(|error| ConfigError::Away(text(&error)))?;
        let prepared = super::sql::prepare(&client).await;
        prepared.map_err(|error| ConfigError::Away(super::sql::text(&error)))
    }

    /// Hands over a new pool whenever the string in the file changes.
    pub(super) async fn follow(self, text: Vec<u8>, set: impl Fn(Pool)) {
        self.file().follow(Ok(text), |text| self.pool(text).map(&set)).await;
    }

    fn pool(&self, text: &[u8]) -> Result<Pool, ConfigError> {
        let database = database(text).map_err(ConfigError::Text)?;
        let roots = match database.get_ssl_mode() {
            SslMode::Disable => Roots::Nobody,
            _ => self.roots.clone(),
        };
        let tls = MakeRustlsConnect::new(client::tls(&roots)?);
        let recycling_method = RecyclingMethod::Fast;
        let manager = Manager::from_config(database, tls, ManagerConfig { recycling_method });
        let pool = Pool::builder(manager)
            .max_size(CONNECTIONS_MAX)
            .create_timeout(Some(CONNECT))
            .runtime(Runtime::Tokio1)
            .build();
        pool.map_err(|error| ConfigError::Text(error.to_string()))
    }
}

/// Reads a connection string. Beyond this machine there is no connection without TLS.
fn database(text: &[u8]) -> Result<tokio_postgres::Config, String> {
    let text = str::from_utf8(text).map_err(|_| "the connection string is not UTF-8".to_owned())?;
    let mut res = tokio_postgres::Config::from_str(text.trim()).map_err(|error| {
        format!("this is not a PostgreSQL connection string: {}", cause(&error))
    })?;
    if res.get_hosts().is_empty() {
        return Err("the connection string names no host".to_owned());
    }
    let here =
        res.get_hosts().iter().all(is_here) && res.get_hostaddrs().iter().all(IpAddr::is_loopback);
    match (here, res.get_ssl_mode()) {
        (false, SslMode::Disable) => {
            return Err("the connection string turns TLS off, which is possible on loopback and \
                        Unix sockets only"
                .to_owned());
        }
        (false, _) => res.ssl_mode(SslMode::Require),
        // Only what has no assurance yet is left.
        (true, SslMode::Prefer) => res.ssl_mode(SslMode::Disable),
        (true, _) => &mut res,
    };
    if res.get_application_name().is_none() {
        res.application_name("lychgate");
    }
    if res.get_connect_timeout().is_none() {
        res.connect_timeout(CONNECT);
    }
    Ok(res)
}

fn is_here(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<IpAddr>().is_ok_and(|it| it.is_loopback())
        }
        Host::Unix(_) => true,
    }
}

/// What is wrong, without the values of the string.
fn cause(error: &tokio_postgres::Error) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

/// Why there is no connection.
pub(super) fn text(error: &PoolError) -> String {
    match error {
        PoolError::Backend(error) => super::sql::text(error),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_demanded_beyond_this_machine() {
        const REMOTE: &str = "postgres://gate:secret@db.example:5432/gate";
        for (text, expected) in [
            (REMOTE.to_owned(), Some(SslMode::Require)),
            (format!("{REMOTE}?sslmode=prefer"), Some(SslMode::Require)),
            (format!("{REMOTE}?sslmode=require\n"), Some(SslMode::Require)),
            (format!("{REMOTE}?sslmode=disable"), None),
            ("host=db.example user=gate".to_owned(), Some(SslMode::Require)),
            ("host=127.0.0.1,db.example user=gate sslmode=disable".to_owned(), None),
            // The name says loopback, the address does not.
            ("host=localhost hostaddr=192.0.2.1 sslmode=disable".to_owned(), None),
            ("host=127.0.0.1 user=gate".to_owned(), Some(SslMode::Disable)),
            ("host=::1 user=gate".to_owned(), Some(SslMode::Disable)),
            ("host=localhost sslmode=require".to_owned(), Some(SslMode::Require)),
            ("host=/run/postgresql user=gate".to_owned(), Some(SslMode::Disable)),
            ("user=gate".to_owned(), None),
            (String::new(), None),
            ("nonsense".to_owned(), None),
        ] {
            let mode = database(text.as_bytes()).map(|it| it.get_ssl_mode());
            assert_eq!(mode.as_ref().ok(), expected.as_ref(), "{text}");
            // A complaint does not show the password.
            assert!(!mode.is_err_and(|it| it.contains("secret")), "{text}");
        }
        assert!(database(b"\xff").is_err());
    }
}
