// SPDX-License-Identifier: Apache-2.0
//! Files that tell a client where the stub is and how to be let in.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

/// A directory with a kubeconfig, and the files of a service account: `ca.crt`, `token`, `namespace`.
#[derive(Debug)]
pub struct Kubeconfig {
    directory: TempDir,
}

impl Kubeconfig {
    pub(super) fn new(url: &str, authority_pem: Option<&str>, token: &str, by_file: bool) -> Result<Self> {
        let directory = TempDir::new().context("making a directory for the kubeconfig")?;
        let kubeconfig = Kubeconfig { directory };
        if let Some(pem) = authority_pem {
            kubeconfig.write("ca.crt", pem)?;
        }
        kubeconfig.write("token", token)?;
        kubeconfig.write("namespace", "monitoring")?;
        let here = kubeconfig.service_account().display().to_string();
        let authority =
            authority_pem.map_or(String::new(), |_| format!("\n    certificate-authority: {here}/ca.crt"));
        let user = if by_file { format!("tokenFile: {here}/token") } else { format!("token: {token:?}") };
        let yaml = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\nclusters:\n- name: test\n  cluster:\n    \
             server: {url}{authority}\nusers:\n- name: flowgauge\n  user:\n    {user}\ncontexts:\n- name: test\n  \
             context:\n    cluster: test\n    user: flowgauge\n"
        );
        kubeconfig.write("config", &yaml)?;
        Ok(kubeconfig)
    }

    /// The kubeconfig.
    pub fn path(&self) -> PathBuf {
        self.service_account().join("config")
    }

    /// The flag that makes the exporter use it.
    pub fn flag(&self) -> String {
        format!("--labels.kubernetes.kubeconfig={}", self.path().display())
    }

    /// The directory, which has all that a service account's volume has.
    pub fn service_account(&self) -> &Path {
        self.directory.path()
    }

    /// Puts another token into the token file, atomically, as the kubelet rotates it.
    pub fn rotate(&self, token: &str) -> Result<()> {
        self.write("token", token)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let (path, fresh) = (self.service_account().join(name), self.service_account().join(".fresh"));
        fs::write(&fresh, text)
            .and_then(|()| fs::rename(&fresh, &path))
            .with_context(|| format!("writing {}", path.display()))
    }
}
