// SPDX-License-Identifier: Apache-2.0
//! `--web.config.file` and `--web.systemd-socket`: who may talk to the exporter, and through which sockets.

use std::path::{Path, PathBuf};

use clap::{ArgAction, Args};

/// Who may talk to the exporter, and through which sockets.
#[derive(Args, Clone, Debug)]
pub struct ServingFlags {
    /// YAML file that asks for TLS, client certificates and passwords, in the format of Prometheus' exporter-toolkit.
    #[arg(long = "web.config.file", env = "FLOWGAUGE_WEB_CONFIG_FILE", value_name = "FILE", global = true)]
    config_file: Option<PathBuf>,

    /// Serve on the sockets that systemd hands over, instead of `--web.listen-address`.
    #[arg(
        long = "web.systemd-socket",
        env = "FLOWGAUGE_WEB_SYSTEMD_SOCKET",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_value_t = false,
        default_missing_value = "true",
        action = ArgAction::Set,
        global = true
    )]
    pub systemd_socket: bool,
}

impl ServingFlags {
    /// The file that asks for TLS and passwords.
    pub fn config_file(&self) -> Option<&Path> {
        self.config_file.as_deref()
    }
}
