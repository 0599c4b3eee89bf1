//! The configurations of docs/behind-a-proxy.md, run by the proxies themselves before a whole gate.

use crate::support::http;
use crate::support::world::{FINISHED, PROTECTED, World, poll};

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The configuration that the page has for `proxy`.
fn documented(proxy: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/behind-a-proxy.md");
    let text = fs::read_to_string(path).unwrap();
    let (_, rest) = text.split_once(&format!("<!-- proxy: {proxy} -->\n")).unwrap();
    let (_, rest) = rest.split_once('\n').unwrap();
    rest.split_once("```\n").unwrap().0.to_owned()
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where a proxy is installed; in CI it must be.
fn installed(name: &str) -> bool {
    let is_there = ["/usr/sbin", "/usr/bin"].iter().any(|it| Path::new(it).join(name).exists());
    #[expect(clippy::disallowed_methods, reason = "a switch for CI, not for the gate")]
    let must_be = std::env::var("CI").is_ok_and(|it| it == "true");
    assert!(is_there || !must_be, "{name} is not installed");
    is_there
}

async fn check(name: &str, start: impl FnOnce(&Path, String) -> Command) {
    if !installed(name) {
        return;
    }
    let world = World::start().await;
    let proxy = free();
    let config = documented(name)
        .replace("127.0.0.1:8470", &proxy.to_string())
        .replace("127.0.0.1:8480", &world.gate.to_string())
        .replace("port 8481", &format!("port {}", world.admin.port()));
    let directory = tempfile::tempdir().unwrap();
    let mut command = start(directory.path(), config);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let _proxy = Proxy(child);
    poll(|| TcpStream::connect(proxy).ok()).await;
    for (job, status) in [(PROTECTED, 403), (FINISHED, 202)] {
        let answer = http::send(proxy, world.head("alice", job).as_bytes()).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.message());
        assert!(answer.header("x-lychgate-request-id").is_some());
    }
    // What the gate refuses arrives as it was written.
    let odd = world.head("alice", FINISHED).replacen("/training-jobs", "//training-jobs", 1);
    assert_eq!(http::send(proxy, odd.as_bytes()).await.code().as_deref(), Some("Lychgate.4001"));
}

#[tokio::test]
async fn nginx_as_the_page_has_it() {
    check("nginx", |directory, config| {
        let whole = format!(
            "daemon off; master_process off; pid {0}/pid; error_log stderr;\nevents {{}}\nhttp {{ access_log off; client_body_temp_path {0}/b; proxy_temp_path {0}/p; fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; scgi_temp_path {0}/s;\n{config}\n}}\n",
            directory.display()
        );
        fs::write(directory.join("nginx.conf"), whole).unwrap();
        let mut command = Command::new("/usr/sbin/nginx");
        command.arg("-p").arg(directory).arg("-c").arg(directory.join("nginx.conf"));
        command
    })
    .await;
}

/// Its health check speaks HTTP/1.0 to the admin listener, and decides whether anything goes through.
#[tokio::test]
async fn haproxy_as_the_page_has_it() {
    check("haproxy", |directory, config| {
        fs::write(directory.join("haproxy.cfg"), config).unwrap();
        let mut command = Command::new("/usr/sbin/haproxy");
        command.arg("-f").arg(directory.join("haproxy.cfg"));
        command
    })
    .await;
}

/// Envoy itself is not run: its configuration is read, and what the page demands of a proxy is in it.
#[test]
fn envoy_as_the_page_has_it_is_what_the_page_demands() {
    let text = documented("envoy");
    let config: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
    let at = |pointer: &str| config.pointer(pointer).unwrap_or_else(|| panic!("no {pointer}"));
    let manager = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
    let of_manager = |pointer: &str| at(&format!("{manager}/{pointer}")).clone();
    for (setting, expected) in [
        ("normalize_path", serde_json::Value::from(false)),
        ("merge_slashes", false.into()),
        ("path_with_escaped_slashes_action", "KEEP_UNCHANGED".into()),
        ("use_remote_address", true.into()),
    ] {
        assert_eq!(of_manager(setting), expected, "{setting}");
    }
    let route = of_manager("route_config/virtual_hosts/0/routes/0/route");
    let members: Vec<_> = route.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["cluster", "timeout"], "no retries and no rewriting");
    let cluster = "/static_resources/clusters/0";
    assert_eq!(&route["cluster"], at(&format!("{cluster}/name")));
    let endpoint = format!("{cluster}/load_assignment/endpoints/0/lb_endpoints/0/endpoint");
    assert_eq!(at(&format!("{endpoint}/address/socket_address/port_value")), 8480);
    assert_eq!(at(&format!("{endpoint}/health_check_config/port_value")), 8481);
    assert_eq!(at(&format!("{cluster}/health_checks/0/http_health_check/path")), "/readyz");
    // What has a type is named by it, in the form that Envoy demands.
    for line in text.lines().filter(|it| it.contains("@type")) {
        assert!(line.contains("type.googleapis.com/envoy.extensions."), "{line}");
    }
}
