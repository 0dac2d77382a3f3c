// SPDX-License-Identifier: Apache-2.0
//! Which addresses are public: the IANA special-purpose address registries (RFC 6890 and its later entries).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IPv4-mapped IPv6 address (`::ffff:0:0/96`) as the IPv4 address it stands for; any other unchanged.
pub(crate) fn canonical(addr: IpAddr) -> IpAddr {
    match addr {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(addr, IpAddr::V4),
        IpAddr::V4(_) => addr,
    }
}

/// The IPv4 address inside a NAT64 address of the well-known prefix `64:ff9b::/96` (RFC 6052).
pub(crate) fn nat64(addr: IpAddr) -> Option<Ipv4Addr> {
    match addr {
        IpAddr::V6(v6) => match v6.segments() {
            [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(join(high, low)),
            _ => None,
        },
        IpAddr::V4(_) => None,
    }
}

/// True if the address belongs to the global unicast internet: globally reachable by the registries, and handed out
/// by IANA at all. Everything private, local, shared, reserved, for documentation, or multicast is not.
pub(crate) fn is_public(addr: IpAddr) -> bool {
    match canonical(addr) {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(addr: Ipv4Addr) -> bool {
    let [a, b, c, d] = addr.octets();
    !match a {
        0 | 10 | 127 => true,  // "this network", private use, loopback
        100 => b & 0xc0 == 64, // 100.64.0.0/10 shared address space (CGNAT)
        169 => b == 254,       // link local
        172 => b & 0xf0 == 16, // 172.16.0.0/12 private use
        192 => match (b, c) {
            (0, 0) => d != 9 && d != 10, // IETF protocol assignments; PCP and TURN anycast are reachable
            (0, 2) => true,              // TEST-NET-1
            (88, 99) => true,            // deprecated 6to4 relay anycast
            (168, _) => true,            // private use
            _ => false,
        },
        198 => b & 0xfe == 18 || (b == 51 && c == 100), // benchmarking, TEST-NET-2
        203 => b == 0 && c == 113,                      // TEST-NET-3
        224.. => true,                                  // multicast, reserved, broadcast
        _ => false,
    }
}

fn is_public_v6(addr: Ipv6Addr) -> bool {
    if let Some(v4) = nat64(IpAddr::V6(addr)) {
        return is_public_v4(v4);
    }
    match addr.segments() {
        // 2001::/23 IETF protocol assignments: reachable are only the anycast addresses of PCP, TURN and DNS-SD
        // service registration, AMT, AS112, ORCHIDv2 and drone remote identification.
        [0x2001, second, rest @ ..] if second < 0x200 => match second {
            0x1 => matches!(rest, [0, 0, 0, 0, 0, 1..=3]),
            0x3 | 0x20..=0x3f => true,
            0x4 => rest[0] == 0x112,
            _ => false,
        },
        [0x2001, 0xdb8, ..] => false,                             // documentation
        [0x2002, high, low, ..] => is_public_v4(join(high, low)), // 6to4
        [0x3fff, second, ..] if second < 0x1000 => false,         // 3fff::/20 documentation
        [first, ..] => first & 0xe000 == 0x2000, // IANA hands out global unicast from 2000::/3 alone
    }
}

fn join(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(high) << 16 | u32::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn public(text: &str) -> bool {
        is_public(text.parse().unwrap())
    }

    #[test]
    fn special_purpose_ranges_are_not_public_from_first_to_last_address() {
        let ranges = [
            ("0.0.0.0", "0.255.255.255"),
            ("10.0.0.0", "10.255.255.255"),
            ("100.64.0.0", "100.127.255.255"),
            ("127.0.0.0", "127.255.255.255"),
            ("169.254.0.0", "169.254.255.255"),
            ("172.16.0.0", "172.31.255.255"),
            ("192.0.0.0", "192.0.0.8"),
            ("192.0.0.11", "192.0.0.255"),
            ("192.0.2.0", "192.0.2.255"),
            ("192.88.99.0", "192.88.99.255"),
            ("192.168.0.0", "192.168.255.255"),
            ("198.18.0.0", "198.19.255.255"),
            ("198.51.100.0", "198.51.100.255"),
            ("203.0.113.0", "203.0.113.255"),
            ("224.0.0.0", "255.255.255.255"),
            ("::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff"),
            ("100::", "100:0:0:1:ffff:ffff:ffff:ffff"),
            ("2001::", "2001:1::"),
            ("2001:2::", "2001:2::ffff"),
            ("2001:10::", "2001:1f:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("fe80::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ];
        for (first, last) in ranges {
            assert!(!public(first), "{first}");
            assert!(!public(last), "{last}");
        }
    }

    #[test]
    fn neighbours_of_special_ranges_are_public() {
        for text in [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.0.9",
            "192.0.0.10",
            "192.0.1.0",
            "192.0.3.0",
            "192.88.98.255",
            "192.88.100.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "198.51.99.255",
            "198.51.101.0",
            "203.0.112.255",
            "203.0.114.0",
            "223.255.255.255",
            "2001:1::1",
            "2001:1::3",
            "2001:3::1",
            "2001:4:112::1",
            "2001:20::1",
            "2001:3f:ffff::",
            "2001:200::1",
            "2001:db7::1",
            "2001:db9::1",
            "2606:4700:4700::1111",
            "3fff:1000::1",
            "2000::",
        ] {
            assert!(public(text), "{text}");
        }
    }

    #[test]
    fn embedded_ipv4_decides() {
        assert!(public("::ffff:8.8.8.8") && !public("::ffff:10.0.0.1"));
        assert!(public("64:ff9b::8.8.8.8") && !public("64:ff9b::192.168.0.1"));
        assert!(public("2002:808:808::1") && !public("2002:a00:1::1"));
        assert!(!public("::8.8.8.8"), "IPv4-compatible addresses are deprecated");
        assert_eq!(canonical("::ffff:1.2.3.4".parse().unwrap()), "1.2.3.4".parse::<IpAddr>().unwrap());
        assert_eq!(nat64("64:ff9b::1.2.3.4".parse().unwrap()), Some(Ipv4Addr::new(1, 2, 3, 4)));
        assert_eq!(nat64("64:ff9b:1::1.2.3.4".parse().unwrap()), None);
    }
}
