// SPDX-License-Identifier: Apache-2.0
//! Who serves: haproxy, nginx, dnsmasq, and what stands for a database.

use anyhow::Result;

use super::haproxy::Haproxy;
use super::network::Network;
use crate::dns::dnsmasq::Dnsmasq;
use crate::nginx::Nginx;
use crate::traffic::Server;

/// The port of the API.
pub(super) const API_PORT: u16 = 8080;

/// All servers. Dropped from the client's side to the far one.
#[derive(Debug)]
pub(super) struct Services {
    _proxy: Haproxy,
    _api: Nginx,
    _database: Server,
    _providers: Vec<Nginx>,
    pub dns: Dnsmasq,
    _isp_dns: Dnsmasq,
}

impl Services {
    pub fn start(network: &Network) -> Result<Self> {
        let mut zone = vec!["local=/example/".to_owned(), "local=/internal/".to_owned()];
        for (name, site) in [("proxy", network.proxy()), ("db", network.database())] {
            zone.push(format!("host-record={name}.shop.internal,{}", site.v4()));
        }
        for provider in &network.providers {
            let records = provider.addresses();
            zone.extend(records.iter().map(|address| format!("host-record={},{address}", provider.name)));
        }
        let zone: Vec<&str> = zone.iter().map(String::as_str).collect();
        let isp_dns = Dnsmasq::start(&network.isp_dns.host, &zone)?;
        let dns = Dnsmasq::start(&network.dns().host, &[&format!("server={}", network.isp_dns.v4())])?;
        let web = |provider: &super::network::Provider| {
            Nginx::start(&provider.site.host, &["0.0.0.0:80"], &[("object", 4_000)], 1)
        };
        let providers = network.providers.iter().map(web).collect::<Result<_>>()?;
        let database = Server::start(&network.database().host, &["--listen", "0.0.0.0:5432"])?;
        let listen = format!("0.0.0.0:{API_PORT}");
        let api = Nginx::start(&network.api().host, &[&listen], &[("page", 12_000)], 1)?;
        let proxy = Haproxy::start(&network.proxy().host, 80, network.api().link.a.at4(API_PORT))?;
        Ok(Services {
            _proxy: proxy,
            _api: api,
            _database: database,
            _providers: providers,
            dns,
            _isp_dns: isp_dns,
        })
    }
}
