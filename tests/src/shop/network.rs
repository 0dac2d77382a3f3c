// SPDX-License-Identifier: Apache-2.0
//! Who is where: hosts, routers, addresses, and what the names file says of them.

use std::net::Ipv4Addr;

use anyhow::Result;

use crate::names::Name;
use crate::netns::{Host, Link, World};

/// A host and its link to a router; the host is at its `a` end.
#[derive(Debug)]
pub(super) struct Site {
    pub host: Host,
    pub link: Link,
}

impl Site {
    fn new(world: &World, name: &str, router: &Host) -> Result<Self> {
        let host = world.host_called(name)?;
        let link = world.link(&host, router)?;
        host.ip(&["route", "add", "default", "via", &link.b.v4.to_string()])?;
        Ok(Site { host, link })
    }

    /// Its address.
    pub fn v4(&self) -> Ipv4Addr {
        self.link.a.v4
    }
}

/// An external provider: a host with all addresses of a network.
#[derive(Debug)]
pub(super) struct Provider {
    pub site: Site,
    /// What it is asked for as, and called.
    pub name: &'static str,
    /// Its network.
    network: Ipv4Addr,
    /// How many addresses its name has.
    count: u8,
}

impl Provider {
    fn new(world: &World, name: &'static str, core: &Host, network: Ipv4Addr, count: u8) -> Result<Self> {
        let site = Site::new(world, name, core)?;
        let range = format!("{network}/24");
        site.host.ip(&["route", "add", "local", &range, "dev", "lo"])?;
        core.ip(&["route", "add", &range, "via", &site.v4().to_string()])?;
        Ok(Provider { site, name, network, count })
    }

    /// The addresses that its name has.
    pub fn addresses(&self) -> Vec<Ipv4Addr> {
        let [a, b, c, _] = self.network.octets();
        (1..=self.count).map(|number| Ipv4Addr::new(a, b, c, number)).collect()
    }
}

/// One zone: a node, and the hosts on it, whose packets it forwards and tracks.
#[derive(Debug)]
pub(super) struct Zone {
    pub name: &'static str,
    pub node: Site,
    pub hosts: Vec<Site>,
}

impl Zone {
    fn new(world: &World, core: &Host, zone: &'static str, node: &str, hosts: &[&str]) -> Result<Self> {
        let node = Site::new(world, node, core)?;
        node.host.sysctl("net.ipv4.ip_forward", "1")?;
        // As on nodes of Kubernetes, where address translation has every connection tracked.
        let track = ["-w", "-A", "FORWARD", "-m", "conntrack", "--ctstate", "NEW", "-j", "ACCEPT"];
        crate::process::run(node.host.command("iptables").args(track))?;
        let hosts = hosts.iter().map(|name| {
            let site = Site::new(world, name, &node.host)?;
            let net = format!("{}/24", site.link.net.v4(0));
            core.ip(&["route", "add", &net, "via", &node.v4().to_string()])?;
            Ok(site)
        });
        let hosts = hosts.collect::<Result<_>>()?;
        Ok(Zone { name: zone, node, hosts })
    }

    fn names(&self) -> impl Iterator<Item = Name> {
        let named = |site: &Site| Name { zone: Some(self.name.to_owned()), ..Name::of(&site.host) };
        self.hosts.iter().chain([&self.node]).map(named)
    }
}

/// All of it.
#[derive(Debug)]
pub(super) struct Network {
    pub zones: [Zone; 2],
    pub isp_dns: Site,
    pub providers: Vec<Provider>,
    _core: Host,
}

impl Network {
    pub fn new(world: &World) -> Result<Self> {
        let core = world.host_called("core")?;
        core.sysctl("net.ipv4.ip_forward", "1")?;
        let zones = [
            Zone::new(world, &core, "zone-a", "node-a", &["shop-client", "shop-proxy", "shop-dns"])?,
            Zone::new(world, &core, "zone-b", "node-b", &["shop-api", "shop-db"])?,
        ];
        let isp_dns = Site::new(world, "isp-dns", &core)?;
        // The networks are those of RFC 5737, for documentation.
        let providers = vec![
            Provider::new(world, "payments.example", &core, Ipv4Addr::new(203, 0, 113, 0), 6)?,
            Provider::new(world, "objects.example", &core, Ipv4Addr::new(198, 51, 100, 0), 4)?,
            Provider::new(world, "mail.example", &core, Ipv4Addr::new(192, 0, 2, 0), 2)?,
        ];
        Ok(Network { zones, isp_dns, providers, _core: core })
    }

    pub fn client(&self) -> &Site {
        &self.zones[0].hosts[0]
    }

    pub fn proxy(&self) -> &Site {
        &self.zones[0].hosts[1]
    }

    pub fn dns(&self) -> &Site {
        &self.zones[0].hosts[2]
    }

    pub fn api(&self) -> &Site {
        &self.zones[1].hosts[0]
    }

    pub fn database(&self) -> &Site {
        &self.zones[1].hosts[1]
    }

    /// What the exporters are told of all of them.
    pub fn names(&self) -> Vec<Name> {
        let external = |name: Name| Name { kind: Some("external".to_owned()), ..name };
        let providers = self.providers.iter().map(|provider| {
            let cidrs = vec![format!("{}/24", provider.network)];
            external(Name { cidrs, workload: provider.name.to_owned(), ..Name::default() })
        });
        let isp = external(Name::of(&self.isp_dns.host));
        self.zones.iter().flat_map(Zone::names).chain([isp]).chain(providers).collect()
    }
}
