// SPDX-License-Identifier: Apache-2.0
//! Landlock: which files a thread may read, and which TCP ports it may connect to. Nobody may write, execute or listen.

use std::path::PathBuf;

use flowgauge_labels::MetadataMode;
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, NetPort, RestrictionStatus, Ruleset, RulesetAttr as _,
    RulesetCreated, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};

use super::{Role, Wall, places};
use crate::flags::{Flags, ListenAddress};
use crate::web;

/// The newest that was looked at. An older kernel does what it knows of it.
const KNOWN: ABI = ABI::V6;

/// What the threads may, by role.
pub struct Files {
    common: Vec<PathBuf>,
    names: Vec<PathBuf>,
    web_config: Vec<PathBuf>,
    kubernetes: Vec<PathBuf>,
    /// Where the sockets are whose files are removed at the end.
    sockets: Vec<PathBuf>,
    /// Of the metadata service, if it is to be asked. Whoever reads the files again at a SIGHUP may start the thread that asks.
    metadata_port: Option<u16>,
    /// See [`serving_asks`].
    serving_asks: bool,
}

/// Whether the serving threads read the operator's files again, and start the thread that asks the metadata service: where
/// there is no thread of the probes to do so.
pub fn serving_asks(flags: &Flags) -> bool {
    let probes =
        flags.collector_tcp() || flags.collector_udp() || flags.collector_dns() || flags.collector_http();
    !probes && asks_metadata(flags)
}

fn asks_metadata(flags: &Flags) -> bool {
    flags.cloud.metadata().mode != MetadataMode::Off
}

impl Files {
    /// # Errors
    /// That the kernel has no Landlock.
    pub fn prepare(flags: &Flags) -> Result<Self, Wall> {
        let has_any = Ruleset::default().handle_access(AccessFs::ReadFile).and_then(Ruleset::create);
        if let Err(error) = has_any {
            return Err(Wall::Failed(error.to_string()));
        }
        let sockets = flags.listen_addresses.iter().filter_map(|address| match address {
            ListenAddress::Unix { path, .. } => path.parent().map(ToOwned::to_owned),
            ListenAddress::Tcp { .. } => None,
        });
        Ok(Self {
            common: places::common(flags),
            names: places::names(flags, asks_metadata(flags)),
            web_config: places::web_config(flags, &web::files_of(flags.serving.config_file())),
            kubernetes: places::kubernetes(flags),
            sockets: sockets.collect(),
            metadata_port: asks_metadata(flags).then(|| flags.cloud.metadata().endpoint.port()),
            serving_asks: serving_asks(flags),
        })
    }

    /// What a thread of this role may, ready to be enforced.
    ///
    /// # Errors
    /// Why there is nothing to enforce.
    pub fn of(&self, role: Role) -> Result<RulesetCreated, Wall> {
        let metadata = self.metadata_port.into_iter().collect();
        let (read, connect): (Vec<&[PathBuf]>, Connect) = match role {
            // A process behind Landlock may not look into one that is not: the kernel treats it as tracing.
            Role::Probes { in_cluster: true } => {
                return Err(Wall::Absent("none: it looks into the namespaces of pods' processes".to_owned()));
            }
            Role::Kubernetes { runs_program: true } => {
                return Err(Wall::Absent("none: it runs the program that the kubeconfig names".to_owned()));
            }
            Role::Kubernetes { runs_program: false } => (vec![&self.common, &self.kubernetes], Connect::Any),
            Role::Probes { in_cluster: false } => (vec![&self.common, &self.names], Connect::To(metadata)),
            Role::Netstat => (vec![&self.common, &self.names], Connect::To(Vec::new())),
            Role::WebConfig => (vec![&self.common, &self.web_config], Connect::To(Vec::new())),
            Role::Serving if self.serving_asks => (vec![&self.common, &self.names], Connect::To(metadata)),
            Role::Serving => (vec![&self.common], Connect::To(Vec::new())),
            Role::Waker => (Vec::new(), Connect::To(Vec::new())),
            Role::CloudMetadata => (vec![&self.common, &self.names], Connect::To(metadata)),
        };
        let remove = if role == Role::Serving { &self.sockets[..] } else { &[] };
        rules(&read, remove, &connect).map_err(|error| Wall::Failed(error.to_string()))
    }
}

enum Connect {
    Any,
    To(Vec<u16>),
}

fn rules(read: &[&[PathBuf]], remove: &[PathBuf], connect: &Connect) -> Result<RulesetCreated, RulesetError> {
    let ports = match connect {
        Connect::Any => AccessNet::BindTcp.into(),
        Connect::To(_) => AccessNet::from_all(KNOWN),
    };
    let reading: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
    let mut created = Ruleset::default()
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(ports)?
        .scope(Scope::from_all(KNOWN))?
        .create()?
        .add_rules(path_beneath_rules(read.iter().copied().flatten(), reading))?
        .add_rules(path_beneath_rules(remove, AccessFs::RemoveFile))?;
    if let Connect::To(ports) = connect {
        for port in ports {
            created = created.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
        }
    }
    Ok(created)
}

/// From now on, the calling thread and those that it starts may no more than this.
pub fn enforce(rules: RulesetCreated) -> Wall {
    match rules.restrict_self() {
        Ok(RestrictionStatus { ruleset: RulesetStatus::FullyEnforced, .. }) => {
            Wall::Up("files and ports".to_owned())
        }
        Ok(RestrictionStatus { ruleset: RulesetStatus::PartiallyEnforced, .. }) => {
            Wall::Up("files; of the rest what this kernel knows".to_owned())
        }
        Ok(RestrictionStatus { ruleset: RulesetStatus::NotEnforced, .. }) => {
            Wall::Absent("the kernel has no Landlock, or it is not among those that lsm= starts".to_owned())
        }
        Err(error) => Wall::Failed(error.to_string()),
    }
}
