// SPDX-License-Identifier: Apache-2.0
//! The exporter's web side from outside: certificates of an authority of the test's own, and clients that are others' programs.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
};
use tempfile::TempDir;

use crate::process::{output, start_error};

/// A bcrypt hash (cost 8) of `geheim`, as htpasswd makes it.
pub const HASH: &str = "$2y$08$GBpD1tQLmF6yoTLwmDPk/OC6wQpCCUDE4Jl4ILLC1hdyUznZ2Ii5y";
/// Its user and password, as curl takes them.
pub const USER: &str = "anna:geheim";

/// A directory of certificates and a web configuration.
pub struct Door {
    dir: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Door {
    /// With `ca.pem`, and a server's `cert.pem` and `key.pem`.
    pub fn new() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("fgt-web").tempdir_in("/tmp")?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "flowgauge test authority");
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let door = Self { dir, authority };
        door.write("ca.pem", &door.authority.pem())?;
        door.issue("cert.pem", "key.pem", &["localhost", "127.0.0.1"], ExtendedKeyUsagePurpose::ServerAuth)?;
        Ok(door)
    }

    /// A certificate of the authority, for these names, and its key.
    pub fn issue(&self, cert: &str, key: &str, names: &[&str], usage: ExtendedKeyUsagePurpose) -> Result<()> {
        let pair = KeyPair::generate()?;
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
        params.extended_key_usages = vec![usage];
        params.distinguished_name.push(rcgen::DnType::CommonName, cert);
        self.write(cert, &params.signed_by(&pair, &self.authority)?.pem())?;
        self.write(key, &pair.serialize_pem())
    }

    /// A client's, for a name that is a URI.
    pub fn issue_client(&self, name: &str, uri: &str) -> Result<()> {
        let pair = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.subject_alt_names = vec![SanType::URI(uri.try_into()?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.write(&format!("{name}.pem"), &params.signed_by(&pair, &self.authority)?.pem())?;
        self.write(&format!("{name}-key.pem"), &pair.serialize_pem())
    }

    /// Puts a file in the place of what had that name.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        let new = self.dir.path().join(".new");
        std::fs::write(&new, text)?;
        Ok(std::fs::rename(new, self.path(name))?)
    }

    /// Where a file is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes `web.yml`, and gives the flag that names it.
    pub fn configure(&self, text: &str) -> Result<String> {
        self.write("web.yml", text)?;
        Ok(format!("--web.config.file={}", self.path("web.yml").display()))
    }

    /// curl with the authority's certificate: the status, 0 if there was no answer, and the body.
    pub fn curl(&self, arguments: &[&str]) -> Result<(u16, String)> {
        let mut command = Command::new("curl");
        command.args(["--silent", "--max-time", "20", "--write-out", "\n%{http_code}"]);
        command.arg("--cacert").arg(self.path("ca.pem")).args(arguments).current_dir(self.dir.path());
        let output = output(&mut command)?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, status) = said.rsplit_once('\n').context("curl says no status")?;
        Ok((status.parse()?, body.to_owned()))
    }

    /// `openssl s_client`, as TLS scanners use it: whether a session came of it, and what it said.
    pub fn s_client(&self, address: SocketAddr, arguments: &[&str]) -> Result<(bool, String)> {
        let mut command = Command::new("timeout");
        command.args(["20", "openssl", "s_client", "-connect", &address.to_string(), "-CAfile", "ca.pem"]);
        // Ask for something, for with TLS 1.3 a client's certificate is refused after the handshake.
        command.args(arguments).args(["-quiet", "-ign_eof"]).current_dir(self.dir.path());
        let request = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        command.stdin(std::process::Stdio::piped());
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let mut child = command.spawn().map_err(|error| start_error("openssl", error))?;
        // It may have gone already.
        let _ = child.stdin.take().map(|mut stdin| stdin.write_all(request));
        let done = child.wait_with_output()?;
        let said =
            String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
        Ok((said.contains("HTTP/1.1 200"), said))
    }
}

/// Sends bytes and reads what comes until the other side closes, for at most `patience`.
pub fn talk(address: SocketAddr, bytes: &[u8], patience: Duration) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    // The other side may refuse before it has read everything.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    Ok(answer)
}

/// A process's resident memory in bytes, and its open descriptors.
pub fn usage(pid: u32) -> Result<(u64, usize)> {
    let process = Path::new("/proc").join(pid.to_string());
    let statm = std::fs::read_to_string(process.join("statm"))?;
    let pages: u64 = statm.split(' ').nth(1).context("statm has no second number")?.parse()?;
    Ok((pages * 4096, std::fs::read_dir(process.join("fd"))?.count()))
}

/// Numbers that look random and are the same each time: xorshift.
pub struct Dice(u64);

impl Dice {
    /// From a seed that is not 0.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }

    /// One of these.
    pub fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }

    /// Any bytes, fewer than `end`.
    pub fn bytes(&mut self, end: usize) -> Vec<u8> {
        (0..self.below(end)).map(|_| self.below(256) as u8).collect()
    }

    /// A request that no honest client sends, or nearly one that it does.
    pub fn request(&mut self) -> Vec<u8> {
        let method = self
            .one(&["GET", "HEAD", "POST", "PUT", "CONNECT", "TRACE", "get", "G\0T", "", "PRI", "OPTIONS"]);
        let long = "%2e%2e/".repeat(self.below(5000));
        let path = self.one(&[
            "/",
            "/metrics",
            "/-/healthy",
            "*",
            "//",
            "/../../etc/passwd",
            "/%00",
            "http://x/metrics",
            "",
            "/metrics?\u{e9}=\u{1}",
            "/flows?limit=-1",
            &long,
        ]);
        let version = self.one(&["HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/0.9", "HTTP/1.1 ", "", "ICY"]);
        let mut request = format!("{method} {path} {version}\r\n").into_bytes();
        let large = "x".repeat(self.below(20_000));
        for _ in 0..self.below(80) {
            request.extend_from_slice(
                self.one(&[
                    "Host: x",
                    "Content-Length: 5",
                    "Content-Length: -1",
                    "Content-Length: 99999999999999999999",
                    "Transfer-Encoding: chunked",
                    "Transfer-Encoding: chunked, identity",
                    "Connection: close",
                    "Connection: upgrade",
                    "Upgrade: h2c",
                    "Expect: 100-continue",
                    "Accept: */*;q=9",
                    "Accept-Encoding: gzip;q=, br",
                    "Authorization: Basic !",
                    "Accept: application/openmetrics-text;version=1.0.0,",
                    " folded",
                    ":",
                    "\u{0}: y",
                    "Range: bytes=0-",
                ])
                .as_bytes(),
            );
            request.extend_from_slice(self.one(&["\r\n", "\r\n", "\r\n", "\n", "\r"]).as_bytes());
        }
        if self.below(20) == 0 {
            request.extend_from_slice(format!("X: {large}\r\n").as_bytes());
        }
        request.extend_from_slice(self.one(&["\r\n", "\n", ""]).as_bytes());
        match self.below(4) {
            // Something in it is turned over.
            0 => {
                for _ in 0..=self.below(8) {
                    let at = self.below(request.len());
                    request[at] = self.below(256) as u8;
                }
            }
            1 => request.truncate(self.below(request.len())),
            2 => request.extend(self.bytes(2000)),
            _ => {}
        }
        if self.below(10) == 0 { self.bytes(4000) } else { request }
    }
}

/// Waits until the condition holds.
pub fn until(what: &str, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !condition()? {
        ensure!(std::time::Instant::now() < deadline, "{what}: not within 30 s");
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
