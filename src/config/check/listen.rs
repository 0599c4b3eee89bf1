//! The section `listen`.

use super::Checker;
use crate::authn;
use crate::config::{Listen, Tls, TlsPlaces, file};
use crate::policy::{Method, Principal};
use crate::server::tls::Files;
use crate::server::{Place, SOCKET_PATH_BYTES_MAX};
use crate::yaml::Spanned;

use std::path::PathBuf;
use std::sync::Arc;

/// The identity source of a listener's fixed principal.
const LOCAL: &str = "local";

impl Checker<'_> {
    /// Leaves out a listener whose place cannot be read, with a complaint.
    pub(super) fn listen(&mut self, written: Vec<file::Listen>, at: &Spanned<()>) -> Vec<Listen> {
        if written.is_empty() {
            self.complain(at, "no listener: name at least one `address` or `socket`");
        }
        written.into_iter().filter_map(|it| self.listener(it, at)).collect()
    }

    fn listener(&mut self, written: file::Listen, at: &Spanned<()>) -> Option<Listen> {
        let file::Listen { address, socket, tls, principal } = written;
        let place = match (&address, &socket) {
            (Some(address), None) => Place::Tcp(self.address(address)?),
            (None, Some(socket)) => self.socket(socket, tls.as_ref(), principal.is_some()),
            (Some(address), Some(_)) => {
                self.complain(address, "write one of `address` and `socket`");
                return None;
            }
            (None, None) => {
                self.complain(at, "a listener needs an `address` or a `socket`");
                return None;
            }
        };
        if let (Place::Tcp(bound), Some(address)) = (&place, &address)
            && !bound.ip().is_loopback()
        {
            if tls.is_none() {
                self.complain(
                    address,
                    format!("`{bound}` is reachable from outside: give it `tls: {{certificate: …, key: …}}`, or write `tls: off` if something in front of it does TLS"),
                );
            }
            if let Some(principal) = &principal {
                self.complain(
                    principal,
                    "a fixed principal is for loopback addresses and Unix sockets only: everybody who reaches this address would be that principal",
                );
            }
        }
        let has_principal = principal.is_some();
        Some(Listen {
            place,
            tls: tls.and_then(|it| self.tls(it.value, has_principal)),
            principal: principal.map(|it| self.principal(it.value)),
        })
    }

    fn socket(
        &mut self,
        written: &Spanned<PathBuf>,
        tls: Option<&Spanned<file::Tls>>,
        has_principal: bool,
    ) -> Place {
        let path = self.path(&written.value);
        if SOCKET_PATH_BYTES_MAX < path.as_os_str().len() {
            let message = format!(
                "the path of a Unix socket must have at most {SOCKET_PATH_BYTES_MAX} bytes"
            );
            self.complain(written, message);
        }
        if !has_principal {
            self.complain(
                written,
                "a Unix socket needs a `principal`: whoever can open the socket is that principal",
            );
        }
        if let Some(tls) = tls.filter(|it| matches!(it.value, file::Tls::Files(_))) {
            self.complain(tls, "a Unix socket takes no `tls`: nobody is between its two ends");
        }
        Place::Unix(path)
    }

    fn tls(&mut self, written: file::Tls, has_principal: bool) -> Option<Tls> {
        let file::Tls::Files(files) = written else { return None };
        let file::TlsFiles { certificate, key, client_ca } = *files;
        if let Some(client_ca) = client_ca.as_ref().filter(|_| has_principal) {
            self.complain(
                client_ca,
                "this listener has a fixed principal, so its `client_ca` would have no effect",
            );
        }
        let place = |it: &Spanned<PathBuf>| (it.place.line, it.place.column);
        let places = TlsPlaces {
            certificate: place(&certificate),
            key: place(&key),
            client_ca: client_ca.as_ref().map(place).unwrap_or_default(),
        };
        let files = Files {
            certificate: self.path(&certificate.value),
            key: self.path(&key.value),
            client_ca: client_ca.map(|it| self.path(&it.value)),
        };
        Some(Tls { files, places })
    }

    fn principal(&mut self, written: file::FixedPrincipal) -> Arc<Principal> {
        let file::FixedPrincipal { name, groups, tags } = written;
        if let Err(message) = authn::check_principal(&name.value, &groups, &tags) {
            self.complain(&name, message);
        }
        Arc::new(Principal::new(LOCAL, &name.value, groups, tags, Method::Local))
    }
}
