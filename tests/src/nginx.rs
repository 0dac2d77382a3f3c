// SPDX-License-Identifier: Apache-2.0
//! nginx, whose access log is the ground truth for bytes.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::netns::Host;
use crate::process::{Process, run};

/// A running nginx with several worker processes.
#[derive(Debug)]
pub struct Nginx {
    directory: TempDir,
    process: Process,
}

/// One line of the access log.
#[derive(Debug, Clone)]
pub struct Request {
    /// Port it came in on.
    pub port: String,
    /// Bytes sent to the client, head and body.
    pub sent: f64,
    /// Bytes received from the client: request line, head and body.
    pub received: f64,
    /// nginx's number of the connection.
    pub connection: String,
    /// Address that the connection came from.
    pub client: String,
}

impl Nginx {
    /// Starts nginx in `host`. It serves `files` (name, size in bytes) below `/`, on each of `listen` (nginx's own
    /// words: `[::]:80 ipv6only=off`), and takes PUT uploads below `/put/`.
    pub fn start(host: &Host, listen: &[&str], files: &[(&str, usize)], workers: usize) -> Result<Self> {
        let format = "$server_port $bytes_sent $request_length $connection $remote_addr";
        Self::with_site(host, listen, files, workers, (format, "location /put/ { dav_methods PUT; }"))
    }

    /// The same with an access log of another format, read by [`Nginx::lines`], and with these words in the server's block.
    pub fn with_site(
        host: &Host,
        listen: &[&str],
        files: &[(&str, usize)],
        workers: usize,
        (format, site): (&str, &str),
    ) -> Result<Self> {
        let directory = TempDir::new().context("making a directory for nginx")?;
        let root = directory.path();
        fs::create_dir_all(root.join("files/put"))?;
        fs::create_dir(root.join("bodies"))?;
        for (name, size) in files {
            fs::write(root.join("files").join(name), vec![b'x'; *size])?;
        }
        let listen: String = listen.iter().map(|address| format!("listen {address};\n")).collect();
        // Workers stay root: they must be able to write into the test's own directory.
        let text = format!(
            "user root;\ndaemon off;\nworker_processes {workers};\nerror_log {root}/error.log warn;\npid {root}/pid;\n\
             worker_rlimit_nofile 20000;\nevents {{ worker_connections 8192; }}\nhttp {{\n\
             log_format truth '{format}';\n\
             access_log {root}/access.log truth;\nclient_body_temp_path {root}/bodies;\nproxy_temp_path {root}/bodies;\n\
             fastcgi_temp_path {root}/bodies;\nuwsgi_temp_path {root}/bodies;\nscgi_temp_path {root}/bodies;\n\
             client_max_body_size 1g;\nkeepalive_requests 1000000;\nkeepalive_timeout 600s;\nserver {{\n{listen}\
             root {root}/files;\n{site}\n}}\n}}\n",
            root = root.display()
        );
        let file = root.join("nginx.conf");
        fs::write(&file, text)?;
        run(host.command("nginx").args(["-t", "-q", "-c"]).arg(&file))?;
        let process = Process::spawn("nginx", host.command("nginx").arg("-c").arg(&file))?;
        let nginx = Nginx { directory, process };
        let deadline = Instant::now() + Duration::from_secs(10);
        while nginx.worker_count() < workers {
            ensure!(Instant::now() < deadline, "nginx has no workers: {}", nginx.process.log());
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(nginx)
    }

    fn worker_count(&self) -> usize {
        let pid = self.process.pid();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let running = |pid: &&str| {
            fs::read_to_string(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| line.contains("worker process"))
        };
        children.split_whitespace().filter(running).count()
    }

    /// Process ids of the workers.
    pub fn workers(&self) -> Result<Vec<u32>> {
        let pid = self.process.pid();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        children.split_whitespace().map(|child| child.parse().context("a child's pid")).collect()
    }

    /// Where uploads end.
    pub fn upload(&self, name: &str) -> PathBuf {
        self.directory.path().join("files/put").join(name)
    }

    /// The access log, as soon as it has this many lines: a request is logged a moment after its answer was sent.
    pub fn requests(&self, at_least: usize) -> Result<Vec<Request>> {
        let parse = |line: &String| request(line).with_context(|| format!("access log line {line:?}"));
        self.lines(at_least)?.iter().map(parse).collect()
    }

    /// The lines of the access log, as soon as it has this many.
    pub fn lines(&self, at_least: usize) -> Result<Vec<String>> {
        let path = self.directory.path().join("access.log");
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            if text.lines().count() >= at_least && text.ends_with('\n') {
                return Ok(text.lines().map(str::to_owned).collect());
            }
            ensure!(Instant::now() < deadline, "{} lines in the access log:\n{text}", text.lines().count());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // An orderly stop takes the workers along; the kill that follows would leave them.
        let _ = self.process.terminate(Duration::from_secs(5));
    }
}

fn request(line: &str) -> Option<Request> {
    let mut fields = line.split(' ');
    Some(Request {
        port: fields.next()?.to_owned(),
        sent: fields.next()?.parse().ok()?,
        received: fields.next()?.parse().ok()?,
        connection: fields.next()?.to_owned(),
        client: fields.next()?.to_owned(),
    })
}
